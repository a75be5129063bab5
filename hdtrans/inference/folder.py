"""Translate a folder: every input, whole pictures, nothing twice, and one bad file stops no other."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tqdm import tqdm

from hdtrans.common import pages
from hdtrans.common.errors import UserError
from hdtrans.common.files import write_text
from hdtrans.config import Pictures
from hdtrans.data.contents import holds_truth, read_source, result_channels
from hdtrans.data.folders import SampleFiles, partners_of
from hdtrans.data.read import read_instance, read_label, read_picture
from hdtrans.data.shards import is_folder, on_disk
from hdtrans.inference.results import file_ending, to_look_at, write_result
from hdtrans.inference.translator import Picture, Translator

_HOW_READ = {
    "side_by_side": "inputs were read as pictures that hold both sides; give --ready for those that hold one",
    "photos": "inputs were made from photos, as in training; give --ready for drawings, or small pictures to enlarge",
}
_NOTE = "inference.json"  # says which model made the pictures of a folder


@dataclass(frozen=True)
class Folders:
    """Where inputs are and results go.

    Attributes:
        inputs: label maps, or pictures; a folder or one file.
        instances: their instance maps; None looks beside `*_label` for `*_inst`, where the model needs them.
        truth: true pictures to show beside the results, or None.
        out: the folder of the results.
        seed: of the noise, where the model has some.
        ready: the inputs are what goes into the network, where the training folder holds what that is made from.
    """

    inputs: Path
    instances: Path | None
    truth: Path | None
    out: Path
    seed: int = 0
    ready: bool = False

    def check(self) -> None:
        """Raise UserError if an input is not there, or a result would overwrite an input."""
        named = {"--input": self.inputs, "--instances": self.instances, "--truth": self.truth}
        for option, path in named.items():
            if path is not None and not path.exists() and not is_folder(path):
                raise UserError(f"{option} {path}: there is no such file or folder")
            if path is not None and path.resolve() == self.out.resolve():
                raise UserError(f"--out {self.out}: is {option} as well; give results a folder of their own")
        if not 0 <= self.seed < 2**63:
            raise UserError(f"--seed {self.seed}: a seed is a number from 0 to 2**63 - 1")
        if self.out.exists() and not self.out.is_dir():
            raise UserError(f"--out {self.out}: is a file; give a folder")

    def samples(self, translator: Translator) -> list[SampleFiles]:
        """Return the inputs, each with its instance map and true picture, paired by name."""
        name = "source" if isinstance(translator.recipe.data, Pictures) else "label"
        folders = {name: self.inputs}
        if "instance" in translator.reads:
            folders["instance"] = self._instances()
        if self.truth is not None:
            folders["photo"] = self.truth
        return partners_of(name, folders)

    def _instances(self) -> Path:
        if self.instances is not None:
            return self.instances
        folder = self.inputs if is_folder(self.inputs) else self.inputs.parent
        beside = folder.with_name(folder.name.removesuffix("_label") + "_inst")
        if folder.name.endswith("_label") and is_folder(beside):
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
    note: str = ""

    def text(self) -> str:
        """Return a few lines for people: counts, every failure, and where the gallery is."""
        lines = [f"{len(self.made)} made, {len(self.passed_over)} there already, {len(self.failed)} failed"]
        lines += [f"  {name}: {reason}" for name, reason in self.failed.items()]
        lines += [self.note] if self.note else []
        return "\n".join([*lines, f"gallery: {self.page}"])


def translate_folder(translator: Translator, folders: Folders, ending: str = "png") -> Outcome:
    """Translate every input into `out`, then write `index.html` with inputs, results and true pictures.

    A picture whose input has not changed since is not made again.

    Raises:
        UserError: there are no inputs, or `out` holds the pictures of another model or something else.
    """
    samples = folders.samples(translator)
    data = translator.recipe.data
    if folders.truth is not None and holds_truth(data, folders.ready):
        raise UserError(f"--truth {folders.truth}: the inputs hold the true pictures; leave it out, or give --ready")
    ending = file_ending(result_channels(data, translator.route), ending)
    _claim(folders, translator, ending)
    outcome = Outcome(folders.out / "index.html", note=_HOW_READ[data.kind] if holds_truth(data, folders.ready) else "")
    rows = []
    for sample in tqdm(samples, unit=" pictures", disable=None):
        target = folders.out / f"{sample.name}.{ending}"
        thumbnails = folders.out / "thumbnails"
        try:
            if not _is_done(target, sample):
                _translate(translator, folders, sample, target)
                outcome.made.append(sample.name)
            else:
                outcome.passed_over.append(sample.name)
            rows.append(_row(sample, target, thumbnails))
        except (UserError, OSError, MemoryError) as error:
            outcome.failed[sample.name] = str(error) or "out of memory"
    given = "label map" if "label" in translator.reads else "input"
    with_truth = folders.truth is not None or holds_truth(data, folders.ready)
    columns = [given, "result", *(["truth"] if with_truth else [])]
    pages.write_gallery(folders.out, f"{translator.recipe.name}: {len(rows)} pictures", columns, rows)
    return outcome


def read_inputs(
    translator: Translator, sample: SampleFiles, ready: bool = False
) -> tuple[dict[str, Any], Picture | None]:
    """Read what the model needs of a sample, as arrays by name, and the true picture where its file holds it too."""
    missing = translator.reads - sample.paths.keys()
    if missing:
        raise UserError(f"no {', '.join(sorted(missing))} map has its name")
    inputs: dict[str, Any] = {}
    truth = None
    data = translator.recipe.data
    if "label" in translator.reads:
        inputs["label"] = read_label(sample.paths["label"])
    if "source" in translator.reads:
        inputs["source"], truth = read_source(data, sample.paths["source"], translator.route, ready)
    if "instance" in translator.reads:
        inputs["instance"] = read_instance(sample.paths["instance"])
    return inputs, truth


def _translate(translator: Translator, folders: Folders, sample: SampleFiles, target: Path) -> None:
    inputs, truth = read_inputs(translator, sample, folders.ready)
    result = translator(**inputs, seed=folders.seed)
    if truth is None and (photo := sample.paths.get("photo")) and on_disk(photo) != photo:
        truth = read_picture(photo, translator.recipe.data.photo_channels)  # a page cannot show what lies in a shard
    shown = {"input": inputs["label"] if "label" in inputs else inputs["source"], "result": result, "truth": truth}
    for kind, picture in shown.items():
        if picture is not None:
            small = to_look_at(picture, translator.classes)
            pages.write_thumbnail(_thumbnail(folders.out / "thumbnails", sample, kind), small)
    write_result(target, result)


def _row(sample: SampleFiles, target: Path, thumbnails: Path) -> pages.GalleryRow:
    """Return a row of the gallery; a thumbnail leads to the file, but for label maps, which show little as they are."""
    small = _thumbnail(thumbnails, sample, "input").resolve()
    source = sample.paths.get("source", "")
    given = Path(source).resolve() if source and on_disk(source) == source else small
    pictures = [
        pages.Picture(given, small),
        pages.Picture(target.resolve(), _thumbnail(thumbnails, sample, "result").resolve()),
    ]
    if (truth := _thumbnail(thumbnails, sample, "truth").resolve()).is_file():
        pictures.append(pages.Picture(truth, truth))
    elif "photo" in sample.paths:
        pictures.append(pages.Picture(Path(sample.paths["photo"]).resolve()))
    return pages.GalleryRow(sample.name, pictures)


def _thumbnail(folder: Path, sample: SampleFiles, kind: str) -> Path:
    return folder / f"{sample.name}_{kind}.jpg"


def _is_done(target: Path, sample: SampleFiles) -> bool:
    """Whether the picture is there and younger than its inputs; it appears whole, so it is whole."""
    if not target.is_file():
        return False
    inputs = [Path(on_disk(path)) for name, path in sample.paths.items() if name != "photo"]
    return all(path.stat().st_mtime <= target.stat().st_mtime for path in inputs if path.exists())


def _claim(folders: Folders, translator: Translator, ending: str) -> None:
    """Note in `out` which model its pictures are of; refuse a folder that holds anything else."""
    out = folders.out
    note: dict[str, Any] = {
        "recipe": translator.recipe.name,
        "images_seen": translator.images_seen,
        "weights": translator.weights,
        "format": ending,
        **({"direction": translator.route} if translator.route else {}),
        **({"seed": folders.seed} if translator.noisy else {}),
        **({"ready": True} if folders.ready else {}),
    }
    file = out / _NOTE
    if file.is_file():
        try:
            was = json.loads(file.read_text(encoding="utf-8"))
        except ValueError:
            was = None
        if was != note:
            raise UserError(
                f"--out {out}: holds pictures of another model, direction, seed or format ({_NOTE} says {was}, "
                f"this is {note}); "
                "choose another folder, or remove it to make them anew"
            )
    elif out.exists() and any(out.iterdir()):
        raise UserError(f"--out {out}: is not empty and was not made by hdtrans infer; choose another folder")
    write_text(file, json.dumps(note, indent=1) + "\n")
