"""Start of a command: modules that it must not import, and its time in seconds of a core."""

import resource
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np

from tests.small_runs import made_checkpoint

HELP = """
import sys
from hdtrans.cli import main
assert main(["--help"]) == 0
sys.exit(", ".join({"torch", "numpy", "cv2", "pydantic", "yaml"} & sys.modules.keys()) or 0)
"""
INFER = """
import sys
from hdtrans.cli import main
assert main(["infer", *sys.argv[1:]]) == 0
unwanted = {"torchvision", "scipy", "torch._inductor", "torch.distributed.fsdp", "hdtrans.engine.trainer"}
sys.exit(", ".join(unwanted & sys.modules.keys()) or 0)
"""


def seconds(script: str, *arguments: object) -> float:
    """Run a script and return the time of all cores that it took."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-c", script, *map(str, arguments)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def test_help_is_there_at_once() -> None:
    assert seconds(HELP) < 0.1


def test_infer_of_one_small_picture(tmp_path: Path) -> None:
    method = {"kind": "pix2pixhd", "generator": {"width": 4, "downsamples": 1, "blocks": 1}}
    model = made_checkpoint(tmp_path / "m.pt", {"kind": "label_maps", "root": ".", "labels": 3}, method)
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((32, 48), np.uint8))
    assert seconds(INFER, model, "--input", tmp_path / "a.png", "--out", tmp_path / "out", "--device", "cpu") < 6
