"""Pair label maps, photos and instance maps of separate folders by file name."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from hdtrans.common.errors import Advice, UserError, nearest
from hdtrans.data.folders import gather
from hdtrans.data.io.header import shown
from hdtrans.prepare.options import SPLITS
from hdtrans.prepare.sources.dataset_files import folder_names_in, listing
from hdtrans.prepare.sources.source import Item

DEFAULTS = {"label": "{split}_label", "photo": "{split}_img", "instance": "{split}_inst"}
_SPLIT = "{split}"


@dataclass(frozen=True)
class PairedFiles:
    """Files of an item (`Item.detail`).

    Attributes:
        label: label map, or None if missing.
        instance: instance map, or None.
        problem: message about missing files, or ''.
    """

    label: Path | None
    instance: Path | None
    problem: str

    def check(self) -> Path:
        """Return the label map path; raise UserError if a file is missing."""
        if self.problem or self.label is None:
            raise UserError(self.problem)
        return self.label


def paired_folders(root: Path, folder_names: Mapping[str, str | None]) -> list[Path]:
    """Return the folders that `paired_items` searches and that exist."""
    patterns = [name or DEFAULTS[role] for role, name in folder_names.items()]
    found = dict.fromkeys(_folder(root, pattern, split) for pattern in patterns for split in SPLITS)
    return [folder for folder in found if folder.is_dir()]


def paired_items(root: Path, folder_names: Mapping[str, str | None]) -> list[Item]:
    """Pair the files in folders below `root`.

    Args:
        root: data set folder.
        folder_names: folder per role (`label`, `photo`, `instance`), in which `{split}` is replaced by train, val,
            test; None is the default folder, required for `label` only.

    Raises:
        UserError: a folder is missing or empty, or has two files of one name.
    """
    if not root.is_dir():
        raise UserError("no such folder", argument="root", path=root)
    patterns = {role: name or DEFAULTS[role] for role, name in folder_names.items()}
    for role, name in folder_names.items():
        if (name or role == "label") and not any(_folder(root, patterns[role], split).is_dir() for split in SPLITS):
            raise UserError(
                f"contains no {_alternatives(patterns[role])}. "
                f"{listing(root)}{nearest(patterns[role], folder_names_in(root))}",
                argument="root",
                path=root,
                advice=[Advice(f"{role}_dir", "DIR")],
            )
    items: list[Item] = []
    for split in SPLITS if _SPLIT in patterns["label"] else SPLITS[:1]:
        expected = {role: _folder(root, pattern, split) for role, pattern in patterns.items()}
        present = {role: folder for role, folder in expected.items() if folder.is_dir()}
        own = split if _SPLIT in patterns["label"] else None
        folders = {"label": expected["label"], **present}
        items += [_item(sample.name, sample.paths, folders, own) for sample in (gather(present) if present else ())]
    return items


def _item(name: str, paths: Mapping[str, str], folders: Mapping[str, Path], split: str | None) -> Item:
    files = {role: Path(path) for role, path in paths.items()}
    lacking = [role for role in folders if role not in files]
    present = next(iter(files.values()))
    words = {"label": "label map", "photo": "photo", "instance": "instance map"}
    problem = " and ".join(f"no {words[role]} in {shown(folders[role])}" for role in lacking)
    label, instance = files.get("label"), files.get("instance")
    return Item(
        name=name.replace("\\", "/"),
        split=split,
        group=name.rpartition("/")[0] or name,
        photo=files.get("photo"),
        annotations=tuple(path for path in (label, instance) if path),
        detail=PairedFiles(label, instance, f"{shown(present)}: has {problem}" if problem else ""),
    )


def _folder(root: Path, pattern: str, split: str) -> Path:
    return root / pattern.replace(_SPLIT, split)


def _alternatives(pattern: str) -> str:
    names = [f"{pattern.replace(_SPLIT, split)}/" for split in SPLITS]
    return " or ".join(dict.fromkeys(names))
