"""Settings of a comparison, and the jobs of its processes, as plain values."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hdtrans.benchmark.plan import Plan
from hdtrans.config.stage import Size

ORIGINAL = "original"
_SMALLEST = (256, 128)  # width and height


@dataclass(frozen=True)
class Comparison(Plan):
    """Settings of a benchmark with rivals.

    Attributes:
        original: Python file with the 2018 way; None for `original_way.py` beside this file.
        growth: sizes at which hdtrans is also measured, smallest first; the first two in batches too, and training with
            two processes.
    """

    original: Path | None = None
    growth: Sequence[Size] = ()


@dataclass(frozen=True)
class Job:
    """Work of one process.

    Attributes:
        plan: settings of the comparison.
        what: `inference` or `training`.
        rival: `hdtrans` or `original`.
        rank: rank among processes that train together, in [0, world).
        world: number of processes that train together, >= 1.
        port: local TCP port where they meet, if world > 1.
    """

    plan: Comparison
    what: str
    rival: str
    rank: int = 0
    world: int = 1
    port: int = 0

    @property
    def name(self) -> str:
        """Name of the job in messages."""
        together = f", process {self.rank + 1} of {self.world}" if self.world > 1 else ""
        return f"{self.what} ({self.rival}{together})"


def sizes_up_to(size: Size) -> tuple[Size, ...]:
    """Return a size and its halves down to 256x128, smallest first."""
    sizes = [size]
    while sizes[0].width >= 2 * _SMALLEST[0] and sizes[0].height >= 2 * _SMALLEST[1]:
        sizes.insert(0, Size(width=sizes[0].width // 2, height=sizes[0].height // 2))
    return tuple(sizes)
