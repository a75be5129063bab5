"""Tiled inference for images larger than memory: block by block, and each block tile by tile.

The networks' own `forward` runs on `Parts` in place of tensors, to the same numbers. A block's convolution runs tile
after tile, each with its halo. The result is kept whole in memory or in a file, with mean and variance; the next block
normalises on reading. So no convolution is computed twice, and a tile is padded only at the edge of the image.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from hdtrans.inference.memory import Memory

Span = tuple[int, int]  # first, and one behind the last
Window = tuple[Span, Span]  # rows and columns
Pixels = tuple[slice, slice]
Array = npt.NDArray[Any]
Function = Callable[..., Tensor]
Finish = Callable[..., Tensor]
SIDE = 32  # side of the smallest tile, in pixels at the coarser end of a block: smaller ones are mostly halo


class Parts:
    """Lazy feature maps (B, C, H, W), or maps (B, H, W), read window by window; see `hdtrans.networks.parts.Parts`.

    Args:
        memory: memory limit.
        shape: (B, H, W).
        bytes_read: bytes that it takes to read one pixel.
    """

    def __init__(self, memory: Memory, shape: tuple[int, int, int], bytes_read: float) -> None:
        self.memory = memory
        self.shape = shape
        self.bytes_read = bytes_read

    def read(self, window: Window) -> Tensor:
        """Return a window (B, ..., h, w) on the device, a copy."""
        raise NotImplementedError

    def locally(self, function: Function, inputs: tuple[Any, ...], halo: int, scale: Fraction) -> Parts:
        return _Made(self.memory, function, inputs, halo, scale)

    def kept(self, function: Function, halo: int, scale: Fraction, gather: bool) -> Parts:
        return _Kept(self.memory, _Made(self.memory, function, (self,), halo, scale), gather)

    def finished(self, finish: Finish, *beside: Parts, gather: bool) -> Parts:
        return _Finished(self, finish, beside, gather)

    def through(self, function: Function, halo: int, scale: Fraction, finish: Finish, gather: bool) -> Parts:
        return self.kept(function, halo, scale, gather).finished(finish, gather=gather)

    def added(self, other: Parts, gather: bool = False) -> Parts:
        return _Kept(self.memory, _Made(self.memory, torch.add, (self, other), 0, Fraction(1)), gather)

    def statistics(self) -> tuple[Tensor, Tensor]:
        """Return mean and variance, each (B, C, 1, 1); parts that gathered none are read once more."""
        moments, x = _Moments(), None
        for window in self.windows(self.memory.tile / (2 * self.bytes_read)):
            moments.add(x := self.read(window))
        assert x is not None
        return moments.statistics(x.dtype)

    def resized(self, height: int, width: int) -> Parts:
        return _Resized(self, height, width)

    def places(self) -> Parts:
        return _Places(self.memory, self.shape, 24)

    def __add__(self, other: Parts) -> Parts:
        return self.added(other)

    def windows(self, pixels: float, unit: int = 1) -> Iterator[Window]:
        """Yield windows that cover all pixels, about `pixels` each, with edges at multiples of `unit`."""
        height, width = self.shape[1:]
        side = max(SIDE, unit, math.isqrt(int(pixels)) // unit * unit)
        columns = _even(width, side, unit)
        rows = _even(height, max(side, int(pixels) // columns // unit * unit), unit)
        for top in range(0, height, rows):
            for left in range(0, width, columns):
                yield (top, min(top + rows, height)), (left, min(left + columns, width))


def whole(memory: Memory, tensor: Tensor) -> Parts:
    """Return a tensor in memory as parts: maps (B, H, W), or pictures (B, C, H, W)."""
    return _Whole(memory, tensor)


def translate(
    module: nn.Module,
    inputs: Mapping[str, Tensor],
    spatial: Collection[str],
    memory: Memory,
    finish: Callable[[Tensor, Pixels], Array],
) -> Array:
    """Return the picture that a method's translator makes, assembled from tiles.

    Args:
        module: translator of a method; takes `inputs` by name.
        inputs: batch of one, on the CPU: maps (1, H, W), pictures (1, C, H, W), vectors (1, N), points (1, N, 2), ...
        spatial: names of the inputs that have pixels.
        memory: memory limit, and the device of the module.
        finish: function from a tile, (C, h, w) in [-1, 1], with its rows and columns, to (h, w) or (h, w, C) of the
            result.
    """
    parts: Parts = module(
        **{name: whole(memory, x) if name in spatial else x.to(memory.device) for name, x in inputs.items()}
    )
    result: Array | None = None
    for window in parts.windows(memory.tile / (8 * parts.bytes_read)):
        pixels = slice(*window[0]), slice(*window[1])
        tile = finish(parts.read(window)[0], pixels)
        if result is None:
            result = np.empty((*parts.shape[1:], *tile.shape[2:]), tile.dtype)
        result[pixels] = tile
    assert result is not None
    return result


def _even(length: int, side: int, unit: int) -> int:
    """Return the side of equal tiles, a multiple of `unit` and at most `side`."""
    return math.ceil(length / math.ceil(length / side) / unit) * unit


class _Whole(Parts):
    def __init__(self, memory: Memory, tensor: Tensor) -> None:
        pixel = tensor[..., 0, 0].numel() // len(tensor) * tensor.itemsize
        super().__init__(memory, (len(tensor), tensor.shape[-2], tensor.shape[-1]), pixel)
        self.tensor = tensor

    def read(self, window: Window) -> Tensor:
        rows, columns = (slice(*span) for span in window)
        return self.tensor[..., rows, columns].to(self.memory.device, copy=True)


class _Places(Parts):
    def read(self, window: Window) -> Tensor:
        rows, columns = (torch.arange(*span, device=self.memory.device) for span in window)
        return (rows[:, None] * self.shape[2] + columns)[None, None]


class _Resized(Parts):
    """Parts cropped, or extended by repeating the last row and column."""

    def __init__(self, source: Parts, height: int, width: int) -> None:
        super().__init__(source.memory, (source.shape[0], height, width), 2 * source.bytes_read)
        self.source = source

    def read(self, window: Window) -> Tensor:
        there = [
            (min(span[0], length - 1), min(span[1], length))
            for span, length in zip(window, self.source.shape[1:], strict=True)
        ]
        x = self.source.read((there[0], there[1]))
        for dim, span, inner in zip((-2, -1), window, there, strict=True):
            if span != inner:
                x = x.index_select(dim, torch.arange(*span, device=x.device).clamp_(max=inner[1] - 1) - inner[0])
        return x


class _Made(Parts):
    """A function of other parts, computed when it is read."""

    def __init__(self, memory: Memory, function: Function, inputs: tuple[Any, ...], halo: int, scale: Fraction) -> None:
        given = [x for x in inputs if x is not None]
        batch, height, width = next((x for x in given if not isinstance(x, _Places)), given[0]).shape
        self.function, self.inputs, self.scale = function, inputs, scale
        self.halo = -(-halo // scale.denominator)  # in units of `scale.denominator` pixels in, `scale.numerator` out
        self.units = height // scale.denominator, width // scale.denominator
        shape = (batch, self.units[0] * scale.numerator, self.units[1] * scale.numerator)
        super().__init__(memory, shape, 0.0)
        corner = self.read(((0, min(shape[1], 8)), (0, min(shape[2], 8))))
        self.dtype = corner.dtype
        self.channels = corner.shape[1]
        self.bytes_made = corner[:, :, 0, 0].numel() * corner.itemsize
        self.bytes_read = self.bytes_made + sum(x.bytes_read for x in given) / float(scale) ** 2

    def read(self, window: Window) -> Tensor:
        scale, spans, inner = self.scale, [], []
        for (start, end), units in zip(window, self.units, strict=True):
            first = max(0, start // scale.numerator - self.halo)
            last = min(units, -(-end // scale.numerator) + self.halo)
            spans.append((first * scale.denominator, last * scale.denominator))
            inner.append(slice(start - first * scale.numerator, end - first * scale.numerator))
        made = self.function(*(None if x is None else x.read((spans[0], spans[1])) for x in self.inputs))
        return made[..., inner[0], inner[1]]


class _Kept(Parts):
    """A function of other parts, computed tile by tile and kept whole."""

    def __init__(self, memory: Memory, made: _Made, gather: bool = False) -> None:
        # Reading takes a copy on the host and one on the device; a norm takes as much again.
        super().__init__(memory, made.shape, 3.0 * made.bytes_made)
        moments = _Moments() if gather else None
        self.store = memory.keep((made.shape[0], made.channels, *made.shape[1:]), made.dtype)
        # A convolution takes its input, its output and about as much again as workspace.
        for window in made.windows(memory.tile / (2 * made.bytes_read + 2 * made.bytes_made), made.scale.numerator):
            x = made.read(window)
            self.store.write(window, x)
            if moments is not None:
                moments.add(x)
        self._statistics = None if moments is None else moments.statistics(made.dtype)

    def statistics(self) -> tuple[Tensor, Tensor]:
        if self._statistics is None:
            self._statistics = super().statistics()
        return self._statistics

    def read(self, window: Window) -> Tensor:
        return self.store.read(window).to(self.memory.device)


class _Finished(Parts):
    """A pointwise function of parts, of their statistics and of other parts at the same window, computed on reading."""

    def __init__(self, source: Parts, finish: Finish, beside: tuple[Parts, ...], gather: bool) -> None:
        super().__init__(source.memory, source.shape, source.bytes_read + sum(x.bytes_read for x in beside))
        self.source, self.finish, self.beside = source, finish, beside
        self._given = source.statistics() if gather else None

    def read(self, window: Window) -> Tensor:
        return self.finish(self.source.read(window), self._given, *(x.read(window) for x in self.beside))


class _Moments:
    """Mean and variance over tiles, merged in float64 (Chan et al., 1979)."""

    def __init__(self) -> None:
        self.count = 0
        self.mean = self.squares = torch.zeros(())

    def add(self, x: Tensor) -> None:
        """Add a tile (B, C, h, w)."""
        count = x[0, 0].numel()
        variance, mean = torch.var_mean(x.float() if x.itemsize < 4 else x, (2, 3), correction=0, keepdim=True)
        variance, mean = variance.double(), mean.double()
        if self.count == 0:
            self.count, self.mean, self.squares = count, mean, variance * count
            return
        total = self.count + count
        apart = mean - self.mean
        self.mean = self.mean + apart * (count / total)
        self.squares = self.squares + variance * count + apart**2 * (self.count * count / total)
        self.count = total

    def statistics(self, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Return mean and variance, each (B, C, 1, 1)."""
        dtype = torch.promote_types(dtype, torch.float32)
        return self.mean.to(dtype), (self.squares / self.count).to(dtype)
