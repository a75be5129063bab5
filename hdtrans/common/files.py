"""Atomic file writes: a hidden file beside the target, flushed to disk, then renamed."""

from __future__ import annotations

import contextlib
import io
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

from hdtrans.common.errors import UserError

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

__all__ = ["PART_SUFFIX", "append_line", "whole_file", "write_bytes", "write_text"]

PART_SUFFIX = ".part"
"""Suffix of an unfinished file, whose name starts with a dot; a killed process leaves one behind."""

_BUFFER_BYTES = 1 << 20


class _RecordedFile(io.FileIO):
    """Raw file that keeps the error of a failed write, which torch.save replaces by its own."""

    failure: OSError | None = None
    accepted = 0  # bytes
    refused = 0  # bytes of the write that failed

    def write(self, data: ReadableBuffer, /) -> int:
        """Write as io.FileIO does; count the bytes and keep the error."""
        try:
            written = super().write(data)
        except OSError as error:
            self.failure, self.refused = error, memoryview(data).nbytes
            raise
        self.accepted += written or 0
        return written


@contextlib.contextmanager
def whole_file(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Open a binary file for writing that appears as `path` only when the block ends without an error.

    Until then the bytes go to a hidden file beside `path`; an error in the block removes that file and leaves an old
    `path` unchanged. Missing parent folders are created. The file object can seek.

    Raises:
        UserError: the disk refuses (full, read-only, missing); the message has the path, bytes needed and free.

    Example: `with whole_file(run / "latest.pt") as file: torch.save(state, file)`.
    """
    target = Path(path)
    part = target.parent / f".{target.name[:40]}.{os.getpid()}.{secrets.token_hex(4)}{PART_SUFFIX}"
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        raw = _RecordedFile(part, "xb")
    except OSError as error:
        raise _refusal(target, error, None) from error
    try:
        buffered = io.BufferedWriter(raw, _BUFFER_BYTES)
        yield cast(BinaryIO, buffered)
        _finish(buffered, raw, target, part)
    except BaseException as error:
        # FileIO.close releases the descriptor even if the buffer can no longer be flushed.
        with contextlib.suppress(OSError):
            raw.close()
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        if raw.failure is not None and isinstance(error, Exception):
            raise _refusal(target, raw.failure, raw.accepted + raw.refused) from error
        raise


def _finish(buffered: io.BufferedWriter[_RecordedFile], raw: _RecordedFile, target: Path, part: Path) -> None:
    """Flush the bytes to disk and rename the file."""
    if raw.failure is not None:  # the block continued after a failed write
        raise raw.failure
    try:
        buffered.flush()
        os.fsync(raw.fileno())
        buffered.close()
        os.replace(part, target)
    except OSError as error:
        raw.failure = raw.failure or error
        raise
    _sync_folder(target.parent)


def _sync_folder(folder: Path) -> None:
    """Flush a rename to disk, if the file system supports it."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _refusal(target: Path, error: OSError, needed: int | None) -> UserError:
    """Return an error with path, reason, needed and free bytes, and advice."""
    reason = error.strerror or str(error) or type(error).__name__
    place = target.parent
    while not place.exists() and place != place.parent:
        place = place.parent
    try:
        free = f"{shutil.disk_usage(place).free:,} bytes are free"
    except OSError:
        free = "the free space is unknown"
    need = "" if needed is None else f"at least {needed:,} bytes needed, "
    return UserError(
        f"{target}: cannot be written: {reason} ({need}{free} in {place}). "
        "Free some space or choose a folder that can be written, and run the same command again."
    )


def write_bytes(path: str | os.PathLike[str], data: bytes) -> None:
    """Write bytes to a file, whole or not at all; raise UserError if the disk refuses."""
    with whole_file(path) as file:
        file.write(data)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write text to a file in UTF-8, whole or not at all; raise UserError if the disk refuses."""
    write_bytes(path, text.encode("utf-8"))


def append_line(path: str | os.PathLike[str], text: str) -> None:
    """Append one line to a file, created if missing; a line that does not fit is removed again.

    Args:
        path: file to extend.
        text: line without a line break.

    Raises:
        UserError: the disk refuses.
    """
    assert "\n" not in text and "\r" not in text, "append_line takes a single line"
    target = Path(path)
    data = f"{text}\n".encode()
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with open(target, "ab", buffering=0) as file:
            before = os.fstat(file.fileno()).st_size
            written = 0
            try:
                while written < len(data):
                    written += file.write(data[written:])
            except OSError:
                with contextlib.suppress(OSError):
                    os.ftruncate(file.fileno(), before)
                raise
    except OSError as error:
        raise _refusal(target, error, len(data)) from error
