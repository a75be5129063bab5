"""Lazy feature maps for tiled inference: a stand-in for a tensor, of which one window is in memory at a time.

`forward` of a network takes it like a tensor. Networks say what they compute and how far it reaches; the holder of the
parts decides in which pieces.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any, Protocol, TypeVar

from torch import Tensor

Finish = Callable[..., Tensor]  # (x, mean and variance or None, *beside) -> Tensor


class Parts(Protocol):
    """Features (B, C, H, W) or a map (B, H, W) that is never whole in memory."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes, of which the last two are height and width."""

    def locally(self, function: Callable[..., Tensor], inputs: tuple[Any, ...], halo: int, scale: Fraction) -> Parts:
        """Return `function` of inputs of one size, computed when it is read; see `locally`."""

    def kept(self, function: Callable[..., Tensor], halo: int, scale: Fraction, gather: bool) -> Parts:
        """Return `function` of this, computed now, window by window, and kept.

        Args:
            function, halo, scale: as in `locally`.
            gather: take mean and variance of the whole on the way, which `finished` will want.
        """

    def finished(self, finish: Finish, *beside: Parts, gather: bool) -> Parts:
        """Return `finish` of this, computed when it is read: a norm, an activation, a modulation.

        Args:
            finish: takes a window of this, mean and variance of the whole, each (B, C, 1, 1), or None, and the same
                window of each of `beside`.
            beside: parts of the same height and width.
            gather: true where `finish` takes mean and variance.
        """

    def through(
        self, function: Callable[..., Tensor], halo: int, scale: Fraction, finish: Finish, gather: bool
    ) -> Parts:
        """Return `kept(function, ...)`, `finished(finish)`."""

    def added(self, other: Parts, gather: bool = False) -> Parts:
        """Return the sum, kept; `gather` as in `kept`."""

    def resized(self, height: int, width: int) -> Parts:
        """Return the same, cut below and to the right, or longer by repeating the last row and column."""

    def places(self) -> Parts:
        """Return the number of each pixel in reading order, (1, 1, H, W) int64."""

    def __add__(self, other: Parts) -> Parts:
        """Return the sum, kept."""


Features = TypeVar("Features", Tensor, Parts)


def locally(
    function: Callable[..., Tensor], *inputs: Features | None, halo: int = 0, scale: Fraction = Fraction(1)
) -> Features:
    """Return `function` of tensors, or of parts.

    Args:
        function: takes tensors of one height and width, and None for None.
        inputs: those, or parts in their place.
        halo: input pixels beyond its own that an output pixel depends on.
        scale: output size over input size.
    """
    parts: Any = next((x for x in inputs if x is not None and not isinstance(x, Tensor)), None)
    made: Any = function(*inputs) if parts is None else parts.locally(function, inputs, halo, scale)
    return made


def kept(
    function: Callable[..., Tensor],
    x: Features,
    halo: int = 0,
    scale: Fraction = Fraction(1),
    gather: bool = False,
) -> Features:
    """Return `function` of a tensor, or of parts, computed once and kept; see `Parts.kept`."""
    return function(x) if isinstance(x, Tensor) else x.kept(function, halo, scale, gather)


def added(x: Features, y: Features, gather: bool = False) -> Features:
    """Return the sum; of parts kept, with mean and variance where a norm follows (`gather`)."""
    return x + y if isinstance(x, Tensor) else x.added(y, gather)
