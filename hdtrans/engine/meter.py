"""Mean losses between two log lines, summed on the device, and the time spent waiting for data."""

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from hdtrans.data.batch import Batch
from hdtrans.engine.distributed import Processes


class Meter:
    """Sum of losses without a host-device sync; `flush` returns their means.

    Attributes:
        speed: seconds since the start, images per second and share of waiting, as of the last `flush`.
        left_out: faults of the files left out since the last `take_left_out`.
    """

    def __init__(self) -> None:
        self.speed: dict[str, float] = {}
        self.left_out: list[str] = []
        self._started = time.monotonic()
        self._clear()

    def _clear(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._counts: dict[str, int] = {}
        self._images = 0
        self._waited = 0.0
        self._since = time.monotonic()

    @property
    def waiting_share(self) -> float:
        """Share of the time spent waiting for data, in [0, 1], since the last `flush`."""
        return self._waited / max(1e-9, time.monotonic() - self._since)

    def waiting(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        """Iterate over the batches, counting the time until each arrives."""
        iterator = iter(batches)
        while True:
            start = time.monotonic()
            batch = next(iterator, None)
            self._waited += time.monotonic() - start
            if batch is None:
                return
            yield batch

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Exclude the time inside from images per second and the share of waiting; `seconds` includes it."""
        start = time.monotonic()
        yield
        self._since += time.monotonic() - start

    def add(self, losses: dict[str, Tensor], images: int) -> None:
        """Add the losses of one batch.

        Args:
            losses: scalars on the device, by name.
            images: images of the batch, over all processes.
        """
        for name, loss in losses.items():
            value = loss.double() if loss.device.type == "cpu" else loss.float()
            self._sums[name] = self._sums[name] + value if name in self._sums else value
            self._counts[name] = self._counts.get(name, 0) + 1
        self._images += images

    def take_left_out(self) -> list[str]:
        """Return the faults of files left out since the last call."""
        left_out, self.left_out = self.left_out, []
        return left_out

    def flush(self, processes: Processes) -> dict[str, float]:
        """Return the mean losses over batches and processes, waiting for the device; set `speed`, and start anew."""
        names = list(self._sums)
        means: dict[str, float] = {}
        if names:
            mean = torch.stack([self._sums[name] / self._counts[name] for name in names])
            means = dict(zip(names, processes.mean(mean).tolist(), strict=True))
        seconds = time.monotonic() - self._since
        self.speed = {
            "seconds": round(time.monotonic() - self._started, 3),
            "images_per_second": round(self._images / max(seconds, 1e-9), 4),
            "data_waiting": round(self.waiting_share, 4),
        }
        self._clear()
        return means
