"""Translate a folder: finished inputs are skipped, and a bad file stops no other.

Threads read ahead and write behind while the model computes; processes that torchrun started share the inputs.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from copy import copy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from hdtrans.common.apart import check_apart
from hdtrans.common.cores import cores
from hdtrans.common.errors import Advice, UserError, shown
from hdtrans.common.freed_memory import keep_freed_memory
from hdtrans.common.progress import progress
from hdtrans.config.recipe import Recipe
from hdtrans.data.derived import to_rgb
from hdtrans.data.folders import SampleFiles
from hdtrans.data.header_notes import InputNotes
from hdtrans.data.io.read import read_label, read_picture
from hdtrans.engine.distributed import Processes
from hdtrans.inference.folder.files import Folders, check_results
from hdtrans.inference.folder.finished import (
    TRUTH,
    Digests,
    Finished,
    collect,
    input_digests,
    open_out_dir,
    without_thumbnails,
)
from hdtrans.inference.folder.gallery import Gallery
from hdtrans.inference.folder.outcome import Outcome
from hdtrans.inference.folder.results import degenerate_output, file_ending, write_result
from hdtrans.inference.folder.style_source import Reference, StyleSource
from hdtrans.inference.folder.video import Change, need_video, write_video
from hdtrans.inference.memory import is_out_of_memory, peak_memory
from hdtrans.inference.styles.objects import Objects
from hdtrans.inference.translator import Picture, Translator

# Numbers of threads. To encode a picture of 2048x1024 as PNG takes a core twenty times as long as a GPU takes to make
# it; a model on the CPU needs the cores itself.
_READERS, _WRITERS = 2, 2
_MOST_WRITERS, _WRITERS_A_READER = 16, 4
_FAILURES = (UserError, OSError, MemoryError)

Result = Callable[[], Picture]
"""Function that waits for a picture on its way from a GPU, and returns it."""


@dataclass(frozen=True)
class _Read:
    """One sample as it was read.

    Attributes:
        sample, digests: its files, and their SHA-256.
        inputs: checked inputs by name.
        truth: true picture, or None.
        objects: objects that have a style each, or None.
        reference: picture that the style is taken from, or None.
    """

    sample: SampleFiles
    digests: Digests
    inputs: dict[str, Any]
    truth: Picture | None
    objects: Objects | None
    reference: Reference | None

    @property
    def form(self) -> dict[str, tuple[tuple[int, ...], str]]:
        """Shape and type of each input by name: equal within a batch."""
        return {name: (array.shape, array.dtype.str) for name, array in self.inputs.items()}


def translate_folder(
    translator: Translator,
    folders: Folders,
    batch_size: int = 1,
    frames_per_second: float | None = None,
    processes: Processes | None = None,
) -> Outcome:
    """Translate every input into `out`, then write `index.html` with inputs, results and true pictures.

    Several samples of each input go to `sample_0`, `sample_1`, ... in `out`. Inputs whose SHA-256 is listed in
    `finished.jsonl` are skipped, and their pictures are not touched.

    Args:
        translator: model.
        folders: inputs, folder of the results, and options.
        batch_size: inputs of one size translated together, at most; >= 1.
        frames_per_second: frame rate of `video.webm`, a video of all results; None: no video.
        processes: processes that share the inputs; None: this one alone.

    Raises:
        UserError: there are no inputs, `out` holds pictures of another model or anything else, or a result would lie
            outside it or on another one.
    """
    processes = processes or Processes()
    if frames_per_second is not None:
        need_video()
    if translator.max_memory is None:
        keep_freed_memory()
    job = _Job(translator, folders, batch_size)
    processes.on_first(lambda: open_out_dir(folders.out, job.note()))
    job.finished = Finished(folders.out, processes.rank)
    try:
        job.run(job.samples[processes.rank :: processes.world], processes.first)
    except KeyboardInterrupt:
        if processes.first:
            job.gallery.write_page(job.samples, job.outcome.failed)
        raise
    job.notes.remark()
    job.outcome.memory = peak_memory(translator.device)
    for other in processes.gather(job.outcome)[1:]:
        job.outcome.add(other)
    if processes.first:
        collect(folders.out)
        job.gallery.write_page(job.samples, job.outcome.failed)
        if frames_per_second is not None:
            job.write_videos(frames_per_second)
    return job.outcome


class _Job:
    """The share of a folder that one process translates."""

    finished: Finished

    def __init__(self, translator: Translator, folders: Folders, batch_size: int) -> None:
        data = translator.data
        self.translator, self.folders, self.batch_size = translator, folders, batch_size
        self.readers, self.writers = _threads(translator.device)
        self.style = StyleSource(translator, folders)
        found = folders.samples(data, translator.given, translator.method.style)
        self.samples = without_thumbnails(folders.inputs, found)
        self.holds_truth = data.holds_truth(folders.ready)
        if folders.truth is not None and self.holds_truth:
            ways = ("leave it out", Advice("ready"))
            raise UserError("the inputs hold the true pictures", argument="truth", path=folders.truth, advice=ways)
        self.notes = InputNotes(translator.given, data.ignore)
        self.result = data.result(translator.target)
        self.ending = file_ending(self.channels, folders.ending)
        self.gallery = Gallery(translator, folders, self.ending, self.holds_truth)
        check_apart(folders.out, files=(path for sample in self.samples for path in sample.paths.values()))
        check_results(
            folders.out,
            [
                (
                    shown(s.name),
                    [f for n in self.gallery.numbers for f in (self.gallery.target(s, n), self.gallery.small(s, n))],
                )
                for s in self.samples
            ],
        )
        note = data.ready_note if self.holds_truth else None
        width = _trained_width(translator.recipe)
        thumbnails = len(found) - len(self.samples)
        self.outcome = Outcome(folders.out / "index.html", trained_width=width, note=note, thumbnails=thumbnails)

    def run(self, samples: Sequence[SampleFiles], show: bool) -> None:
        """Translate samples; after an interruption, finished ones are kept."""
        with (
            progress(total=len(samples), unit=" pictures", show=show) as bar,
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
        """Yield batches of neighbours of one form; failures and finished samples are recorded."""
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
                self.outcome.skipped.append(sample.name)
                bar.update()
                continue
            if batch and (len(batch) == self.batch_size or read.form != batch[0].form):
                yield batch
                batch = []
            batch.append(read)
        if batch:
            yield batch

    def _read(self, sample: SampleFiles) -> _Read | None:
        """Return a sample as read; None if its pictures are finished."""
        digests = input_digests(sample)
        targets = (self.gallery.target(sample, number) for number in self.gallery.numbers)
        if self.finished.has(sample.name, digests) and all(target.is_file() for target in targets):
            return None
        inputs, truth = read_inputs(self.translator, sample, self.folders.ready)
        if TRUTH in sample.paths:
            path = sample.paths[TRUTH]
            truth = read_picture(path, self.channels) if self.channels else read_label(path)
        self.notes.add(sample.paths, inputs)
        given = inputs[self.translator.lead.name]
        width = self.outcome.trained_width
        if width and not 2 / 3 <= given.shape[1] / width <= 3 / 2:
            self.outcome.scale_mismatch.append(sample.name)
        ready = self.translator.check(**inputs)
        objects, reference = self.style.objects(ready), self.style.read(sample)
        return _Read(sample, digests, self.translator.transfers.pinned(ready), truth, objects, reference)

    def _translate(self, batch: list[_Read]) -> list[list[Result] | Exception]:
        """Begin all samples of each input: together, or one by one if memory is short or an input is at fault."""
        try:
            samples = [self._sample(batch, self.folders.seed + number) for number in self.gallery.numbers]
            return [list(results) for results in zip(*samples, strict=True)]
        except UserError as error:
            if len(batch) == 1:
                return [error]
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            if len(batch) == 1:
                height, width = next(iter(batch[0].inputs.values())).shape[:2]
                tiled = self.translator.max_memory is not None
                ways = [] if tiled else [Advice("max_memory", "SIZE", "to translate tile by tile")]
                return [UserError(f"there is too little memory for {width}x{height}", advice=ways)]
        return [result for read in batch for result in self._translate([read])]

    def _sample(self, batch: list[_Read], seed: int) -> list[Result]:
        inputs = [self.style.apply(read.inputs, read.objects, read.reference, seed) for read in batch]
        return self.translator.begin(inputs, seed, self.folders.bits)

    def _write(self, read: _Read, begun: list[Result] | Exception) -> str:
        """Write thumbnails, then pictures, so that a picture implies its thumbnails; return `degenerate_output`."""
        if isinstance(begun, Exception):
            raise begun
        results = [result() for result in begun]
        given = read.inputs[self.translator.lead.name]
        reference = None if read.reference is None else read.reference.picture
        if lost := self.gallery.write_thumbnails(read.sample, given, read.truth, reference, results):
            self.outcome.without_thumbnail[read.sample.name] = lost
        for number, result in enumerate(results):
            write_result(self.gallery.target(read.sample, number), result)
        natural = self.translator.data.natural
        return next(filter(None, (degenerate_output(result, natural) for result in results)), "")

    def _finish(self, read: _Read, future: "Future[str]", bar: "tqdm[Any]") -> None:
        sample = read.sample
        try:
            finding = future.result()
            self.finished.add(sample.name, read.digests)
        except _FAILURES as error:
            self._fail(sample, error, bar)
        else:
            self.outcome.made.append(sample.name)
            if finding:
                self.outcome.degenerate.setdefault(finding, []).append(sample.name)
            bar.update()

    def _fail(self, sample: SampleFiles, error: BaseException, bar: "tqdm[Any]") -> None:
        # A copy has no traceback, which would keep arrays alive.
        kept = copy(error) if isinstance(error, UserError) else str(error)
        self.outcome.failed[sample.name] = kept or "out of memory"
        bar.update()

    def write_videos(self, frames_per_second: float) -> None:
        """Write all results as the frames of a video, one video per sample number."""
        for number in self.gallery.numbers:
            frames = {self.gallery.target(sample, number): sample for sample in self.samples}
            files = [file for file in frames if file.is_file()]
            change, of_inputs = Change(), Change()

            def read(file: Path, change: Change = change) -> Picture:
                result = read_picture(file) if self.channels else read_label(file)
                change.add(result if result.ndim == 2 else to_rgb(result))
                return to_rgb(result, self.translator.classes)

            video = write_video(self.folders.out / self.gallery.folder(number), files, frames_per_second, read)
            for file in files:
                lead = read_inputs(self.translator, frames[file], self.folders.ready)[0][self.translator.lead.name]
                of_inputs.add(lead if lead.ndim == 2 else to_rgb(lead))
            left_out, texts = len(frames) - len(files), (change.text(), of_inputs.text())
            self.outcome.videos.append(replace(video, left_out=left_out, change=texts[0], input_change=texts[1]))

    def note(self) -> dict[str, Any]:
        """Return the model and options of the pictures, as `inference.json` holds them."""
        translator, folders = self.translator, self.folders
        return {
            "recipe": translator.recipe.name,
            "images_seen": translator.images_seen,
            "weights": translator.weights,
            "format": self.ending,
            "dtype": translator.dtype,
            **({"direction": translator.direction} if translator.direction else {}),
            **({"seed": folders.seed} if self.style.seeded else {}),
            **({"num_samples": folders.num_samples} if folders.num_samples > 1 else {}),
            **self.style.note(),
            **({"ready": True} if folders.ready else {}),
            **({"bits": 16} if folders.bits == 16 else {}),
        }

    @property
    def channels(self) -> int:
        """Channels of the results; 0 for maps of class ids."""
        return 0 if self.result.kind == "ids" else self.result.size or 0


def _threads(device: torch.device) -> tuple[int, int]:
    """Return the numbers of threads that read and that write, for a model on this device."""
    if device.type == "cpu":
        return _READERS, _WRITERS
    writers = min(_MOST_WRITERS, max(_WRITERS, cores()))
    return max(_READERS, writers // _WRITERS_A_READER), writers


def read_inputs(
    translator: Translator, sample: SampleFiles, ready: bool = False
) -> tuple[dict[str, Any], Picture | None]:
    """Return the inputs of a sample as arrays by name, and the true picture if the lead's file holds it too."""
    inputs: dict[str, Any] = {}
    truth = None
    for name, spec in translator.given.items():
        if name in sample.paths:
            inputs[name], found = translator.data.read_input(spec, sample.paths[name], ready)
            truth = found if name == translator.lead.name else truth
        elif not spec.optional:
            raise UserError(f"no {name} map has its name" if spec.kind == "ids" else f"no {name} has its name")
    return inputs, truth


def _trained_width(recipe: Recipe) -> int | None:
    """Return the width that the last stage scaled whole files to; None if they kept their size."""
    stage = recipe.stages[-1]
    scaled = stage.load or stage.size
    return scaled.width if scaled and stage.geometry not in ("none", "crop") else None
