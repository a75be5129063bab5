"""The comparison with the 2018 way on small networks: rivals in turns, growth, processes, text and page."""

import json
import multiprocessing
import os
import signal
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from benchmarks import comparison, growth, report, worker
from benchmarks.compare_with_original import main
from benchmarks.comparison import compare, shares_of_ceiling
from benchmarks.original import OriginalSubject, load_original
from benchmarks.plan import ORIGINAL as ORIGINAL_WAY
from benchmarks.plan import Comparison, Job, sizes_up_to
from benchmarks.processes import Child, answers
from benchmarks.report import report_page, report_text
from hdtrans.benchmark.plan import OURS
from hdtrans.benchmark.timing import Timings
from hdtrans.common.errors import ProcessError, UserError
from hdtrans.config.loading import load_recipe
from hdtrans.config.registry import method_module
from hdtrans.config.stage import Size
from hdtrans.toycity.scenes import write_dataset
from tests.shared_folder import filled_once

pytestmark = pytest.mark.usefixtures("in_fp32", "forked_children")
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
    """Return a folder with triples of 256x128, and a rival that does nothing."""
    folder = tmp_path_factory.mktemp("benchmark")
    write_dataset(folder / "city", 2, 0, 128, 256)
    (folder / "nothing.py").write_text(ORIGINAL, encoding="utf-8")
    return folder


def make_plan(folder: Path, *what: str, growth: Sequence[Size] = ()) -> Comparison:
    """Return the settings of a comparison with small networks."""
    data, original = folder / "city", folder / "nothing.py"
    return Comparison(what, SIZE, rounds=2, dtype="fp32", data=data, original=original, growth=growth, width=2)


@pytest.fixture(scope="module")
def found(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return the figures of all subjects but training, with growth."""
    plan = make_plan(folder, "inference", "reading", "preparing", growth=(Size(width=64, height=32), SIZE))
    return filled_once(tmp_path_factory, "compared", lambda _: compare(plan))[1]


@pytest.fixture(scope="module")
def trained(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return the figures of training."""
    return filled_once(tmp_path_factory, "compared_training", lambda _: compare(make_plan(folder, "training")))[1]


def test_every_subject_is_measured_against_its_rivals(found: dict[str, Any], trained: dict[str, Any]) -> None:
    subjects = found["subjects"] + trained["subjects"]
    assert {subject["name"]: list(subject["times"]) for subject in subjects} == {
        "inference": ["hdtrans", "original"],
        "reading": ["hdtrans", "decoding alone", "original"],
        "reading, to 128x64": ["hdtrans", "decoding alone", "original"],
        "preparing, to 128x64": ["hdtrans", "decoding and encoding alone", "original"],
        "training": ["hdtrans", "original"],
    }
    for subject in subjects:
        for spread in subject["faster_than"].values():
            assert 0 < spread["least"] <= spread["median"] <= spread["most"]
        assert all(took["seconds"] > 0 for took in subject["times"].values())
    reading = found["subjects"][1]["times"]["hdtrans"]
    assert reading["per_second"] == pytest.approx(2 / reading["seconds"]), "two files a call"


def test_each_process_reports_its_memory(found: dict[str, Any], trained: dict[str, Any]) -> None:
    ours, original = (found["subjects"][0]["times"][name]["process"] for name in ("hdtrans", "original"))
    training = trained["subjects"][0]["times"]["hdtrans"]["process"]
    assert min(ours, original, training) > 2**26
    assert found["subjects"][0]["times"]["original"]["memory"] == 2**27, "one tensor of 128 MiB"
    assert found["subjects"][1]["times"]["hdtrans"]["process"] == 0, "several calls share one process"


def test_the_original_takes_a_step_on_a_scene(folder: Path) -> None:
    maps = {name: np.zeros((4, 6), np.uint8) for name in ("label", "instance")}
    subject = OriginalSubject(make_plan(folder, "training"), "training", "cpu")
    subject.make({**maps, "photo": np.zeros((3, 4, 6), np.uint8)}, 1)()
    with pytest.raises(AssertionError):
        subject.make({**maps, "photo": np.zeros((3, 6, 4), np.uint8)}, 1)()


def test_time_is_divided_among_parts_and_kinds(found: dict[str, Any], trained: dict[str, Any]) -> None:
    inference, training = found["subjects"][0], trained["subjects"][0]
    for shares in (inference["by_part"], inference["by_kind"], training["by_part"], training["by_kind"]):
        assert sum(shares.values()) == pytest.approx(1)
    assert {"trunk 0", "trunk blocks", "head.segment"} <= inference["by_part"].keys()
    assert {"trunk", "discriminator0", "perceptual", "losses and backward", "optimizers"} <= training["by_part"].keys()
    assert {"convolutions", "convolutions, backward", "norms", "optimizer"} <= training["by_kind"].keys()


def test_the_estimate_of_a_dry_run_is_the_memory_of_a_step(trained: dict[str, Any]) -> None:
    memory = trained["subjects"][0]["dry_run"]
    assert memory["estimated"] == pytest.approx(memory["measured"], rel=0.15)


def test_text_and_page_name_every_subject(found: dict[str, Any], trained: dict[str, Any]) -> None:
    for figures in (found, trained):
        text, page = report_text(figures), report_page(json.loads(json.dumps(figures)))
        for subject in figures["subjects"]:
            assert subject["name"] in text and subject["name"] in page
        assert "of what a large convolution reaches" in text
        assert "operations are counted as the networks are written" in text
        assert page.count('<svg class="chart"') == (2 if figures is found else 0)


def test_growth_is_measured_for_sizes_and_batches(found: dict[str, Any]) -> None:
    measured = [(entry["size"], entry["batch"]) for entry in found["growth"]]
    assert measured == [(size, batch) for size in ("64x32", "128x64") for batch in (1, 2, 4)]
    assert all(entry["seconds"] > 0 and entry["memory"] > 0 for entry in found["growth"])
    one, four = (entry["memory"] for entry in found["growth"] if entry["size"] == "128x64" and entry["batch"] != 2)
    assert four < 1.5 * one, "the memory of one picture, not of four"
    assert report_text(found).count("  128x64 ") == 3


@pytest.mark.slow
def test_training_grows_with_its_processes(folder: Path) -> None:
    plan = replace(make_plan(folder, "training", growth=(Size(width=64, height=32),)), size=Size(width=64, height=32))
    found = compare(plan)
    assert [(entry["name"], entry["batch"]) for entry in found["growth"]] == [("training", n) for n in (1, 2, 4)]
    (entry,) = found["processes"]["sizes"]
    assert (entry["size"], entry["pixels"]) == ("64x32", 2048)
    speeds, share = entry["per_second"], entry["of_twice_one"]
    for each in (share, entry["of_two_apart"]):
        assert 0 < each["least"] <= each["median"] <= each["most"] < 1.5
    assert speeds["2"] / (2 * speeds["1"]) == pytest.approx(share["median"], rel=0.5)
    assert 0 < entry["of_twice_one_by_cpu_time"]["median"] < 1.5
    assert report_page(found).count('<svg class="chart"') == 4
    assert f"{speeds['2']:.3f}" in report_text(found)


def test_one_core_is_too_few_for_two_processes(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0}, raising=False)
    nothing: Any = None
    missing = growth.grow_processes(make_plan(folder, "training"), nothing, CPU)
    assert missing == {"missing": "takes 2 cores; there is 1"}
    assert report._processes_table(missing) == [["training with two processes", "takes 2 cores; there is 1"]]


def test_figures_stay_if_two_processes_take_too_much_memory(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def die(*_: Any) -> None:
        raise ProcessError("process 2 of 2: its process died")

    monkeypatch.setattr(comparison, "grow_processes", die)
    small = Size(width=64, height=32)
    found = compare(replace(make_plan(folder, "training", growth=(small,)), size=small))
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


def test_the_share_of_the_ceiling_is_that_of_each_round() -> None:
    ours = Timings(seconds=[2.0, 4.0, 2.0], ceiling=[90.0, 50.0, 200.0])
    other = Timings(seconds=[9.0, 9.0, 9.0], ceiling=[100.0, 40.0, 10.0])
    shares = shares_of_ceiling(100, {"hdtrans": ours, "original": other})
    assert shares == [0.5, 0.5, 0.25], "a slow machine slows down both, and the fastest probe of a round counts"


def fail(job: Job, monkeypatch: pytest.MonkeyPatch) -> tuple[Exception, list[bool]]:
    """Return the error that a parent raises for a job that cannot be built, and the calls of `keep_freed_memory`."""
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


def test_wrong_input_is_a_user_error(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_the_original_has_the_networks_of_the_recipe() -> None:
    original = load_original(None)
    with torch.device("meta"):
        for enhancers, name in enumerate(("pix2pixhd_cityscapes_512p", "pix2pixhd_cityscapes_1024p")):
            recipe = load_recipe(name)
            ours = method_module("pix2pixhd").build_networks(recipe.method, recipe.data)
            generator = [p for name in ours if not name.startswith("discriminator") for p in ours[name].parameters()]
            unused = 64 * 3 * 49 + 3 if enhancers else 0  # the head of the trunk
            theirs = list(original._generator(36, enhancers).parameters())
            assert _count(theirs) == _count(generator) - unused
            assert _shapes(original._discriminator(39)) == _shapes(ours["discriminator0"])


def test_a_wrong_subject_or_file_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["speed"]) == 2
    assert "speed: unknown subject; give one of inference, training, reading" in capsys.readouterr().err
    with pytest.raises(UserError, match="no such file"):
        load_original(tmp_path / "nothing.py")


def _count(parameters: list[nn.Parameter]) -> int:
    return sum(p.numel() for p in parameters)


def _shapes(module: nn.Module) -> list[torch.Size]:
    return [p.shape for p in module.parameters()]
