"""Pack a training folder into tar shards: WebDataset reads them as a stream, hdtrans like the original folder.

The files of a sample (`a.label.png`, `a.inst.png`, `a.img.jpg`) are neighbours in `train-000000.tar`. The layout of the
index beside each shard is described in `hdtrans.data.io.shards`.
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

from hdtrans.common.apart import check_apart
from hdtrans.common.errors import UserError, shown
from hdtrans.common.files import whole_file, write_text
from hdtrans.data.folders import grouped_files
from hdtrans.data.io.shards import INDEX_FORMAT, TAR_BLOCK, index_file
from hdtrans.data.io.tables import is_table

SMALLEST_SHARD = 1 << 16  # bytes

_ROLE = re.compile(r"(.+?)(?:_(label|inst|img|A|B)|(A|B))")
_LONGEST_NAME = 100  # bytes; a longer name takes two more blocks
_CLASS_FILE = "dataset.json"


@dataclass(frozen=True)
class Shards:
    """Result of packing.

    Attributes:
        paths: all shards.
        skipped: those that existed already.
        samples, files: number of samples and files in all shards.
    """

    paths: tuple[Path, ...]
    skipped: tuple[Path, ...]
    samples: int
    files: int


@dataclass(frozen=True)
class _File:
    """A file of a sample.

    Attributes:
        path: path on disk.
        file: path relative to the training folder.
        member: name in the shard.
        size: bytes.
    """

    path: Path
    file: str
    member: str
    size: int

    @property
    def space(self) -> int:
        """Bytes taken in a tar file, with header and padding."""
        long_name = len(os.fsencode(self.member)) > _LONGEST_NAME
        return (3 if long_name else 1) * TAR_BLOCK + _padded(self.size, TAR_BLOCK)


Sample = Sequence[_File]


def write_shards(
    folder: Path, out: Path, size_bytes: int, progress: Callable[[int, int], None] | None = None
) -> Shards:
    """Pack all samples of a training folder into shards of at most `size_bytes`, with an index beside each.

    The folders of a split (`train_label/`, `train_img/`, `train_inst/`; `train_A/`, `trainB/`; `train/`) become
    `train-000000.tar` and so on. The files of a sample, paired as in training, stay together, so a sample larger than
    `size_bytes` gets a shard of its own. File contents are unchanged; dataset.json and tables are copied. The same
    call resumes a stopped one.

    Args:
        folder: training folder with one or more splits.
        out: output folder: new, empty, or with the same shards.
        size_bytes: largest shard, >= 65536 bytes.
        progress: called with (files written, files in total) after each shard.

    Raises:
        UserError: `folder` has no pictures, `out` contains other files, or two files would get the same name; also if
            a file cannot be read or written, or changes its size while it is packed.
    """
    if size_bytes < SMALLEST_SHARD:
        raise UserError(f"shard size: got {size_bytes} bytes; give at least {SMALLEST_SHARD}")
    if not folder.is_dir():
        raise UserError("no such folder", path=folder)
    plan = _plan_shards(folder, size_bytes)
    if not plan:
        raise UserError(
            f"{shown(folder)}: contains no pictures in train_label/, train_img/, train_A/, trainA/, train/ or the like"
        )
    _check_out(folder, out, plan)
    total, done = sum(len(sample) for shard in plan.values() for sample in shard), 0
    skipped = []
    for name, samples in plan.items():
        shard = out / name
        if _is_written(shard, samples):
            skipped.append(shard)
        else:
            _write_shard(shard, samples)
        done += sum(map(len, samples))
        if progress:
            progress(done, total)
    for name in _copied(folder):
        with whole_file(out / name) as file, open(folder / name, "rb") as source:
            shutil.copyfileobj(source, file)
    count = sum(map(len, plan.values()))
    return Shards(tuple(out / name for name in plan), tuple(skipped), count, total)


def _copied(folder: Path) -> list[str]:
    """Return the names of dataset.json, if it is there, and of the tables."""
    return [file.name for file in sorted(folder.iterdir()) if file.name == _CLASS_FILE or is_table(file)]


def _plan_shards(folder: Path, size_bytes: int) -> dict[str, list[Sample]]:
    """Return the samples of each shard by shard name."""
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
    """Return the folder names per split and role: {'train': {'label': 'train_label', ...}}."""
    splits: dict[str, dict[str, str]] = {}
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        if entry.is_dir() and not entry.name.startswith("."):
            match = _ROLE.fullmatch(entry.name)
            split, role = (match[1], match[2] or match[3]) if match else (entry.name, "")
            if role in (roles := splits.setdefault(split, {})):
                raise UserError(
                    f"{shown(folder)}: contains both {roles[role]}/ and {entry.name}/; move one of them away"
                )
            roles[role] = entry.name
    return splits


def _samples(folder: Path, roles: dict[str, str]) -> Iterator[Sample]:
    members: dict[str, str] = {}
    for key, files in grouped_files({role: folder / name for role, name in roles.items()}):
        sample = []
        for role, relative in files:
            file = f"{roles[role]}/{relative}"
            member = _member_name(key, role, relative)
            if member in members:
                raise UserError(
                    f"{shown(folder / file)}: gets the same name in the shard as {shown(members[member])}: "
                    f"{shown(member)}; rename one"
                )
            members[member] = file
            try:
                sample.append(_File(folder / file, file, member, os.stat(folder / file).st_size))
            except OSError as error:
                raise UserError(f"{shown(folder / file)}: cannot be read: {error.strerror or error}") from error
        yield sample


def _member_name(key: str, role: str, file: str) -> str:
    """Return a file's name in the shard; dots in its stem are escaped, as WebDataset keys end at the first dot."""
    inside, slash, name = key.rpartition("/")
    name = name.replace("%", "%25").replace(".", "%2E")
    ending = os.path.splitext(file)[1].lower()
    return f"{inside}{slash}{name}{'.' if role else ''}{role}{ending}"


def _check_out(folder: Path, out: Path, plan: dict[str, list[Sample]]) -> None:
    if out.exists() and not out.is_dir():
        raise UserError(f"{shown(out)}: is a file; give a folder for the shards")
    check_apart(out, [folder])
    known = {*plan, *(index_file(Path(name)).name for name in plan), *_copied(folder)}
    others = sorted(set(os.listdir(out)) - known) if out.is_dir() else []
    if others := [name for name in others if not name.startswith(".")]:
        raise UserError(
            f"{shown(out)}: contains other files ({shown(others[0])}{' and more' if len(others) > 1 else ''}); "
            "give a new folder, or the same size as before to resume"
        )


def _is_written(shard: Path, samples: Sequence[Sample]) -> bool:
    """Return True if the shard and its index exist, match the samples and are newer than their files."""
    try:
        written = shard.stat()
        values = json.loads(index_file(shard).read_text(encoding="utf-8"))
        found = {(name, member["file"], member["size"]) for name, member in values["members"].items()}
        states = [file.path.stat() for sample in samples for file in sample]
        newest = max(max(state.st_mtime_ns, state.st_ctime_ns) for state in states)  # a copied file keeps its mtime
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False
    same = found == {(file.member, file.file, file.size) for sample in samples for file in sample}
    return same and values.get("bytes") == written.st_size and newest <= written.st_mtime_ns


def _write_shard(shard: Path, samples: Sequence[Sample]) -> None:
    members = {}
    index_file(shard).unlink(missing_ok=True)  # it belongs to an older shard
    with whole_file(shard) as target:
        tar = tarfile.TarFile(fileobj=target, mode="w", format=tarfile.GNU_FORMAT)
        for file in (file for sample in samples for file in sample):
            try:
                data = file.path.read_bytes()
            except OSError as error:
                raise UserError(f"{shown(file.path)}: cannot be read: {error.strerror or error}") from error
            if len(data) != file.size:
                raise UserError(f"{shown(file.path)}: changed its size while it was packed; run the command again")
            info = tarfile.TarInfo(file.member)
            info.size = file.size  # time and owner stay unset, so that equal files give equal shards
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
    """Return the size of a tar file with `files` bytes of members, two empty end blocks and padding to a record."""
    return _padded(files + 2 * TAR_BLOCK, tarfile.RECORDSIZE)
