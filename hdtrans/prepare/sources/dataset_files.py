"""Find the files of a data set: folders by usual names, photos by stem, splits by folder names."""

import os
import re
from argparse import ArgumentParser
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from hdtrans.common.errors import UserError, nearest, shown
from hdtrans.data.index import remark_left_out, sorted_out, walk
from hdtrans.data.io.header import EXTENSIONS
from hdtrans.data.pairing import composed, natural
from hdtrans.prepare.sources.source import Item

PHOTOS = tuple(ending for ending in EXTENSIONS if ending != ".npy")

_SPLITS = {"training": "train", "valid": "val", "validation": "val", "testing": "test"}
_SPLIT = re.compile(r"(training|train|validation|valid|val|testing|test)(?![a-z])")
_MOST_SHOWN = 10


def split_of(*names: str) -> str | None:
    """Return the split (`train`, `val`, `test`) in the first name that contains one, such as train2017; else None."""
    for name in names:
        for part in re.split(r"[/_.\-]", name.lower()):
            if match := _SPLIT.match(part):
                return _SPLITS.get(match[1], match[1])
    return None


def files_under(folder: Path, endings: Sequence[str] = PHOTOS, deep: bool = True) -> list[Path]:
    """Return the files below a folder with these endings, in natural order; none if there is no such folder.

    Folders are searched as those of a training are: see `hdtrans.data.index.walk`. Where pictures are searched, a
    warning counts the files that are none of these, unless they serve other purposes (texts, tables, archives).

    Args:
        folder: folder.
        endings: endings of names, in lower case.
        deep: search sub-folders too.
    """
    wanted = tuple(endings)
    found = sorted_out(folder, walk(folder, deep) if folder.is_dir() else (), wanted)
    if set(wanted) & set(EXTENSIONS):
        remark_left_out([found], wanted)
    return [folder / name for name in sorted(found.files, key=natural)]


def add_photo_dir(parser: ArgumentParser) -> None:
    """Add the option of a photo folder, for formats whose annotation files name their photos."""
    parser.add_argument(
        "--photo-dir",
        metavar="DIR",
        help="photo folder, below --in or elsewhere (default: photos are found below --in by their paths)",
    )


def option_path(root: Path, name: str) -> Path:
    """Resolve a path from an option: as given if it exists, else below the data set."""
    return Path(name).resolve() if Path(name).exists() else root / name


def check_folder(root: Path, name: str, argument: str, advice: str = "") -> None:
    """Raise UserError unless `root` has the sub-folder `name`.

    Args:
        root: data set folder.
        name: sub-folder.
        argument: argument at fault, for the message.
        advice: expected layout, starting with `; `, or ''.
    """
    if not (root / name).is_dir():
        finding = f"no such folder{advice}. {listing(root)}{nearest(name, folder_names_in(root))}"
        raise UserError(finding, argument=argument, path=root / name)


def first_existing(root: Path, names: Sequence[str], description: str) -> Path:
    """Return the first existing file or folder of `names` below `root`; raise UserError with a listing if none."""
    for name in names:
        if (root / name).exists():
            return root / name
    raise UserError(
        f"{root}: contains no {description}; expected {' or '.join(names)}. "
        f"{listing(root)}{nearest(names[0], _entries(root))}"
    )


def listing(root: Path) -> str:
    """Return a sentence with the first entries of a folder, for messages."""
    if not root.is_dir():
        return f"No such folder: {root}."
    entries = _entries(root)
    more = f" and {len(entries) - _MOST_SHOWN} more" if len(entries) > _MOST_SHOWN else ""
    return f"Found: {', '.join(entries[:_MOST_SHOWN]) or 'nothing'}{more}."


def folder_names_in(root: Path) -> list[str]:
    """Return the names of the sub-folders, without hidden ones."""
    return [entry[:-1] for entry in _entries(root) if entry.endswith("/")]


class PhotoIndex:
    """Photos below a folder, by path without extension."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.paths: dict[str, Path] = {}
        self._by_form: dict[str, list[Path]] = defaultdict(list)
        for path in files_under(folder):
            stem = path.relative_to(folder).with_suffix("").as_posix()
            self.paths[stem] = path
            self._by_form[composed(stem)].append(path)

    def find(self, stem: str) -> Path | None:
        """Return the photo with this stem, in any Unicode form, or None if the folder has no photo at all.

        If only this one is missing, the result is its expected path, so that reading it reports the missing file.

        Raises:
            UserError: two photos have this stem.
        """
        found = self._by_form.get(composed(stem), [])
        if len(found) > 1:
            raise UserError(f"is a photo of the same name as {shown(found[0])}; keep one of them", path=found[1])
        suffix = next((path.suffix for path in self.paths.values()), None)
        return found[0] if found else self.folder / f"{stem}{suffix}" if suffix else None


class ListedSource:
    """Source whose item list stays in the parent process; workers get items one by one."""

    _items: list[Item]
    notes: tuple[str, ...] = ()
    """Findings about the whole data set."""

    def items(self) -> list[Item]:
        """Return all items, in natural order of their names."""
        return self._items

    def __getstate__(self) -> dict[str, Any]:
        """Pickle without the items, which can contain all annotations of a large data set."""
        return {name: value for name, value in vars(self).items() if name != "_items"}


def sorted_items(items: Iterable[Item], root: Path) -> list[Item]:
    """Sort items naturally by name; raise UserError if there are none, or two of one name in a split."""
    found = sorted(items, key=lambda item: natural(item.name))
    by_name: dict[tuple[str | None, str], list[Item]] = defaultdict(list)
    for item in found:
        by_name[item.split, item.name].append(item)
    twins = [items for items in by_name.values() if len(items) > 1]
    if not found:
        raise UserError(f"{root}: contains no annotated picture. {listing(root)}")
    if twins:
        places = " and ".join(str((item.photo, *item.annotations)[-1]) for item in twins[0][:2])
        raise UserError(
            f"{root}: {len(twins)} name(s) belong to two pictures of one split, first {twins[0][0].name!r}, in "
            f"{places}; rename one"
        )
    return found


def _entries(root: Path) -> list[str]:
    if not root.is_dir():
        return []
    names = (f"{entry.name}/" if entry.is_dir() else entry.name for entry in os.scandir(root))
    return sorted((name for name in names if not name.startswith(".")), key=natural)
