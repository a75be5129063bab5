"""Standard streams that end no command: any encoding, closed, or with a reader that has gone."""

import codecs
import io
import os
import select
import sys
from contextlib import suppress
from errno import EIO, EPIPE
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

_BYTES = "hdtrans.bytes_or_escapes"
# Ways to encode that can fail, and those that cannot; Python takes the second where the locale has no encoding.
_SAFE = {"strict": "backslashreplace", "surrogateescape": _BYTES, "surrogatepass": "backslashreplace"}
_NAMES = ("stdin", "stdout", "stderr")  # by descriptor


def _bytes_or_escapes(error: UnicodeError) -> tuple[bytes, int]:
    """Encode lone surrogates as the bytes that they stand for, and escape all others."""
    assert isinstance(error, UnicodeEncodeError)
    wrong = error.object[error.start : error.end]
    return b"".join(
        bytes([ord(sign) - 0xDC00]) if "\udc80" <= sign <= "\udcff" else sign.encode("ascii", "backslashreplace")
        for sign in wrong
    ), error.end


codecs.register_error(_BYTES, _bytes_or_escapes)


class _Lasting(io.FileIO):
    """Raw standard stream: after its first failed write, the rest goes to the null device."""

    failure: OSError | None = None

    def write(self, data: "ReadableBuffer", /) -> int:
        """Write all bytes, waiting where the other side is slow; keep the first error."""
        view = memoryview(data).cast("B")
        try:
            if (written := super().write(view)) is None:  # the descriptor does not block, and is full
                select.select([], [self], [])
                written = 0
        except OSError as error:
            self.failure = error
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, self.fileno())
            os.close(null)
            return len(view)
        return written + (self.write(view[written:]) if written < len(view) else 0)


def make_lasting() -> None:
    """Replace the standard streams of this process so that printing never fails.

    Characters that a stream cannot encode are escaped, unless PYTHONIOENCODING chose another way. A stream that is
    closed, or cannot be written any more, becomes the null device: no other file takes over its number, and the command
    goes on. Streams that something else put in place, as tests and notebooks do, keep their files.
    """
    for number, name in enumerate(_NAMES):
        mode = "r" if name == "stdin" else "w"
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDONLY if mode == "r" else os.O_WRONLY)  # takes the lowest free number
            os.set_inheritable(number, True)
        if getattr(sys, name) is None:
            file = open(number, mode, encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115
            setattr(sys, name, file)
        elif mode == "w":
            setattr(sys, name, _lasting(getattr(sys, name), getattr(sys, f"__{name}__")))


def _lasting(stream: Any, original: Any) -> Any:
    """Return a stream that escapes and, if it is the one that Python opened, outlives its reader."""
    errors = getattr(stream, "errors", "")
    errors = _SAFE.get(errors, errors)
    raw = getattr(getattr(stream, "buffer", None), "raw", None) or getattr(stream, "buffer", None)
    if stream is not original or type(raw) is not io.FileIO:
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors=errors)
        return stream
    with suppress(OSError):
        stream.flush()
    ours = _Lasting(raw.fileno(), "w", closefd=False)
    at_once = stream.write_through
    return io.TextIOWrapper(
        cast(io.BufferedWriter, ours) if at_once else io.BufferedWriter(ours),
        stream.encoding,
        errors,
        line_buffering=stream.line_buffering,
        write_through=at_once,
    )


def lost_output(command: str) -> bool:
    """Flush the standard output; return True, and say so, if some of it is lost to anything but a reader that left."""
    buffer = getattr(sys.stdout, "buffer", None)
    raw = getattr(buffer, "raw", buffer)
    if not isinstance(raw, _Lasting):
        return False
    sys.stdout.flush()
    if raw.failure is None or raw.failure.errno in (EPIPE, EIO):
        return False
    print(f"{command}: the output could not be written: {raw.failure.strerror or raw.failure}", file=sys.stderr)
    return True
