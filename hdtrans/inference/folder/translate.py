"""Translate a folder: every input, whole pictures, nothing twice, and one bad file stops no other.

Threads read ahead and write behind while the model works; processes that torchrun started share the inputs.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from copy import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from hdtrans.common import pages
from hdtrans.common.cores import own_cores
from hdtrans.common.errors import Advice, UserError, shown
from hdtrans.common.freed_memory import keep_freed_memory
from hdtrans.config.recipe import Recipe
from hdtrans.data.folders import SampleFiles
from hdtrans.data.io.read import read_label, read_picture
from hdtrans.data.io.shards import on_disk
from hdtrans.engine.distributed import Processes
from hdtrans.inference.folder.files import REFERENCE, Folders, check_results
from hdtrans.inference.folder.finished import TRUTH, Digests, Finished, claim, collect, input_digests
from hdtrans.inference.folder.outcome import Outcome
from hdtrans.inference.folder.results import file_ending, oddity, thinned, to_look_at, write_result
from hdtrans.inference.folder.style_source import Reference, StyleSource
from hdtrans.inference.folder.video import write_video
from hdtrans.inference.memory import is_out_of_memory, peak_memory
from hdtrans.inference.styles.objects import Objects
from hdtrans.inference.translator import Picture, Translator

# Threads that read, and that write. To pack a picture of 2048x1024 as PNG takes a core twenty times as long as a GPU to
# make it; a model that computes on the CPU has the cores itself.
_READERS, _WRITERS = 2, 2
_MOST_WRITERS, _WRITERS_A_READER = 16, 4
_FAILURES = (UserError, OSError, MemoryError)

Result = Callable[[], Picture]
"""Waits for a picture that a GPU makes, and gives it."""


@dataclass(frozen=True)
class _Read:
    """One input as it was read.

    Attributes:
        sample, digests: its files.
        inputs: what the model needs.
        truth: the true picture, if it is there.
        objects: what takes a feature of its own, where the model takes a style.
        reference: what the style is taken from, if from a picture.
    """

    sample: SampleFiles
    digests: Digests
    inputs: dict[str, Any]
    truth: Picture | None
    objects: Objects | None
    reference: Reference | None

    @property
    def size(self) -> tuple[tuple[int, ...], ...]:
        """What the inputs of one batch have in common."""
        return tuple((array.shape, array.dtype.str) for array in self.inputs.values())


def translate_folder(
    translator: Translator,
    folders: Folders,
    batch_size: int = 1,
    frames_per_second: float | None = None,
    processes: Processes | None = None,
) -> Outcome:
    """Translate every input into `out`, then write `index.html` with inputs, results and true pictures.

    Several samples of each input go to `sample_0`, `sample_1`, ... in `out`.

    A picture whose inputs have the SHA-256 that stands in `finished.jsonl` is not made again, nor touched. Several
    processes share the work.

    Args:
        translator: the model.
        folders: the inputs, and where results go.
        batch_size: how many inputs of one size, at most, are translated together.
        frames_per_second: of a video of all results, `video.mp4` beside them; None for no video.
        processes: that share the inputs; None for this one alone.

    Raises:
        UserError: there are no inputs, `out` holds the pictures of another model or something else, or a result would
            lie outside it or on another one.
    """
    processes = processes or Processes()
    if translator.max_memory is None:
        keep_freed_memory()
    job = _Job(translator, folders, batch_size)
    processes.on_first(lambda: claim(folders.out, job.note()))
    job.finished = Finished(folders.out, processes.rank)
    try:
        job.run(job.samples[processes.rank :: processes.world], processes.first)
    except KeyboardInterrupt:
        if processes.first:
            job.write_page()
        raise
    job.outcome.memory = peak_memory(translator.device)
    for other in processes.gather(job.outcome)[1:]:
        job.outcome.add(other)
    if processes.first:
        collect(folders.out)
        job.write_page()
        if frames_per_second is not None:
            job.write_videos(frames_per_second)
    return job.outcome


class _Job:
    """One process's share of a folder."""

    finished: Finished

    def __init__(self, translator: Translator, folders: Folders, batch_size: int) -> None:
        data = translator.data
        self.translator, self.folders, self.batch_size = translator, folders, batch_size
        self.readers, self.writers = _threads(translator.device)
        self.style = StyleSource(translator, folders)
        self.samples = folders.samples(data, translator.given, translator.method.style)
        self.holds_truth = data.holds_truth(folders.ready)
        if folders.truth is not None and self.holds_truth:
            ways = ("leave it out", Advice("ready"))
            raise UserError("the inputs hold the true pictures", argument="truth", path=folders.truth, advice=ways)
        self.result = data.result(translator.target)
        self.ending = file_ending(self.channels, folders.ending)
        check_results(
            folders.out,
            [
                (shown(s.name), [path for n in self._numbers for path in (self.target(s, n), self._small(s, n))])
                for s in self.samples
            ],
        )
        note = data.ready_note if self.holds_truth else ""
        width = _trained_width(translator.recipe)
        self.outcome = Outcome(folders.out / "index.html", trained_width=width, note=note)

    def run(self, samples: Sequence[SampleFiles], show: bool) -> None:
        """Translate samples; what was finished when this is interrupted stays."""
        with (
            tqdm(total=len(samples), unit=" pictures", disable=None if show else True) as bar,
            ThreadPoolExecutor(self.readers) as readers,
            ThreadPoolExecutor(self.writers) as writers,
        ):
            writing: deque[tuple[_Read, Future[str]]] = deque()
            try:
                for batch in self._batches(readers, samples, bar):
                    results = self._translate(batch)
                    for read, result in zip(batch, results, strict=True):
                        writing.append((read, writers.submit(self._write, read, result)))
                    while len(writing) > max(2 * self.batch_size, self.writers):
                        self._finish(*writing.popleft(), bar)
            finally:
                for read, future in writing:
                    self._finish(read, future, bar)

    def _batches(
        self, readers: ThreadPoolExecutor, samples: Sequence[SampleFiles], bar: "tqdm[Any]"
    ) -> Iterator[list[_Read]]:
        """Yield what was read, neighbours of one size together; failures and what is there already are noted."""
        ahead: deque[tuple[SampleFiles, Future[_Read | None]]] = deque()
        pending = iter(samples)
        batch: list[_Read] = []
        while True:
            while len(ahead) <= max(2 * self.batch_size, self.readers) and (sample := next(pending, None)) is not None:
                ahead.append((sample, readers.submit(self._read, sample)))
            if not ahead:
                break
            sample, future = ahead.popleft()
            try:
                read = future.result()
            except _FAILURES as error:
                self._fail(sample, error, bar)
                continue
            if read is None:
                self.outcome.passed_over.append(sample.name)
                bar.update()
                continue
            if batch and (len(batch) == self.batch_size or read.size != batch[0].size):
                yield batch
                batch = []
            batch.append(read)
        if batch:
            yield batch

    def _read(self, sample: SampleFiles) -> _Read | None:
        """Return a sample's inputs; None where its picture is finished."""
        digests = input_digests(sample)
        if self.finished.has(sample.name, digests) and all(self.target(sample, n).is_file() for n in self._numbers):
            return None
        inputs, truth = read_inputs(self.translator, sample, self.folders.ready)
        if TRUTH in sample.paths:
            path = sample.paths[TRUTH]
            truth = read_picture(path, self.channels) if self.channels else read_label(path)
        given = inputs[self.translator.lead.name]
        width = self.outcome.trained_width
        if width and not 2 / 3 <= given.shape[1] / width <= 3 / 2:
            self.outcome.far.append(sample.name)
        ready = self.translator.check(**inputs)
        objects, reference = self.style.objects(ready), self.style.read(sample)
        return _Read(sample, digests, self.translator.transfers.pinned(ready), truth, objects, reference)

    def _translate(self, batch: list[_Read]) -> list[list[Result] | Exception]:
        """Begin the samples of each input; where the batch is too large, or one is at fault, each by itself."""
        try:
            samples = [self._sample(batch, self.folders.seed + number) for number in self._numbers]
            return [list(results) for results in zip(*samples, strict=True)]
        except UserError as error:
            if len(batch) == 1:
                return [error]
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            if len(batch) == 1:
                height, width = next(iter(batch[0].inputs.values())).shape[:2]
                return [UserError(f"there is too little memory for {width}x{height}")]
        return [result for read in batch for result in self._translate([read])]

    def _sample(self, batch: list[_Read], seed: int) -> list[Result]:
        inputs = [self.style.apply(read.inputs, read.objects, read.reference, seed) for read in batch]
        return self.translator.begin(inputs, seed, self.folders.bits)

    def _write(self, read: _Read, begun: list[Result] | Exception) -> str:
        """Write thumbnails, then pictures, so that one that is there has its thumbnails; return what is odd."""
        if isinstance(begun, Exception):
            raise begun
        results = [result() for result in begun]
        given = read.inputs[self.translator.lead.name]
        reference = None if read.reference is None else read.reference.picture
        small = {self._thumbnail(read.sample, "input"): given, self._thumbnail(read.sample, "truth"): read.truth}
        small |= {self._thumbnail(read.sample, REFERENCE): reference}
        small |= {self._small(read.sample, number): result for number, result in enumerate(results)}
        for path, picture in small.items():
            if picture is not None:
                pages.write_thumbnail(path, to_look_at(thinned(picture), self.translator.classes))
        for number, result in enumerate(results):
            write_result(self.target(read.sample, number), result)
        return next(filter(None, (oddity(result, self.translator.data.natural) for result in results)), "")

    def _finish(self, read: _Read, future: "Future[str]", bar: "tqdm[Any]") -> None:
        sample = read.sample
        try:
            odd = future.result()
            self.finished.add(sample.name, read.digests)
        except _FAILURES as error:
            self._fail(sample, error, bar)
        else:
            self.outcome.made.append(sample.name)
            if odd:
                self.outcome.odd.setdefault(odd, []).append(sample.name)
            bar.update()

    def _fail(self, sample: SampleFiles, error: BaseException, bar: "tqdm[Any]") -> None:
        kept = (
            copy(error) if isinstance(error, UserError) else str(error)
        )  # a copy has no traceback, which holds arrays
        self.outcome.failed[sample.name] = kept or "out of memory"
        bar.update()

    def write_page(self) -> None:
        """Write `index.html` with every picture that is there, of all processes."""
        rows = [self._row(sample) for sample in self.samples if sample.name not in self.outcome.failed]
        columns = ["label map" if self.translator.lead.values == "classes" else "input"]
        columns += [REFERENCE] if self.folders.reference is not None else []
        columns += [self._folder(number) or "result" for number in self._numbers]
        columns += ["truth"] if self.folders.truth is not None or self.holds_truth else []
        shown = [row for row in rows if row]
        name = self.translator.recipe.name
        pages.write_gallery(self.folders.out, f"{name}: {len(shown)} pictures", columns, shown)

    def _row(self, sample: SampleFiles) -> pages.GalleryRow | None:
        """Return a row of the gallery, None where there is no result.

        A thumbnail leads to the file, but for label maps, which show little as they are.
        """
        targets = [self.target(sample, number) for number in self._numbers]
        if not all(target.is_file() for target in targets):
            return None
        small = self._thumbnail(sample, "input").resolve()
        row: list[pages.Picture | None] = [pages.Picture(_shown_whole(self._lead_picture(sample)) or small, small)]
        if self.folders.reference is not None:
            row.append(self._beside(sample, REFERENCE, REFERENCE))
        for number, target in enumerate(targets):
            row.append(pages.Picture(target.resolve(), self._small(sample, number).resolve()))
        if self.folders.truth is not None or self.holds_truth:
            row.append(self._beside(sample, "truth", TRUTH))
        return pages.GalleryRow(sample.name, row)

    def _beside(self, sample: SampleFiles, kind: str, file: str) -> pages.Picture | None:
        """Return a picture that is shown beside results, if it is there."""
        small = self._thumbnail(sample, kind).resolve()
        whole = _shown_whole(sample.paths.get(file)) or small
        return pages.Picture(whole, small if small.is_file() else None) if whole.is_file() else None

    def write_videos(self, frames_per_second: float) -> None:
        """Write all results as the frames of a video, of each sample one."""
        translator = self.translator
        is_map = not self.channels
        for number in self._numbers:
            files = [file for sample in self.samples if (file := self.target(sample, number)).is_file()]
            write_video(
                self.folders.out / self._folder(number),
                files,
                frames_per_second,
                lambda file: to_look_at(read_label(file) if is_map else read_picture(file), translator.classes),
            )

    def note(self) -> dict[str, Any]:
        """Return what tells the pictures of the folder from others: of which model, and how made."""
        translator, folders = self.translator, self.folders
        return {
            "recipe": translator.recipe.name,
            "images_seen": translator.images_seen,
            "weights": translator.weights,
            "format": self.ending,
            "dtype": translator.dtype,
            **({"direction": translator.route} if translator.route else {}),
            **({"seed": folders.seed} if self.style.seeded else {}),
            **({"num_samples": folders.num_samples} if folders.num_samples > 1 else {}),
            **self.style.note(),
            **({"ready": True} if folders.ready else {}),
            **({"bits": 16} if folders.bits == 16 else {}),
        }

    @property
    def channels(self) -> int:
        """The channels of results; 0 for maps of class ids."""
        return 0 if self.result.kind == "ids" else self.result.size or 0

    def _lead_picture(self, sample: SampleFiles) -> str | None:
        """Return the file of the lead input, where it is a picture that a page can show."""
        return sample.paths.get(self.translator.lead.name) if self.translator.lead.kind == "image" else None

    @property
    def _numbers(self) -> range:
        """The numbers of the samples of each input."""
        return range(self.folders.num_samples)

    def _folder(self, number: int) -> str:
        """Return the folder of a sample in `out`; '' where there is one of each input, in `out` itself."""
        return f"sample_{number}" if self.folders.num_samples > 1 else ""

    def target(self, sample: SampleFiles, number: int = 0) -> Path:
        """Return the file of a result."""
        return self.folders.out / self._folder(number) / f"{sample.name}.{self.ending}"

    def _small(self, sample: SampleFiles, number: int) -> Path:
        """Return the thumbnail of a result."""
        return self._thumbnail(sample, self._folder(number) or "result")

    def _thumbnail(self, sample: SampleFiles, kind: str) -> Path:
        return self.folders.out / "thumbnails" / f"{sample.name}_{kind}.jpg"


def _threads(device: torch.device) -> tuple[int, int]:
    """Return how many threads read and how many write, beside a model on this device."""
    if device.type == "cpu":
        return _READERS, _WRITERS
    writers = min(_MOST_WRITERS, max(_WRITERS, own_cores()))
    return max(_READERS, writers // _WRITERS_A_READER), writers


def read_inputs(
    translator: Translator, sample: SampleFiles, ready: bool = False
) -> tuple[dict[str, Any], Picture | None]:
    """Read what the model needs of a sample, as arrays by name, and the true picture where its file holds it too."""
    inputs: dict[str, Any] = {}
    truth = None
    for name, spec in translator.given.items():
        if name in sample.paths:
            inputs[name], found = translator.data.read_input(spec, sample.paths[name], ready)
            truth = found if name == translator.lead.name else truth
        elif not spec.optional:
            raise UserError(f"no {name} map has its name" if spec.kind == "ids" else f"no {name} has its name")
    return inputs, truth


def _shown_whole(path: str | None) -> Path | None:
    """Return a file that a page can lead to: not one inside a shard."""
    return Path(path).resolve() if path and on_disk(path) == path else None


def _trained_width(recipe: Recipe) -> int | None:
    """Return the width that the last stage of the training scaled whole files to; None where they kept theirs."""
    stage = recipe.stages[-1]
    scaled = stage.load or stage.size
    return scaled.width if scaled and stage.geometry not in ("none", "crop") else None
