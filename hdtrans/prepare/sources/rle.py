"""Run-length codes of masks: lengths of runs by turns outside and inside, as numbers or in COCO's letters."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from hdtrans.common.errors import UserError
from hdtrans.prepare.sources.documents import shown


def decode(runs: object, height: int, width: int, where: str, by_columns: bool = True) -> npt.NDArray[np.bool_]:
    """Return the (H, W) mask of a run-length code.

    Args:
        runs: lengths, the first one outside; or COCO's text of them.
        height, width: of the mask.
        where: what a UserError names if the code is no code, or of another size.
        by_columns: whether runs go down the columns, as COCO's do; else along the rows.
    """
    lengths = _from_letters(runs, where) if isinstance(runs, str) else runs
    if not isinstance(lengths, Sequence) or not all(type(run) is int and run >= 0 for run in lengths):
        raise UserError(f"{where}: its run lengths are no list of integers, 0 or more: {shown(runs)}")
    if (total := sum(lengths)) != height * width:
        raise UserError(f"{where}: its runs have {total} pixels together, but {width}x{height} are {height * width}")
    flat = np.repeat(np.arange(len(lengths)) % 2 == 1, lengths)
    return flat.reshape(width, height).T if by_columns else flat.reshape(height, width)


def _from_letters(text: str, where: str) -> list[int]:
    """Decode COCO's text: five bits a letter, the lowest first; from the fourth on, differences to two before."""
    lengths: list[int] = []
    value = shift = 0
    for letter in text:
        code = ord(letter) - 48
        if not 0 <= code < 64:
            raise UserError(f"{where}: the letter {letter!r} stands in no run-length code")
        value |= (code & 31) << shift
        shift += 5
        if code & 32:
            continue
        if code & 16:
            value -= 1 << shift
        lengths.append(value + (lengths[-2] if len(lengths) > 2 else 0))
        value = shift = 0
    if shift:
        raise UserError(f"{where}: its run-length code is cut off")
    return lengths
