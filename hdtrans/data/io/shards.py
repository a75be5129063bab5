"""Tar shards, read as the folders they were made from: `root/train-000000.tar/train_label/a.png` is a path.

A shard holds the files of whole samples under WebDataset's names (`a.label.png`, `a.img.jpg`). The index beside it
(`train-000000.index.json`) holds the offset of each file and its name in the plain folder. So pairing, names and order
are those of the plain folder, and any process can read any file alone.
"""

import io
import json
import os
import re
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO, cast

from hdtrans.common.errors import UserError, shown

INDEX_FORMAT = 1
TAR_BLOCK = 512  # bytes

_ADVICE = "copy the shard again with its index, or write both again"
_BUFFER = 1 << 16
_SHARD = re.compile(r"[^.].*-[0-9]{4,}\.tar")  # as WebDataset names them; other tar files are archives


@dataclass(frozen=True, slots=True)
class Member:
    """File in a shard: its name there ('' without an index), offset and size in bytes."""

    name: str
    offset: int
    size: int


@dataclass(frozen=True)
class _Contents:
    """Contents of a shard, by their names in the plain folder, and the names of its folders."""

    members: Mapping[str, Member]
    folders: frozenset[str]


def is_folder(path: Path) -> bool:
    """Return True if the folder exists, on the disk or in the shards beside it.

    Raises UserError if a shard or its index cannot be used.
    """
    return path.is_dir() or path.name in shard_folders(path.parent)


def shard_folders(root: Path) -> set[str]:
    """Return the names of the folders that the shards in `root` hold."""
    return {folder for shard in _shards(root) for folder in _contents(shard).folders}


def shard_files(root: Path, folder: str) -> dict[str, str]:
    """Return the files of a folder in the shards of `root`: path by name in the folder.

    If the folder also exists on the disk, tar files without an index count as the archives that it came in.

    Raises:
        UserError: two shards hold the same file.
    """
    found: dict[str, str] = {}
    on_disk_too = (root / folder).is_dir()
    for shard in _shards(root):
        if on_disk_too and not index_file(Path(shard)).is_file():
            continue
        for file in _contents(shard).members:
            if file.startswith(f"{folder}/"):
                name, place = file[len(folder) + 1 :], f"{shard}/{file}"
                if name in found:
                    raise UserError(f"is also {shown(found[name])}; keep one of the shards", path=place)
                found[name] = place
    return found


def on_disk(path: str) -> str:
    """Return the file on disk that holds a path: its shard, or the path itself."""
    return _split(path)[0] or path


def index_file(shard: Path) -> Path:
    """Return the path of a shard's index."""
    return shard.with_suffix(".index.json")


def find_member(path: str) -> tuple[str, str, Member] | None:
    """Return the shard of a path, the file's name in the plain folder and its place; None for a path outside shards."""
    shard, file = _split(path)
    member = _contents(shard).members.get(file) if shard else None
    return None if member is None else (shard, file, member)


def open_member(path: str) -> tuple[BinaryIO, int] | None:
    """Open a file in a shard; return it and its size in bytes, or None for a path outside shards.

    Raises:
        UserError: the shard is damaged, its index belongs to another file, or it holds no such file.
    """
    shard, file = _split(path)
    if not shard:
        return None
    member = _contents(shard).members.get(file)
    if member is None:
        raise UserError("the shard holds no such file", path=path)
    raw = _Part(shard, member.offset, member.size)
    try:
        found = tarfile.TarInfo.frombuf(raw.before(TAR_BLOCK), "utf-8", "surrogateescape")
    except (OSError, tarfile.TarError) as error:
        raw.close()
        raise _wrong(shard, f"there is no file where {shown(file)} should lie: {error}") from error
    if found.size != member.size or (member.name and not os.fsencode(member.name).startswith(os.fsencode(found.name))):
        raw.close()
        raise _wrong(shard, f"holds {shown(found.name)} of {found.size} bytes where {shown(file)} should lie")
    return cast(BinaryIO, io.BufferedReader(raw, _BUFFER)), member.size


class _Part(io.RawIOBase):
    """Part of a file, with a descriptor of its own, so that threads and processes share no position."""

    def __init__(self, path: str, offset: int, size: int) -> None:
        self._file = open(path, "rb", buffering=0)  # noqa: SIM115 - closed with this object
        self._offset, self._size, self._place = offset, size, 0

    def before(self, count: int) -> bytes:
        """Return the bytes before the part."""
        self._file.seek(self._offset - count)
        return self._file.read(count)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._place

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._place, os.SEEK_END: self._size}[whence]
        if start + offset < 0:
            raise ValueError(f"seek to {start + offset}")
        self._place = start + offset
        return self._place

    def readinto(self, buffer: Any) -> int:
        wanted = memoryview(buffer)[: max(0, self._size - self._place)]
        self._file.seek(self._offset + self._place)
        count = self._file.readinto(wanted) or 0
        self._place += count
        return count

    def readall(self) -> bytes:
        self._file.seek(self._offset + self._place)
        data = self._file.read(max(0, self._size - self._place))
        self._place += len(data)
        return data

    def close(self) -> None:
        self._file.close()
        super().close()


def _split(path: str) -> tuple[str, str]:
    """Split a path into its shard and the file in it; ('', '') for a path outside shards."""
    start = path.find(".tar/")
    while start >= 0:
        if os.path.isfile(path[: start + 4]):
            return path[: start + 4], path[start + 5 :]
        start = path.find(".tar/", start + 1)
    return "", ""


def _shards(root: Path) -> list[str]:
    try:
        with os.scandir(root) as entries:
            return sorted(entry.path for entry in entries if _SHARD.fullmatch(entry.name) and entry.is_file())
    except OSError:
        return []  # the scan of folders reports it


def _contents(shard: str) -> _Contents:
    """Return the contents of a shard; read again when the shard or its index changes."""
    state = os.stat(shard)
    try:
        index = os.stat(index_file(Path(shard))).st_mtime_ns
    except OSError:
        index = None
    return _read(shard, state.st_size, state.st_mtime_ns, index)


@lru_cache(maxsize=65536)
def _read(shard: str, size: int, changed: int, index: int | None) -> _Contents:
    members = _from_headers(shard, size) if index is None else _from_index(shard, size)
    return _Contents(members, frozenset(file.split("/")[0] for file in members))


def _from_index(shard: str, size: int) -> dict[str, Member]:
    file = index_file(Path(shard))
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
        if values["format"] != INDEX_FORMAT:
            raise ValueError(f"format: expected {INDEX_FORMAT}, got {values['format']!r}; is it from another version?")
        made_for = values["bytes"]
        members = {
            str(place["file"]): Member(name, _place(place, "offset"), _place(place, "size"))
            for name, place in values["members"].items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        words = f"has no key {error}" if isinstance(error, KeyError) else str(error)
        raise UserError(
            f"cannot be read as the index of a shard: {words}; {_ADVICE} (without an index, the shard "
            "is read from its own headers)",
            path=file,
        ) from error
    if made_for != size or any(m.offset + m.size > size or m.offset < TAR_BLOCK for m in members.values()):
        raise _wrong(shard, f"has {size} bytes, but its index was made for one of {made_for}")
    return members


def _place(values: Mapping[str, Any], key: str) -> int:
    if type(values[key]) is not int or values[key] < 0:
        raise ValueError(f"{key}: expected a number of bytes, got {values[key]!r}")
    return values[key]


def _from_headers(shard: str, size: int) -> dict[str, Member]:
    """Read the headers of a shard without an index; names follow from role and sample."""
    try:
        with tarfile.open(shard, "r:") as tar:
            infos = [info for info in tar if info.isfile()]
    except (OSError, tarfile.TarError) as error:
        raise _wrong(shard, f"cannot be read as a tar file: {error}") from error
    end = max((i.offset_data + -(-i.size // TAR_BLOCK) * TAR_BLOCK for i in infos), default=0)
    if size < end + 2 * TAR_BLOCK:
        raise _wrong(shard, "is cut off: the end mark of a tar file is missing")
    split = re.sub(r"[-_.]?[0-9]+$", "", Path(shard).stem)
    return {_plain_name(split, info.name): Member("", info.offset_data, info.size) for info in infos}


def _plain_name(split: str, member: str) -> str:
    """Return a member's name in the plain folder: `train_label/a.png` for `a.label.png`."""
    inside, _, name = member.removeprefix("./").rpartition("/")
    key, _, endings = name.partition(".")
    role, _, ending = endings.rpartition(".")
    key = key.replace("%2E", ".").replace("%25", "%")
    return "/".join(part for part in (f"{split}_{role}" if role else split, inside, f"{key}.{ending}") if part)


def _wrong(shard: str, words: str) -> UserError:
    return UserError(f"{words}; {_ADVICE}", path=shard)
