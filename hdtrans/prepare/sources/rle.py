"""Decode run-length encoded (RLE) masks: run lengths, alternately outside and inside, or COCO's compressed text."""

from collections.abc import Sequence
from typing import TypeGuard

import numpy as np
import numpy.typing as npt

from hdtrans.common.errors import UserError
from hdtrans.prepare.sources.documents import abridged, whole_number


def decode(runs: object, height: int, width: int, where: str, by_columns: bool = True) -> npt.NDArray[np.bool_]:
    """Decode a run-length code to an (H, W) bool mask.

    Args:
        runs: run lengths in pixels, the first one outside; or COCO's compressed text.
        height, width: mask size in pixels.
        where: file and place in it, for messages.
        by_columns: column-major order, as in COCO; False for row-major, as in CVAT.

    Raises:
        UserError: the code is malformed, or its length is not height * width.
    """
    given = _from_letters(runs, where) if isinstance(runs, str) else runs
    lengths = given if isinstance(given, Sequence) else [None]
    if not all(type(run) is int for run in lengths):
        lengths = [whole_number(run) for run in lengths]
    if not _lengths(lengths):
        raise UserError(f"{where}: run lengths are no list of integers >= 0: {abridged(runs)}")
    if (total := sum(lengths)) != height * width:
        raise UserError(f"{where}: run lengths sum to {total} pixels, but {width}x{height} has {height * width}")
    flat = np.repeat(np.arange(len(lengths)) % 2 == 1, lengths)
    return flat.reshape(width, height).T if by_columns else flat.reshape(height, width)


def _lengths(runs: Sequence[int | None]) -> TypeGuard[Sequence[int]]:
    return all(run is not None and run >= 0 for run in runs)


def _from_letters(text: str, where: str) -> list[int]:
    """Decode COCO's text: five bits per character, lowest first; from the fourth run on, differences to two before."""
    lengths: list[int] = []
    value = shift = 0
    for letter in text:
        code = ord(letter) - 48
        if not 0 <= code < 64:
            raise UserError(f"{where}: invalid character {letter!r} in the run-length code")
        value |= (code & 31) << shift
        shift += 5
        if code & 32:
            continue
        if code & 16:
            value -= 1 << shift
        lengths.append(value + (lengths[-2] if len(lengths) > 2 else 0))
        value = shift = 0
    if shift:
        raise UserError(f"{where}: the run-length code is cut off")
    return lengths
