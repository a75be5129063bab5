"""Time and memory of rivals that take turns, so that what else the machine does falls on all of them alike."""

import itertools
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch.profiler import ProfilerActivity, profile

Work = Callable[[], object]


@dataclass
class Took:
    """What one rival took, call by call.

    Attributes:
        seconds: of the clock.
        cpu: seconds of all cores.
        machine: what was looked at right after each call, where something was.
        memory: bytes of tensors beyond those that were there before one more call, at most.
    """

    seconds: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    machine: list[float] = field(default_factory=list)
    memory: int = 0

    @property
    def median(self) -> float:
        """Return the median of the seconds."""
        return statistics.median(self.seconds)


class Rival(Protocol):
    """Who takes turns with others: here, or in a process of its own."""

    def turn(self) -> tuple[float, float]:
        """Make one call; return the seconds it took by the clock, and of all cores."""

    def peak(self) -> int:
        """Make one call; return the bytes of tensors that it took at most."""


@dataclass(frozen=True)
class Here:
    """A rival in this process."""

    work: Work
    device: torch.device

    def turn(self) -> tuple[float, float]:
        """Make one call; return the seconds it took by the clock, and of all cores."""
        wait(self.device)
        start, start_cpu = time.perf_counter(), time.process_time()
        self.work()
        wait(self.device)
        return time.perf_counter() - start, time.process_time() - start_cpu

    def peak(self) -> int:
        """Make one call; return the bytes of tensors that it took at most."""
        return _peak_of_tensors(self.work, self.device)


def take_turns(rivals: Mapping[str, Rival], rounds: int, look: Callable[[], float] | None = None) -> dict[str, Took]:
    """Call all rivals once without looking, and then in `rounds` rounds one after the other.

    Args:
        rivals: by their names.
        rounds: at least 1.
        look: what is asked of the machine after every call that counts.
    """
    took = {name: Took() for name in rivals}
    for rival in rivals.values():
        rival.turn()
    for _ in range(rounds):
        for name, rival in rivals.items():
            seconds, cpu = rival.turn()
            took[name].seconds.append(seconds)
            took[name].cpu.append(cpu)
            if look is not None:
                took[name].machine.append(look())
    return took


def take_memory(rivals: Mapping[str, Rival], took: Mapping[str, Took]) -> None:
    """Call all rivals once more, for their memory."""
    for name, rival in rivals.items():
        took[name].memory = rival.peak()


def ratios(slower: Took, faster: Took, cpu: bool = False) -> list[float]:
    """Return how many times as long the first took, round by round, by the clock or by the time of all cores."""
    pairs = zip(slower.cpu, faster.cpu, strict=True) if cpu else zip(slower.seconds, faster.seconds, strict=True)
    return [a / b for a, b in pairs]


def spread(values: list[float]) -> dict[str, float]:
    """Return the median, the least and the most of what was seen round by round."""
    return {"median": statistics.median(values), "least": min(values), "most": max(values)}


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
