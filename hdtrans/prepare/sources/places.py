"""Where the files of a data set lie: folders by their usual names, photos by stem, splits by the names of folders."""

import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from hdtrans.common.errors import UserError, nearest
from hdtrans.data.io.header import EXTENSIONS
from hdtrans.data.pairing import natural
from hdtrans.prepare.sources.source import Item

PHOTOS = tuple(ending for ending in EXTENSIONS if ending != ".npy")

_SPLITS = {"training": "train", "valid": "val", "validation": "val", "testing": "test"}
_SPLIT = re.compile(r"(training|train|validation|valid|val|testing|test)(?![a-z])")
_MOST_SHOWN = 10


def split_of(*names: str) -> str | None:
    """Return `train`, `val` or `test` for the first of these names that is one: train, train2017, instances_val, ..."""
    for name in names:
        for part in re.split(r"[/_.\-]", name.lower()):
            if match := _SPLIT.match(part):
                return _SPLITS.get(match[1], match[1])
    return None


def files_under(folder: Path, endings: Sequence[str] = PHOTOS) -> list[Path]:
    """Return the files below a folder whose names end so, in natural order; hidden ones are passed over."""
    found = []
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [Path(place, n) for n in names if not n.startswith(".") and n.lower().endswith(tuple(endings))]
    return sorted(found, key=lambda path: natural(path.relative_to(folder).as_posix()))


def given(root: Path, name: str) -> Path:
    """Return the path that an option names: as it is if it is there, or below the data set."""
    return Path(name).resolve() if Path(name).exists() else root / name


def existing(root: Path, names: Sequence[str], what: str) -> Path:
    """Return the first of these files or folders below `root`; raise UserError with what is there instead."""
    for name in names:
        if (root / name).exists():
            return root / name
    raise UserError(
        f"{root}: has no {what}; looked for {', '.join(names)}. {there(root)}{nearest(names[0], _entries(root))}"
    )


def there(root: Path) -> str:
    """Say what lies in a folder."""
    if not root.is_dir():
        return f"There is no folder {root}."
    entries = _entries(root)
    more = f" and {len(entries) - _MOST_SHOWN} more" if len(entries) > _MOST_SHOWN else ""
    return f"There is {', '.join(entries[:_MOST_SHOWN]) or 'nothing'}{more}."


class Photos:
    """The photos below a folder, by their paths without extension."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.paths = {path.relative_to(folder).with_suffix("").as_posix(): path for path in files_under(folder)}

    def find(self, stem: str) -> Path | None:
        """Return the photo of a stem; where there are others but not this one, the path where it should be.

        None stands for a data set without any photo; the reader of the photo reports the one that is missing.
        """
        suffix = next((path.suffix for path in self.paths.values()), None)
        return self.paths.get(stem) or (self.folder / f"{stem}{suffix}" if suffix else None)


class Listed:
    """A source whose items stay with the process that opened it; workers, which get them one by one, do without."""

    _items: list[Item]

    def items(self) -> list[Item]:
        """Return all items, in natural order of their names."""
        return self._items

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the items: they can hold all annotations of a large data set."""
        return {name: value for name, value in vars(self).items() if name != "_items"}


def arranged(items: Iterable[Item], root: Path) -> list[Item]:
    """Return the items in natural order; raise UserError for none at all, or two of one name in one split."""
    found = sorted(items, key=lambda item: natural(item.name))
    twins = [key for key, count in Counter((item.split, item.name) for item in found).items() if count > 1]
    if not found:
        raise UserError(f"{root}: has no annotated picture. {there(root)}")
    if twins:
        raise UserError(
            f"{root}: {len(twins)} name(s) stand for two pictures of a split, first {twins[0][1]!r}; rename one"
        )
    return found


def _entries(root: Path) -> list[str]:
    if not root.is_dir():
        return []
    names = (f"{entry.name}/" if entry.is_dir() else entry.name for entry in os.scandir(root))
    return sorted((name for name in names if not name.startswith(".")), key=natural)
