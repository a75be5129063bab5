"""Time and memory of rivals that take turns, so that what else the machine does falls on all of them alike."""

import itertools
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from hdtrans.common.freed_memory import keep_freed_memory

Work = Callable[[], object]


@dataclass
class Took:
    """What one rival took, call by call.

    Attributes:
        seconds: of the clock.
        cpu: seconds of all cores.
        memory: bytes of tensors beyond those that were there before one more call, at most.
    """

    seconds: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    memory: int = 0

    @property
    def median(self) -> float:
        """Return the median of the seconds."""
        return statistics.median(self.seconds)


def take_turns(rivals: Mapping[str, Work], rounds: int, device: torch.device) -> dict[str, Took]:
    """Call all rivals once without looking, then in `rounds` rounds one after the other.

    The first one is ours, and freed memory is kept for it, as our commands do.
    """
    took = {name: Took() for name in rivals}
    first = next(iter(rivals.values()))
    for work in rivals.values():
        work()
    for _ in range(rounds):
        for name, work in rivals.items():
            _measure(work, took[name], device, ours=work is first)
    for name, work in rivals.items():
        took[name].memory = _peak_of_tensors(work, device)
    return took


def ratios(slower: Took, faster: Took, cpu: bool = False) -> list[float]:
    """Return how many times as long the first took, round by round, by the clock or by the time of all cores."""
    pairs = zip(slower.cpu, faster.cpu, strict=True) if cpu else zip(slower.seconds, faster.seconds, strict=True)
    return [a / b for a, b in pairs]


def _measure(work: Work, took: Took, device: torch.device, ours: bool) -> None:
    wait(device)
    if device.type == "cpu":
        keep_freed_memory(ours)
    start, start_cpu = time.perf_counter(), time.process_time()
    work()
    wait(device)
    took.seconds.append(time.perf_counter() - start)
    took.cpu.append(time.process_time() - start_cpu)


def wait(device: torch.device) -> None:
    """Wait for a GPU to finish what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _peak_of_tensors(work: Work, device: torch.device) -> int:
    """Return the bytes of tensors that one call takes at most, counted as they come and go."""
    if device.type == "cuda":
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        work()
        return torch.cuda.max_memory_allocated(device) - before
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        work()
    results: Any = profiler.profiler
    changes = [event for event in results.kineto_results.events() if event.name() == "[memory]"]
    sizes = [event.nbytes() for event in sorted(changes, key=lambda event: event.start_ns())]
    return max(0, *itertools.accumulate(sizes)) if sizes else 0
