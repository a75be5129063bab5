"""The real command, killed at random in every stage and started again, ends as an undisturbed run."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from hdtrans.engine import checkpoint
from hdtrans.engine.checkpoint import Checkpoints
from tests.engine.runs import fingerprint
from tests.small_runs import small_recipe, toy_data, write_recipe

TOOL = Path(__file__).resolve().parents[2] / "tools" / "train.py"
STAGE_IMAGES = {"global": (0, 60), "enhancer": (60, 120), "joint": (120, 180)}
OF_THE_CLOCK = {"seconds", "images_per_second", "data_waiting"}


def recipe(folder: Path, city: Path, out: Path) -> Path:
    """Write a recipe of three stages on six images and return its file."""
    both = ["enhancer1", "discriminator0", "discriminator1"]
    values = small_recipe(
        city,
        out,
        method={
            "kind": "pix2pixhd",
            "condition": {"boundary": "instance"},
            "generator": {"width": 8, "downsamples": 2, "blocks": 1, "enhancers": 1, "enhancer_blocks": 1},
            "discriminator": {"width": 8, "layers": 2, "scales": 2},
            "perceptual": {"kind": "none"},
        },
        training={
            "workers": 1,
            "device": "cpu",
            "ema": {"half_life": 30},
            "log_every": 1,
            "save_every": 14,
            "sample_every": 30,
            "sample_count": 2,
        },
        stages=[
            {
                "name": "global",
                "size": "32x16",
                "output": "head",
                "train": ["trunk", "head", "discriminator0"],
                "epochs": 10,
            },
            {"name": "enhancer", "size": "64x32", "train": both, "epochs": 10},
            {"name": "joint", "size": "64x32", "train": ["trunk", *both], "epochs": 5, "decay_epochs": 5},
        ],
    )
    for stage in values["stages"]:
        stage["batch_size"] = 2
    return write_recipe(folder / f"{out.name}.yaml", values)


def start(file: Path) -> "subprocess.Popen[str]":
    """Start the command."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    return subprocess.Popen(
        [sys.executable, str(TOOL), str(file)], env=environment, stderr=subprocess.PIPE, text=True, process_group=0
    )


def records(run: Path) -> list[dict[str, Any]]:
    """Return the whole lines of metrics.jsonl."""
    file = run / "metrics.jsonl"
    lines = file.read_text().split("\n")[:-1] if file.exists() else []
    return [json.loads(line) for line in lines]


def losses(run: Path) -> list[dict[str, Any]]:
    """Return the records without their times."""
    return [{key: value for key, value in record.items() if key not in OF_THE_CLOCK} for record in records(run)]


def kill_at(file: Path, run: Path, images: int) -> dict[str, Any]:
    """Run the command until it has seen these images, then kill it; return the last record it wrote."""
    process = start(file)
    deadline = time.monotonic() + 120
    while not any(record["images"] >= images for record in records(run)):
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    process.communicate()
    return records(run)[-1]


def finish(file: Path) -> str:
    """Run the command to its end; return its messages."""
    process = start(file)
    messages = process.communicate(timeout=300)[1]
    assert process.returncode == 0, messages
    return messages


@pytest.mark.slow
def test_a_killed_run_ends_as_one_that_was_not(tmp_path: Path) -> None:
    city = toy_data(tmp_path / "city", 6, 2)
    file = recipe(tmp_path, city, tmp_path / "killed")
    seed = random.randrange(2**32)
    print(f"moments drawn from seed {seed}")
    moments = random.Random(seed)
    for stage, (first, last) in STAGE_IMAGES.items():
        record = kill_at(file, tmp_path / "killed", moments.randrange(first + 2, last - 10))
        assert record["stage"] == stage, "the run was faster than this test"
    messages = finish(file)
    assert "going on in stage joint" in messages or "going on in stage enhancer after 120" in messages
    whole = recipe(tmp_path, city, tmp_path / "whole")
    finish(whole)

    hold_equal([tmp_path / "killed", tmp_path / "whole"], steps=90, grids=6)


PICTURES = {
    "pix2pix": {"kind": "resnet", "width": 8, "downsamples": 1, "blocks": 2},  # with dropout and batch norm
    "cyclegan": {"width": 8, "downsamples": 1, "blocks": 2},
}


@pytest.mark.slow
@pytest.mark.parametrize("method", PICTURES)
def test_a_killed_run_of_pictures_ends_as_one_that_was_not(method: str, tmp_path: Path) -> None:
    noise = np.random.default_rng(0)
    for folder, count in (("trainA", 5), ("trainB", 5), ("testA", 1), ("testB", 1)):
        (tmp_path / "data" / folder).mkdir(parents=True)
        for k in range(count):
            picture = noise.integers(0, 256, (24, 32, 3), dtype=np.uint8)
            assert cv2.imwrite(str(tmp_path / "data" / folder / f"{k}.png"), picture)
    files = []
    for name in ("killed", "whole"):
        values = small_recipe(
            tmp_path,
            tmp_path / name,
            data={"kind": "unpaired" if method == "cyclegan" else "picture_pairs", "root": str(tmp_path / "data")},
            method={"kind": method, "generator": PICTURES[method], "discriminator": {"width": 8, "layers": 2}},
            stages=[{"size": "24x16", "geometry": "crop", "epochs": 24, "batch_size": 2}],
        )
        values["training"] |= {"workers": 1, "log_every": 1, "save_every": 14, "sample_every": 60}
        files.append(write_recipe(tmp_path / f"{name}.yaml", values))
    for images in (20, 70):
        assert kill_at(files[0], tmp_path / "killed", images)["images"] < 120, "the run was faster than this test"
    finish(files[0])
    finish(files[1])
    hold_equal([tmp_path / "killed", tmp_path / "whole"], steps=60, grids=2)


def hold_equal(runs: list[Path], steps: int, grids: int) -> None:
    """Assert that two runs have equal losses, checkpoints and sample grids."""
    assert losses(runs[0]) == losses(runs[1])
    assert len(losses(runs[0])) == steps
    files = [Checkpoints(run, 2).files() for run in runs]
    assert [file.name for file in files[0]] == [file.name for file in files[1]]
    for pair in zip(*files, strict=True):
        states = [checkpoint.load(file) for file in pair]
        for state in states:
            del state["recipe"]["name"], state["recipe"]["out"]
        assert fingerprint(states[0]) == fingerprint(states[1]), pair[0].name
    shown = [{grid.name: grid.read_bytes() for grid in (run / "samples").glob("*.png")} for run in runs]
    assert len(shown[0]) == grids
    assert shown[0] == shown[1]
    assert not list((runs[0] / "checkpoints").glob(".*.part")), "what a killed process left"
