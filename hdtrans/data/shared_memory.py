"""Hand batches of data workers over: anonymous shared memory, and the sockets that pass it on.

A killed process leaves no memory behind, and an error in handing over reaches the user.
"""

import multiprocessing
import os
import shutil
import tempfile
from multiprocessing.reduction import ForkingPickler
from multiprocessing.util import Finalize
from typing import Any

import torch
from torch import Tensor

from hdtrans.common.errors import UserError, shown

_SOCKET_BYTES = 107  # longest path of a socket
_IN_FOLDER = "/listener-12345678"  # as multiprocessing names sockets in its folder
_FOLDER = "/pymp-12345678"
_PLACES = ("/tmp", "/var/tmp", "/dev/shm")  # noqa: S108 - a folder with a random name is made there


def shareable(tensor: Tensor) -> Tensor:
    """Copy a tensor into shared memory that torch passes to another process without a copy.

    By default torch creates a file in /dev/shm and unlinks it at once: kill -9 in between leaves the file until the
    machine restarts, and docker limits a container to 64 MB of it. memfd is limited by the machine's memory alone.
    Without memfd (not Linux), the tensor itself is returned.
    """
    size = tensor.numel() * tensor.element_size()
    if not size or not hasattr(os, "memfd_create"):
        return tensor
    descriptor = os.memfd_create("hdtrans")
    try:
        os.ftruncate(descriptor, size)
        storage = torch.UntypedStorage._new_shared_fd_cpu(descriptor, size)  # type: ignore[attr-defined]
    finally:
        os.close(descriptor)  # torch has duplicated it
    return torch.empty(0, dtype=tensor.dtype).set_(storage).view(tensor.shape).copy_(tensor)


class Sent:
    """A batch on its way from a worker: as bytes, beside tensors in shared memory.

    A queue of multiprocessing would make the bytes in a thread, whose errors reach nobody.

    Args:
        batch: batch in shareable memory.

    Raises:
        OSError, RuntimeError: the memory cannot be handed over.
    """

    def __init__(self, batch: Any) -> None:
        self._data = bytes(ForkingPickler.dumps(batch))

    def received(self) -> Any:
        """Return the batch; called once, in the process that started the worker."""
        return ForkingPickler.loads(self._data)

    def pin_memory(self) -> Any:
        """Return the batch in pinned memory (called by the data loader)."""
        return self.received().pin_memory()


def make_socket_folder() -> None:
    """Make the folder of the sockets for all workers that this process starts; it goes with the process.

    The path of a socket has at most 107 bytes. Where TMPDIR is longer, a usual folder for temporary files serves.

    Raises:
        UserError: no folder is short enough and can be written.
    """
    config: dict[str, Any] = multiprocessing.current_process()._config  # type: ignore[attr-defined]
    made = config.get("tempdir") or ""
    if len(os.fsencode(made + _IN_FOLDER)) <= _SOCKET_BYTES and os.path.isdir(made):
        return
    given, folder = os.environ.get("TMPDIR", ""), ""
    for place in (_first_choice(), *_PLACES):
        if place and len(os.fsencode(place + _FOLDER + _IN_FOLDER)) <= _SOCKET_BYTES:
            try:
                folder = tempfile.mkdtemp(prefix=_FOLDER[1:6], dir=place)
                break
            except OSError:
                continue
    if not folder:
        most = _SOCKET_BYTES - len(_FOLDER + _IN_FOLDER)
        finding = (
            f"has {len(os.fsencode(given))} bytes. Data workers need a folder for sockets with at most {most} that can "
            f"be written, and {', '.join(_PLACES)} cannot be"
        )
        raise UserError(finding, path=f"TMPDIR {shown(given)}", advice=["set TMPDIR", "give training.workers=0"])
    config["tempdir"] = folder
    Finalize(None, shutil.rmtree, args=(folder,), kwargs={"ignore_errors": True}, exitpriority=-100)


def _first_choice() -> str:
    """Return the folder for temporary files; '' if there is none."""
    try:
        return tempfile.gettempdir()
    except OSError:
        return ""
