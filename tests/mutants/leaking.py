"""Broken twins whose memory and descriptors grow with what they have done."""

import os
from typing import Any

from hdtrans.data.batch import Batch
from hdtrans.inference.folder.translate import _Job
from hdtrans.methods.pix2pixhd import Pix2pixHD
from tests.mutants import put


def keep_graphs() -> None:
    """Keep what each training step shares, with its graph, and now and then an open file."""
    forward_shared, kept = Pix2pixHD.forward_shared, list[Any]()

    def leaking(self: Pix2pixHD, *given: Any) -> Any:
        kept.append(forward_shared(self, *given))
        if len(kept) % 10 == 0:
            os.open(os.devnull, os.O_RDONLY)
        return kept[-1]

    Pix2pixHD.forward_shared = leaking  # type: ignore[method-assign]


def keep_results() -> None:
    """Keep as much as eight results for each picture that is written, and now and then an open file."""
    write, kept = _Job._write, list[bytes]()

    def keeping(self: _Job, *given: Any) -> Any:
        kept.append(b"x" * 800_000)
        if len(kept) % 10 == 0:
            os.open(os.devnull, os.O_RDONLY)
        return write(self, *given)

    _Job._write = keeping  # type: ignore[method-assign]


def share_memory_as_torch_does() -> None:
    """Hand batches over through files that have a name."""
    put(Batch, "shareable", lambda self: self)
