"""Memory in which data workers hand their batches over: it has no name, so a killed process leaves none behind."""

import os

import torch
from torch import Tensor


def shareable(tensor: Tensor) -> Tensor:
    """Return a copy of a tensor in memory that torch hands to another process as it is.

    Left to itself, torch makes a file in /dev/shm and takes its name away at once: kill -9 in between leaves the file
    there until the machine is started anew, and a container has no more than 64 MB of it. This memory is bounded by
    the machine's alone. Where the system has none of the kind (not Linux), the tensor is returned itself.
    """
    size = tensor.numel() * tensor.element_size()
    if not size or not hasattr(os, "memfd_create"):
        return tensor
    descriptor = os.memfd_create("hdtrans")
    try:
        os.ftruncate(descriptor, size)
        storage = torch.UntypedStorage._new_shared_fd_cpu(descriptor, size)  # type: ignore[attr-defined]
    finally:
        os.close(descriptor)  # torch has one of its own
    return torch.empty(0, dtype=tensor.dtype).set_(storage).view(tensor.shape).copy_(tensor)
