"""Shares of the time of one call: by network or segment, and by kind of operation."""

import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile

from hdtrans.benchmark.timing import Work, synchronise

# Kind of operation, and parts of the names of its operators in torch; the first match counts.
_KINDS = (
    ("optimizer", ("adam",)),
    ("convolutions, backward", ("convolution_backward",)),
    ("convolutions", ("conv",)),
    ("norms", ("_norm", "var_mean")),
    ("padding", ("pad", "index_select")),
    ("activations", ("relu", "tanh", "threshold")),
    ("pooling", ("pool",)),
    ("layout and type", ("copy_", "contiguous", "to_copy", "clone", "aten::cat")),
    ("losses", ("l1_loss", "mse_loss", "aten::abs", "aten::pow", "sgn", "mean")),
)


def by_kind(work: Work, device: torch.device) -> dict[str, float]:
    """Return the share of each kind of operation in the device time of one call."""
    on_gpu = device.type == "cuda"
    with profile(activities=[ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]) as profiler:
        work()
    times: dict[str, float] = {}
    for event in profiler.key_averages():
        name = event.key.lower()
        kind = next((kind for kind, parts in _KINDS if any(part in name for part in parts)), "other")
        times[kind] = times.get(kind, 0.0) + (event.self_device_time_total if on_gpu else event.self_cpu_time_total)
    return _shares(times)


def by_part(
    work: Work,
    parts: Sequence[tuple[str, nn.Module]],
    optimizers: Sequence[torch.optim.Optimizer],
    device: torch.device,
    frozen: Collection[str] = (),
) -> dict[str, float]:
    """Return the share of each part in the time of one call: forward passes, losses and backward, optimizers.

    Args:
        work: call to measure.
        parts: networks or segments by name; several may share one name.
        optimizers: optimizers that step in the call.
        device: device that computes.
        frozen: names of parts whose backward pass follows them at once; its time counts for them.
    """
    clock = _Clock(device, frozen)
    with clock.watching(parts, optimizers):
        work()
    clock.mark("other")
    return _shares(clock.times)


def _shares(times: dict[str, float]) -> dict[str, float]:
    total = sum(times.values()) or 1.0
    return {name: time / total for name, time in sorted(times.items(), key=lambda item: -item[1])}


class _Clock:
    """Book the time since the last mark under a name."""

    def __init__(self, device: torch.device, frozen: Collection[str]) -> None:
        self.device = device
        self.frozen = frozen
        self.behind = "other"  # name for the time until the next part
        self.times: dict[str, float] = {}
        self.last = time.perf_counter()

    def mark(self, name: str) -> None:
        """Book the time until now under a name."""
        synchronise(self.device)
        now = time.perf_counter()
        self.times[name] = self.times.get(name, 0.0) + now - self.last
        self.last = now

    def leave(self, part: str) -> None:
        """Book the time until now under a part, and if it is frozen the time until the next part too."""
        self.mark(part)
        self.behind = part if part in self.frozen else "other"

    @contextmanager
    def watching(
        self, parts: Sequence[tuple[str, nn.Module]], optimizers: Sequence[torch.optim.Optimizer]
    ) -> Iterator[None]:
        """Mark begin and end of every part, and of every optimizer step."""
        handles: list[Any] = []
        for name, part in parts:
            handles.append(part.register_forward_pre_hook(lambda *_: self.mark(self.behind)))
            handles.append(part.register_forward_hook(lambda *_, name=name: self.leave(name)))
        for optimizer in optimizers:
            handles.append(optimizer.register_step_pre_hook(lambda *_: self.mark("losses and backward")))
            handles.append(optimizer.register_step_post_hook(lambda *_: self.mark("optimizers")))
        self.last = time.perf_counter()
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()
