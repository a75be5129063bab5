"""The real command, killed at a random moment of every stage and started again, ends as if nothing had happened."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

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
    both = ["enhancer1", "scale0", "scale1"]
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
            {"name": "global", "size": "32x16", "output": "head", "train": ["trunk", "head", "scale0"], "epochs": 10},
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
    """Return the records without what the clock says."""
    return [{key: value for key, value in record.items() if key not in OF_THE_CLOCK} for record in records(run)]


def kill_at(file: Path, run: Path, images: int) -> dict[str, Any]:
    """Run the command until it has seen so many images, then kill it; return the last record it wrote."""
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
    """Run the command to its end; return what it said."""
    process = start(file)
    said = process.communicate(timeout=300)[1]
    assert process.returncode == 0, said
    return said


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
    assert "going on in stage joint" in finish(file) or "going on in stage enhancer after 120" in finish(file)
    whole = recipe(tmp_path, city, tmp_path / "whole")
    finish(whole)

    runs = [tmp_path / "killed", tmp_path / "whole"]
    assert losses(runs[0]) == losses(runs[1])
    assert len(losses(runs[0])) == 90
    files = [Checkpoints(run, 2).files() for run in runs]
    assert [file.name for file in files[0]] == [file.name for file in files[1]]
    for pair in zip(*files, strict=True):
        states = [checkpoint.load(file) for file in pair]
        for state in states:
            del state["recipe"]["name"], state["recipe"]["out"]
        assert fingerprint(states[0]) == fingerprint(states[1]), pair[0].name
    grids = [{grid.name: grid.read_bytes() for grid in (run / "samples").glob("*.png")} for run in runs]
    assert len(grids[0]) == 6
    assert grids[0] == grids[1]
    assert not list((runs[0] / "checkpoints").glob(".*.part")), "what a killed process left"
