"""What networks know of pictures larger than memory: a stand-in for a tensor, of which a part is there at a time.

`forward` of a network takes it like a tensor. Networks say what they do and how far it reaches; what holds the parts
decides in which pieces it is done.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any, Protocol, TypeVar

from torch import Tensor

Finish = Callable[[Tensor, tuple[Tensor, Tensor] | None], Tensor]


class Parts(Protocol):
    """Features (B, C, H, W) or a map (B, H, W) that is never whole in memory."""

    @property
    def shape(self) -> tuple[int, ...]:
        """The last two are height and width."""

    def locally(self, function: Callable[..., Tensor], inputs: tuple[Any, ...], halo: int, scale: Fraction) -> Parts:
        """Return what `function` makes of inputs of one size: see `locally`. It is made when it is read."""

    def through(
        self, function: Callable[..., Tensor], halo: int, scale: Fraction, finish: Finish, gather: bool
    ) -> Parts:
        """Return what `function` makes, kept as it is, and finished when it is read.

        Args:
            function, halo, scale: as of `locally`.
            finish: takes what was made, with the mean and variance of the whole, each (B, C, 1, 1), or with None.
            gather: whether it needs these.
        """

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
    """Return what `function` makes of tensors, or of parts.

    Args:
        function: takes tensors of one height and width, and None for None.
        inputs: those, or parts in their place.
        halo: input pixels beyond its own that an output pixel depends on.
        scale: output size over input size.
    """
    parts: Any = next((x for x in inputs if x is not None and not isinstance(x, Tensor)), None)
    made: Any = function(*inputs) if parts is None else parts.locally(function, inputs, halo, scale)
    return made
