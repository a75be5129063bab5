"""Time and peak memory of calls that take turns, so that other load on the machine affects all of them alike."""

import itertools
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch.profiler import ProfilerActivity, profile

Work = Callable[[], object]


@dataclass
class Timings:
    """Measurements of one call, round by round.

    Attributes:
        seconds: wall-clock seconds.
        cpu_seconds: processor seconds, summed over all cores.
        ceiling: result of the probe right after each call; empty without a probe.
        memory: peak bytes of tensors in one more call, beyond those allocated before it.
    """

    seconds: list[float] = field(default_factory=list)
    cpu_seconds: list[float] = field(default_factory=list)
    ceiling: list[float] = field(default_factory=list)
    memory: int = 0

    @property
    def median(self) -> float:
        """Median of the wall-clock seconds."""
        return statistics.median(self.seconds)


class Timed(Protocol):
    """A call that can be timed: in this process or in another one."""

    def timed(self) -> tuple[float, float]:
        """Make one call; return its wall-clock seconds and its processor seconds."""

    def peak(self) -> int:
        """Make one call; return its peak bytes of tensors."""


@dataclass(frozen=True)
class LocalCall:
    """A call in this process."""

    work: Work
    device: torch.device

    def timed(self) -> tuple[float, float]:
        """Make one call; return its wall-clock seconds and its processor seconds."""
        synchronise(self.device)
        start, start_cpu = time.perf_counter(), time.process_time()
        self.work()
        synchronise(self.device)
        return time.perf_counter() - start, time.process_time() - start_cpu

    def peak(self) -> int:
        """Make one call; return its peak bytes of tensors."""
        if self.device.type == "cuda":
            before = torch.cuda.memory_allocated(self.device)
            torch.cuda.reset_peak_memory_stats(self.device)
            self.work()
            return torch.cuda.max_memory_allocated(self.device) - before
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
            self.work()
        results: Any = profiler.profiler
        changes = [event for event in results.kineto_results.events() if event.name() == "[memory]"]
        sizes = [event.nbytes() for event in sorted(changes, key=lambda event: event.start_ns())]
        return max(0, *itertools.accumulate(sizes)) if sizes else 0


@dataclass(frozen=True)
class BusyCall:
    """A call beside processes that spin."""

    call: Timed
    processes: int

    def timed(self) -> tuple[float, float]:
        """Make one call; return its wall-clock seconds and its own processor seconds."""
        with spinning(self.processes):
            return self.call.timed()

    def peak(self) -> int:
        """Make one call; return its peak bytes of tensors."""
        return self.call.peak()


@contextmanager
def spinning(count: int) -> Iterator[None]:
    """Keep `count` processes busy, each on one core if there are as many."""
    program = [sys.executable, "-S", "-c", "print(flush=True)\nwhile True: pass"]
    with ExitStack() as stack:
        processes = [stack.enter_context(subprocess.Popen(program, stdout=subprocess.PIPE)) for _ in range(count)]
        for process in processes:
            stack.callback(process.kill)
        for process in processes:
            assert process.stdout is not None
            process.stdout.readline()
        yield


def fair_share(cores: int, threads: int, busy: int) -> float:
    """Return the speed that a fair scheduler leaves to `threads` beside `busy` others, relative to an idle machine."""
    return min(1.0, cores / (threads + busy))


def time_in_turns(
    calls: Mapping[str, Timed], rounds: int, probe: Callable[[], float] | None = None
) -> dict[str, Timings]:
    """Time all calls in turn, after one untimed call of each.

    Args:
        calls: calls by name.
        rounds: number of rounds, >= 1.
        probe: measurement of the machine, made after each timed call.
    """
    found = {name: Timings() for name in calls}
    for call in calls.values():
        call.timed()
    for _ in range(rounds):
        for name, call in calls.items():
            seconds, cpu_seconds = call.timed()
            found[name].seconds.append(seconds)
            found[name].cpu_seconds.append(cpu_seconds)
            if probe is not None:
                found[name].ceiling.append(probe())
    return found


def add_memory(calls: Mapping[str, Timed], timings: Mapping[str, Timings]) -> None:
    """Make each call once more and record its peak memory."""
    for name, call in calls.items():
        timings[name].memory = call.peak()


def ratios(a: Timings, b: Timings, cpu: bool = False) -> list[float]:
    """Return time of `a` / time of `b` in each round, by the wall clock or by processor time."""
    pairs = zip(a.cpu_seconds, b.cpu_seconds, strict=True) if cpu else zip(a.seconds, b.seconds, strict=True)
    return [x / y for x, y in pairs]


def spread(values: list[float]) -> dict[str, float]:
    """Return median, minimum and maximum as `median`, `least` and `most`."""
    return {"median": statistics.median(values), "least": min(values), "most": max(values)}


def synchronise(device: torch.device) -> None:
    """Wait until a GPU has finished all work given to it."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
