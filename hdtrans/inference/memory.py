"""How much memory translating may take, and what does not fit into it kept in a file."""

from __future__ import annotations

import math
import mmap
import os
import resource
import sys
import tempfile
import weakref
from pathlib import Path

import torch
from torch import Tensor

from hdtrans.common.errors import UserError
from hdtrans.common.freed_memory import keep_freed_memory

MIB = 2**20
LARGEST_TILE = 64 * MIB  # larger ones are no faster on a CPU
SMALLEST_TILE = 4 * MIB
LEAST = 64 * MIB
TIGHT = 8 * LEAST


class Memory:
    """A limit, shared out: to the tile that is computed, to what is kept, and the rest of that goes to a file.

    Args:
        limit: bytes that the process may take, and as many on a GPU.
        device: what computes.
        tile: bytes for a tile; unset, a part of what the program and the model have left.
        result: bytes of the picture; it is there up to three times, as pixels, as a writer wants them, and encoded.

    Raises:
        UserError: they leave too little.
    """

    def __init__(self, limit: int, device: torch.device, tile: int | None = None, result: int = 0) -> None:
        self.device = device
        self.limit = limit
        on_host = resident() + 3 * result
        taken = torch.cuda.memory_allocated(device) if device.type == "cuda" else on_host
        if tile is None:
            if limit - taken < LEAST:
                what = "the program, the model and a picture of this size" if result else "the program and the model"
                raise UserError(
                    f"{what} take {taken / MIB:.0f}M; give at least {(taken + 2 * LEAST) / MIB:.0f}M",
                    argument="max_memory",
                    value=f"{limit / MIB:.0f}M",
                )
            if limit - taken < TIGHT:  # pieces of freed memory that nothing fits would be too many; else, time counts
                keep_freed_memory(False)
            largest = LARGEST_TILE if device.type == "cpu" else limit
            tile = min(largest, max(SMALLEST_TILE, (limit - taken) // 10))
        self.tile = tile
        self.left = max(0, (limit - on_host) * 2 // 5)

    def keep(self, shape: tuple[int, ...], dtype: torch.dtype) -> Store:
        """Return room for a tensor, in memory while there is some left, else in a file."""
        size = math.prod(shape) * dtype.itemsize
        if size > self.left:
            return Store(*_in_file(shape, dtype, size))
        store = Store(torch.empty(shape, dtype=dtype), None)
        self.left -= size
        weakref.finalize(store, self._give_back, size)
        return store

    def _give_back(self, size: int) -> None:
        self.left += size


class Store:
    """A tensor (B, C, H, W) in memory, or in a file of which no more than a window is in memory."""

    def __init__(self, tensor: Tensor, mapping: mmap.mmap | None) -> None:
        self.tensor = tensor
        self.mapping = mapping

    def write(self, window: tuple[tuple[int, int], tuple[int, int]], x: Tensor) -> None:
        """Put `x` where rows and columns say."""
        rows, columns = (slice(*span) for span in window)
        self.tensor[..., rows, columns] = x
        self._let_go()

    def read(self, window: tuple[tuple[int, int], tuple[int, int]]) -> Tensor:
        """Return a copy of these rows and columns."""
        rows, columns = (slice(*span) for span in window)
        x = self.tensor[..., rows, columns].clone(memory_format=torch.contiguous_format)
        self._let_go()
        return x

    def _let_go(self) -> None:
        if self.mapping is not None:
            self.mapping.madvise(mmap.MADV_DONTNEED)  # of a shared mapping: what was written stays in the file


def _in_file(shape: tuple[int, ...], dtype: torch.dtype, size: int) -> tuple[Tensor, mmap.mmap]:
    """Return a tensor in a file without a name, which goes when the tensor does."""
    try:
        with tempfile.TemporaryFile() as file:
            os.posix_fallocate(file.fileno(), 0, size)  # or a full disk would end the process
            mapping = mmap.mmap(file.fileno(), size)
    except OSError as error:
        raise UserError(
            f"{tempfile.gettempdir()}: cannot hold {size / MIB:.0f}M of features between two layers "
            f"({error.strerror}); name a folder with more room in the environment variable TMPDIR, or give more "
            "with --max-memory"
        ) from error
    return torch.frombuffer(mapping, dtype=dtype).view(shape), mapping


def resident() -> int:
    """Return the bytes of memory that this process takes."""
    try:
        return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:  # there is no /proc; what it took at most
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most if sys.platform == "darwin" else most * 1024


def peak_memory(device: torch.device) -> int:
    """Return the bytes used at most: of the GPU if `device` is one, else those of the process that were resident."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def is_out_of_memory(error: BaseException) -> bool:
    """Say whether an error of torch or of Python means that memory did not suffice."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in str(error)
