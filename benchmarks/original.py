"""The 2018 way as a subject of the comparison; the file that holds it can be replaced."""

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.plan import Comparison
from hdtrans.benchmark.plan import LABELS
from hdtrans.common.errors import UserError, shown

_OWN = Path(__file__).with_name("original_way.py")


def load_original(file: Path | None) -> Any:
    """Run a Python file and return its module; None stands for `original_way.py`.

    Raises:
        UserError: no such file.
    """
    file = file or _OWN
    if not file.is_file():
        raise UserError(f"--original {shown(file)}: no such file; leave the option out for benchmarks/{_OWN.name}")
    spec = importlib.util.spec_from_file_location("original_way", file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class OriginalSubject:
    """Inference or training step in the 2018 way, one picture at a time.

    Args:
        plan: settings of the comparison.
        what: `inference` or `training`.
        device: device to compute on.
    """

    def __init__(self, plan: Comparison, what: str, device: str) -> None:
        module = load_original(plan.original)
        self.what = what
        if what == "inference":
            self.original = module.Translation(LABELS, plan.enhancers, device)
        else:
            scales = plan.recipe.method.discriminator.scales  # type: ignore[attr-defined]
            self.original = module.Training(LABELS, plan.enhancers, scales, device)

    def make(self, scene: Any, batch: int) -> Any:
        """Return a call that translates a scene, or takes a step on it; `batch` is 1."""
        assert batch == 1, "the 2018 way takes one picture"
        label, instance = scene["label"], scene["instance"]
        if self.what == "inference":
            return lambda: self.original(label, instance)
        photo = np.ascontiguousarray(scene["photo"].transpose(1, 2, 0))  # (3, H, W) -> (H, W, 3)
        return lambda: self.original.step(label, instance, photo)
