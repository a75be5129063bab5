"""Write a training folder into tar shards: WebDataset reads them as a stream, hdtrans as the folder they were made of.

`a.label.png`, `a.inst.png` and `a.img.jpg` of a sample stand together in `train-000000.tar`; the layout of the index
beside it is in `hdtrans.data.io.shards`.
"""

import io
import json
import os
import re
import shutil
import tarfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from hdtrans.common.errors import UserError, shown
from hdtrans.common.files import whole_file, write_text
from hdtrans.data.folders import grouped_files
from hdtrans.data.io.shards import INDEX_FORMAT, TAR_BLOCK, index_file

SMALLEST_SHARD = 1 << 16  # bytes

_ROLE = re.compile(r"(.+?)(?:_(label|inst|img|A|B)|(A|B))")
_LONGEST_NAME = 100  # bytes; a longer one takes two blocks more
_CLASS_FILE = "dataset.json"


@dataclass(frozen=True)
class Shards:
    """What was written: the shards, those of them that were there already, and how many samples and files they hold."""

    paths: tuple[Path, ...]
    passed_over: tuple[Path, ...]
    samples: int
    files: int


@dataclass(frozen=True)
class _File:
    """A file of a sample: on the disk, in the plain folder, in the shard, and its size in bytes."""

    path: Path
    file: str
    member: str
    size: int

    @property
    def space(self) -> int:
        """How many bytes it takes in a tar file."""
        long_name = len(os.fsencode(self.member)) > _LONGEST_NAME
        return (3 if long_name else 1) * TAR_BLOCK + _padded(self.size, TAR_BLOCK)


Sample = Sequence[_File]


def write_shards(
    folder: Path, out: Path, size_bytes: int, progress: Callable[[int, int], None] | None = None
) -> Shards:
    """Write all samples of a training folder into shards of at most `size_bytes`, with an index beside each.

    The folders of a split (`train_label/`, `train_img/`, `train_inst/`; `train_A/`, `trainB/`; `train/`) become
    `train-000000.tar` and so on; files of one sample, paired as in training, are never torn apart, so a sample that
    is larger than `size_bytes` has a shard to itself. The bytes of the files stay as they are; dataset.json comes
    along. The same command goes on where it was stopped.

    Args:
        folder: with the folders of one or several splits.
        out: a new or empty folder, or that of the same shards.
        size_bytes: of a shard, at least 64 KiB.
        progress: is told how many of how many files are written.

    Raises:
        UserError: `folder` has no pictures or `out` holds something else, a file changes its size meanwhile, two files
            would have the same name in a shard, or the disk refuses.
    """
    if size_bytes < SMALLEST_SHARD:
        raise UserError(f"size of shards: {size_bytes} bytes; give at least {SMALLEST_SHARD}")
    if not folder.is_dir():
        raise UserError(f"{shown(folder)}: there is no such folder")
    plan = _plan(folder, size_bytes)
    if not plan:
        raise UserError(
            f"{shown(folder)}: has no pictures in folders as train_label/, train_img/, train_A/, trainA/ or train/"
        )
    _check_out(folder, out, plan)
    total, done = sum(len(sample) for shard in plan.values() for sample in shard), 0
    passed_over = []
    for name, samples in plan.items():
        shard = out / name
        if _is_written(shard, samples):
            passed_over.append(shard)
        else:
            _write_shard(shard, samples)
        done += sum(map(len, samples))
        if progress:
            progress(done, total)
    if (folder / _CLASS_FILE).is_file():
        with whole_file(out / _CLASS_FILE) as file, open(folder / _CLASS_FILE, "rb") as source:
            shutil.copyfileobj(source, file)
    count = sum(map(len, plan.values()))
    return Shards(tuple(out / name for name in plan), tuple(passed_over), count, total)


def _plan(folder: Path, size_bytes: int) -> dict[str, list[Sample]]:
    """Return the samples of each shard, by the shard's name."""
    plan: dict[str, list[Sample]] = {}
    for split, roles in sorted(_splits(folder).items()):
        space, number = size_bytes, -1
        for sample in _samples(folder, roles):
            needed = sum(file.space for file in sample)
            if _tar_size(space + needed) > size_bytes:
                space, number = 0, number + 1
                plan[f"{split}-{number:06d}.tar"] = []
            plan[f"{split}-{number:06d}.tar"].append(sample)
            space += needed
    return plan


def _splits(folder: Path) -> dict[str, dict[str, str]]:
    """Return the folders of each split by their role: {'train': {'label': 'train_label', ...}}."""
    splits: dict[str, dict[str, str]] = {}
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        if entry.is_dir() and not entry.name.startswith("."):
            match = _ROLE.fullmatch(entry.name)
            split, role = (match[1], match[2] or match[3]) if match else (entry.name, "")
            if role in (roles := splits.setdefault(split, {})):
                raise UserError(f"{shown(folder)}: has {roles[role]}/ and {entry.name}/; move away which is not meant")
            roles[role] = entry.name
    return splits


def _samples(folder: Path, roles: dict[str, str]) -> Iterator[Sample]:
    members: dict[str, str] = {}
    for key, files in grouped_files({role: folder / name for role, name in roles.items()}):
        sample = []
        for role, relative in files:
            file = f"{roles[role]}/{relative}"
            member = _member(key, role, relative)
            if member in members:
                raise UserError(f"{shown(folder / file)}: and {shown(members[member])} would both be {shown(member)}")
            members[member] = file
            try:
                sample.append(_File(folder / file, file, member, os.stat(folder / file).st_size))
            except OSError as error:
                raise UserError(f"{shown(folder / file)}: cannot be read: {error.strerror or error}") from error
        yield sample


def _member(key: str, role: str, file: str) -> str:
    """Return a file's name in the shard; WebDataset's key ends at the first dot, so that dots of a name are coded."""
    inside, slash, name = key.rpartition("/")
    name = name.replace("%", "%25").replace(".", "%2E")
    ending = os.path.splitext(file)[1].lower()
    return f"{inside}{slash}{name}{'.' if role else ''}{role}{ending}"


def _check_out(folder: Path, out: Path, plan: dict[str, list[Sample]]) -> None:
    if out.exists() and not out.is_dir():
        raise UserError(f"{shown(out)}: is a file; give a folder for the shards")
    if out.is_dir() and out.resolve() == folder.resolve():
        raise UserError(f"{shown(out)}: is the folder that is read; give the shards a folder of their own")
    known = {*plan, *(index_file(Path(name)).name for name in plan), _CLASS_FILE}
    others = sorted(set(os.listdir(out)) - known) if out.is_dir() else []
    if others := [name for name in others if not name.startswith(".")]:
        raise UserError(
            f"{shown(out)}: holds something else ({shown(others[0])}{' and more' if len(others) > 1 else ''}); "
            "give a new folder, or the same sizes as before to go on"
        )


def _is_written(shard: Path, samples: Sequence[Sample]) -> bool:
    """Whether a shard is there with its index, younger than its files."""
    try:
        written = shard.stat()
        values = json.loads(index_file(shard).read_text(encoding="utf-8"))
        found = {(name, place["file"], place["size"]) for name, place in values["members"].items()}
        newest = max(file.path.stat().st_mtime_ns for sample in samples for file in sample)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False
    same = found == {(file.member, file.file, file.size) for sample in samples for file in sample}
    return same and values.get("bytes") == written.st_size and newest <= written.st_mtime_ns


def _write_shard(shard: Path, samples: Sequence[Sample]) -> None:
    members = {}
    index_file(shard).unlink(missing_ok=True)  # of an older shard
    with whole_file(shard) as target:
        tar = tarfile.TarFile(fileobj=target, mode="w", format=tarfile.GNU_FORMAT)
        for file in (file for sample in samples for file in sample):
            try:
                data = file.path.read_bytes()
            except OSError as error:
                raise UserError(f"{shown(file.path)}: cannot be read: {error.strerror or error}") from error
            if len(data) != file.size:
                raise UserError(f"{shown(file.path)}: changed its size while the shards were written; run it again")
            info = tarfile.TarInfo(file.member)
            info.size = file.size  # no time and no owner: the same files give the same shard
            tar.addfile(info, io.BytesIO(data))
            offset = tar.offset - _padded(file.size, TAR_BLOCK)
            members[file.member] = {"file": file.file, "offset": offset, "size": file.size}
        tar.close()
        size = target.tell()
    index = {"format": INDEX_FORMAT, "bytes": size, "members": members}
    write_text(index_file(shard), json.dumps(index, indent=0) + "\n")


def _padded(size: int, block: int) -> int:
    return -(-size // block) * block


def _tar_size(files: int) -> int:
    """Return the size of a tar file whose files take so many bytes: two empty blocks, then full records."""
    return _padded(files + 2 * TAR_BLOCK, tarfile.RECORDSIZE)
