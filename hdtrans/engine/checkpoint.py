"""Checkpoints: one file each, written atomically, with the SHA-256 of its bytes beside it.

Without that digest, as after copying the `.pt` file alone, the checksums inside the file are verified instead.
"""

import contextlib
import hashlib
import re
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, cast

import torch

from hdtrans.common.errors import UserError, reading_failure
from hdtrans.common.files import PART_SUFFIX, plain_path, whole_file, write_text
from hdtrans.common.hashing import file_digest
from hdtrans.config.recipe import renamed_networks

FORMAT = 1
_NAME = re.compile(r"images_(\d{9,})(?:_(.+))?\.pt")
_BEST = "best"
_BEST_NAME = re.compile(r"best_(\d{9,})\.pt")
_DIGEST = re.compile(r"([0-9a-fA-F]{64})(?:\s+\*?(.*\S))?\s*")  # as sha256sum writes it


class _Hashing:
    """File that hashes the bytes written to it; only the methods that torch.save calls."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.hash = hashlib.sha256()

    def write(self, data: Any) -> int:
        self.hash.update(data)
        self.file.write(data)
        return len(data)

    def flush(self) -> None:
        self.file.flush()


class Checkpoints:
    """Checkpoints of a run, in `checkpoints/` of its folder.

    Args:
        folder: run folder.
        keep: number of the latest to keep; those at the end of a stage always stay.
    """

    def __init__(self, folder: Path, keep: int) -> None:
        self.folder = folder / "checkpoints"
        self.keep = keep

    def files(self) -> list[Path]:
        """Return the checkpoint files, the latest first."""
        found = [(int(m[1]), f) for f in self.folder.glob("images_*.pt") if (m := _NAME.fullmatch(f.name))]
        return [file for _, file in sorted(found, reverse=True)]

    def images_seen(self) -> int:
        """Return the images seen until the latest checkpoint, 0 without one."""
        latest = next(iter(self.files()), None)
        return 0 if latest is None else _images(latest)

    def save(self, state: dict[str, Any], images_seen: int, stage_end: str | None = None) -> Path:
        """Write a checkpoint, then remove those that are no longer kept.

        Later files, damaged when the run continued, neither count nor go: they are written again in time.

        Args:
            state: tensors and plain values.
            images_seen: images drawn by the whole run.
            stage_end: name of the stage that ends here; None within a stage.
        """
        suffix = "" if stage_end is None else f"_{stage_end}"
        path = self.folder / f"images_{images_seen:09d}{suffix}.pt"
        save(path, state)
        with contextlib.suppress(OSError):  # the new one is durable; old ones may stay until the next time
            self._remove_old(images_seen)
        return path

    def best(self) -> list[Path]:
        """Return the best checkpoint first; older ones follow where a killed process left them."""
        found = [(int(m[1]), f) for f in self.folder.glob("best_*.pt") if (m := _BEST_NAME.fullmatch(f.name))]
        return [file for _, file in sorted(found, reverse=True)]

    def save_best(self, state: dict[str, Any], images_seen: int) -> Path:
        """Write the best checkpoint, then remove the one before it."""
        path = self.folder / f"best_{images_seen:09d}.pt"
        save(path, state)
        with contextlib.suppress(OSError):
            for old in self.best():
                if old != path:
                    _remove(old)
        return path

    def _remove_old(self, images_seen: int) -> None:
        names = [(file, cast(re.Match[str], _NAME.fullmatch(file.name))) for file in self.files()]
        passing = [file for file, name in names if name[2] is None and int(name[1]) <= images_seen]
        for old in passing[self.keep :]:
            _remove(old)

    def latest(self, warn: Callable[[str], None]) -> Path | None:
        """Return the latest intact checkpoint, or None. Damaged checkpoints are skipped with a warning.

        One without a digest is returned with a warning, unless another after the same number of images has one. Call it
        only before training: it removes files that a killed process left half written.

        Args:
            warn: called with each warning.
        """
        for kind in ("images", _BEST):
            for part in self.folder.glob(f".{kind}_*{PART_SUFFIX}"):
                part.unlink(missing_ok=True)
            for ending in ("sha256", "styles"):
                for beside in self.folder.glob(f"{kind}_*.pt.{ending}"):
                    if not beside.with_suffix("").exists():
                        beside.unlink()
        files = sorted(self.files(), key=lambda file: (_images(file), not unverified(file)), reverse=True)
        for file in files:
            try:
                load(file)
            except UserError as error:
                warn(f"warning: {error}\n  it is skipped; going back to the checkpoint before it")
                continue
            if reason := unverified(file):
                warn(
                    f"warning: {file}: {reason}; the checksums inside the file are right, so it is used. To vouch for "
                    f"it, write its digest: sha256sum {file.name} > {digest_file(file).name}"
                )
            return file
        return None

    def others(self) -> list[Path]:
        """Return the files of other names that may hold the state of a run: the best, and renamed ones."""
        return sorted(file for file in self.folder.glob("*.pt") if not _NAME.fullmatch(file.name))


def _images(checkpoint: Path) -> int:
    return int(cast(re.Match[str], _NAME.fullmatch(checkpoint.name))[1])


def _remove(checkpoint: Path) -> None:
    for file in (checkpoint, digest_file(checkpoint), styles_file(checkpoint)):
        file.unlink(missing_ok=True)


def digest_file(path: Path) -> Path:
    """Return the path of the file with the SHA-256 of a checkpoint."""
    return path.with_name(path.name + ".sha256")


def styles_file(path: Path) -> Path:
    """Return the path of the styles of a checkpoint: encoded features of the training objects, by class."""
    return path.with_name(path.name + ".styles")


def save(path: Path, state: dict[str, Any]) -> None:
    """Write tensors and plain values to `path`; their digest is written first, beside it."""
    with whole_file(path) as file:
        hashing = _Hashing(file)
        torch.save({"format": FORMAT, **state}, cast(BinaryIO, hashing))
        write_text(digest_file(path), f"{hashing.hash.hexdigest()}  {path.name}\n")


def load(path: Path, need_digest: bool = False) -> dict[str, Any]:
    """Load a checkpoint onto the CPU; verify it by its digest, or without one by the checksums inside.

    Args:
        path: checkpoint file.
        need_digest: refuse a file without a digest beside it.

    Raises:
        UserError: the file is missing, damaged, in a later format, or no checkpoint of hdtrans.
    """
    if not path.is_file():
        raise UserError("no such checkpoint", path=path)
    _check_bytes(path, need_digest)
    try:
        with plain_path(path) as plain:
            state = torch.load(plain, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:  # torch.load raises many kinds for a file that is no checkpoint
        reason = reading_failure(error)
        raise UserError(
            f"{path}: cannot be read as a checkpoint ({reason}); "
            f"it has {path.stat().st_size:,} bytes and may be cut off{_hint(path)}"
        ) from None
    if not isinstance(state, dict) or "networks" not in state or "recipe" not in state:
        found = "is a file of PyTorch, but no checkpoint of hdtrans (it has no networks and recipe)"
        raise UserError(f"{found}{_hint(path)}", path=path)
    if state.get("format", 0) > FORMAT:
        finding = f"was written by a later hdtrans ({state.get('version')}); update hdtrans to read it"
        raise UserError(finding, path=path)
    return rename_networks(state)


def rename_networks(state: dict[str, Any]) -> dict[str, Any]:
    """Return the state of a checkpoint with weights and averages under today's names of their networks."""
    renamed = renamed_networks(state["recipe"])
    for part in ("networks", "ema"):
        if renamed and state.get(part):
            names = {key: key.partition(".") for key in state[part]}
            state[part] = {
                f"{renamed.get(name, name)}{dot}{rest}": state[part][key] for key, (name, dot, rest) in names.items()
            }
    return state


def _hint(path: Path) -> str:
    if path.suffix != ".pth":
        return ""
    return ". If these are weights of pix2pixHD, pix2pix or CycleGAN, bring them in with hdtrans convert_checkpoint"


def find_checkpoint(path: Path) -> Path:
    """Return the checkpoint file for a path: a file, a run folder (its latest), or `RUN/best` (by validation)."""
    if path.is_file():
        return path
    if path.name == _BEST and path.parent.is_dir() and not path.is_dir():
        if files := Checkpoints(path.parent, keep=2).best():
            return files[0]
        raise UserError(
            f"{path}: the run has no best checkpoint (looked for checkpoints/best_*.pt); a recipe with the section "
            "validate keeps one from its first validation on"
        )
    if not path.is_dir():
        raise UserError("no such run folder or checkpoint", path=path)
    for folder in (path, path.parent):
        files = Checkpoints(folder, keep=2).files()
        if files and (folder == path or path.name == "checkpoints"):
            return files[0]
    raise UserError("holds no checkpoint (looked for checkpoints/images_*.pt); has the run saved one yet?", path=path)


def unverified(path: Path) -> str:
    """Return the reason why the digest beside a checkpoint says nothing about it; '' if it is its own."""
    beside = digest_file(path)
    digest, name = _digest_beside(path)
    if not digest:
        return f"its digest {beside.name} {'holds no SHA-256' if beside.is_file() else 'is missing'}"
    if name not in ("", path.name) and file_digest(path) != digest:
        return f"its digest {beside.name} is that of {name}"
    return ""


def _digest_beside(path: Path) -> tuple[str, str]:
    """Return the SHA-256 beside a checkpoint and the name of the file it was made of, each '' where there is none."""
    try:
        found = _DIGEST.fullmatch(digest_file(path).read_text(encoding="utf-8", errors="replace"))
    except FileNotFoundError:
        return "", ""
    return (found[1].lower(), re.split(r"[\\/]", found[2] or "")[-1]) if found else ("", "")


def _check_bytes(path: Path, need_digest: bool) -> None:
    """Raise UserError unless the bytes of a checkpoint are those that were written."""
    if reason := unverified(path):
        if need_digest:
            raise UserError(f"{reason}, so the file cannot be verified", path=path)
        _check_parts(path)
    elif file_digest(path) != _digest_beside(path)[0]:
        finding = f"is damaged: the SHA-256 of its bytes is not the one in {digest_file(path).name}"
        raise UserError(finding, path=path)


def _check_parts(path: Path) -> None:
    """Raise UserError if a part of a checkpoint has another checksum than it was written with."""
    if not zipfile.is_zipfile(path):
        return  # torch says why it cannot load it
    try:
        with zipfile.ZipFile(path) as parts:
            damaged = parts.testzip()
    except (OSError, ValueError, EOFError, NotImplementedError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        damaged = str(error)
    if damaged is not None:
        raise UserError(f"is damaged: the checksum of a part is wrong ({damaged})", path=path)
