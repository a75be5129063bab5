"""Time and memory of rivals that take turns, so that what else the machine does falls on all of them alike."""

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch

from hdtrans.engine.freed_memory import keep_freed_memory
from hdtrans.inference.memory import resident

Work = Callable[[], object]


@dataclass
class Took:
    """What one rival took, call by call.

    Attributes:
        seconds: of the clock.
        cpu: seconds of all cores.
        memory: bytes beyond those that were taken before the call, at most; of the GPU where one computes.
    """

    seconds: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    memory: list[int] = field(default_factory=list)

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
    return took


def ratios(slower: Took, faster: Took, cpu: bool = False) -> list[float]:
    """Return how many times as long the first took, round by round, by the clock or by the time of all cores."""
    pairs = zip(slower.cpu, faster.cpu, strict=True) if cpu else zip(slower.seconds, faster.seconds, strict=True)
    return [a / b for a, b in pairs]


def _measure(work: Work, took: Took, device: torch.device, ours: bool) -> None:
    wait(device)
    if device.type == "cpu":
        keep_freed_memory(ours)
    before = _reset_peak(device)
    start, start_cpu = time.perf_counter(), time.process_time()
    work()
    wait(device)
    took.seconds.append(time.perf_counter() - start)
    took.cpu.append(time.process_time() - start_cpu)
    took.memory.append(max(0, _peak(device) - before))


def wait(device: torch.device) -> None:
    """Wait for a GPU to finish what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _reset_peak(device: torch.device) -> int:
    """Forget the peak until now; return the bytes that are taken."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return torch.cuda.memory_allocated(device)
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:  # another system, or one that forbids it: the peak is then that of the whole run
        return 0
    return resident()


def _peak(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM:")), 0)
