"""The benchmark on small networks: who takes turns, what is counted, and what is told."""

import json
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from hdtrans.benchmark.original import load_original
from hdtrans.benchmark.report import report_page, report_text
from hdtrans.benchmark.run import SUBJECTS, Plan, benchmark
from hdtrans.benchmark.timing import ratios, take_turns
from hdtrans.cli import run_tool
from hdtrans.common.errors import UserError
from hdtrans.config import Size, load_recipe, method_module
from hdtrans.data.toycity import write_dataset

CPU = torch.device("cpu")
ORIGINAL = """
import time

class Translation:
    def __init__(self, labels, enhancers, device): pass
    def __call__(self, label, instance): time.sleep(0.001)

class Training:
    def __init__(self, labels, enhancers, scales, device): pass
    def step(self, label, instance, photo): assert photo.shape == (*label.shape, 3)

def read(files, size): assert set(files) == {"label", "instance", "photo"}
def prepare(files, size, out): assert size == (128, 64) and out.is_dir()
"""


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a benchmark of small networks, and of an original that does nothing, gives."""
    folder = tmp_path_factory.mktemp("benchmark")
    write_dataset(folder / "city", 2, 0, 128, 256)
    (folder / "nothing.py").write_text(ORIGINAL, encoding="utf-8")
    size = Size(width=128, height=64)
    plan = Plan(SUBJECTS, size, rounds=2, data=folder / "city", original=folder / "nothing.py", growth=True, width=2)
    return benchmark(plan)


def test_every_subject_is_measured_against_its_rivals(found: dict[str, Any]) -> None:
    rivals = {subject["name"]: list(subject["times"]) for subject in found["subjects"]}
    assert rivals == {
        "inference": ["hdtrans", "original"],
        "training": ["hdtrans", "original"],
        "reading": ["hdtrans", "decoding alone", "original"],
        "reading, to 128x64": ["hdtrans", "decoding alone", "original"],
        "preparing, to 128x64": ["hdtrans", "decoding and encoding alone", "original"],
    }
    for subject in found["subjects"]:
        for spread in subject["faster_than"].values():
            assert 0 < spread["least"] <= spread["median"] <= spread["most"]
        assert all(took["seconds"] > 0 for took in subject["times"].values())
    reading = found["subjects"][2]["times"]["hdtrans"]
    assert reading["per_second"] == pytest.approx(2 / reading["seconds"]), "two files a call"


def test_time_is_shared_out_among_parts_and_kinds(found: dict[str, Any]) -> None:
    inference, training = found["subjects"][:2]
    for shares in (inference["by_part"], inference["by_kind"], training["by_part"], training["by_kind"]):
        assert sum(shares.values()) == pytest.approx(1)
    assert {"trunk 0", "trunk blocks", "head.segment"} <= inference["by_part"].keys()
    assert {"trunk", "scale0", "perceptual", "losses and backward", "optimizers"} <= training["by_part"].keys()
    assert {"convolutions", "convolutions, backward", "norms", "optimizer"} <= training["by_kind"].keys()


def test_the_estimate_of_a_dry_run_is_the_memory_of_a_step(found: dict[str, Any]) -> None:
    memory = found["subjects"][1]["dry_run"]
    assert memory["estimated"] == pytest.approx(memory["measured"], rel=0.15)


def test_the_table_and_the_page_tell_it(found: dict[str, Any]) -> None:
    text, page = report_text(found), report_page(json.loads(json.dumps(found)))
    for subject in found["subjects"]:
        assert subject["name"] in text and subject["name"] in page
    assert "of what a large convolution reaches" in text
    assert [entry["size"] for entry in found["growth"]] == 2 * ["32x16", "64x32", "128x64"]
    assert page.count('<svg class="chart"') == 2


def test_rivals_take_turns() -> None:
    calls: list[str] = []
    took = take_turns({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, 3, CPU)
    assert "".join(calls) == 5 * "ab", "once to get warm, in rounds, and for their memory"
    assert len(took["a"].seconds) == len(took["b"].cpu) == 3


def test_times_and_memory_are_those_of_the_call() -> None:
    def much() -> None:
        for _ in range(3):
            torch.ones(2**20).sum()
        time.sleep(0.05)

    took = take_turns({"little": lambda: time.sleep(0.01), "much": much}, 2, CPU)
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
