"""Pictures to score and their true pictures: paired by name, read, and resized if requested."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hdtrans.common.errors import Advice, MissingFile, MissingPartner, SizeMismatch, UserError, shown
from hdtrans.config.inputs import Field, Input
from hdtrans.config.stage import Size
from hdtrans.data import derived
from hdtrans.data.folders import SampleFiles, check_sizes, gather, partners_of
from hdtrans.data.geometry import Plan
from hdtrans.data.io.read import read_label, read_picture
from hdtrans.data.io.shards import is_folder
from hdtrans.data.kinds.base import DataKind
from hdtrans.data.pairing import natural

Array = npt.NDArray[Any]
Place = Path | Sequence[Path]

RESULTS = ("pictures", "labels", "boundaries")
"""Kinds of results: photos, label maps, or pictures that are white on boundaries."""

_MOST_SHOWN = 10
_ARGUMENTS = {"found": "target", "truth": "truth", "label": "labels"}
_SIDES = {"found": "the pictures", "truth": "true pictures", "label": "label maps"}


@dataclass(frozen=True)
class Item:
    """One picture to score: (H, W, C) pictures or (H, W) maps, found and true, and its label map (H, W)."""

    name: str
    found: Array | None = None
    truth: Array | None = None
    label: Array | None = None

    def arrays(self) -> dict[str, Array]:
        """Return the arrays that there are, by role."""
        arrays = {"found": self.found, "truth": self.truth, "label": self.label}
        return {role: array for role, array in arrays.items() if array is not None}


@dataclass(frozen=True)
class Places:
    """Pictures to score, and the files to score them against.

    Attributes:
        found: folder or files of the pictures.
        truth: true pictures or maps, or None.
        labels: label maps that the pictures show, or None.
        results: kind of `found`, one of `RESULTS`.
        data: section of the recipe, if `truth` are files of its training folder, from which it reads the true picture.
        direction: direction of the model.
        target: target of the model, if `data` is given.
        channels: channels of the pictures.
        paired: `found` and `truth` are paired by name.
        resize: size to which all are scaled, or None.
        any_size: `found` and `truth` may differ in size: no metric compares their pixels.
        label_size: label maps must have the size of the pictures.
    """

    found: Place
    truth: Place | None = None
    labels: Place | None = None
    results: str = "pictures"
    data: DataKind | None = None
    direction: str = ""
    target: Input | None = None
    channels: int = 3
    paired: bool = True
    resize: Size | None = None
    any_size: bool = False
    label_size: bool = True

    @property
    def specs(self) -> dict[str, Field]:
        """Kind, size and values of the files of each role."""
        ids = Field("ids", values="classes")
        results = (
            ids if self.results == "labels" else Field("image", 1 if self.results == "boundaries" else self.channels)
        )
        return {"found": results, "truth": results, "label": ids}

    def samples(self) -> list[SampleFiles]:
        """Return the pairs; unpaired, first the found pictures, then the true ones.

        Raises:
            MissingFile: a folder does not exist.
            MissingPartner: a file has no partner.
            UserError: a folder has no pictures.
        """
        given = {"found": self.found, "truth": self.truth, "label": self.labels}
        places = {name: files_of(name, place) for name, place in given.items() if place is not None}
        if not self.paired:
            alone = {name: partners_of(name, {name: files}) for name, files in places.items()}
            return [*alone["found"], *alone.get("truth", [])]
        samples = partners_of("found", places)
        _check_partners(samples, places)
        return sorted(samples, key=lambda sample: natural(sample.name))

    def read(self, sample: SampleFiles) -> Item:
        """Read the files of a sample and scale them to one size; raise UserError for a file that cannot be used."""
        arrays: dict[str, Array] = {}
        if "found" in sample.paths:
            arrays["found"] = self._read_found(sample.paths["found"])
        if "truth" in sample.paths:
            arrays["truth"] = self._read_truth(sample.paths["truth"])
        if "label" in sample.paths:
            label = read_label(sample.paths["label"])
            arrays["label"] = label
            if self.results == "boundaries":
                arrays["truth"] = derived.boundaries(label)
        if self.resize is not None:
            arrays = {name: self._resized(name, array) for name, array in arrays.items()}
        self._check_sizes(sample.paths, arrays)
        return Item(sample.name, **arrays)

    def _read_found(self, path: str) -> Array:
        if self.results == "labels":
            return read_label(path)
        return read_picture(path, 1 if self.results == "boundaries" else self.channels)

    def _read_truth(self, path: str) -> Array:
        if self.data is None and self.results == "labels":
            return read_label(path)
        if self.data is not None and self.target is not None:
            return self.data.read_truth(path, self.target)
        return read_picture(path, 1 if self.results == "boundaries" else self.channels)

    def _resized(self, name: str, array: Array) -> Array:
        assert self.resize is not None
        if name == "label" and not self.label_size:
            return array
        plan = Plan(resize=(self.resize.height, self.resize.width))
        return plan.map(array) if array.ndim == 2 else plan.picture(array)

    def _check_sizes(self, paths: Mapping[str, str], arrays: Mapping[str, Array]) -> None:
        names = [name for name in arrays if not (name == "label" and not self.label_size)]
        if self.any_size:
            names = [name for name in names if name != "truth"]
        sizes = {name: (arrays[name].shape[0], arrays[name].shape[1]) for name in names}
        try:
            check_sizes({name: paths.get(name, paths.get("label", "")) for name in names}, sizes)
        except SizeMismatch as error:
            raise SizeMismatch(error.paths, error.sizes, advice=[Advice("resize", "WIDTHxHEIGHT")]) from None


def rgb_bytes(picture: Array) -> npt.NDArray[np.uint8]:
    """Return a picture of 1 or 3 channels as (3, H, W) uint8 for networks; raise UserError for other channels."""
    if picture.ndim != 3 or picture.shape[2] not in (1, 3):
        raise UserError("networks take pictures of 1 or 3 channels", advice=["choose other metrics"])
    return np.ascontiguousarray(derived.to_rgb(picture).transpose(2, 0, 1))


def files_of(name: str, place: Place) -> Sequence[Path]:
    """Return the pictures of a folder without the thumbnails of its gallery; a list of files is unchanged."""
    if not isinstance(place, Path):
        return place
    if not is_folder(place):
        siblings = [path.name for path in place.parent.iterdir()] if place.parent.is_dir() else []
        raise MissingFile(place, "folder", siblings, argument=_ARGUMENTS[name])
    samples = gather({name: place})
    if (place / "inference.json").is_file():
        samples = [sample for sample in samples if not sample.name.startswith("thumbnails/")]
    if not samples:
        raise UserError("has no pictures yet", path=place)
    return [Path(sample.paths[name]) for sample in samples]


def _check_partners(samples: Sequence[SampleFiles], places: Mapping[str, Sequence[Path]]) -> None:
    """Raise MissingPartner for pictures without a partner, and for partners without a picture."""
    lines, missing = [], {}
    for name in places.keys() - {"found"}:
        used = {os.path.abspath(sample.paths[name]) for sample in samples if name in sample.paths}
        lonely = [sample.name for sample in samples if name not in sample.paths]
        left = [path.name for path in places[name] if os.path.abspath(path) not in used]
        if lonely:
            missing[name] = lonely
            lines.append(f"{_SIDES[name]}: nothing belongs to {_listed(lonely)}")
        if left:
            missing["found"] = left
            lines.append(f"{_SIDES[name]}: no picture belongs to {_listed(left)}")
    if lines:
        head = "pictures are paired by sub-folder and name; some have no partner:"
        sets = [Advice("unpaired", reason="for distances between sets alone")] if "truth" in places else []
        raise MissingPartner("\n  ".join([head, *sorted(lines)]), missing, advice=["move the others away", *sets])


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MOST_SHOWN} more" if len(names) > _MOST_SHOWN else ""
    return f"{len(names)} file(s): {', '.join(shown(name) for name in names[:_MOST_SHOWN])}{more}"
