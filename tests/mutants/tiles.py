"""Broken twins of tiled translation."""

from fractions import Fraction
from typing import Any

import pytest
from torch import Tensor

from hdtrans.inference import tiles
from hdtrans.inference.memory import Memory


def without_halo(patch: pytest.MonkeyPatch) -> None:
    """Compute tiles without the pixels around them."""
    prepare = tiles._Made.__init__

    def narrow(self: Any, memory: Memory, function: Any, inputs: Any, halo: int, scale: Fraction) -> None:
        prepare(self, memory, function, inputs, 0, scale)

    patch.setattr(tiles._Made, "__init__", narrow)


def by_the_last_tile(patch: pytest.MonkeyPatch) -> None:
    """Normalise by the statistics of the last tile alone."""
    add = tiles._Moments.add

    def forgetful(self: Any, x: Tensor) -> None:
        self.count = 0
        add(self, x)

    patch.setattr(tiles._Moments, "add", forgetful)
