"""Training samples and still samples as tensors, and the loader that brings them in batches."""

import atexit
import os
import signal
import weakref
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from hdtrans.common.errors import UserError
from hdtrans.config import LabelMaps, PicturePairs
from hdtrans.data.batch import FIELDS, Batch, Sample, collate
from hdtrans.data.folders import SampleFiles
from hdtrans.data.geometry import Geometry, plan
from hdtrans.data.header import FilePath, shown
from hdtrans.data.label_ids import check_label_ids
from hdtrans.data.order import sample_index, sample_random
from hdtrans.data.read import read_instance, read_label, read_picture

Array = npt.NDArray[Any]
_AS_IT_IS = Geometry()


class TrainingSamples(Dataset[Sample]):
    """Samples by counter: shuffled, cropped at random and mirrored, all of it from the seed and the counter.

    Args:
        files: the samples of the folder, as `find_samples` gives them; not empty.
        fields: which of their files are read.
        data: the section of the recipe; its `labels`, `ignore`, `flip` and `source_channels` count.
        geometry: how the files get to the size of the stage.
        seed: of the training.
        stage: the number of the stage, from 0.
    """

    def __init__(
        self,
        files: Sequence[SampleFiles],
        fields: Collection[str],
        data: LabelMaps | PicturePairs,
        geometry: Geometry,
        seed: int,
        stage: int,
    ) -> None:
        self._reader = SampleReader(files, fields, data)
        assert self._reader.fields >= set(fields), f"fields {set(fields) - self._reader.fields} have no files"
        self._geometry, self._flip, self._seed, self._stage = geometry, data.flip, seed, stage

    def __len__(self) -> int:
        """Return the number of files; counters go on beyond it, epoch after epoch."""
        return len(self._reader)

    def __getitem__(self, counter: int) -> Sample:
        """Read the sample with this counter.

        Raises:
            UserError: a file that cannot be read, files of different sizes, an id that is no class, or a crop that
                does not fit.
        """
        place = sample_index(self._seed, self._stage, counter, len(self))
        random = sample_random(self._seed, self._stage, counter, "geometry")
        return self._reader.read(place, counter, self._geometry, self._flip, random)


class StillSamples(Dataset[Sample]):
    """Samples by place, for sample grids and evaluation: crops are centred and nothing is mirrored.

    Args:
        files, fields, data: as for `TrainingSamples`; fields that the files lack are None in the samples.
        geometry: how the files get to their size; by default they stay as they are.
    """

    def __init__(
        self,
        files: Sequence[SampleFiles],
        fields: Collection[str],
        data: LabelMaps | PicturePairs,
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

    def __init__(self, files: Sequence[SampleFiles], fields: Collection[str], data: LabelMaps | PicturePairs) -> None:
        if not files:
            raise UserError(f"data.root {shown(data.root)}: no samples")
        wanted = set(fields)
        assert wanted <= set(FIELDS), f"fields {wanted}"
        self._names = _Texts([sample.name for sample in files])
        self._paths = {
            field: _Texts([sample.paths[field] for sample in files])
            for field in FIELDS
            if field in wanted and field in files[0].paths
        }
        self._labels = data.labels if isinstance(data, LabelMaps) else None
        self._ignore = data.ignore
        self._source_channels = data.source_channels if isinstance(data, PicturePairs) else 3

    @property
    def fields(self) -> frozenset[str]:
        """The fields that are read."""
        return frozenset(self._paths)

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self._names)

    def read(
        self, place: int, counter: int, geometry: Geometry, flip: bool, random: np.random.Generator | None
    ) -> Sample:
        """Read the sample at a place, bring it to its size and return it as tensors under the given counter."""
        paths = {field: texts[place] for field, texts in self._paths.items()}
        arrays = {field: self._read_field(field, path) for field, path in paths.items()}
        check_sizes(paths, {field: (array.shape[0], array.shape[1]) for field, array in arrays.items()})
        first = next(iter(arrays))
        height, width = arrays[first].shape[:2]
        try:
            drawn = plan(geometry, height, width, flip, random)
        except UserError as error:
            raise UserError(f"{shown(paths[first])}: {error}") from None
        tensors = {}
        for field, array in arrays.items():
            if array.ndim == 2:
                tensors[field] = torch.from_numpy(drawn.map(array))
            else:
                tensors[field] = torch.from_numpy(np.ascontiguousarray(drawn.picture(array).transpose(2, 0, 1)))
        return Sample(self._names[place], counter, **tensors)

    def _read_field(self, field: str, path: str) -> Array:
        if field == "label":
            label = read_label(path)
            if self._labels is not None:
                check_label_ids(label, self._labels, self._ignore, shown(path))
            return label
        if field == "instance":
            return read_instance(path)
        return read_picture(path, self._source_channels if field == "source" else 3)


def check_sizes(paths: Mapping[str, FilePath], sizes: Mapping[str, tuple[int, int]]) -> None:
    """Raise UserError if the files of one sample differ in (height, width), naming each with its size."""
    if len(set(sizes.values())) > 1:
        first = shown(next(iter(paths.values())))
        found = ", ".join(
            f"{field} {width}x{height} ({shown(paths[field])})" for field, (height, width) in sizes.items()
        )
        raise UserError(f"{first}: the files of this sample differ in size: {found}; make them equal")


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
            return collate([self._samples[place] for place in places])
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
        batches = super().__iter__()
        if self.num_workers:
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
    samples: Dataset[Sample], order: Sampler[list[int]] | Sequence[list[int]], workers: int, pin_memory: bool
) -> DataLoader[Batch]:
    """Return a loader that brings the batches of `order`.

    It draws nothing from torch's global generator. Its workers leave SIGINT and SIGTERM to the process that started
    them, so that it can still save. A UserError in a worker arrives as the same UserError.

    Args:
        samples: TrainingSamples or StillSamples.
        order: a list of counters for each batch.
        workers: processes that read; 0 reads in this one.
        pin_memory: whether batches come in pinned memory.
    """
    return _SampleLoader(
        _Batches(samples),
        batch_sampler=order,
        num_workers=workers,
        collate_fn=_as_it_is,
        pin_memory=pin_memory,
        worker_init_fn=_start_worker,
        generator=torch.Generator(),
    )


def _as_it_is(batch: Any) -> Any:
    return batch


def _start_worker(worker: int) -> None:
    """Leave signals to the parent, and one core to each worker."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
