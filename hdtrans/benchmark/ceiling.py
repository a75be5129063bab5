"""What the machine can do at most: a large convolution, and a large copy."""

import time

import torch
import torch.nn.functional as F

from hdtrans.benchmark.timing import Work, wait

_CHANNELS, _SIDE = 256, (64, 128)
_COPIED = 2**28  # bytes
_ALONE = 7  # calls where no rival took turns with them
_AT_ONCE = {"cpu": 1, "cuda": 7}  # calls of one look; a GPU is through with them in no time, and gets into its stride


class Ceilings:
    """Looks at what the machine can do while rivals take turns, and remembers the fastest it saw.

    Args:
        device: of the computation.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._convolutions: dict[torch.dtype, Work] = {}
        self._seen: dict[torch.dtype, float] = {}
        self._copy: Work | None = None
        self._copy_seen = 0.0

    def look(self, dtype: torch.dtype) -> float:
        """Look at both; return what `convolution` does."""
        self.copy()
        return self.convolution(dtype)

    def convolution(self, dtype: torch.dtype) -> float:
        """Return the operations a second, now, of a 3x3 convolution of 256 channels at 128x64."""
        batch = 1 if self.device.type == "cpu" else 32
        if dtype not in self._convolutions:
            self._convolutions[dtype] = _convolution(dtype, batch, self.device)
        operations = 2 * batch * _CHANNELS**2 * 9 * _SIDE[0] * _SIDE[1]
        speed = operations / _fastest(self._convolutions[dtype], self.device)
        self._seen[dtype] = max(speed, self._seen.get(dtype, 0.0))
        return speed

    def copy(self) -> float:
        """Return the bytes a second that a copy of 256 MiB reads and writes, now."""
        if self._copy is None:
            source = torch.ones(_COPIED // 4, device=self.device)
            target = torch.zeros_like(source)
            self._copy = lambda: target.copy_(source)
        speed = 2 * _COPIED / _fastest(self._copy, self.device)
        self._copy_seen = max(speed, self._copy_seen)
        return speed

    def fastest_convolution(self, dtype: torch.dtype) -> float:
        """Return the most that was seen; where nobody has looked, of seven calls, or of those of one second."""
        end = time.perf_counter() + 1
        for _ in range(0 if dtype in self._seen else _ALONE):
            self.convolution(dtype)
            if time.perf_counter() > end:  # as with bf16 where the CPU has no instructions for it
                break
        return self._seen[dtype]

    def fastest_copy(self) -> float:
        """Return the most that was seen; where nobody has looked, of seven calls."""
        if not self._copy_seen:
            for _ in range(_ALONE):
                self.copy()
        return self._copy_seen


@torch.inference_mode()
def _convolution(dtype: torch.dtype, batch: int, device: torch.device) -> Work:
    x = torch.randn(batch, _CHANNELS, *_SIDE, device=device, dtype=dtype).to(memory_format=torch.channels_last)
    weight = torch.randn(_CHANNELS, _CHANNELS, 3, 3, device=device, dtype=dtype).to(memory_format=torch.channels_last)

    def work() -> object:
        return F.conv2d(x, weight, padding=1)

    work()  # the first call prepares
    return work


@torch.inference_mode()
def _fastest(work: Work, device: torch.device) -> float:
    best = float("inf")
    for _ in range(_AT_ONCE[device.type]):
        wait(device)
        start = time.perf_counter()
        work()
        wait(device)
        best = min(best, time.perf_counter() - start)
    return best
