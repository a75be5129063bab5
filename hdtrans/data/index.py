"""Index of a training folder: pictures and tables, each sub-folder scanned once."""

import errno
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from hdtrans.common.errors import UserError, nearest, shown
from hdtrans.common.remarks import remark
from hdtrans.data.io.header import EXTENSIONS
from hdtrans.data.io.shards import shard_files, shard_folders
from hdtrans.data.io.tables import ENDING, is_table, read_table

_MOST_SHOWN = 20
_MOST_ENDINGS = 8
_NO_ENDING = "no extension"
_SYSTEM_FILES = frozenset(
    (
        *("thumbs.db", "desktop.ini", "$recycle.bin", "system volume information", "__macosx", "@eadir", "#recycle"),
        "lost+found",
    )
)
_OTHER_PURPOSES = frozenset(
    (
        *(".txt", ".md", ".rst", ".pdf", ".doc", ".docx", ".xls", ".xlsx", ".log", ".html", ".htm", ".css", ".js"),
        *(".json", ".jsonl", ".geojson", ".xml", ".yaml", ".yml", ".toml", ".ini", ".cfg", ".csv", ".tsv", ".lst"),
        *(".list", ".names", ".db", ".py", ".ipynb", ".sh", ".bat", ".url", ".lnk", ".bak", ".tmp", ".lock"),
        *(".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar", ".md5", ".sha256", ".xmp", ".thm", ".pts"),
        *(".pkl", ".pickle", ".pt", ".pth", ".safetensors", ".onnx", ".tfw", ".pgw", ".jgw", ".bpw", ".wld", ".prj"),
    )
)
_DOCUMENTS = ("readme", "license", "licence", "copying", "notice", "changelog", "version", "makefile", "authors")


@dataclass(frozen=True)
class Folder:
    """Files of one role.

    Attributes:
        path: folder or table.
        files: names relative to the folder, or names of the rows of a table.
        others: number of files beside the pictures, by ending, that serve other purposes: texts, tables, archives.
        left_out: number of all further files by ending: pictures of formats that are not read, and unknown files.
        elsewhere: paths of files in shards, by name.
    """

    path: Path
    files: tuple[str, ...]
    others: Counter[str]
    left_out: Counter[str]
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

    @property
    def scanned(self) -> Mapping[str, Folder]:
        """The folders and tables that were scanned, by name; '' is the root itself."""
        return self._scanned

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
    """Return the pictures of a folder and, if `deep`, its sub-folders, or a table's rows.

    Raises:
        UserError: the folder cannot be searched, or exists both on the disk and in shards; the table cannot be read.
    """
    if is_table(root):
        return Folder(root, tuple(read_table(root).rows), Counter(), Counter())
    if not (deep and (in_shards := shard_files(root.parent, root.name))):
        return sorted_out(root, walk(root, deep))
    if root.is_dir():
        raise UserError("is a folder, and shards beside it hold one of that name; keep one of them", path=root)
    return sorted_out(root, in_shards, elsewhere=in_shards)


def walk(root: Path, deep: bool = True) -> Iterator[str]:
    """Yield the names of all files below a folder, relative to it.

    Links to files and folders are followed, except to a folder that the link lies in. Hidden files and folders and
    those of file managers are skipped.

    Args:
        root: folder.
        deep: search sub-folders too.

    Raises:
        UserError: a folder cannot be searched.
    """
    pending: list[tuple[str, tuple[str, ...]]] = [("", (os.path.realpath(root),))]
    while pending:
        inside, above = pending.pop()
        try:
            with os.scandir(root / inside) as entries:
                for entry in entries:
                    if entry.name.startswith(".") or entry.name.lower() in _SYSTEM_FILES:
                        continue
                    relative = f"{inside}/{entry.name}" if inside else entry.name
                    if not _is_folder(entry):
                        yield relative
                    elif deep:
                        linked = entry.is_symlink()
                        real = os.path.realpath(entry.path) if linked else os.path.join(above[-1], entry.name)
                        # A link to a folder around it would be followed for ever.
                        if not (linked and any(f"{folder}/".startswith(f"{real}/") for folder in above)):
                            pending.append((relative, (*above, real)))
        except OSError as error:
            raise UserError(f"cannot be searched: {error.strerror or error}", path=root / inside) from error


def _is_folder(entry: os.DirEntry[str]) -> bool:
    """Return True for folders and links to them, False for a link that leads to itself, as for one to nothing."""
    try:
        return entry.is_dir()
    except OSError as error:
        if error.errno == errno.ELOOP:
            return False
        raise


def sorted_out(
    root: Path,
    names: Iterable[str],
    wanted: tuple[str, ...] = EXTENSIONS,
    elsewhere: Mapping[str, str] | None = None,
) -> Folder:
    """Return files sorted by their endings, upper or lower case: those wanted, other purposes, left out.

    Args:
        root: their folder.
        names: names relative to it.
        wanted: endings of the files to read, in lower case.
        elsewhere: paths of files in shards, by name.
    """
    files: list[str] = []
    others: Counter[str] = Counter()
    left_out: Counter[str] = Counter()
    for name in names:
        if name.lower().endswith(wanted):
            files.append(name)
            continue
        stem, ending = os.path.splitext(os.path.basename(name).lower())
        plain = ending in _OTHER_PURPOSES if ending else stem in _DOCUMENTS
        (others if plain else left_out)[ending or _NO_ENDING] += 1
    return Folder(root, tuple(files), others, left_out, elsewhere)


def counted(endings: Counter[str]) -> str:
    """Return the numbers of files by ending: `2 .gif, 1 .tga`."""
    listed = [f"{count} {ending}" for ending, count in sorted(endings.items(), key=lambda one: (-one[1], one[0]))]
    more = f" and {len(listed) - _MOST_ENDINGS} more endings" if len(listed) > _MOST_ENDINGS else ""
    return ", ".join(listed[:_MOST_ENDINGS]) + more


def left_out(folders: Iterable[Folder], wanted: tuple[str, ...] = EXTENSIONS) -> str:
    """Return the sentences on the files of some folders that are not read, by ending; '' if there are none.

    Args:
        folders: folders as found.
        wanted: endings of the files that are read.
    """
    affected = [folder for folder in folders if folder.left_out]
    if not affected:
        return ""
    total = sum((folder.left_out for folder in affected), Counter[str]())
    places = ", ".join(dict.fromkeys(shown(folder.path) for folder in affected))
    files = "1 file is" if total.total() == 1 else f"{total.total()} files are"
    return (
        f"{places}: {files} not read: {counted(total)}. Files are read that end in {' '.join(wanted)}; "
        "convert the others, or move them away"
    )


def remark_left_out(folders: Iterable[Folder], wanted: tuple[str, ...] = EXTENSIONS) -> None:
    """Warn of the files of some folders that are not read."""
    if words := left_out(folders, wanted):
        remark(words)


def nothing_found(folder: Folder) -> str:
    """Return the message about a folder without pictures, with its other files, or about a table without rows."""
    if is_table(folder.path):
        return f"{shown(folder.path)}: has no rows"
    beside = folder.others + folder.left_out
    other = f"{beside.total()} other files ({counted(beside)})" if beside else "no other files"
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
