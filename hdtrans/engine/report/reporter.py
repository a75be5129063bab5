"""Reporter of a training run: progress bar, metrics.jsonl, sample grids, run page, TensorBoard.

Only rank 0 holds a Reporter. No report is worth a run: during training, a write that fails (full disk, closed terminal)
becomes a warning.
"""

from __future__ import annotations

import json
import math
import re
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from hdtrans.common import pages
from hdtrans.common.errors import UserError
from hdtrans.common.files import append_line, write_bytes, write_text
from hdtrans.common.progress import bar_has_room
from hdtrans.engine.report.grid import Pictures, sample_grid
from hdtrans.engine.report.page import VALIDATION, Record, Sample, duration, is_charted, is_sound, run_page

__all__ = ["Reporter"]

_BAR = "{percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} images [{elapsed}<{remaining}, {rate_noinv_fmt}{postfix}]"
_BAR_SECONDS = 0.5  # least time between two updates of the bar
_PNG_PIXELS = 4_000_000  # larger grids become JPEG files: a PNG takes seconds to write
_JPEG_SIDE = 65_500  # longest side of a JPEG file
_PREVIEW_SIDE = 1280  # longest side of a preview, pixels
_SAMPLE_NAME = re.compile(r"(\d+)_(.+)\.(?:png|jpg)")


class Reporter:
    """Write the reports of one training run.

    Args:
        folder: run folder; metrics.jsonl, samples/, tensorboard/ and index.html go there.
        title: heading of the page, usually the name of the recipe.
        images_seen: images at which the run starts or continues. Later lines and samples, left by a run that stopped
            after its last checkpoint, are removed, and so is a last line that was cut off.
        total_images: images of the whole run at its end.

    Raises:
        UserError: the run folder cannot be read or written.
    """

    def __init__(self, folder: Path, title: str, images_seen: int, total_images: int) -> None:
        self.folder = folder
        self.title = title
        self.total_images = total_images
        self._images_seen = images_seen
        self._warned: set[str] = set()
        self._bar: tqdm[Any] | None = None
        try:
            (folder / "samples").mkdir(parents=True, exist_ok=True)
            self._records = _rewind(folder / "metrics.jsonl", images_seen)
            self._samples = _kept_samples(folder / "samples", images_seen)
            self._left_out = _lines(folder / "bad_files.txt")
        except OSError as error:
            raise UserError(f"the run folder cannot be used: {error.strerror or error}", path=folder) from error
        self._board = self._open_board()
        if bar_has_room():
            self._bar = tqdm(
                total=total_images, initial=images_seen, unit=" images", bar_format=_BAR, mininterval=0.0,
                dynamic_ncols=True, file=sys.stderr,
            )  # fmt: skip
        self._bar_due = 0.0

    def message(self, text: str) -> None:
        """Print a line on the standard error, above the bar if one is shown."""
        if sys.stderr is None:  # a process without a terminal, as pythonw
            return
        try:
            if self._bar is not None:
                self._bar.write(text, file=sys.stderr)
            else:
                print(text, file=sys.stderr)
            sys.stderr.flush()
        except (OSError, ValueError):  # the terminal is gone, or the stream closed
            self._bar = None

    def advance(self, images_seen: int, waiting_share: float | None = None) -> None:
        """Move the bar; cheap enough for every step.

        Args:
            images_seen: images seen so far.
            waiting_share: share of the time spent waiting for data, in [0, 1].
        """
        self._images_seen = images_seen
        if self._bar is None or ((now := time.monotonic()) < self._bar_due and images_seen < self.total_images):
            return
        self._bar_due = now + _BAR_SECONDS
        try:
            if waiting_share is not None:
                self._bar.set_postfix_str(f"{waiting_share:.0%} waiting for data", refresh=False)
            self._bar.update(min(images_seen, self.total_images) - self._bar.n)
        except (OSError, ValueError):
            self._bar = None

    def log(self, record: Record) -> None:
        """Add a line to metrics.jsonl, scalars to TensorBoard and, without a bar, a line to the standard error.

        Args:
            record: "images" and any of "stage", "epoch", "seconds", "images_per_second", "data_waiting" (a share in
                [0, 1]) and "learning_rate"; each loss under "<phase>/<loss>", such as "generator/adversarial". A
                non-finite value becomes null in the file.
        """
        assert "images" in record, "a record needs the images seen"
        values: Record = {name: _plain(value) for name, value in record.items()}
        self._images_seen = int(values["images"])
        self._records.append(values)
        line = json.dumps({name: value if is_sound(value) else None for name, value in values.items()}, allow_nan=False)
        self._attempt("metrics.jsonl", lambda: append_line(self.folder / "metrics.jsonl", line))
        if self._bar is None:
            self.message(self._progress_line(values))
        self._add_scalars(values)

    def validated(self, images_seen: int, stage: str, figures: Mapping[str, float], best: str | None = None) -> None:
        """Report validation figures, in metrics.jsonl under "validation/<figure>" and on the standard error.

        Args:
            images_seen: images seen so far.
            stage: name of the stage.
            figures: figures by name.
            best: name of the deciding figure if it is the best of the stage so far; else None.
        """
        record: Record = {"images": images_seen, "stage": stage}
        record |= {f"{VALIDATION}/{name}": value for name, value in figures.items()}
        self.log(record | ({"best": best} if best else {}))
        if self._bar is not None:
            listed = "  ".join(f"{name} {value:.4g}" for name, value in figures.items())
            self.message(f"validation after {images_seen:,} images: {listed}{f'  (best {best} yet)' if best else ''}")

    def left_out(self, problems: Sequence[str]) -> None:
        """Report files that are left out, each once, in bad_files.txt too.

        Args:
            problems: one line for each file, with its fault.
        """
        for problem in dict.fromkeys(" ".join(problem.splitlines()) for problem in problems):
            if problem in self._left_out:
                continue
            self._left_out.append(problem)
            self.message(f"warning: left out: {problem}")
            self._attempt("bad_files.txt", partial(append_line, self.folder / "bad_files.txt", problem))

    def samples(self, images_seen: int, stage: str, names: Sequence[str], pictures: Pictures) -> None:
        """Write a grid of pictures as `samples/<images>_<stage>.png` (JPEG if it is large).

        Args:
            images_seen: images seen so far; nine digits in the file name.
            stage: name of the stage.
            names: names of the rows.
            pictures: columns by name, each one (H, W, 3) uint8 RGB picture in [0, 255] for each row.
        """
        grid = sample_grid(names, pictures)
        lossless = grid.size <= 3 * _PNG_PIXELS or max(grid.shape) > _JPEG_SIDE
        stage_in_name = re.sub(r"[^\w.-]+", "-", stage) or "stage"
        path = self.folder / "samples" / f"{images_seen:09d}_{stage_in_name}{'.png' if lossless else '.jpg'}"
        sample = Sample(images_seen, stage_in_name, path)
        self._attempt("samples", lambda: self._write_samples(sample, grid))
        small = pages.shrink(grid, _PREVIEW_SIDE)
        self._on_board(lambda board: board.add_image(f"samples/{stage}", small, images_seen, dataformats="HWC"))

    def page(self) -> None:
        """Rewrite index.html: samples over time, curves and the latest numbers."""
        text = run_page(
            self.folder,
            self.title,
            self._records,
            self._samples,
            self._images_seen,
            self.total_images,
            self._left_out,
        )
        self._attempt("index.html", lambda: write_text(self.folder / "index.html", text))

    def close(self) -> None:
        """Close the bar and TensorBoard; may be called twice."""
        bar, self._bar = self._bar, None
        if bar is not None:
            self._attempt("the bar", bar.close)
        self._on_board(lambda board: board.close())
        self._board = None

    def _attempt(self, subject: str, action: Callable[[], None]) -> None:
        """Run an action whose failure becomes a warning: once for each subject, and again only after a success."""
        try:
            action()
        except (OSError, UserError) as error:
            if subject not in self._warned:
                self._warned.add(subject)
                self.message(f"warning: {subject} could not be written, training goes on: {error}")
        else:
            self._warned.discard(subject)

    def _open_board(self) -> Any:
        """Return a TensorBoard writer, or None if it is not installed or does not work."""
        if find_spec("tensorboard") is None or find_spec("torch") is None:
            return None
        try:
            from torch.utils.tensorboard import SummaryWriter  # late: takes a second, and the package is an extra

            return SummaryWriter(str(self.folder / "tensorboard"), purge_step=self._images_seen + 1)
        except Exception as error:  # an installation that does not fit breaks in many ways, none worth the run
            self.message(f"warning: training goes on without TensorBoard: {error}")
            return None

    def _on_board(self, action: Callable[[Any], None]) -> None:
        """Run an action on the TensorBoard writer, if it is open; its first failure closes it for good."""
        if self._board is None:
            return
        try:
            action(self._board)
        except OSError as error:
            self._board = None
            self.message(f"warning: training goes on without TensorBoard: {error}")

    def _add_scalars(self, values: Record) -> None:
        """Write the numbers of a record to TensorBoard, with the images as its step."""

        def add(board: Any) -> None:
            for name, value in values.items():
                if name != "images" and not isinstance(value, str):
                    board.add_scalar(name if "/" in name else f"run/{name}", value, int(values["images"]))

        self._on_board(add)

    def _write_samples(self, sample: Sample, grid: npt.NDArray[np.uint8]) -> None:
        """Write a grid and its preview, and list it for the page."""
        quality = [cv2.IMWRITE_JPEG_QUALITY, 95, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
        jpeg = sample.path.suffix == ".jpg"
        done, data = cv2.imencode(sample.path.suffix, cv2.cvtColor(grid, cv2.COLOR_RGB2BGR), quality if jpeg else [])
        assert done, "the encoder refused a uint8 picture"
        write_bytes(sample.path, data.tobytes())
        self._samples = [other for other in self._samples if other.path != sample.path] + [sample]
        pages.write_thumbnail(sample.preview, grid, _PREVIEW_SIDE)

    def _progress_line(self, values: Record) -> str:
        """Return a record as one plain line, for logs that are no terminal."""
        images, speed, waiting = int(values["images"]), values.get("images_per_second"), values.get("data_waiting")
        parts = [f"{images:,}/{self.total_images:,} images ({images / max(1, self.total_images):.1%})"]
        parts += [f"{name} {values[name]}" for name in ("stage", "epoch") if name in values]
        if isinstance(speed, float | int) and is_sound(speed):
            left = f", {duration((self.total_images - images) / speed)} left" if speed > 0 else ""
            parts.append(f"{speed:.4g} images/s{left}")
        if isinstance(waiting, float | int) and is_sound(waiting):
            parts.append(f"{waiting:.0%} waiting for data")
        losses = {name: value for name, value in values.items() if is_charted(name) and not isinstance(value, str)}
        parts += [f"{name} {value:.4g}" for name, value in losses.items()]
        parts += [f"(best {values[name]} yet)" for name in ("best",) if name in values]
        return "  ".join(parts)


def _rewind(path: Path, images_seen: int) -> list[Record]:
    """Return the records up to `images_seen`; remove later and incomplete lines from the file."""
    if not path.exists():
        return []
    text = path.read_bytes().decode("utf-8", "replace")
    kept, records = [], []
    for line in text.split("\n"):
        try:
            record = json.loads(line)
        except json.JSONDecodeError:
            continue
        if isinstance(record, dict) and isinstance(record.get("images"), int) and record["images"] <= images_seen:
            kept.append(line)
            records.append({name: math.nan if value is None else value for name, value in record.items()})
    wanted = "".join(f"{line}\n" for line in kept)
    if wanted != text:
        write_text(path, wanted)
    return records


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8", errors="replace").splitlines() if path.exists() else []


def _kept_samples(folder: Path, images_seen: int) -> list[Sample]:
    """Return the samples up to `images_seen`; remove later ones with their previews."""
    samples = []
    for path in sorted(folder.iterdir()):
        if (match := _SAMPLE_NAME.fullmatch(path.name)) is None:
            continue
        sample = Sample(int(match[1]), match[2], path)
        if sample.images <= images_seen:
            samples.append(sample)
        else:
            sample.path.unlink()
            sample.preview.unlink(missing_ok=True)
    return samples


def _plain(value: Any) -> float | int | str:
    """Return a number of numpy or torch as a plain Python one."""
    plain = value.item() if hasattr(value, "item") else value
    assert isinstance(plain, float | int | str), f"a record holds numbers and words, not {type(plain).__name__}"
    return plain


def _is_number(value: object) -> bool:
    return isinstance(value, float | int)
