"""Shared memory: killed workers leave nothing in /dev/shm, and a container with hardly any of it trains."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.bars import Figure
from tests.faults.jobs import ROOT, mutant
from tests.mutants import as_code
from tests.mutants.leaking import share_memory_as_torch_does
from tests.small_runs import small_recipe, toy_data, write_recipe

pytestmark = pytest.mark.faults


@pytest.mark.skipif(not shutil.which("strace"), reason="needs strace (apt-get install strace)")
@pytest.mark.bar("B8.2", "descriptors and processes stay the same; after kill -9 nothing is left in /dev/shm")
@pytest.mark.parametrize("change", [None, share_memory_as_torch_does], ids=["ours", "mutant"])
def test_batches_never_have_a_name(change: Callable[[], None] | None, tmp_path: Path, figure: Figure) -> None:
    """Memory without a name cannot be left behind, whenever the process is killed."""
    tool = mutant(tmp_path / "root", change) / "tools" / "train.py"
    trace = tmp_path / "trace"
    values = small_recipe(toy_data(tmp_path / "city", 2, 0), tmp_path / "run")
    values["stages"] = [{"size": "64x32", "epochs": 4, "batch_size": 2}]
    values["training"]["workers"] = 2
    recipe = write_recipe(tmp_path / "r.yaml", values)
    command = ["strace", "-f", "-o", str(trace), "-e", "trace=openat", sys.executable, str(tool)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run([*command, str(recipe)], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    made = len(set(re.findall(r'"/dev/shm/(torch_[^"]+)", [^)]*O_CREAT', trace.read_text())))
    figure(f"{'mutant, torch alone' if change else 'ours'}: {made} files made in /dev/shm")
    assert made == 0 if not change else made > 0


LOADER = """
import torch
from torch.utils.data import Dataset
from hdtrans.data.batch import Sample
from hdtrans.data.dataset import make_loader

class Large(Dataset):
    def __getitem__(self, counter):
        return Sample(str(counter), counter, photo=torch.full((3, 1024, 2048), counter, dtype=torch.int32))

for number, batch in enumerate(make_loader(Large(), [[n] for n in range(12)], workers=2, pin_memory=False, timeout=15)):
    assert int(batch["photo"].float().mean()) == number
"""


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("unshare"), reason="needs root and unshare, to mount")
@pytest.mark.bar("B8.4", "/dev/shm of 64 MB, as docker gives: more than that is on its way, never a bus error")
@pytest.mark.parametrize("change", [None, share_memory_as_torch_does], ids=["ours", "mutant"])
def test_small_shared_memory(change: Callable[[], None] | None, tmp_path: Path, figure: Figure) -> None:
    """Two workers read two batches of 25 MB each ahead."""
    script = tmp_path / "script.py"
    script.write_text((as_code(change) if change else "") + LOADER)
    within = f"mount -t tmpfs -o size=64m x /dev/shm; exec {sys.executable} {script}"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": ""}
    command = ["unshare", "-m", "sh", "-c", within]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    figure(f"{'mutant, torch alone' if change else '12 batches of 25 MB'}: exit {done.returncode}")
    assert (done.returncode == 0) == (not change), done.stderr[-3000:]
    assert not change or "bus error" in done.stderr.lower() or "No space left" in done.stderr, done.stderr[-3000:]
