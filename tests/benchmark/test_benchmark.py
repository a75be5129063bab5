"""The benchmark on small networks: who takes turns, what is counted, and what is told."""

import json
import multiprocessing
import os
import signal
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from hdtrans.benchmark import growth, report, run, worker
from hdtrans.benchmark.ceiling import Ceilings
from hdtrans.benchmark.original import OriginalSubject, load_original
from hdtrans.benchmark.plan import ORIGINAL as ORIGINAL_WAY
from hdtrans.benchmark.plan import OURS, Plan, sizes_up_to
from hdtrans.benchmark.processes import Child, answers
from hdtrans.benchmark.report import report_page, report_text
from hdtrans.benchmark.run import _shares_of_ceiling, benchmark
from hdtrans.benchmark.timing import Here, Took, ratios, take_memory, take_turns
from hdtrans.benchmark.worker import Job
from hdtrans.cli import run_tool
from hdtrans.common.errors import ProcessError, UserError
from hdtrans.config.loading import load_recipe
from hdtrans.config.registry import method_module
from hdtrans.config.stage import Size
from hdtrans.toycity.scenes import write_dataset

pytestmark = pytest.mark.usefixtures("in_fp32")

CPU, SIZE = torch.device("cpu"), Size(width=128, height=64)
ORIGINAL = """
import os
import torch

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

class Translation:
    def __init__(self, labels, enhancers, device): pass
    def __call__(self, label, instance):
        large = torch.ones(2**25)  # 128 MiB
        before = resident()
        del large
        assert before - resident() > 2**26, "freed memory is kept for the original too"

class Training:
    def __init__(self, labels, enhancers, scales, device): pass
    def step(self, label, instance, photo): assert photo.shape == (*label.shape, 3)

def read(files, size): assert set(files) == {"label", "instance", "photo"}
def prepare(files, size, out): assert size == (128, 64) and out.is_dir()
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with triples of 256x128, and an original that does nothing."""
    folder = tmp_path_factory.mktemp("benchmark")
    write_dataset(folder / "city", 2, 0, 128, 256)
    (folder / "nothing.py").write_text(ORIGINAL, encoding="utf-8")
    return folder


def make_plan(folder: Path, *what: str, growth: Sequence[Size] = ()) -> Plan:
    """Return the plan of a benchmark of small networks."""
    data, original = folder / "city", folder / "nothing.py"
    return Plan(what, SIZE, rounds=2, dtype="fp32", data=data, original=original, growth=growth, width=2)


@pytest.fixture(scope="module")
def found(folder: Path) -> dict[str, Any]:
    """What a benchmark of all but training gives, with its growth."""
    growth = (Size(width=64, height=32), SIZE)
    return benchmark(make_plan(folder, "inference", "reading", "preparing", growth=growth))


@pytest.fixture(scope="module")
def trained(folder: Path) -> dict[str, Any]:
    """What a benchmark of training gives, without a rival."""
    return benchmark(replace(make_plan(folder, "training"), original=None))


def test_every_subject_is_measured_against_its_rivals(found: dict[str, Any], trained: dict[str, Any]) -> None:
    subjects = found["subjects"] + trained["subjects"]
    assert {subject["name"]: list(subject["times"]) for subject in subjects} == {
        "inference": ["hdtrans", "original"],
        "reading": ["hdtrans", "decoding alone", "original"],
        "reading, to 128x64": ["hdtrans", "decoding alone", "original"],
        "preparing, to 128x64": ["hdtrans", "decoding and encoding alone", "original"],
        "training": ["hdtrans"],
    }
    for subject in subjects:
        for spread in subject["faster_than"].values():
            assert 0 < spread["least"] <= spread["median"] <= spread["most"]
        assert all(took["seconds"] > 0 for took in subject["times"].values())
    reading = found["subjects"][1]["times"]["hdtrans"]
    assert reading["per_second"] == pytest.approx(2 / reading["seconds"]), "two files a call"


def test_each_process_tells_its_memory(found: dict[str, Any], trained: dict[str, Any]) -> None:
    ours, original = (found["subjects"][0]["times"][name]["process"] for name in ("hdtrans", "original"))
    training = trained["subjects"][0]["times"]["hdtrans"]["process"]
    assert min(ours, original, training) > 2**26
    assert found["subjects"][0]["times"]["original"]["memory"] == 2**27, "one tensor of 128 MiB"
    assert found["subjects"][1]["times"]["hdtrans"]["process"] == 0, "of several in one process nothing is told"


def test_the_original_takes_a_step_on_a_scene(folder: Path) -> None:
    maps = {name: np.zeros((4, 6), np.uint8) for name in ("label", "instance")}
    subject = OriginalSubject(make_plan(folder, "training"), "training", "cpu")
    subject.make({**maps, "photo": np.zeros((3, 4, 6), np.uint8)}, 1)()
    with pytest.raises(AssertionError):
        subject.make({**maps, "photo": np.zeros((3, 6, 4), np.uint8)}, 1)()


def test_time_is_shared_out_among_parts_and_kinds(found: dict[str, Any], trained: dict[str, Any]) -> None:
    inference, training = found["subjects"][0], trained["subjects"][0]
    for shares in (inference["by_part"], inference["by_kind"], training["by_part"], training["by_kind"]):
        assert sum(shares.values()) == pytest.approx(1)
    assert {"trunk 0", "trunk blocks", "head.segment"} <= inference["by_part"].keys()
    assert {"trunk", "scale0", "perceptual", "losses and backward", "optimizers"} <= training["by_part"].keys()
    assert {"convolutions", "convolutions, backward", "norms", "optimizer"} <= training["by_kind"].keys()


def test_the_estimate_of_a_dry_run_is_the_memory_of_a_step(trained: dict[str, Any]) -> None:
    memory = trained["subjects"][0]["dry_run"]
    assert memory["estimated"] == pytest.approx(memory["measured"], rel=0.15)


def test_the_table_and_the_page_tell_it(found: dict[str, Any], trained: dict[str, Any]) -> None:
    for figures in (found, trained):
        text, page = report_text(figures), report_page(json.loads(json.dumps(figures)))
        for subject in figures["subjects"]:
            assert subject["name"] in text and subject["name"] in page
        assert "of what a large convolution reaches" in text
        assert "operations are counted as the networks are written" in text
        assert page.count('<svg class="chart"') == (2 if figures is found else 0)


def test_growth_is_told_for_sizes_and_batches(found: dict[str, Any]) -> None:
    told = [(entry["size"], entry["batch"]) for entry in found["growth"]]
    assert told == [(size, batch) for size in ("64x32", "128x64") for batch in (1, 2, 4)]
    assert all(entry["seconds"] > 0 and entry["memory"] > 0 for entry in found["growth"])
    one, four = (entry["memory"] for entry in found["growth"] if entry["size"] == "128x64" and entry["batch"] != 2)
    assert four < 1.5 * one, "the memory of one picture, not of four"
    assert report_text(found).count("  128x64 ") == 3


@pytest.mark.slow
def test_training_grows_with_its_processes(folder: Path) -> None:
    plan = replace(make_plan(folder, "training", growth=(Size(width=64, height=32),)), size=Size(width=64, height=32))
    found = benchmark(plan)
    assert [(entry["name"], entry["batch"]) for entry in found["growth"]] == [("training", n) for n in (1, 2, 4)]
    (told,) = found["processes"]["sizes"]
    assert (told["size"], told["pixels"]) == ("64x32", 2048)
    speeds, share = told["per_second"], told["of_twice_one"]
    for each in (share, told["of_two_apart"]):
        assert 0 < each["least"] <= each["median"] <= each["most"] < 1.5
    assert speeds["2"] / (2 * speeds["1"]) == pytest.approx(share["median"], rel=0.5)
    assert 0 < told["of_twice_one_by_cpu_time"]["median"] < 1.5
    assert report_page(found).count('<svg class="chart"') == 4
    assert f"{speeds['2']:.3f}" in report_text(found)


def test_one_core_is_too_few_for_two_processes(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0}, raising=False)
    nothing: Any = None
    missing = growth.grow_processes(make_plan(folder, "training"), nothing, CPU)
    assert missing == {"missing": "takes 2 cores; there is 1"}
    assert report._processes_table(missing) == [["training with two processes", "takes 2 cores; there is 1"]]


def test_what_was_measured_stays_where_two_processes_take_too_much(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: Any) -> None:
        raise ProcessError("process 2 of 2: its process died")

    monkeypatch.setattr(run, "grow_processes", die)
    found = benchmark(make_plan(folder, "training", growth=(Size(width=64, height=32),)))
    assert found["subjects"] and len(found["growth"]) == 3
    assert "training with two processes  process 2 of 2: its process died" in report_text(found)
    assert report_page(found).count('<svg class="chart"') == 2


@pytest.mark.parametrize(
    ("size", "sizes"),
    [
        ((1024, 512), ["256x128", "512x256", "1024x512"]),
        ((600, 300), ["300x150", "600x300"]),
        ((256, 128), ["256x128"]),
        ((64, 64), ["64x64"]),
    ],
)
def test_sizes_grow_by_doubling(size: tuple[int, int], sizes: list[str]) -> None:
    assert [str(each) for each in sizes_up_to(Size(width=size[0], height=size[1]))] == sizes


def test_rivals_take_turns_and_the_machine_after_each() -> None:
    calls: list[str] = []

    def look() -> float:
        calls.append(".")
        return float(len(calls))

    took = take_turns({name: Here(lambda name=name: calls.append(name), CPU) for name in "ab"}, 3, look)  # type: ignore[misc]
    assert "".join(calls) == "ab" + 3 * "a.b.", "once to get warm, and in rounds"
    assert len(took["a"].seconds) == len(took["b"].cpu) == 3
    assert took["b"].machine == [6.0, 10.0, 14.0]


def test_the_share_of_the_ceiling_is_that_of_each_round() -> None:
    ours = Took(seconds=[2.0, 4.0, 2.0], machine=[90.0, 50.0, 200.0])
    other = Took(seconds=[9.0, 9.0, 9.0], machine=[100.0, 40.0, 10.0])
    shares = _shares_of_ceiling(100, {"hdtrans": ours, "original": other})
    assert shares == [0.5, 0.5, 0.25], "a slow machine slows down both, and the fastest look of a round counts"


def test_a_look_is_at_the_machine_as_it_is_now() -> None:
    ceilings = Ceilings(CPU)
    seen = [ceilings.look(torch.float32) for _ in range(3)]
    assert min(seen) > 0 and len(set(seen)) > 1
    assert ceilings.fastest_convolution(torch.float32) == max(seen)
    assert ceilings.fastest_copy() > 0


def fail(job: Job, monkeypatch: pytest.MonkeyPatch) -> tuple[Exception, list[bool]]:
    """Return what a parent raises where a job cannot be built, and whether freed memory was kept for it."""
    kept: list[bool] = []
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    monkeypatch.setattr(worker, "keep_freed_memory", lambda: kept.append(True))
    child = Child(job)
    child.process.kill()
    child.connection, theirs = multiprocessing.Pipe()
    worker.serve(theirs, job)
    with pytest.raises((UserError, ProcessError)) as caught:
        child.answer()
    child.end()
    return caught.value, kept


def test_a_failure_of_a_process_is_one_message(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "broken.py"
    file.write_text("class Translation:\n    def __init__(self, *_): raise OSError('no memory\\nat all')\n")
    plan = replace(make_plan(folder, "inference"), device="cpu", original=file)
    error, kept = fail(Job(plan, "inference", ORIGINAL_WAY), monkeypatch)
    assert isinstance(error, ProcessError)
    assert str(error) == "inference (original): failed with OSError: no memory"
    assert capfd.readouterr().err == "" and not kept


def test_what_the_user_gave_wrong_is_the_users(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = replace(make_plan(folder, "inference"), device="cpu", dtype="fp7")
    error, kept = fail(Job(plan, "inference", OURS), monkeypatch)
    assert isinstance(error, UserError) and "given: 'fp7'" in str(error)
    assert kept, "as our commands do"


def test_a_process_that_dies_is_not_waited_for(folder: Path) -> None:
    plan = replace(make_plan(folder, "inference"), device="cpu")
    children = [Child(Job(plan, "inference", ORIGINAL_WAY)), Child(Job(plan, "training", ORIGINAL_WAY))]
    try:
        os.kill(children[1].process.pid or 0, signal.SIGKILL)
        with pytest.raises(ProcessError, match=r"training \(original\): its process died \(exit code -9\)"):
            answers(children)
    finally:
        for child in children:
            child.end()


def test_times_and_memory_are_those_of_the_call() -> None:
    def much() -> None:
        for _ in range(3):
            torch.ones(2**20).sum()
        time.sleep(0.05)

    rivals = {"little": Here(lambda: time.sleep(0.01), CPU), "much": Here(much, CPU)}
    took = take_turns(rivals, 2)
    take_memory(rivals, took)
    assert all(ratio > 2 for ratio in ratios(took["much"], took["little"]))
    assert 4 * 2**20 <= took["much"].memory < 5 * 2**20, "one tensor at a time"
    assert took["little"].memory == 0


def test_the_original_has_the_networks_of_the_recipe() -> None:
    original: Any = load_original(None)
    with torch.device("meta"):
        for enhancers, name in enumerate(("pix2pixhd_cityscapes_512p", "pix2pixhd_cityscapes_1024p")):
            recipe = load_recipe(name)
            ours = method_module("pix2pixhd").build_networks(recipe.method, recipe.data)
            generator = [p for name in ours if not name.startswith("scale") for p in ours[name].parameters()]
            unused = 64 * 3 * 49 + 3 if enhancers else 0  # the head of the trunk
            theirs = list(original._generator(36, enhancers).parameters())
            assert _count(theirs) == _count(generator) - unused
            assert _shapes(original._discriminator(39)) == _shapes(ours["scale0"])


def test_a_wrong_subject_or_file_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_tool("benchmark", ["speed"]) == 2
    assert "there is no speed; there are inference, training, reading, preparing" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        run_tool("benchmark", ["--size", "512"])
    assert "give WIDTHxHEIGHT in pixels" in capsys.readouterr().err
    with pytest.raises(UserError, match="there is no such file"):
        load_original(tmp_path / "nothing.py")


def _count(parameters: list[nn.Parameter]) -> int:
    return sum(p.numel() for p in parameters)


def _shapes(module: nn.Module) -> list[torch.Size]:
    return [p.shape for p in module.parameters()]


def test_files_that_are_not_encoded_are_refused(folder: Path, tmp_path: Path) -> None:
    for part in ("label", "inst", "img"):
        (tmp_path / f"train_{part}").mkdir()
        np.save(tmp_path / f"train_{part}" / "a.npy", np.zeros((8, 8), np.uint8))
    with pytest.raises(UserError, match=r"a\.npy: is no encoded picture.*folder of PNG or JPEG"):
        benchmark(replace(make_plan(folder, "reading"), data=tmp_path))
