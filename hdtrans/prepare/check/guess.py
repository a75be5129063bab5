"""Guess from its folders which kind of training data a folder holds."""

import re
from pathlib import Path

from hdtrans.common.errors import UserError, shown
from hdtrans.config.data import Data, Grey, LabelMaps, Photos, PhotosToMaps, PicturePairs, SideBySide, Unpaired
from hdtrans.data.folders import SampleFiles, find_everything, folders_in
from hdtrans.data.io.header import probe

UNKNOWN_LABELS = 255
"""What `guess` says where the number of classes is not known yet: all ids but 255, which is ignored."""

_MOST_PROBED = 50
_ONE_OF_SEVERAL = re.compile(r".*_(label|inst|img|A|B)|(train|test|val)[AB]")  # folders of a training folder


def guess(root: Path) -> Data:
    """Return the section `data` that fits the folders in `root`; label maps have `UNKNOWN_LABELS` classes.

    Where nothing is named `test`, what is named `val` takes its place.

    Raises:
        UserError: there is no such folder, or nothing in it that looks like training data.
    """
    if not root.is_dir():
        raise UserError(f"{shown(root)}: there is no such folder")
    data = _kind(root)
    if find_everything(data, data.test, data.fields)[0]:
        return data
    validating = data.model_copy(update={"test": "val"})
    return validating if find_everything(validating, "val", data.fields)[0] else data


def _kind(root: Path) -> Data:
    there = set(folders_in(root))
    if "train_label" in there:
        return LabelMaps(root=root, labels=UNKNOWN_LABELS)
    if {"train_img", "train_inst"} <= there:
        return PhotosToMaps(kind="photos_to_maps", root=root, target="instance_boundaries")
    if {"train_A", "train_B"} <= there or {"trainA", "trainB"} <= there:
        pairs = PicturePairs(kind="picture_pairs", root=root)
        samples, _ = find_everything(pairs, "train", ["source", "photo"])
        complete = sum(len(sample.paths) == 2 for sample in samples)
        return pairs if 2 * complete >= len(samples) else Unpaired(kind="unpaired", root=root)
    photos = Photos(kind="photos", root=root, input=Grey(kind="grey"))
    samples, _ = find_everything(photos, "train", ["photo"])
    if not samples:
        found = ", ".join(f"{shown(name)}/" for name in sorted(there)[:20]) or "no folder"
        raise UserError(
            f"{shown(root)}: looks like no training folder, which has train_label/ and train_img/, train_A/ and "
            f"train_B/, trainA/ and trainB/, train/, or pictures; there is {found}. Give its parent, or a recipe with "
            "data.root, data.train"
        )
    if "train" not in there and _ONE_OF_SEVERAL.fullmatch(root.resolve().name):
        raise UserError(f"{shown(root)}: is one folder of a training folder; give its parent")
    if "train" in there and _side_by_side(samples):
        return SideBySide(kind="side_by_side", root=root)
    return photos


def _side_by_side(samples: list[SampleFiles]) -> bool:
    """Say whether all pictures of a few are at least twice as wide as high."""
    step = -(-len(samples) // _MOST_PROBED)
    headers = []
    for sample in samples[::step]:
        try:
            headers.append(probe(sample.paths["photo"]))
        except UserError:  # told with all others, when it is read
            continue
    return bool(headers) and all(h.width >= 2 * h.height and h.width % 2 == 0 for h in headers)
