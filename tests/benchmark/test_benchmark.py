"""`hdtrans benchmark` on small networks: subjects, time, memory, ceilings, text and page."""

import json
import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hdtrans.benchmark.ceiling import COPY, Ceilings
from hdtrans.benchmark.plan import Plan
from hdtrans.benchmark.report import report_page, report_text
from hdtrans.benchmark.run import benchmark
from hdtrans.benchmark.timing import LocalCall, add_memory, fair_share, ratios, spinning, time_in_turns
from hdtrans.cli import run_tool
from hdtrans.common.errors import ProcessError, UserError
from hdtrans.config.stage import Size
from hdtrans.toycity.scenes import write_dataset
from tests.shared_folder import filled_once

pytestmark = pytest.mark.usefixtures("in_fp32")

CPU, SIZE = torch.device("cpu"), Size(width=128, height=64)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with triples of 256x128."""
    folder = tmp_path_factory.mktemp("benchmark")
    write_dataset(folder / "city", 2, 0, 128, 256)
    return folder


def make_plan(folder: Path, *what: str) -> Plan:
    """Return the plan of a benchmark of small networks."""
    return Plan(what, SIZE, rounds=2, dtype="fp32", data=folder / "city", width=2)


@pytest.fixture(scope="module")
def found(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return the figures of all subjects."""
    plan = make_plan(folder, "inference", "training", "reading", "preparing")
    return filled_once(tmp_path_factory, "measured", lambda _: benchmark(plan))[1]


def test_every_subject_has_time_memory_and_a_share_of_its_ceiling(found: dict[str, Any]) -> None:
    names = [subject["name"] for subject in found["subjects"]]
    assert names == ["inference", "training", "reading", "reading, to 128x64", "preparing, to 128x64"]
    for subject in found["subjects"]:
        share = subject["share_of_ceiling"]
        assert 0 < share["least"] <= share["median"] <= share["most"] < 10
        assert subject["seconds"] > 0 and subject["cpu_seconds"] > 0
    inference, training, reading = found["subjects"][:3]
    assert 0 < inference["memory"] < training["memory"]
    assert 0 < inference["flops"] < training["flops"] and reading["flops"] == 0
    assert reading["per_second"] == pytest.approx(2 / reading["seconds"]), "two files a call"
    assert found["machine"]["convolution"].keys() == {"fp32", "bf16"} and found["machine"]["copy"] > 0


def test_text_and_page_name_every_subject(found: dict[str, Any]) -> None:
    text, page = report_text(found), report_page(json.loads(json.dumps(found)))
    for subject in found["subjects"]:
        assert subject["name"] in text and subject["name"] in page
    assert "of a fp32 convolution" in text and "of the codecs alone" in text
    assert "operations are counted as the networks are written" in text


def test_the_command_prints_json_and_writes_a_page(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "speed.html"
    options = ["--size", "64x32", "--rounds", "1", "--device", "cpu", "--data", str(folder / "city")]
    assert run_tool("benchmark", ["reading", *options, "--json", "--page", str(page)]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert [subject["name"] for subject in printed["subjects"]] == ["reading", "reading, to 64x32"]
    assert printed["machine"]["rounds"] == 1 and "reading, to 64x32" in page.read_text(encoding="utf-8")


def test_calls_take_turns_and_the_machine_is_probed_after_each() -> None:
    calls: list[str] = []

    def probe() -> float:
        calls.append(".")
        return float(len(calls))

    timed = {name: LocalCall(lambda name=name: calls.append(name), CPU) for name in "ab"}  # type: ignore[misc]
    timings = time_in_turns(timed, 3, probe)
    assert "".join(calls) == "ab" + 3 * "a.b.", "once to get warm, and in rounds"
    assert len(timings["a"].seconds) == len(timings["b"].cpu_seconds) == 3
    assert timings["b"].ceiling == [6.0, 10.0, 14.0]


def test_a_ceiling_is_measured_anew_each_time() -> None:
    ceilings = Ceilings(CPU)
    seen = [ceilings.probe(torch.float32) for _ in range(3)]
    assert min(seen) > 0 and len(set(seen)) > 1
    assert ceilings.fastest(torch.float32) == max(seen)
    assert ceilings.fastest(COPY) > 0


def test_times_and_memory_are_those_of_the_call() -> None:
    def much() -> None:
        for _ in range(3):
            torch.ones(2**20).sum()
        time.sleep(0.05)

    calls = {"little": LocalCall(lambda: time.sleep(0.01), CPU), "much": LocalCall(much, CPU)}
    timings = time_in_turns(calls, 2)
    add_memory(calls, timings)
    assert all(ratio > 2 for ratio in ratios(timings["much"], timings["little"]))
    assert 4 * 2**20 <= timings["much"].memory < 5 * 2**20, "one tensor at a time"
    assert timings["little"].memory == 0


def test_a_wrong_subject_or_size_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_tool("benchmark", ["trainning"]) == 2
    error = capsys.readouterr().err
    assert "trainning: unknown subject; give one of inference, training, reading, preparing" in error
    assert "Did you mean 'training'?" in error
    with pytest.raises(SystemExit, match="2"):
        run_tool("benchmark", ["--size", "512"])
    assert "give WIDTHxHEIGHT in pixels" in capsys.readouterr().err


def test_files_that_are_not_encoded_are_refused(folder: Path, tmp_path: Path) -> None:
    for part in ("label", "inst", "img"):
        (tmp_path / f"train_{part}").mkdir()
        np.save(tmp_path / f"train_{part}" / "a.npy", np.zeros((8, 8), np.uint8))
    with pytest.raises(UserError, match=r"a\.npy: not an encoded picture.*give data=DIR with PNG or JPEG"):
        benchmark(replace(make_plan(folder, "reading"), data=tmp_path))


def test_too_little_memory_is_one_message(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB")

    monkeypatch.setattr("hdtrans.benchmark.run.Inference", refuse)
    with pytest.raises(ProcessError, match=r"^inference: memory is too small for 128x64 on cpu; give a smaller size"):
        benchmark(replace(make_plan(folder, "inference"), device="cpu"))


def test_beside_busy_processes(folder: Path) -> None:
    found = benchmark(replace(make_plan(folder, "inference", "reading"), busy=2))
    kept = found["subjects"][0]["busy"]
    assert kept["seconds"] > 0 and 0 < kept["share_of_fair_share"]["least"] <= kept["share_of_fair_share"]["most"]
    text = report_text(found)
    assert "seconds beside 2 busy processes" in text and "share of the fair share" in text
    assert "busy" not in found["subjects"][1]  # files are read without waiting threads


def test_busy_processes_spin_and_end() -> None:
    def children() -> float:
        return sum(os.times()[2:4])

    before = children()
    with spinning(2):
        time.sleep(0.2)
    assert children() - before > 0.1  # processor time of processes that have ended


@pytest.mark.parametrize(
    ("cores", "threads", "busy", "share"), [(2, 2, 4, 1 / 3), (2, 1, 0, 1), (2, 1, 1, 1), (2, 2, 8, 0.2), (64, 8, 4, 1)]
)
def test_fair_share(cores: int, threads: int, busy: int, share: float) -> None:
    assert fair_share(cores, threads, busy) == pytest.approx(share)
