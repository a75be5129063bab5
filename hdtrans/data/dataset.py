"""Datasets of training and evaluation samples, and the loader that stacks them to batches."""

import atexit
import gc
import os
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
from hdtrans.common.stop_signals import held_back, leave_to_parent
from hdtrans.data.batch import Batch, Sample, collate
from hdtrans.data.fields import kind_of
from hdtrans.data.folders import SampleFiles, check_sizes, side_paths
from hdtrans.data.geometry import Geometry, plan
from hdtrans.data.io.header import shown
from hdtrans.data.kinds.base import DataKind
from hdtrans.data.order import file_index, sample_random
from hdtrans.data.shared_memory import Sent, make_socket_folder

Array = npt.NDArray[Any]
RngFactory = Callable[[str], np.random.Generator]
"""Random generator of a sample for a purpose."""
_UNCHANGED = Geometry()
_MOST_TRIES = 16  # so many bad samples in a row end the run


class TrainingSamples(Dataset[Sample]):
    """Training samples by index: shuffled, cropped at random and mirrored, as a function of seed and index.

    Args:
        files: samples of the folder, as `find_samples` returns them; not empty.
        fields: names of the fields to load.
        data: section `data` of the recipe.
        geometry: scaling and cropping to the size of the stage.
        seed: run seed, >= 0.
        stage: number of the stage, from 0.
        skip_bad: replace a sample that cannot be used by the next one.
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
        """Return the number of files; indices continue beyond it, epoch after epoch."""
        return len(self._reader)

    def __getitem__(self, index: int) -> Sample:
        """Load a sample.

        Raises:
            UserError: a file cannot be read, files differ in size, an id is no class, or a crop does not fit; with
                `skip_bad`, only after 16 such samples in a row.
        """
        rng = partial(sample_random, self._seed, self._stage, index)
        problems: list[str] = []
        for later in range(index, index + self._tries):
            place = file_index(self._seed, self._stage, later, len(self))
            try:
                sample = self._reader.read(place, index, self._geometry, self._flip, rng)
            except UserError as error:
                if self._tries == 1:
                    raise
                problems.append(str(error))
            else:
                return replace(sample, left_out=tuple(problems))
        raise UserError(f"{problems[0]}\nnor could the {self._tries - 1} samples after it be used")


class EvalDataset(Dataset[Sample]):
    """Samples for previews and evaluation, in order: crops are centred, nothing is mirrored.

    Args:
        files, fields, data: see `TrainingSamples`; samples lack the fields whose files are missing.
        geometry: scaling and cropping; by default none.
    """

    def __init__(
        self,
        files: Sequence[SampleFiles],
        fields: Collection[str],
        data: DataKind,
        geometry: Geometry = _UNCHANGED,
    ) -> None:
        self._reader = SampleReader(files, fields, data)
        self._geometry = geometry

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self._reader)

    def __getitem__(self, place: int) -> Sample:
        """Load the sample at a place, which is its index too; raise as `TrainingSamples`, and IndexError at the end."""
        if not 0 <= place < len(self):
            raise IndexError(place)
        return self._reader.read(place, place, self._geometry, False, None)


class SampleReader:
    """Load and check the files of samples; paths are kept as numpy bytes, whose memory workers share."""

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
        """Fields that can be made from the files."""
        return frozenset(field for field in self._wanted if set(self._data.files_for([field])) <= self._paths.keys())

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self._names)

    def read(self, place: int, index: int, geometry: Geometry, flip: bool, rng: RngFactory | None) -> Sample:
        """Load the sample at a place, scaled and cropped, as tensors; `rng` is None for evaluation."""
        if not self._data.paired:
            return self._read_unpaired(place, index, geometry, flip, rng)
        paths = {name: texts[place] for name, texts in self._paths.items()}
        tensors = self._tensors(paths, geometry, flip, rng, "geometry")
        return Sample(self._names[place], index, tensors, tuple(paths.values()))

    def _read_unpaired(self, place: int, index: int, geometry: Geometry, flip: bool, rng: RngFactory | None) -> Sample:
        """Load the file at a place of the longer side and one drawn from the other, each with its own geometry."""
        longer = max(self._paths, key=lambda name: len(self._paths[name]))
        names: list[str] = []
        files: list[str] = []
        tensors: dict[str, Any] = {}
        for name, texts in self._paths.items():
            other = place % len(texts) if rng is None else int(rng("partner").random() * len(texts))
            path = texts[place if name == longer else other]
            purpose = "geometry" if name == "source" else f"geometry of {name}"
            tensors |= self._tensors({name: path}, geometry, flip, rng, purpose)
            files.append(path)
            names.append(os.path.splitext(os.path.basename(path))[0])
        return Sample(", ".join(dict.fromkeys(names)), index, tensors, tuple(files))

    def _tensors(
        self, paths: Mapping[str, str], geometry: Geometry, flip: bool, rng: RngFactory | None, purpose: str
    ) -> dict[str, torch.Tensor]:
        data = self._data
        arrays = data.read_files(paths)
        # A field that is made from another file (half of a pair) has the kind of its own spec.
        sizes = {
            name: (array.shape[0], array.shape[1])
            for name, array in arrays.items()
            if name not in data.files or kind_of(data.files[name]).spatial
        }
        check_sizes(paths, sizes)
        height, width = next(iter(sizes.values()))
        try:
            drawn = plan(geometry, height, width, flip, None if rng is None else rng(purpose))
        except UserError as error:
            raise UserError(error.finding, path=next(iter(paths.values())), advice=error.advice) from None
        sized = {}
        for name, array in arrays.items():
            kind = kind_of(data.files.get(name) or data.fields[name])
            sized[name] = kind.moved(drawn, array, (height, width), data.mirrored_points(name))
        made = data.make(sized, self._wanted, None if rng is None else rng("fields"))
        return {name: torch.from_numpy(x if x.ndim != 3 else _channels_first(x)) for name, x in made.items()}


def _channels_first(picture: Array) -> Array:
    """Return (H, W, C) as contiguous (C, H, W); OpenCV splits 3 channels of 8 bits several times as fast as numpy."""
    if picture.dtype != np.uint8 or picture.shape[2] != 3:
        return np.ascontiguousarray(picture.transpose(2, 0, 1))
    planes = np.empty((3, *picture.shape[:2]), np.uint8)
    cv2.split(picture, list(planes))
    return planes


class _Texts:
    """List of texts in two numpy arrays: no reference counts, whose changes would copy shared pages."""

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
    """Error that a worker sends in place of a batch; torch would wrap it into a traceback if it were raised."""

    error: UserError


class _Batches(Dataset[Any]):
    """Dataset of whole batches, each a `Batch` (of a worker, a `Sent` one) or a `_Refusal`."""

    def __init__(self, samples: Dataset[Sample]) -> None:
        self._samples = samples

    def __getitems__(self, places: list[int]) -> Batch | Sent | _Refusal:
        """Load and stack samples; called by the loader in place of `__getitem__`."""
        try:
            batch = collate([self._samples[place] for place in places])
        except UserError as error:
            return _Refusal(error)
        if get_worker_info() is None:
            return batch
        try:
            return Sent(batch.shareable())
        except (OSError, RuntimeError) as error:  # too many open files, too little memory
            ways = ["give fewer training.workers", "give training.workers=0, which hands nothing over"]
            return _Refusal(UserError(f"a data worker cannot hand a batch over: {error}", advice=ways))


_LIVING: weakref.WeakSet[Any] = weakref.WeakSet()  # iterators of torch that have worker processes


class _SampleLoader(DataLoader[Any]):
    """Loader that raises the errors of its workers and stops the workers itself.

    Workers that ignore SIGTERM outlive torch's last resort (`terminate`), and Python waits for them for ever when it
    ends. So they are stopped as soon as the iteration ends, in whatever way, and at the latest at exit.
    """

    def __iter__(self) -> Iterator[Batch]:  # type: ignore[override]
        """Start the workers and yield the batches."""
        if not self.num_workers:
            return _raising(super().__iter__())
        with held_back():  # until the workers ignore them (`_start_worker`)
            batches = super().__iter__()
        _LIVING.add(batches)
        atexit.unregister(_stop_all)
        atexit.register(_stop_all)  # again, to run before what torch registered for these workers
        return _raising(batches)


def _raising(batches: Any) -> Iterator[Batch]:
    try:
        for batch in batches:
            if isinstance(batch, _Refusal):
                raise batch.error
            yield batch.received() if isinstance(batch, Sent) else batch
    except (ConnectionError, EOFError) as error:  # the worker died while it handed a batch over
        raise _lost(f"a worker hung up ({error})") from error
    finally:
        _stop_workers(batches)


def _stop_workers(batches: Any) -> None:
    """Stop the workers of an iterator now, in this thread.

    In the garbage collector, torch may do so in the very thread that has to send them the message.
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
    """Return a loader of the batches of `order`.

    It draws nothing from torch's global generator. Its workers leave signals that ask to stop to the
    process that started them, so that it can still save. A UserError in a worker arrives as the same UserError.
    Iterate inside `workers_watched`, which reports a worker that died.

    Args:
        samples: `TrainingSamples` or `EvalDataset`.
        order: list of sample indices for each batch.
        workers: number of loading processes; 0 loads in this one.
        pin_memory: return batches in pinned memory.
        timeout: seconds to wait for a batch from a worker; 0 waits for ever.
    """
    if workers:
        make_socket_folder()
        _keep_objects_shared()
    return _SampleLoader(
        _Batches(samples),
        batch_sampler=order,
        num_workers=workers,
        collate_fn=_unchanged,
        pin_memory=pin_memory,
        timeout=timeout if workers else 0,
        worker_init_fn=_start_worker,
        generator=torch.Generator(),
    )


def _keep_objects_shared() -> None:
    """Exclude all present objects from garbage collection until the next loader is made.

    The collector writes into every object that it visits, which would copy the memory that this process shares with its
    workers (76 MiB of a small run).
    """
    gc.unfreeze()
    gc.collect()
    gc.freeze()
    atexit.register(gc.unfreeze)  # libraries that list leaks at exit would list all of them


@contextmanager
def workers_watched() -> Iterator[None]:
    """Turn torch's error about a worker that died or hangs, which comes at any moment, into ProcessError."""
    try:
        yield
    except RuntimeError as error:
        if not str(error).startswith("DataLoader"):
            raise
        raise _lost(str(error).splitlines()[0].rstrip(".")) from error


def _lost(reason: str) -> ProcessError:
    return ProcessError(
        f"a data worker is lost: {reason}. If it was killed, memory may be short: try fewer training.workers; if it "
        "hangs, look at the disk that holds the data (training.timeouts.step says how long to wait). Run the same "
        "command again to go on from the last checkpoint"
    )


def _unchanged(batch: Any) -> Any:
    return batch


def _start_worker(worker: int) -> None:
    """Ignore the parent's signals, pending ones too, and compute on one thread."""
    leave_to_parent()
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
