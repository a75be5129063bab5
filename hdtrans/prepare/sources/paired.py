"""Items whose label maps, photos and instance maps lie in folders of their own, paired by name."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from hdtrans.common.errors import UserError, nearest
from hdtrans.data.folders import gather
from hdtrans.data.io.header import shown
from hdtrans.prepare.options import SPLITS
from hdtrans.prepare.sources.source import Item

DEFAULTS = {"label": "{split}_label", "photo": "{split}_img", "instance": "{split}_inst"}
_SPLIT = "{split}"


@dataclass(frozen=True)
class PairedFiles:
    """The files of an item (`Item.detail`), and what it lacks.

    Attributes:
        label: the label map, or None where it is missing.
        instance: the instance map, or None.
        problem: what is missing, in a sentence, or ''.
    """

    label: Path | None
    instance: Path | None
    problem: str

    def check(self) -> Path:
        """Return the label map; raise UserError if a file is missing."""
        if self.problem or self.label is None:
            raise UserError(self.problem)
        return self.label


def paired_items(root: Path, places: Mapping[str, str | None]) -> list[Item]:
    """Find the items of folders in `root`.

    Args:
        root: the data set.
        places: for `label`, `photo` and `instance` the folder, in which `{split}` stands for train, val and test;
            None is the usual one, which may be missing but for the labels.

    Raises:
        UserError: a folder is missing or empty, or has two files of one name.
    """
    if not root.is_dir():
        raise UserError(f"--in {root}: there is no such folder")
    patterns = {field: place or DEFAULTS[field] for field, place in places.items()}
    for field, place in places.items():
        if (place or field == "label") and not any(_folder(root, patterns[field], split).is_dir() for split in SPLITS):
            found = sorted(path.name for path in root.iterdir() if path.is_dir())
            near = nearest(patterns[field], found)
            raise UserError(
                f"--in {root}: there is no {_all(patterns[field])} (--{field}-dir). "
                f"There is {', '.join(f'{name}/' for name in found[:20]) or 'no folder'}.{near}"
            )
    items: list[Item] = []
    for split in SPLITS if _SPLIT in patterns["label"] else SPLITS[:1]:
        wanted = {field: _folder(root, pattern, split) for field, pattern in patterns.items()}
        there = {field: folder for field, folder in wanted.items() if folder.is_dir()}
        own = split if _SPLIT in patterns["label"] else None
        folders = {"label": wanted["label"], **there}
        items += [_item(sample.name, sample.paths, folders, own) for sample in (gather(there) if there else ())]
    return items


def _item(name: str, paths: Mapping[str, str], folders: Mapping[str, Path], split: str | None) -> Item:
    files = {field: Path(path) for field, path in paths.items()}
    lacking = [field for field in folders if field not in files]
    there = next(iter(files.values()))
    words = {"label": "label map", "photo": "photo", "instance": "instance map"}
    problem = " and ".join(f"no {words[field]} in {shown(folders[field])}" for field in lacking)
    label, instance = files.get("label"), files.get("instance")
    return Item(
        name=name.replace("\\", "/"),
        split=split,
        group=name.rpartition("/")[0] or name,
        photo=files.get("photo"),
        annotations=tuple(path for path in (label, instance) if path),
        detail=PairedFiles(label, instance, f"{shown(there)}: has {problem}" if problem else ""),
    )


def _folder(root: Path, pattern: str, split: str) -> Path:
    return root / pattern.replace(_SPLIT, split)


def _all(pattern: str) -> str:
    names = [f"{pattern.replace(_SPLIT, split)}/" for split in SPLITS]
    return " or ".join(dict.fromkeys(names))
