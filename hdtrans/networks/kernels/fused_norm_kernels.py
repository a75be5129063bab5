"""Triton's kernels of the fused instance norm; imported where Triton is there, and only by `fused_norm`.

A picture lies channels-last: (pixels, channels), a pixel's channels side by side. A program takes ROWS pixels of
COLUMNS channels at a time, and goes down `chunk` pixels. What it makes of them it writes alone, so that sums are taken
in the same order every time.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

# An H100 or H200 runs 792 to 1056 of them at once, by their registers: 132 multiprocessors, 6 to 8 on each. So the last
# round, which may have few, is one of several.
PROGRAMS = 3072
_TILE = 2048  # values that a program has in registers at once, 16 for each of its threads
_CHANNELS = 64  # of a tile: 128 bytes of half precision side by side
_SETTLED = 4096  # partial statistics that one program merges at once
_SIZES = ("pixels", "chunk", "splits")  # no kernel of its own for pictures of other sizes
# Triton's choices as of today, said so that results do not change with it.
_OPTIONS: dict[str, Any] = {"num_warps": 4, "enable_fp_fusion": True}


@dataclass(frozen=True)
class Plan:
    """Division of (batch, pixels, channels) among programs.

    Attributes:
        rows, columns: pixels and channels of a tile, powers of two.
        chunk: pixels of a program, a multiple of `rows`; the last program's may be fewer.
        grid: programs along the pixels, the channels and the batch.
    """

    rows: int
    columns: int
    chunk: int
    grid: tuple[int, int, int]


@lru_cache(4096)
def plan(batch: int, channels: int, pixels: int, programs: int) -> Plan:
    """Return a plan by the size of one picture alone: no result depends on the others of its batch, or on the GPU.

    There are about `programs` programs for each picture.

    It is remembered: Triton's functions of whole numbers take microseconds each.
    """
    columns = min(_CHANNELS, triton.next_power_of_2(channels))
    rows = min(_TILE // columns, triton.next_power_of_2(pixels))
    blocks, tiles = triton.cdiv(channels, columns), triton.cdiv(pixels, rows)
    splits = min(tiles, max(1, programs // blocks))
    chunk = triton.cdiv(tiles, splits) * rows
    return Plan(rows, columns, chunk, (triton.cdiv(pixels, chunk), blocks, batch))


@lru_cache(4096)
def _merging(splits: int, channels: int) -> tuple[int, dict[str, Any]]:
    """Return how many programs merge the parts of one picture's channels, and how each of them does."""
    rows = triton.next_power_of_2(splits)
    columns = min(32, max(1, _SETTLED // rows), triton.next_power_of_2(channels))
    return triton.cdiv(channels, columns), {"ROWS": rows, "COLUMNS": columns, **_OPTIONS}


def normalise(
    x: Tensor, residual: Tensor | None, slope: float, epsilon: float, wide: torch.dtype
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the result and, (B, C) of type `wide`, the mean and one over the deviation; all tensors channels-last."""
    batch, channels, height, width = x.shape
    pixels = height * width
    at = plan(batch, channels, pixels, PROGRAMS)
    splits = at.grid[0]
    means, squares = torch.empty((2, batch, splits, channels), dtype=wide, device=x.device).unbind()
    mean, scale = torch.empty((2, batch, channels), dtype=wide, device=x.device).unbind()
    y = torch.empty_like(x, memory_format=torch.channels_last)
    share = {"ROWS": at.rows, "COLUMNS": at.columns, **_OPTIONS}
    with torch.cuda.device_of(x):
        _gather[at.grid](x, means, squares, pixels, channels, at.chunk, **share)
        blocks, merging = _merging(splits, channels)
        _settle[(blocks, batch)](
            means, squares, mean, scale, pixels, channels, at.chunk, splits, EPSILON=epsilon, **merging
        )
        adds = residual is not None
        _apply[at.grid](
            x, residual if adds else x, y, mean, scale, pixels, channels, at.chunk, SLOPE=slope, ADDS=adds, **share
        )
    return y, mean, scale


def gradient_of_norm(gradient: Tensor, x: Tensor, mean: Tensor, scale: Tensor, slope: float) -> Tensor:
    """Return the gradient of the input; `gradient` and `x` are channels-last."""
    batch, channels, height, width = x.shape
    pixels = height * width
    at = plan(batch, channels, pixels, PROGRAMS)
    partial = torch.empty((2, batch, at.grid[0], channels), dtype=mean.dtype, device=x.device)
    sums, products = partial.unbind()
    of_pictures = torch.empty((2, batch, channels), dtype=mean.dtype, device=x.device)
    total, product = of_pictures.unbind()
    result = torch.empty_like(x, memory_format=torch.channels_last)
    share: dict[str, Any] = {"SLOPE": slope, "ROWS": at.rows, "COLUMNS": at.columns, **_OPTIONS}
    with torch.cuda.device_of(x):
        _gather_gradients[at.grid](gradient, x, mean, scale, sums, products, pixels, channels, at.chunk, **share)
        blocks, merging = _merging(at.grid[0], channels)
        _add_up[(blocks, 2 * batch)](partial, of_pictures, channels, at.grid[0], **merging)
        _apply_gradients[at.grid](gradient, x, result, mean, scale, total, product, pixels, channels, at.chunk, **share)
    return result


@triton.jit(do_not_specialize=_SIZES)
def _gather(x, means, squares, pixels, channels, chunk, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    """Write each chunk's mean, and its sum of squared distances from that.

    Every place of the tile keeps a mean and a sum of its own on the way down (Welford, 1962), which are merged at the
    end. So nothing large is subtracted from anything large, whatever the mean is.
    """
    split, block, picture = tl.program_id(0), tl.program_id(1), tl.program_id(2)
    dtype = means.dtype.element_ty
    rows, columns = tl.arange(0, ROWS)[:, None], block * COLUMNS + tl.arange(0, COLUMNS)[None, :]
    first = split * chunk
    last = tl.minimum(first + chunk, pixels)
    x += (picture.to(tl.int64) * pixels + first) * channels
    count = tl.zeros([ROWS, 1], dtype)
    mean, square = tl.zeros([ROWS, COLUMNS], dtype), tl.zeros([ROWS, COLUMNS], dtype)
    for start in range(first, last, ROWS):
        inside = start + rows < last
        value = tl.load(x + rows * channels + columns, mask=inside & (columns < channels), other=0.0).to(dtype)
        taken = inside.to(dtype)
        count += taken
        step = value - mean
        mean += step * (taken / tl.maximum(count, 1.0))
        square += taken * step * (value - mean)
        x += ROWS * channels
    mean, square = _merge(count, mean, square)
    place = (picture.to(tl.int64) * tl.num_programs(0) + split) * channels + columns
    tl.store(means + place, mean, mask=columns < channels)
    tl.store(squares + place, square, mask=columns < channels)


@triton.jit
def _merge(count, mean, square):
    """Merge means and sums of squared distances of `count` values each, along the rows (Chan et al., 1979)."""
    total = tl.sum(count, 0, keep_dims=True)
    middle = tl.sum(count * mean, 0, keep_dims=True) / total
    apart = mean - middle
    off = tl.sum(count * apart, 0, keep_dims=True) / total  # by which rounding put the middle beside the mean
    return middle + off, tl.sum(square + count * apart * apart, 0, keep_dims=True) - total * off * off


@triton.jit(do_not_specialize=_SIZES)
def _settle(
    means, squares, mean, scale, pixels, channels, chunk, splits,
    EPSILON: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """Merge the chunks of each channel, all at once: there are few."""
    picture = tl.program_id(1).to(tl.int64)
    rows, columns = tl.arange(0, ROWS)[:, None], tl.program_id(0) * COLUMNS + tl.arange(0, COLUMNS)[None, :]
    dtype = mean.dtype.element_ty
    inside = (rows < splits) & (columns < channels)
    place = (picture * splits + rows) * channels + columns
    # The last chunk may be shorter, and there is none beyond it.
    count = tl.maximum(tl.minimum(pixels - rows.to(tl.int64) * chunk, chunk), 0).to(dtype)
    middle, square = _merge(
        count, tl.load(means + place, mask=inside, other=0.0), tl.load(squares + place, mask=inside, other=0.0)
    )
    place = picture * channels + columns
    tl.store(mean + place, middle, mask=columns < channels)
    tl.store(scale + place, 1.0 / tl.sqrt(square / pixels + EPSILON), mask=columns < channels)


@triton.jit(do_not_specialize=_SIZES)
def _apply(
    x, residual, y, mean, scale, pixels, channels, chunk,
    SLOPE: tl.constexpr, ADDS: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """Normalise, activate, add."""
    picture = tl.program_id(2).to(tl.int64)
    rows, columns = tl.arange(0, ROWS)[:, None], tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)[None, :]
    dtype = mean.dtype.element_ty
    first = tl.program_id(0) * chunk
    last = tl.minimum(first + chunk, pixels)
    middle = tl.load(mean + picture * channels + columns, mask=columns < channels, other=0.0)
    factor = tl.load(scale + picture * channels + columns, mask=columns < channels, other=0.0)
    begin = (picture * pixels + first) * channels
    for start in range(first, last, ROWS):
        place = begin + (rows * channels + columns)
        inside = (start + rows < last) & (columns < channels)
        value = (tl.load(x + place, mask=inside, other=0.0).to(dtype) - middle) * factor
        value = tl.where(value > 0, value, value * SLOPE)
        if ADDS:
            value += tl.load(residual + place, mask=inside, other=0.0).to(dtype)
        tl.store(y + place, value.to(y.dtype.element_ty), mask=inside)
        begin += ROWS * channels


@triton.jit(do_not_specialize=_SIZES)
def _gather_gradients(
    gradient, x, mean, scale, sums, products, pixels, channels, chunk,
    SLOPE: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """Write each chunk's sum of the gradient behind the activation, and of its product with the normalised value."""
    split, block, picture = tl.program_id(0), tl.program_id(1), tl.program_id(2).to(tl.int64)
    rows, columns = tl.arange(0, ROWS)[:, None], block * COLUMNS + tl.arange(0, COLUMNS)[None, :]
    dtype = mean.dtype.element_ty
    first = split * chunk
    last = tl.minimum(first + chunk, pixels)
    middle = tl.load(mean + picture * channels + columns, mask=columns < channels, other=0.0)
    factor = tl.load(scale + picture * channels + columns, mask=columns < channels, other=0.0)
    begin = (picture * pixels + first) * channels
    total, product = tl.zeros([ROWS, COLUMNS], dtype), tl.zeros([ROWS, COLUMNS], dtype)
    for start in range(first, last, ROWS):
        place = begin + (rows * channels + columns)
        inside = (start + rows < last) & (columns < channels)
        value = (tl.load(x + place, mask=inside, other=0.0).to(dtype) - middle) * factor
        slope = tl.load(gradient + place, mask=inside, other=0.0).to(dtype)
        slope = tl.where(value > 0, slope, slope * SLOPE)
        total += slope
        product += slope * value
        begin += ROWS * channels
    place = (picture * tl.num_programs(0) + split) * channels + columns
    tl.store(sums + place, tl.sum(total, 0, keep_dims=True), mask=columns < channels)
    tl.store(products + place, tl.sum(product, 0, keep_dims=True), mask=columns < channels)


@triton.jit(do_not_specialize=_SIZES)
def _add_up(partial, sums, channels, splits, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    """Add up the chunks of each channel, all at once; torch's own sum would depend on the size of the batch."""
    which = tl.program_id(1).to(tl.int64)  # picture, and sum or product
    rows, columns = tl.arange(0, ROWS)[:, None], tl.program_id(0) * COLUMNS + tl.arange(0, COLUMNS)[None, :]
    inside = (rows < splits) & (columns < channels)
    value = tl.load(partial + (which * splits + rows) * channels + columns, mask=inside, other=0.0)
    tl.store(sums + which * channels + columns, tl.sum(value, 0, keep_dims=True), mask=columns < channels)


@triton.jit(do_not_specialize=_SIZES)
def _apply_gradients(
    gradient, x, result, mean, scale, sums, products, pixels, channels, chunk,
    SLOPE: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """Take from the gradient what mean and deviation give back, and scale it."""
    picture = tl.program_id(2).to(tl.int64)
    rows, columns = tl.arange(0, ROWS)[:, None], tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)[None, :]
    dtype = mean.dtype.element_ty
    first = tl.program_id(0) * chunk
    last = tl.minimum(first + chunk, pixels)
    channel = picture * channels + columns
    middle = tl.load(mean + channel, mask=columns < channels, other=0.0)
    factor = tl.load(scale + channel, mask=columns < channels, other=0.0)
    of_mean = tl.load(sums + channel, mask=columns < channels, other=0.0) / pixels
    of_deviation = tl.load(products + channel, mask=columns < channels, other=0.0) / pixels
    begin = (picture * pixels + first) * channels
    for start in range(first, last, ROWS):
        place = begin + (rows * channels + columns)
        inside = (start + rows < last) & (columns < channels)
        value = (tl.load(x + place, mask=inside, other=0.0).to(dtype) - middle) * factor
        slope = tl.load(gradient + place, mask=inside, other=0.0).to(dtype)
        slope = tl.where(value > 0, slope, slope * SLOPE) - of_mean - value * of_deviation
        tl.store(result + place, (slope * factor).to(result.dtype.element_ty), mask=inside)
        begin += ROWS * channels
