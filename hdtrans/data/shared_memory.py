"""Anonymous shared memory for the batches of data workers: a killed process leaves none behind."""

import os

import torch
from torch import Tensor


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
