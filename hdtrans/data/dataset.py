"""Training samples and still samples as tensors, and the loader that brings them in batches."""

import atexit
import gc
import os
import signal
import weakref
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import DataLoader, Dataset, Sampler, get_worker_info

from hdtrans.common.errors import ProcessError, UserError
from hdtrans.data.batch import Batch, Sample, collate
from hdtrans.data.fields import kind_of
from hdtrans.data.folders import SampleFiles, check_sizes, side_paths
from hdtrans.data.geometry import Geometry, plan
from hdtrans.data.io.header import shown
from hdtrans.data.kinds.base import DataKind
from hdtrans.data.order import sample_index, sample_random

Array = npt.NDArray[Any]
Draw = Callable[[str], np.random.Generator]
"""Gives the random generator of a sample for a purpose."""
_AS_IT_IS = Geometry()
_MOST_TRIES = 16  # a folder in which that many samples in a row are bad is not one to go on with


class TrainingSamples(Dataset[Sample]):
    """Samples by counter: shuffled, cropped at random and mirrored, all of it from the seed and the counter.

    Args:
        files: the samples of the folder, as `find_samples` gives them; not empty.
        fields: which of their files are read.
        data: the section of the recipe, which says what the fields are made of.
        geometry: how the files get to the size of the stage.
        seed: of the training.
        stage: the number of the stage, from 0.
        skip_bad: whether the sample of a later counter stands in for one that cannot be used.
    """

    def __init__(
        self,
        files: Sequence[SampleFiles],
        fields: Collection[str],
        data: DataKind,
        geometry: Geometry,
        seed: int,
        stage: int,
        skip_bad: bool = False,
    ) -> None:
        self._reader = SampleReader(files, fields, data)
        self._geometry, self._flip, self._seed, self._stage = geometry, data.flip, seed, stage
        self._tries = _MOST_TRIES if skip_bad else 1

    def __len__(self) -> int:
        """Return the number of files; counters go on beyond it, epoch after epoch."""
        return len(self._reader)

    def __getitem__(self, counter: int) -> Sample:
        """Read the sample with this counter.

        Raises:
            UserError: a file that cannot be read, files of different sizes, an id that is no class, or a crop that
                does not fit; with `skip_bad`, only after 16 in a row.
        """
        draw = partial(sample_random, self._seed, self._stage, counter)
        problems: list[str] = []
        for later in range(counter, counter + self._tries):
            place = sample_index(self._seed, self._stage, later, len(self))
            try:
                sample = self._reader.read(place, counter, self._geometry, self._flip, draw)
            except UserError as error:
                problems.append(str(error))
            else:
                return replace(sample, left_out=tuple(problems))
        others = f"\nand so could not the {self._tries - 1} samples after it" if self._tries > 1 else ""
        raise UserError(problems[0] + others)


class EvalDataset(Dataset[Sample]):
    """Samples by place, for sample grids and evaluation: crops are centred and nothing is mirrored.

    Args:
        files, fields, data: as for `TrainingSamples`; samples lack the fields whose files are missing.
        geometry: how the files get to their size; by default they stay as they are.
    """

    def __init__(
        self,
        files: Sequence[SampleFiles],
        fields: Collection[str],
        data: DataKind,
        geometry: Geometry = _AS_IT_IS,
    ) -> None:
        self._reader = SampleReader(files, fields, data)
        self._geometry = geometry

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self._reader)

    def __getitem__(self, place: int) -> Sample:
        """Read the sample at a place; its counter is the place. Raises as `TrainingSamples`, IndexError at the end."""
        if not 0 <= place < len(self):
            raise IndexError(place)
        return self._reader.read(place, place, self._geometry, False, None)


class SampleReader:
    """Read and check the files of samples. The lists of paths are numpy bytes, so that workers share their memory."""

    def __init__(self, files: Sequence[SampleFiles], fields: Collection[str], data: DataKind) -> None:
        if not files:
            raise UserError(f"data.root {shown(data.root)}: no samples")
        self._wanted, self._data = frozenset(fields), data
        self._names = _Texts([sample.name for sample in files])
        there = [role for role in data.files_for(fields) if role in files[0].paths]
        self._paths = {name: _Texts([sample.paths[name] for sample in files]) for name in there}
        if not data.paired:
            self._paths = {name: _Texts(side_paths(files, name)) for name in there}

    @property
    def fields(self) -> frozenset[str]:
        """The fields that there are files for."""
        return frozenset(field for field in self._wanted if set(self._data.files_for([field])) <= self._paths.keys())

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self._names)

    def read(self, place: int, counter: int, geometry: Geometry, flip: bool, draw: Draw | None) -> Sample:
        """Read the sample at a place, bring it to its size and return it as tensors under the given counter."""
        if not self._data.paired:
            return self._read_unpaired(place, counter, geometry, flip, draw)
        paths = {name: texts[place] for name, texts in self._paths.items()}
        tensors = self._tensors(paths, geometry, flip, draw, "geometry")
        return Sample(self._names[place], counter, tensors, tuple(paths.values()))

    def _read_unpaired(self, place: int, counter: int, geometry: Geometry, flip: bool, draw: Draw | None) -> Sample:
        """Read the file at a place of the longer side and one drawn from the other; each has a geometry of its own."""
        longer = max(self._paths, key=lambda name: len(self._paths[name]))
        names: list[str] = []
        files: list[str] = []
        tensors: dict[str, Any] = {}
        for name, texts in self._paths.items():
            other = place % len(texts) if draw is None else int(draw("partner").random() * len(texts))
            path = texts[place if name == longer else other]
            purpose = "geometry" if name == "source" else f"geometry of {name}"
            tensors |= self._tensors({name: path}, geometry, flip, draw, purpose)
            files.append(path)
            names.append(os.path.splitext(os.path.basename(path))[0])
        return Sample(", ".join(dict.fromkeys(names)), counter, tensors, tuple(files))

    def _tensors(
        self, paths: Mapping[str, str], geometry: Geometry, flip: bool, draw: Draw | None, purpose: str
    ) -> dict[str, torch.Tensor]:
        data = self._data
        arrays = data.read_files(paths)
        # A field made of another file (half of a pair) is checked under the file's own role.
        sizes = {
            name: (array.shape[0], array.shape[1])
            for name, array in arrays.items()
            if name not in data.files or kind_of(data.files[name]).spatial
        }
        check_sizes(paths, sizes)
        height, width = next(iter(sizes.values()))
        try:
            drawn = plan(geometry, height, width, flip, None if draw is None else draw(purpose))
        except UserError as error:
            raise UserError(str(error), path=next(iter(paths.values()))) from None
        sized = {}
        for name, array in arrays.items():
            kind = kind_of(data.files.get(name) or data.fields[name])
            sized[name] = kind.moved(drawn, array, (height, width), data.mirrored_points(name))
        made = data.make(sized, self._wanted, None if draw is None else draw("fields"))
        return {name: torch.from_numpy(x if x.ndim != 3 else _channels_first(x)) for name, x in made.items()}


def _channels_first(picture: Array) -> Array:
    """Return (H, W, C) as (C, H, W), copied; 3 channels of 8 bits by OpenCV, which is several times as fast."""
    if picture.dtype != np.uint8 or picture.shape[2] != 3:
        return np.ascontiguousarray(picture.transpose(2, 0, 1))
    planes = np.empty((3, *picture.shape[:2]), np.uint8)
    cv2.split(picture, list(planes))
    return planes


class _Texts:
    """A list of texts in two numpy arrays: reading from it touches no reference count, which would copy its memory."""

    def __init__(self, texts: Iterable[str]) -> None:
        encoded = [os.fsencode(text) for text in texts]
        self._bytes = np.frombuffer(b"".join(encoded), np.uint8)
        self._ends = np.cumsum([0, *(len(text) for text in encoded)])

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __getitem__(self, place: int) -> str:
        return os.fsdecode(self._bytes[self._ends[place] : self._ends[place + 1]].tobytes())


@dataclass(frozen=True)
class _Refusal:
    """What a worker sends in the place of a batch: torch would wrap an error's message into a traceback."""

    message: str


class _Batches(Dataset[Any]):
    """A dataset whose fetching gives a batch or a refusal."""

    def __init__(self, samples: Dataset[Sample]) -> None:
        self._samples = samples

    def __getitems__(self, places: list[int]) -> Batch | _Refusal:
        """Read and stack samples; called by the loader in place of `__getitem__`."""
        try:
            batch = collate([self._samples[place] for place in places])
            return batch if get_worker_info() is None else batch.shareable()
        except UserError as error:
            return _Refusal(str(error))


_LIVING: weakref.WeakSet[Any] = weakref.WeakSet()  # iterators of torch that have worker processes


class _SampleLoader(DataLoader[Any]):
    """A loader that raises what a worker refused, and stops its workers itself.

    Workers that ignore SIGTERM outlive torch's last resort (`terminate`), and Python waits for them for ever when it
    ends. So they are told to stop as soon as the iteration ends, in whatever way, and at the latest at exit.
    """

    def __iter__(self) -> Iterator[Batch]:  # type: ignore[override]
        """Start the workers and go over the batches."""
        if not self.num_workers:
            return _raising(super().__iter__())
        # Workers are born with these blocked, until they have said that they ignore them.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _left_to_the_parent())
        try:
            batches = super().__iter__()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        _LIVING.add(batches)
        atexit.unregister(_stop_all)
        atexit.register(_stop_all)  # again, to run before what torch registered for these workers
        return _raising(batches)


def _raising(batches: Any) -> Iterator[Batch]:
    try:
        for batch in batches:
            if isinstance(batch, _Refusal):
                raise UserError(batch.message)
            yield batch
    except (ConnectionError, EOFError) as error:  # the worker died while it handed a batch over
        raise _lost(f"a worker hung up ({error})") from error
    finally:
        _stop_workers(batches)


def _stop_workers(batches: Any) -> None:
    """Let the workers of an iterator end now, in this thread.

    Left to the garbage collector, torch may do it in the very thread that would have to send them the word.
    """
    if batches in _LIVING:
        _LIVING.discard(batches)
        batches._shutdown_workers()
        for worker in batches._workers:
            if worker.is_alive():
                worker.kill()


def _stop_all() -> None:
    for batches in list(_LIVING):
        _stop_workers(batches)


def make_loader(
    samples: Dataset[Sample],
    order: Sampler[list[int]] | Sequence[list[int]],
    workers: int,
    pin_memory: bool,
    timeout: float = 0,
) -> DataLoader[Batch]:
    """Return a loader that brings the batches of `order`.

    It draws nothing from torch's global generator. Its workers leave SIGINT, SIGTERM and SIGUSR1 to the process that
    started them, so that it can still save. A UserError in a worker arrives as the same UserError; go over the batches
    inside `workers_watched` to be told of one that died.

    Args:
        samples: TrainingSamples or EvalDataset.
        order: a list of counters for each batch.
        workers: processes that read; 0 reads in this one.
        pin_memory: whether batches come in pinned memory.
        timeout: seconds to wait for a batch from a worker, 0 for ever.
    """
    if workers:
        _keep_objects_shared()
    return _SampleLoader(
        _Batches(samples),
        batch_sampler=order,
        num_workers=workers,
        collate_fn=_as_it_is,
        pin_memory=pin_memory,
        timeout=timeout if workers else 0,
        worker_init_fn=_start_worker,
        generator=torch.Generator(),
    )


def _keep_objects_shared() -> None:
    """Let the garbage collector leave alone what there is now, until the next loader is made.

    It writes into every object that it looks at, and so would give this process, sooner or later, a copy of its own of
    all the memory that it shares with its workers (76 MiB of a small run).
    """
    gc.unfreeze()
    gc.collect()
    gc.freeze()
    atexit.register(gc.unfreeze)  # else libraries that look at the end for what is left over find all of it


@contextmanager
def workers_watched() -> Iterator[None]:
    """Turn torch's error about a worker that died or hangs, which comes at any moment, into a ProcessError."""
    try:
        yield
    except RuntimeError as error:
        if not str(error).startswith("DataLoader"):
            raise
        raise _lost(str(error).splitlines()[0].rstrip(".")) from error


def _lost(told: str) -> ProcessError:
    return ProcessError(
        f"a data worker is lost: {told}. If it was killed, memory may be short: try fewer training.workers; if it "
        "hangs, look at the disk that holds the data (training.timeouts.step says how long to wait). Run the same "
        "command again to go on from the last checkpoint"
    )


def _as_it_is(batch: Any) -> Any:
    return batch


def _left_to_the_parent() -> tuple[signal.Signals, ...]:
    return signal.SIGINT, signal.SIGTERM, signal.SIGUSR1


def _start_worker(worker: int) -> None:
    """Leave signals to the parent, those too that came since the worker was born, and one core to each worker."""
    for number in _left_to_the_parent():
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _left_to_the_parent())
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
