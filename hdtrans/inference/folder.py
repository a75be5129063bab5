"""Translate a folder: every input, whole pictures, nothing twice, and one bad file stops no other."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from tqdm import tqdm

from hdtrans.common import pages
from hdtrans.common.errors import UserError
from hdtrans.common.files import write_bytes, write_text
from hdtrans.config import PicturePairs
from hdtrans.data.folders import SampleFiles, partners_of
from hdtrans.data.read import read_instance, read_label, read_picture
from hdtrans.inference.translator import Picture, Translator

_NOTE = "inference.json"  # says which model made the pictures of a folder


@dataclass(frozen=True)
class Folders:
    """Where inputs are and results go.

    Attributes:
        inputs: label maps, or pictures; a folder or one file.
        instances: their instance maps; None looks beside `*_label` for `*_inst`, where the model needs them.
        truth: true pictures to show beside the results, or None.
        out: the folder of the results.
    """

    inputs: Path
    instances: Path | None
    truth: Path | None
    out: Path

    def check(self) -> None:
        """Raise UserError if an input is not there, or a result would overwrite an input."""
        named = {"--input": self.inputs, "--instances": self.instances, "--truth": self.truth}
        for option, path in named.items():
            if path is not None and not path.exists():
                raise UserError(f"{option} {path}: there is no such file or folder")
            if path is not None and path.resolve() == self.out.resolve():
                raise UserError(f"--out {self.out}: is {option} as well; give results a folder of their own")
        if self.out.exists() and not self.out.is_dir():
            raise UserError(f"--out {self.out}: is a file; give a folder")

    def samples(self, translator: Translator) -> list[SampleFiles]:
        """Return the inputs, each with its instance map and true picture, paired by name."""
        name = "source" if isinstance(translator.recipe.data, PicturePairs) else "label"
        folders = {name: self.inputs}
        if "instance" in translator.reads:
            folders["instance"] = self._instances()
        if self.truth is not None:
            folders["photo"] = self.truth
        return partners_of(name, folders)

    def _instances(self) -> Path:
        if self.instances is not None:
            return self.instances
        folder = self.inputs if self.inputs.is_dir() else self.inputs.parent
        beside = folder.with_name(folder.name.removesuffix("_label") + "_inst")
        if folder.name.endswith("_label") and beside.is_dir():
            return beside
        raise UserError(
            "this model was trained with instance maps and needs them: give --instances FOLDER "
            f"(looked for {beside.name}/ beside {folder.name}/)"
        )


@dataclass
class Outcome:
    """What became of the inputs: names, and for those that failed the reason."""

    page: Path
    made: list[str] = field(default_factory=list)
    passed_over: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)

    def text(self) -> str:
        """Return a few lines for people: counts, every failure, and where the gallery is."""
        lines = [f"{len(self.made)} made, {len(self.passed_over)} there already, {len(self.failed)} failed"]
        lines += [f"  {name}: {reason}" for name, reason in self.failed.items()]
        return "\n".join([*lines, f"gallery: {self.page}"])


def translate_folder(translator: Translator, folders: Folders, ending: str = "png") -> Outcome:
    """Translate every input into `out`, then write `index.html` with inputs, results and true pictures.

    A picture whose input has not changed since is not made again.

    Raises:
        UserError: there are no inputs, or `out` holds the pictures of another model or something else.
    """
    samples = folders.samples(translator)
    _claim(folders.out, translator, ending)
    outcome = Outcome(folders.out / "index.html")
    rows = []
    for sample in tqdm(samples, unit=" pictures", disable=None):
        target = folders.out / f"{sample.name}.{ending}"
        thumbnails = folders.out / "thumbnails"
        try:
            if not _is_done(target, sample):
                _translate(translator, sample, target, thumbnails)
                outcome.made.append(sample.name)
            else:
                outcome.passed_over.append(sample.name)
            rows.append(_row(sample, target, thumbnails))
        except (UserError, OSError, MemoryError) as error:
            outcome.failed[sample.name] = str(error) or "out of memory"
    given = "label map" if "label" in translator.reads else "input"
    columns = [given, "result", *(["truth"] if folders.truth else [])]
    pages.write_gallery(folders.out, f"{translator.recipe.name}: {len(rows)} pictures", columns, rows)
    return outcome


def read_inputs(translator: Translator, sample: SampleFiles) -> dict[str, Any]:
    """Read what the model needs of a sample, as arrays by name."""
    missing = translator.reads - sample.paths.keys()
    if missing:
        raise UserError(f"no {', '.join(sorted(missing))} map has its name")
    inputs: dict[str, Any] = {}
    data = translator.recipe.data
    if "label" in translator.reads:
        inputs["label"] = read_label(sample.paths["label"])
    if "source" in translator.reads and isinstance(data, PicturePairs):
        inputs["source"] = read_picture(sample.paths["source"], data.source_channels)
    if "instance" in translator.reads:
        inputs["instance"] = read_instance(sample.paths["instance"])
    return inputs


def _translate(translator: Translator, sample: SampleFiles, target: Path, thumbnails: Path) -> None:
    inputs = read_inputs(translator, sample)
    picture = translator(**inputs)
    shown = _shown_input(translator, inputs)
    pages.write_thumbnail(_thumbnail(thumbnails, sample, "input"), shown)
    pages.write_thumbnail(_thumbnail(thumbnails, sample, "result"), picture)
    options = [cv2.IMWRITE_JPEG_QUALITY, 95] if target.suffix == ".jpg" else [cv2.IMWRITE_PNG_COMPRESSION, 4]
    done, data = cv2.imencode(target.suffix, cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), options)
    assert done, "the encoder refused a uint8 picture"
    write_bytes(target, data.tobytes())


def _shown_input(translator: Translator, inputs: dict[str, Any]) -> Picture:
    """Return a label map in its colours, or the input picture, as (H, W, 3) uint8."""
    if "label" in inputs:
        assert translator.classes is not None
        return translator.classes.colourise(inputs["label"])
    source = inputs["source"]
    scale = {"u": 1.0, "i": 255 / 65535, "f": 127.5}[source.dtype.kind]
    grey_or_rgb = source[..., :3] if source.shape[-1] >= 3 else np.repeat(source[..., :1], 3, -1)
    shown: Picture = np.clip(grey_or_rgb * scale + (127.5 if source.dtype.kind == "f" else 0), 0, 255).astype(np.uint8)
    return shown


def _row(sample: SampleFiles, target: Path, thumbnails: Path) -> pages.GalleryRow:
    """Return a row of the gallery; a thumbnail leads to the file, but for label maps, which show little as they are."""
    small = _thumbnail(thumbnails, sample, "input").resolve()
    given = Path(sample.paths["source"]).resolve() if "source" in sample.paths else small
    pictures = [
        pages.Picture(given, small),
        pages.Picture(target.resolve(), _thumbnail(thumbnails, sample, "result").resolve()),
    ]
    if "photo" in sample.paths:
        pictures.append(pages.Picture(Path(sample.paths["photo"]).resolve()))
    return pages.GalleryRow(sample.name, pictures)


def _thumbnail(folder: Path, sample: SampleFiles, kind: str) -> Path:
    return folder / f"{sample.name}_{kind}.jpg"


def _is_done(target: Path, sample: SampleFiles) -> bool:
    """Whether the picture is there and younger than its inputs; it appears whole, so it is whole."""
    if not target.is_file():
        return False
    inputs = [Path(path) for name, path in sample.paths.items() if name != "photo"]
    return all(path.stat().st_mtime <= target.stat().st_mtime for path in inputs if path.exists())


def _claim(out: Path, translator: Translator, ending: str) -> None:
    """Note in `out` which model its pictures are of; refuse a folder that holds anything else."""
    note = {
        "recipe": translator.recipe.name,
        "images_seen": translator.images_seen,
        "weights": translator.weights,
        "format": ending,
    }
    file = out / _NOTE
    if file.is_file():
        try:
            was = json.loads(file.read_text(encoding="utf-8"))
        except ValueError:
            was = None
        if was != note:
            raise UserError(
                f"--out {out}: holds pictures of another model or format ({_NOTE} says {was}, this is {note}); "
                "choose another folder, or remove it to make them anew"
            )
    elif out.exists() and any(out.iterdir()):
        raise UserError(f"--out {out}: is not empty and was not made by hdtrans infer; choose another folder")
    write_text(file, json.dumps(note, indent=1) + "\n")
