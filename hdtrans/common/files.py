"""Atomic file writes: a hidden file beside the target, flushed to disk, then renamed.

Texts are UTF-8. A file name that is not UTF-8 holds lone surrogates in Python, which UTF-8 lacks. They are escaped
as JSON and YAML do, so that `json.loads` and `read_yaml` return the same name.
"""

from __future__ import annotations

import codecs
import contextlib
import errno
import hashlib
import io
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

from hdtrans.common.errors import UserError, shown

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

__all__ = [
    "PART_SUFFIX",
    "append_line",
    "decoded",
    "fitting_name",
    "of_the_system",
    "plain_path",
    "utf8",
    "whole_file",
    "write_bytes",
    "write_text",
]

PART_SUFFIX = ".part"
"""Suffix of an unfinished file, whose name starts with a dot; a killed process leaves one behind."""

_BUFFER_BYTES = 1 << 20
_NAME_BYTES, _PATH_BYTES = 255, 4095  # largest name and path of the usual file systems
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_WAYS_OUT = {
    **dict.fromkeys((errno.EACCES, errno.EPERM), "get the permission to write there, or choose another folder"),
    errno.EROFS: "choose a folder that can be written",
    errno.EISDIR: "remove the folder of that name, or choose another name",
    **dict.fromkeys((errno.ENOTDIR, errno.EEXIST), "remove the file that is in the way, or choose another folder"),
}
_OTHER_WAY = "choose another folder"


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
        UserError: the file cannot be written; the message has the path, the reason, and a way out: bytes needed and
            free on a full disk, the lengths allowed for a name or path that is too long.

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


def of_the_system(error: Exception) -> Exception:
    """Return a refusal of the system that names a file as UserError; any other error as it is."""
    if isinstance(error, OSError) and error.errno is not None and isinstance(error.filename, str):
        return _refusal(Path(error.filename), error, None, "used")
    return error


def _refusal(target: Path, error: OSError, needed: int | None, done: str = "written") -> UserError:
    """Return an error with path, reason and way out.

    Args:
        target: file at fault.
        error: refusal of the system.
        needed: bytes of the file so far, or None before any.
        done: verb for what the file cannot be.
    """
    reason = error.strerror or str(error) or type(error).__name__
    if error.errno == errno.ENAMETOOLONG:
        finding, way = _too_long(target), "choose a shorter one"
    elif error.errno in _FULL:
        finding, way = f"{reason} ({_space(target, needed)})", "free some space or choose a folder on another disk"
    else:
        finding, way = reason, _WAYS_OUT.get(error.errno or 0, _OTHER_WAY)
    again = f"{way}, and run the same command again"
    return UserError(f"cannot be {done}: {finding}", path=target, advice=[again])


def _too_long(target: Path) -> str:
    """Return the lengths, in bytes, of a path of which a part or the whole is too long."""
    longest = max(target.parts, key=lambda part: len(os.fsencode(part)))
    if (length := len(os.fsencode(longest))) > _NAME_BYTES:
        return f"the name {shown(longest)} has {length} bytes, and at most {_NAME_BYTES} are allowed"
    length = len(os.fsencode(os.path.abspath(target)))
    return f"the path has {length} bytes; with the name of an unfinished file, at most {_PATH_BYTES} are allowed"


def _space(target: Path, needed: int | None) -> str:
    """Return the bytes that a file needs, and those that are free."""
    place = target.parent
    while not place.exists() and place != place.parent:
        place = place.parent
    try:
        free = f"{shutil.disk_usage(place).free:,} bytes are free in {shown(place)}"
    except OSError:
        free = "the free space is unknown"
    return free if needed is None else f"at least {needed:,} bytes needed, {free}"


def fitting_name(stem: str, ending: str) -> str:
    """Return `stem` + `ending` as the name of a helper file; a stem that is too long is cut, and its hash added.

    Args:
        stem: start of the name, sub-folders included.
        ending: end of the name, in at most 100 bytes.
    """
    folder, slash, name = stem.rpartition("/")
    raw = os.fsencode(name)
    if len(raw) + len(os.fsencode(ending)) <= _NAME_BYTES:
        return f"{stem}{ending}"
    return f"{folder}{slash}{raw[:64].decode('utf-8', 'ignore')}-{hashlib.sha256(raw).hexdigest()[:16]}{ending}"


def decoded(data: bytes) -> str:
    """Return a text that a user wrote: UTF-8, or UTF-16 with a byte-order mark; a mark is left out.

    Bytes that are not UTF-8 become lone surrogates, as in names of files.

    Raises:
        UnicodeDecodeError: UTF-16 that is cut off.
    """
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return data.decode("utf-16")
    return data.decode("utf-8-sig", "surrogateescape")


@contextlib.contextmanager
def plain_path(path: str | os.PathLike[str]) -> Iterator[str]:
    """Yield a path of an existing file, or folder, for libraries that take UTF-8 alone.

    A path that is not UTF-8 is reached by the number of its open file, on Linux; elsewhere it stays as it is.
    """
    text = os.fspath(path)
    if not any("\ud800" <= sign <= "\udfff" for sign in text) or not os.path.isdir("/proc/self/fd"):
        yield text
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)


def utf8(text: str) -> bytes:
    """Return a text in UTF-8; lone surrogates, which stand for bytes of names that are not UTF-8, are escaped."""
    return text.encode("utf-8", "backslashreplace")


def write_bytes(path: str | os.PathLike[str], data: bytes) -> None:
    """Write bytes to a file, whole or not at all; raise UserError if it cannot be written."""
    with whole_file(path) as file:
        file.write(data)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write text to a file in UTF-8, as `utf8` encodes it, whole or not at all; raise UserError if it cannot be."""
    write_bytes(path, utf8(text))


def append_line(path: str | os.PathLike[str], text: str) -> None:
    """Append one line to a file, created if missing; a line that does not fit is removed again.

    Args:
        path: file to extend.
        text: line without a line break; encoded by `utf8`.

    Raises:
        UserError: the line cannot be written.
    """
    assert "\n" not in text and "\r" not in text, "append_line takes a single line"
    target = Path(path)
    data = utf8(f"{text}\n")
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
