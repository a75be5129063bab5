"""Memory limit of tiled translation: its share per tile, and feature maps that move to a file."""

from __future__ import annotations

import math
import mmap
import os
import tempfile
import weakref

import torch
from torch import Tensor

from hdtrans.common.errors import Advice, UserError
from hdtrans.common.freed_memory import keep_freed_memory
from hdtrans.common.resident import most_resident, resident

MIB = 2**20
LARGEST_TILE = 64 * MIB  # larger ones are no faster on a CPU
SMALLEST_TILE = 4 * MIB
LEAST = 64 * MIB
TIGHT = 8 * LEAST


class Memory:
    """A memory limit, shared between the tile that is computed and kept feature maps; the rest of them goes to a file.

    Args:
        limit: bytes that the process may take, and as many on a GPU.
        device: device that computes.
        tile: bytes of a tile; None: a part of what the program and the model leave.
        result: bytes of the picture, of which up to three copies exist: pixels, a writer's layout, encoded.

    Raises:
        UserError: the limit is too small.
    """

    def __init__(self, limit: int, device: torch.device, tile: int | None = None, result: int = 0) -> None:
        self.device = device
        self.limit = limit
        on_host = resident() + 3 * result
        taken = torch.cuda.memory_allocated(device) if device.type == "cuda" else on_host
        if tile is None:
            if limit - taken < LEAST:
                users = "the program, the model and a picture of this size" if result else "the program and the model"
                raise UserError(
                    f"{users} take {taken / MIB:.0f}M; give at least {(taken + 2 * LEAST) / MIB:.0f}M",
                    argument="max_memory",
                    value=f"{limit / MIB:.0f}M",
                )
            if limit - taken < TIGHT:  # else fragments of freed memory would take too much
                keep_freed_memory(False)
            largest = LARGEST_TILE if device.type == "cpu" else limit
            tile = min(largest, max(SMALLEST_TILE, (limit - taken) // 10))
        self.tile = tile
        self.left = max(0, (limit - on_host) * 2 // 5)

    def keep(self, shape: tuple[int, ...], dtype: torch.dtype) -> Store:
        """Return a store for a tensor, in memory while some is left, else in a file."""
        size = math.prod(shape) * dtype.itemsize
        if size > self.left:
            return Store(*_in_file(shape, dtype, size, self.limit + 3 * size))
        store = Store(torch.empty(shape, dtype=dtype), None)
        self.left -= size
        weakref.finalize(store, self._give_back, size)
        return store

    def _give_back(self, size: int) -> None:
        self.left += size


class Store:
    """A tensor (B, C, H, W) in memory, or in a file of which only a window is in memory."""

    def __init__(self, tensor: Tensor, mapping: mmap.mmap | None) -> None:
        self.tensor = tensor
        self.mapping = mapping

    def write(self, window: tuple[tuple[int, int], tuple[int, int]], x: Tensor) -> None:
        """Write `x` (B, C, h, w) to a window of rows and columns."""
        rows, columns = (slice(*span) for span in window)
        self.tensor[..., rows, columns] = x
        self._let_go()

    def read(self, window: tuple[tuple[int, int], tuple[int, int]]) -> Tensor:
        """Return a copy of a window, (B, C, h, w)."""
        rows, columns = (slice(*span) for span in window)
        x = self.tensor[..., rows, columns].clone(memory_format=torch.contiguous_format)
        self._let_go()
        return x

    def _let_go(self) -> None:
        if self.mapping is not None and hasattr(mmap, "MADV_DONTNEED"):
            self.mapping.madvise(mmap.MADV_DONTNEED)  # the mapping is shared: the file keeps the data


def _in_file(shape: tuple[int, ...], dtype: torch.dtype, size: int, enough: int) -> tuple[Tensor, mmap.mmap]:
    """Return a tensor in a file without a name, which is deleted with the tensor.

    Args:
        shape, dtype, size: form of the tensor, and its bytes.
        enough: memory limit that would hold the tensor, for the message.
    """
    try:
        with tempfile.TemporaryFile() as file:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, size)  # else a full disk would kill the process
            else:
                os.ftruncate(file.fileno(), size)
            mapping = mmap.mmap(file.fileno(), size)
    except OSError as error:
        raise UserError(
            f"cannot hold {size / MIB:.0f}M of feature maps between two layers ({error.strerror})",
            path=tempfile.gettempdir(),
            advice=[
                "name a folder with more room in the environment variable TMPDIR",
                Advice("max_memory", f"{enough / MIB:.0f}M", "or more"),
            ],
        ) from error
    return torch.frombuffer(mapping, dtype=dtype).view(shape), mapping


def peak_memory(device: torch.device) -> int:
    """Return the peak memory in bytes: allocated on the GPU if `device` is one, else resident of the process."""
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else most_resident()


def is_out_of_memory(error: BaseException) -> bool:
    """Return True for an error of torch or Python that means out of memory."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in str(error)
