"""What the machine can do at most: a large convolution, and a large copy."""

import time

import torch
import torch.nn.functional as F

from hdtrans.benchmark.timing import Work, wait

_CHANNELS, _SIDE, _TRIES = 256, (64, 128), 7
_COPIED = 2**28  # bytes


def convolution_ceiling(dtype: torch.dtype, device: torch.device) -> float:
    """Return the operations a second of a 3x3 convolution of 256 channels at 128x64; the fastest of seven."""
    batch = 1 if device.type == "cpu" else 32
    x = torch.randn(batch, _CHANNELS, *_SIDE, device=device, dtype=dtype).to(memory_format=torch.channels_last)
    weight = torch.randn(_CHANNELS, _CHANNELS, 3, 3, device=device, dtype=dtype).to(memory_format=torch.channels_last)
    operations = 2 * batch * _CHANNELS**2 * 9 * _SIDE[0] * _SIDE[1]
    return operations / _fastest(lambda: F.conv2d(x, weight, padding=1), device)


def copy_ceiling(device: torch.device) -> float:
    """Return the bytes a second that are read and written by a copy of 256 MiB; the fastest of seven."""
    source = torch.ones(_COPIED // 4, device=device)
    target = torch.zeros_like(source)
    return 2 * _COPIED / _fastest(lambda: target.copy_(source), device)


@torch.inference_mode()
def _fastest(work: Work, device: torch.device) -> float:
    best = float("inf")
    for _ in range(_TRIES):
        wait(device)
        start = time.perf_counter()
        work()
        wait(device)
        best = min(best, time.perf_counter() - start)
    return best
