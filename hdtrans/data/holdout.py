"""Hold back a share of the training files for validation, independent of the other files."""

import os
from collections.abc import Collection, Sequence

from hdtrans.common.errors import UserError
from hdtrans.common.hashing import name_share
from hdtrans.data.folders import SampleFiles, find_samples, side_paths, side_samples
from hdtrans.data.index import Index
from hdtrans.data.kinds.base import PHOTO, DataKind

Split = tuple[list[SampleFiles], list[SampleFiles]]


def hold_back(
    data: DataKind,
    files: Sequence[SampleFiles],
    fields: Collection[str],
    index: Index | None = None,
    optional: Collection[str] = (),
) -> Split:
    """Split samples into those to train on and those to validate on, by `data.validation`.

    A share holds back the samples whose name's SHA-256, as a fraction of its range, is below it, and at least one. So a
    file stays on its side when others are added or removed. Unpaired files are split on each side.

    Args:
        data: its `validation` is a share of the samples, the name of a folder (whose samples are found), or None.
        files: the training samples, as `find_samples` gives them.
        fields: every sample has them; in a folder that validates, `photo` may be missing.
        index: index of `data.root`, where it was scanned before.
        optional: fields that are read as well where the folder that validates has them.

    Raises:
        UserError: nothing is left to train on, or the folder cannot be used.
    """
    if data.validation is None:
        return list(files), []
    if isinstance(data.validation, str):
        inputs = [field for field in fields if field != PHOTO]
        return list(files), find_samples(data, data.validation, inputs, {PHOTO, *optional}, index)
    if data.paired:
        return _split(files, data.validation)
    sides = [[SampleFiles(_stem(path), {side: path}) for path in side_paths(files, side)] for side in files[0].paths]
    parts = [_split(side, data.validation) for side in sides]
    return side_samples([train for train, _ in parts]), side_samples([held for _, held in parts])


def _split(files: Sequence[SampleFiles], share: float) -> Split:
    hashes = [name_share(sample.name) for sample in files]
    held = [sample for sample, place in zip(files, hashes, strict=True) if place < share or place == min(hashes)]
    names = {sample.name for sample in held}
    train = [sample for sample in files if sample.name not in names]
    if not train:
        raise UserError(f"data.validation: {share:g} of {len(files)} sample(s) leaves none to train on")
    return train, held


def _stem(path: str) -> str:
    return os.path.splitext(os.path.basename(path))[0]
