"""Ceilings of the machine: operations per second of a large convolution, bytes per second of a large copy."""

import time
from collections.abc import Callable

import torch
import torch.nn.functional as F

from hdtrans.benchmark.timing import synchronise

COPY = "copy"
_CHANNELS, _SIDE = 256, (64, 128)
_COPIED = 2**28  # bytes
_ALONE = 7  # measurements of a ceiling that took no turns with a subject
_REPEATS = {"cpu": 1, "cuda": 7}  # a GPU needs several calls to reach its full clock


class Ceilings:
    """Measure the machine between timed calls, and remember the fastest results.

    A ceiling is named by the type of a 3x3 convolution of 256 channels at 128x64, or `COPY`, a copy of 256 MiB.

    Args:
        device: device to measure.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._calls: dict[torch.dtype | str, tuple[Callable[[], object], int]] = {}
        self._fastest: dict[torch.dtype | str, float] = {}

    def probe(self, dtype: torch.dtype) -> float:
        """Measure copy and convolution; return the convolution's operations per second."""
        self.measure(COPY)
        return self.measure(dtype)

    @torch.inference_mode()
    def measure(self, name: torch.dtype | str) -> float:
        """Return the current operations per second, or bytes read and written per second, of one ceiling."""
        if name not in self._calls:
            self._calls[name] = _copy(self.device) if isinstance(name, str) else _convolution(name, self.device)
        call, amount = self._calls[name]
        speed = 0.0
        for _ in range(_REPEATS[self.device.type]):
            synchronise(self.device)
            start = time.perf_counter()
            call()
            synchronise(self.device)
            speed = max(speed, amount / (time.perf_counter() - start))
        self._fastest[name] = max(speed, self._fastest.get(name, 0.0))
        return speed

    def fastest(self, name: torch.dtype | str) -> float:
        """Return the fastest measurement so far; if there is none, that of seven or of one second."""
        end = time.perf_counter() + 1
        for _ in range(0 if name in self._fastest else _ALONE):
            self.measure(name)
            if time.perf_counter() > end:  # bf16 on a CPU without its instructions
                break
        return self._fastest[name]


def _convolution(dtype: torch.dtype, device: torch.device) -> tuple[Callable[[], object], int]:
    """Return a convolution, called once, and its operations."""
    batch = 1 if device.type == "cpu" else 32
    x = torch.randn(batch, _CHANNELS, *_SIDE, device=device, dtype=dtype).to(memory_format=torch.channels_last)
    weight = torch.randn(_CHANNELS, _CHANNELS, 3, 3, device=device, dtype=dtype).to(memory_format=torch.channels_last)
    F.conv2d(x, weight, padding=1)  # the first call prepares
    return lambda: F.conv2d(x, weight, padding=1), 2 * batch * _CHANNELS**2 * 9 * _SIDE[0] * _SIDE[1]


def _copy(device: torch.device) -> tuple[Callable[[], object], int]:
    """Return a copy, and the bytes that it reads and writes."""
    source = torch.ones(_COPIED // 4, device=device)
    target = torch.zeros_like(source)
    return lambda: target.copy_(source), 2 * _COPIED
