"""Index of a training folder: pictures and tables, each sub-folder scanned once."""

import os
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from hdtrans.common.errors import UserError, nearest, shown
from hdtrans.data.io.header import EXTENSIONS
from hdtrans.data.io.shards import shard_files, shard_folders
from hdtrans.data.io.tables import ENDING, is_table, read_table

_MOST_SHOWN = 20


@dataclass(frozen=True)
class Folder:
    """Files of one role.

    Attributes:
        path: folder or table.
        files: names relative to the folder, or names of the rows of a table.
        others: number of files that are no pictures, by ending.
        elsewhere: paths of files in shards, by name.
    """

    path: Path
    files: tuple[str, ...]
    others: Counter[str]
    elsewhere: Mapping[str, str] | None = None

    def place(self, file: str) -> str:
        """Return the path of one of the files."""
        return self.elsewhere[file] if self.elsewhere else os.path.join(os.fspath(self.path), file)


class Index:
    """Sub-folders of a training folder, each scanned when it is first needed.

    Args:
        root: the training folder.

    Raises:
        UserError: the folder does not exist.
    """

    def __init__(self, root: Path) -> None:
        if not root.is_dir():
            siblings = [path.name for path in root.parent.iterdir()] if root.parent.is_dir() else []
            raise UserError(f"data.root: there is no folder {shown(root)}.{nearest(root.name, siblings)}")
        self.root = root
        self._scanned: dict[str, Folder] = {}
        self._there: dict[str, bool] = {}

    @cached_property
    def folders(self) -> list[str]:
        """Names of all folders, on the disk or in shards, and of all tables, sorted."""
        return folders_in(self.root)

    def has(self, name: str) -> bool:
        """Return True if the folder exists, on the disk or in shards, or the table."""
        if name not in self._there:
            path = self.root / name
            self._there[name] = path.is_dir() or is_table(path) or name in self._shard_folders
        return self._there[name]

    @cached_property
    def _shard_folders(self) -> set[str]:
        return shard_folders(self.root)

    def scan(self, name: str) -> Folder:
        """Return the files of a folder or table; '' is the root itself, without sub-folders."""
        if name not in self._scanned:
            self._scanned[name] = scan(self.root / name) if name else scan(self.root, deep=False)
        return self._scanned[name]


def folders_in(root: Path) -> list[str]:
    """Return the names of the folders in `root`, on the disk or in shards, and of the tables there."""
    found = {
        entry.name
        for entry in os.scandir(root)
        if not entry.name.startswith(".") and (entry.is_dir() or entry.name.lower().endswith(ENDING))
    }
    return sorted(found | shard_folders(root))


def scan(root: Path, deep: bool = True) -> Folder:
    """Return the pictures of a folder and, if `deep`, its sub-folders (hidden ones are skipped), or a table's rows.

    Raises:
        UserError: the folder cannot be searched, or exists both on the disk and in shards; the table cannot be read.
    """
    files: list[str] = []
    others: Counter[str] = Counter()
    if is_table(root):
        return Folder(root, tuple(read_table(root).rows), others)
    if deep and (in_shards := shard_files(root.parent, root.name)):
        return _in_shards(root, in_shards)
    pending = [("", os.path.realpath(root))]
    while pending:
        inside, real = pending.pop()
        try:
            with os.scandir(root / inside) as entries:
                for entry in entries:
                    if entry.name.startswith(".") or entry.name == "Thumbs.db":
                        continue
                    relative = f"{inside}/{entry.name}" if inside else entry.name
                    if entry.is_dir():
                        below = os.path.realpath(entry.path) if entry.is_symlink() else os.path.join(real, entry.name)
                        if deep and not f"{real}/".startswith(f"{below}/"):  # a link upwards would be followed for ever
                            pending.append((relative, below))
                        continue
                    ending = os.path.splitext(entry.name)[1].lower()
                    if ending in EXTENSIONS:
                        files.append(relative)
                    else:
                        others[ending or "no extension"] += 1
        except OSError as error:
            raise UserError(f"cannot be searched: {error.strerror or error}", path=root / inside) from error
    return Folder(root, tuple(files), others)


def _in_shards(root: Path, places: Mapping[str, str]) -> Folder:
    """Return the pictures of a folder that lies in shards."""
    if root.is_dir():
        raise UserError("is a folder, and shards beside it hold one of that name; keep one of them", path=root)
    endings = {file: os.path.splitext(file)[1].lower() for file in places}
    others = Counter(ending or "no extension" for ending in endings.values() if ending not in EXTENSIONS)
    return Folder(root, tuple(file for file, ending in endings.items() if ending in EXTENSIONS), others, places)


def nothing_found(folder: Folder) -> str:
    """Return the message about a folder without pictures, with its other files, or about a table without rows."""
    if is_table(folder.path):
        return f"{shown(folder.path)}: has no rows"
    kinds = ", ".join(f"{count} {kind}" for kind, count in folder.others.most_common(5))
    other = f"{folder.others.total()} other files ({kinds})" if folder.others else "no other files"
    there = folders_in(folder.path.parent)
    return (
        f"{shown(folder.path)}: has no pictures; searched with its sub-folders for {' '.join(EXTENSIONS)}, "
        f"found {other}. Beside it there is {slashed(shown(name) for name in there[:_MOST_SHOWN])}"
    )


def slashed(names: Iterable[str]) -> str:
    """Join names of folders and tables for a message."""
    return ", ".join(name if name.lower().endswith(ENDING) else f"{name}/" for name in names)


def two_sides(index: Index, split: str, joined: bool) -> dict[str, str]:
    """Return the folders of A (`source`) and B (`photo`): `train_A`, `train_B`, or `trainA`, `trainB`.

    Without either pair, the names that the kind expects: `trainA` if `joined`.

    Raises:
        UserError: folders of both layouts exist.
    """
    layouts = [{"source": f"{split}_A", "photo": f"{split}_B"}, {"source": f"{split}A", "photo": f"{split}B"}]
    there = [layout for layout in layouts if any(index.has(folder) for folder in layout.values())]
    if len(there) > 1:
        found = ", ".join(f"{name}/" for layout in there for name in layout.values() if index.has(name))
        raise UserError(f"data.root {index.root}: has {found}: which are the two sides? Move those away that are not")
    return there[0] if there else layouts[joined]
