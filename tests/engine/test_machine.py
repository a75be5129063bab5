"""A run that goes on with other threads, instructions or another device says so."""

from pathlib import Path

import pytest
import torch

from hdtrans.engine import checkpoint
from hdtrans.engine.machine import machine_change, this_machine
from tests.small_runs import small_recipe, toy_data, train_values

CPU = torch.device("cpu")
OLD = {"device": "cpu", "threads": 2, "instructions": "AVX512"}


@pytest.mark.parametrize(
    ("now", "words"),
    [
        ({}, ""),
        ({"threads": 4}, "CPU threads 2, now 4"),
        ({"instructions": "AVX2"}, "CPU instructions AVX512, now AVX2"),
        ({"device": "NVIDIA H200"}, "device cpu, now NVIDIA H200"),
        ({"threads": 1, "instructions": "AVX2"}, "CPU threads 2, now 1; CPU instructions AVX512, now AVX2"),
    ],
)
def test_changes(now: dict[str, object], words: str) -> None:
    assert machine_change(OLD, {**OLD, **now}).endswith(words)
    assert bool(machine_change(OLD, {**OLD, **now})) is bool(words)


def test_threads_decide_nothing_on_a_gpu() -> None:
    gpu = {**OLD, "device": "NVIDIA H200"}
    assert machine_change(gpu, {**gpu, "threads": 9}) == ""
    assert machine_change(None, gpu) == ""  # a checkpoint of an older version


def test_a_run_tells_its_threads(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    values = small_recipe(toy_data(tmp_path / "city"), tmp_path / "run")
    train_values(values)
    file = next((tmp_path / "run/checkpoints").glob("*.pt"))
    assert checkpoint.load(file)["machine"] == this_machine(CPU)
    capsys.readouterr()
    before = torch.get_num_threads()
    torch.set_num_threads(before + 1)
    try:
        train_values(values | {"stages": [{"size": "64x32", "epochs": 2}]})
    finally:
        torch.set_num_threads(before)
    assert f"CPU threads {before}, now {before + 1}" in capsys.readouterr().err
