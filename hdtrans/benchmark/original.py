"""The way of the original programs, which lies outside the package."""

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np

from hdtrans.benchmark.plan import LABELS, Plan
from hdtrans.common.errors import UserError

_BESIDE = "tools/original_way.py"


def load_original(file: Path | None) -> Any | None:
    """Return the module of a file, or of the checkout's own; None where hdtrans is no checkout.

    Raises:
        UserError: the file given is not there.
    """
    own = Path(__file__).resolve().parents[2] / _BESIDE
    if file is None and not own.is_file():
        return None
    file = file or own
    if not file.is_file():
        raise UserError(f"--original {file}: there is no such file; a checkout of hdtrans has {_BESIDE}")
    spec = importlib.util.spec_from_file_location("original_way", file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class OriginalSubject:
    """What the original's way computes while it is measured, one picture at a time.

    Args:
        plan: of the benchmark.
        what: `inference` or `training`.
        device: to compute on.
    """

    parts, optimizers, fixed = (), (), ()

    def __init__(self, plan: Plan, what: str, device: str) -> None:
        module: Any = load_original(plan.original)
        self.what = what
        if what == "inference":
            self.original = module.Translation(LABELS, plan.enhancers, device)
        else:
            scales = plan.recipe.method.discriminator.scales  # type: ignore[attr-defined]
            self.original = module.Training(LABELS, plan.enhancers, scales, device)

    def make(self, scene: Any, batch: int) -> Any:
        """Return what translates a scene, or takes a step on it."""
        assert batch == 1, "the original's way takes one picture"
        label, instance = scene["label"], scene["instance"]
        if self.what == "inference":
            return lambda: self.original(label, instance)
        photo = np.ascontiguousarray(scene["photo"].transpose(1, 2, 0))
        return lambda: self.original.step(label, instance, photo)

    def facts(self) -> dict[str, Any]:
        """Return nothing: operations are counted for ours."""
        return {}
