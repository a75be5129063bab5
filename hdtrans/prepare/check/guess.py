"""Guess the kind of training data in a folder."""

import re
from pathlib import Path

from hdtrans.common.errors import UserError, shown
from hdtrans.config.registry import data_kinds, data_module
from hdtrans.data.folders import find_everything
from hdtrans.data.index import Index
from hdtrans.data.kinds.base import DataKind

_ONE_OF_SEVERAL = re.compile(r".*_(label|inst|img|A|B)|(train|test|val)[AB]")  # folders of a training folder
_LAST = ("picture_pairs", "unpaired", "side_by_side", "photos")
"""Kinds tried after all others, in this order: later ones require less of a folder."""


def guess(index: Index) -> DataKind:
    """Return a section `data` that fits a training folder.

    Without test files, the split `val` is used as test split.

    Raises:
        UserError: the folder does not look like training data.
    """
    data = _kind(index.root, index)
    if find_everything(data, data.test, data.fields, index).samples:
        return data
    validating = data.model_copy(update={"test": "val"})
    return validating if find_everything(validating, "val", data.fields, index).samples else data


def _kind(root: Path, index: Index) -> DataKind:
    kinds = data_kinds()
    for kind in [*(kind for kind in kinds if kind not in _LAST), *(kind for kind in _LAST if kind in kinds)]:
        section: type[DataKind] = data_module(kind).Section
        found = section.guess(root, index)
        if (
            found is not None
            and found.loose_files(found.train, index)
            and _ONE_OF_SEVERAL.fullmatch(root.resolve().name)
        ):
            raise UserError(f"{shown(root)}: is one folder of a training folder; give its parent")
        if found is not None:
            return found
    there = ", ".join(f"{shown(name)}/" for name in index.folders[:20]) or "no folder"
    raise UserError(
        f"{shown(root)}: looks like no training folder, which has train_label/ and train_img/, train_A/ and train_B/, "
        f"trainA/ and trainB/, train/, or pictures; there is {there}. Give its parent, or a recipe with data.root, "
        "data.train"
    )
