"""Triton's kernels of the fused padding; imported where Triton is there, and only by `fused_pad`.

A program makes ROWS pixels of the result, in reading order, of COLUMNS channels each.
"""

from functools import lru_cache
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

_TILE = 2048  # values that a program makes, 16 for each of its threads
_CHANNELS = 64  # of a tile: 128 bytes of half precision side by side
_SIZES = ("height", "width")  # no kernel of its own for pictures of other sizes
_OPTIONS: dict[str, Any] = {"num_warps": 4, "enable_fp_fusion": True}


def pad(x: Tensor, result: Tensor, size: int) -> None:
    """Write what x, channels-last, is with `size` pixels more on every side."""
    _launch(_pad, x, result, x.shape[2], x.shape[3], size)


def fold(x: Tensor, result: Tensor, size: int) -> None:
    """Write for every pixel the sum of those of x, channels-last, that it was padded to."""
    _launch(_fold, x, result, result.shape[2], result.shape[3], size)


def _launch(kernel: Any, x: Tensor, result: Tensor, height: int, width: int, size: int) -> None:
    if x.numel() == 0:
        return
    channels = x.shape[1]
    grid, tile = _plan(*result.shape)
    with torch.cuda.device_of(x):
        kernel[grid](x, result, height, width, channels, SIZE=size, **tile, **_OPTIONS)


@lru_cache(4096)
def _plan(batch: int, channels: int, height: int, width: int) -> tuple[tuple[int, int, int], dict[str, int]]:
    """Return how many programs make a result, and of what each does."""
    columns = min(_CHANNELS, triton.next_power_of_2(channels))
    rows = min(_TILE // columns, triton.next_power_of_2(height * width))
    grid = (triton.cdiv(height * width, rows), triton.cdiv(channels, columns), batch)
    return grid, {"ROWS": rows, "COLUMNS": columns}


@triton.jit(do_not_specialize=_SIZES)
def _pad(x, result, height, width, channels, SIZE: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    """Copy each pixel from where its reflection lies."""
    wide, high = width + 2 * SIZE, height + 2 * SIZE
    pixel = tl.program_id(0) * ROWS + tl.arange(0, ROWS)[:, None]  # a picture has less than 2^31 of them
    columns = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)[None, :]
    inside = (pixel < wide * high) & (columns < channels)
    picture = tl.program_id(2).to(tl.int64)
    x += picture * height * width * channels
    result += picture * high * wide * channels
    row, column = tl.abs(pixel // wide - SIZE), tl.abs(pixel % wide - SIZE)
    row, column = height - 1 - tl.abs(height - 1 - row), width - 1 - tl.abs(width - 1 - column)
    value = tl.load(x + (row * width + column).to(tl.int64) * channels + columns, mask=inside)
    tl.store(result + pixel.to(tl.int64) * channels + columns, value, mask=inside)


@triton.jit(do_not_specialize=_SIZES)
def _fold(x, result, height, width, channels, SIZE: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    """Add up the pixel itself and its reflections at the edges before and behind it, in this order on either side."""
    wide, high = width + 2 * SIZE, height + 2 * SIZE
    pixel = tl.program_id(0) * ROWS + tl.arange(0, ROWS)[:, None]
    columns = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)[None, :]
    inside = (pixel < height * width) & (columns < channels)
    picture = tl.program_id(2).to(tl.int64)
    x += picture * high * wide * channels
    result += picture * height * width * channels
    row, column = pixel // width, pixel % width
    dtype = tl.float64 if x.dtype.element_ty == tl.float64 else tl.float32
    total = tl.zeros([ROWS, COLUMNS], dtype)
    for down in tl.static_range(3):
        at_row, has_row = _image(row, height, SIZE, down)
        for along in tl.static_range(3):
            at_column, has_column = _image(column, width, SIZE, along)
            place = (at_row * wide + at_column).to(tl.int64) * channels + columns
            total += tl.load(x + place, mask=inside & has_row & has_column, other=0.0).to(dtype)
    total = total.to(result.dtype.element_ty)
    tl.store(result + pixel.to(tl.int64) * channels + columns, total, mask=inside)


@triton.jit
def _image(at, length, SIZE: tl.constexpr, which: tl.constexpr):
    """Return where on a padded side a place is itself (0), or is reflected before (1) or behind (2), and whether."""
    if which == 0:
        return at + SIZE, at >= 0
    if which == 1:
        return SIZE - at, (at > 0) & (at <= SIZE)
    return SIZE + 2 * (length - 1) - at, (at < length - 1) & (at >= length - 1 - SIZE)
