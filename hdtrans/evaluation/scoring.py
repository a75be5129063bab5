"""Score a folder: read and measure pictures in threads, run networks on batches."""

import time
from collections import defaultdict, deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass, field
from typing import Any

import cv2
import torch
from tqdm import tqdm

from hdtrans.common.cores import cores
from hdtrans.common.errors import UserError
from hdtrans.common.progress import progress
from hdtrans.data.folders import SampleFiles
from hdtrans.data.header_notes import InputNotes
from hdtrans.evaluation.metrics.base import Metric, Summary
from hdtrans.evaluation.pairs import Item, Places

_THREADS = 2  # threads that read and measure
_FAILURES = (UserError, OSError, MemoryError)


@dataclass
class Scores:
    """Scores of a folder.

    Attributes:
        summary: figures of all metrics together.
        pictures: single numbers of each picture, by name and metric.
        sizes: number of pictures by size, `WIDTHxHEIGHT`.
        failed: reasons of pictures that could not be scored, by name.
        seconds: seconds per picture by metric: processor time in reading threads, wall-clock time for networks; also
            `reading`, and `total` by the wall clock.
    """

    summary: Summary
    pictures: dict[str, dict[str, float]] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)


def score(places: Places, metrics: Sequence[Metric], batch_size: int = 4) -> Scores:
    """Measure every picture and sum up.

    Args:
        places: pictures, truth and label maps.
        metrics: metrics to measure.
        batch_size: pictures of one size per batch of a network, >= 1.

    Raises:
        UserError: a file has no partner, or no picture can be scored; the message has the first reason.
    """
    samples = places.samples()
    job = _Job(places, metrics, batch_size)
    begun = time.perf_counter()
    with _shared_cores(bool(job.light)):
        job.run(samples)
    job.notes.remark()
    if not job.done:
        name, reason = next(iter(job.scores.failed.items()))
        where = f"none of {len(samples)} pictures can be scored; {name}"
        raise (job.mistake or UserError(reason)).renamed({}, where)
    job.sum_up(time.perf_counter() - begun)
    return job.scores


class _Job:
    """Measurements so far, and the way to the next ones."""

    def __init__(self, places: Places, metrics: Sequence[Metric], batch_size: int) -> None:
        self.places, self.batch_size, self.done = places, batch_size, 0
        self.metrics = metrics
        self.light = [metric for metric in metrics if not metric.batched]
        self.heavy = [metric for metric in metrics if metric.batched]
        self.notes = InputNotes(places.specs, places.data.ignore if places.data else None)
        self.measured: dict[str, list[Any]] = defaultdict(list)
        self.spent: dict[str, float] = defaultdict(float)
        self.scores = Scores(Summary())
        self.mistake: UserError | None = None  # of the first picture, if it was one of the user's

    def run(self, samples: Sequence[SampleFiles]) -> None:
        """Read ahead and measure in threads; run networks on batches of one size here."""
        batch: list[Item] = []
        with progress(total=len(samples), unit=" pictures") as bar:
            for item in self._items(samples, bar):
                if batch and (len(batch) == self.batch_size or _shapes(item) != _shapes(batch[0])):
                    self._measure(batch)
                    batch = []
                batch.append(item)
            if batch:
                self._measure(batch)

    def _items(self, samples: Sequence[SampleFiles], bar: "tqdm[Any]") -> Iterator[Item]:
        """Yield items that are read and measured without networks; record failures."""
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
                        if not self.scores.failed and isinstance(error, UserError):
                            self.mistake = copy(error)  # without its traceback, which would keep arrays
                        self.scores.failed[sample.name] = str(error) or "out of memory"
                        continue
                    self._note(item, measured, spent)
                    yield item
            finally:
                for _, future in ahead:
                    future.cancel()

    def _read(self, sample: SampleFiles) -> tuple[Item, dict[str, Any], dict[str, float]]:
        """Read one sample and measure without networks; return the processor time of each step too."""
        clock = time.thread_time()
        item = self.places.read(sample)
        self.notes.add(sample.paths, item.arrays())
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
        """Combine the figures of all metrics."""
        whole = self.scores.summary
        for metric in self.metrics:
            one = metric.summary(self.measured[metric.name])
            whole.figures |= one.figures
            whole.classes |= {metric.name: one.classes} if one.classes else {}
            whole.warnings += one.warnings
            whole.left_out |= one.left_out
        self.scores.seconds = {name: spent / self.done for name, spent in self.spent.items()}
        self.scores.seconds["total"] = seconds / self.done


def _shapes(item: Item) -> Any:
    """Return the shapes that the items of a batch have in common."""
    return [None if array is None else array.shape for array in (item.found, item.truth, item.label)]


@contextmanager
def _shared_cores(beside: bool) -> Iterator[None]:
    """Give OpenCV one thread per caller, and networks all cores, or all but one beside the threads that measure."""
    before = cv2.getNumThreads(), torch.get_num_threads()
    cv2.setNumThreads(1)
    if beside:  # more threads than cores make those of torch wait for each other
        torch.set_num_threads(max(1, min(before[1], cores() - 1)))
    try:
        yield
    finally:
        cv2.setNumThreads(before[0])
        torch.set_num_threads(before[1])
