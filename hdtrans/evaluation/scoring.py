"""Score a folder: pictures are read and measured beside each other, networks see them in batches."""

import os
import time
from collections import defaultdict, deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import cv2
import torch
from tqdm import tqdm

from hdtrans.common.errors import UserError
from hdtrans.data.folders import SampleFiles
from hdtrans.evaluation.metrics.base import Metric, Summary
from hdtrans.evaluation.pairs import Item, Places

_THREADS = 2  # that read and measure
_FAILURES = (UserError, OSError, MemoryError)


@dataclass
class Scores:
    """What was found.

    Attributes:
        summary: of all metrics.
        pictures: for each name what single numbers were measured of it.
        sizes: how many pictures have which size, `WIDTHxHEIGHT`.
        failed: names of pictures that could not be scored, and why.
        seconds: by metric, for a picture: of the processor for what is measured where files are read, of the clock for
            networks; `reading` and, of the clock for all together, `total`.
    """

    summary: Summary
    pictures: dict[str, dict[str, float]] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)


def score(places: Places, metrics: Sequence[Metric], batch_size: int = 4) -> Scores:
    """Measure every picture and sum up.

    Args:
        places: what is scored against what.
        metrics: what is measured.
        batch_size: pictures of one size that networks see at once.

    Raises:
        UserError: something has no partner, or no picture at all can be scored; the reason of the first is given.
    """
    samples = places.samples()
    job = _Job(places, metrics, batch_size)
    begun = time.perf_counter()
    with _shared_cores(bool(job.light)):
        job.run(samples)
    if not job.done:
        name, reason = next(iter(job.scores.failed.items()))
        raise UserError(f"none of {len(samples)} pictures can be scored; {name}: {reason}")
    job.sum_up(time.perf_counter() - begun)
    return job.scores


class _Job:
    """What has been measured so far."""

    def __init__(self, places: Places, metrics: Sequence[Metric], batch_size: int) -> None:
        self.places, self.batch_size, self.done = places, batch_size, 0
        self.metrics = metrics
        self.light = [metric for metric in metrics if not metric.batched]
        self.heavy = [metric for metric in metrics if metric.batched]
        self.measured: dict[str, list[Any]] = defaultdict(list)
        self.spent: dict[str, float] = defaultdict(float)
        self.scores = Scores(Summary())

    def run(self, samples: Sequence[SampleFiles]) -> None:
        """Read ahead and measure in threads; hand batches of one size to the networks here."""
        batch: list[Item] = []
        with tqdm(total=len(samples), unit=" pictures", disable=None) as bar:
            for item in self._items(samples, bar):
                if batch and (len(batch) == self.batch_size or _kind(item) != _kind(batch[0])):
                    self._measure(batch)
                    batch = []
                batch.append(item)
            if batch:
                self._measure(batch)

    def _items(self, samples: Sequence[SampleFiles], bar: "tqdm[Any]") -> Iterator[Item]:
        """Yield what was read and lightly measured; failures are noted."""
        pending = iter(samples)
        ahead: deque[tuple[SampleFiles, Future[tuple[Item, dict[str, Any], dict[str, float]]]]] = deque()
        with ThreadPoolExecutor(_THREADS) as threads:
            try:
                while True:
                    while len(ahead) < 2 * self.batch_size + _THREADS and (sample := next(pending, None)) is not None:
                        ahead.append((sample, threads.submit(self._read, sample)))
                    if not ahead:
                        return
                    sample, future = ahead.popleft()
                    bar.update()
                    try:
                        item, measured, spent = future.result()
                    except _FAILURES as error:
                        self.scores.failed[sample.name] = str(error) or "out of memory"
                        continue
                    self._note(item, measured, spent)
                    yield item
            finally:
                for _, future in ahead:
                    future.cancel()

    def _read(self, sample: SampleFiles) -> tuple[Item, dict[str, Any], dict[str, float]]:
        """Read one sample and measure what needs no network; return also the processor's time that each took."""
        clock = time.thread_time()
        item = self.places.read(sample)
        spent = {"reading": time.thread_time() - clock}
        measured = {}
        for metric in self.light:
            clock = time.thread_time()
            measured[metric.name] = metric.measure([item])[0]
            spent[metric.name] = time.thread_time() - clock
        return item, measured, spent

    def _note(self, item: Item, measured: dict[str, Any], spent: dict[str, float]) -> None:
        self.done += 1
        for name, seconds in spent.items():
            self.spent[name] += seconds
        for name, value in measured.items():
            self.measured[name].append(value)
        numbers = {name: value for name, value in measured.items() if isinstance(value, float)}
        if numbers:
            self.scores.pictures[item.name] = numbers
        if item.found is not None:
            size = f"{item.found.shape[1]}x{item.found.shape[0]}"
            self.scores.sizes[size] = self.scores.sizes.get(size, 0) + 1

    def _measure(self, batch: Sequence[Item]) -> None:
        for metric in self.heavy:
            clock = time.perf_counter()
            values = metric.measure(batch)
            self.spent[metric.name] += time.perf_counter() - clock
            self.measured[metric.name] += values
            for item, value in zip(batch, values, strict=True):
                if isinstance(value, float):
                    self.scores.pictures.setdefault(item.name, {})[metric.name] = value

    def sum_up(self, seconds: float) -> None:
        """Bring the figures of all metrics together."""
        whole = self.scores.summary
        for metric in self.metrics:
            one = metric.summary(self.measured[metric.name])
            whole.figures |= one.figures
            whole.classes |= {metric.name: one.classes} if one.classes else {}
            whole.warnings += one.warnings
            whole.left_out |= one.left_out
        self.scores.seconds = {name: spent / self.done for name, spent in self.spent.items()}
        self.scores.seconds["total"] = seconds / self.done


def _kind(item: Item) -> Any:
    """Return what the items of a batch have in common."""
    return [None if array is None else array.shape for array in (item.found, item.truth, item.label)]


@contextmanager
def _shared_cores(beside: bool) -> Iterator[None]:
    """Keep OpenCV to the threads that call it, and networks to all cores but one where much is measured beside them."""
    before = cv2.getNumThreads(), torch.get_num_threads()
    cv2.setNumThreads(1)
    if beside:  # where threads outnumber the cores, those of torch wait for each other
        torch.set_num_threads(max(1, min(before[1], (os.cpu_count() or 1) - 1)))
    try:
        yield
    finally:
        cv2.setNumThreads(before[0])
        torch.set_num_threads(before[1])
