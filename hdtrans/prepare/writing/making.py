"""Build the output files of one item in memory."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from hdtrans.common.classes import ClassTable
from hdtrans.common.errors import UserError
from hdtrans.data.io.header import shown
from hdtrans.data.label_ids import ids_without_class
from hdtrans.prepare.options import Options
from hdtrans.prepare.sources.remap import Remap
from hdtrans.prepare.sources.source import Item, Maps, PairSource, Source
from hdtrans.prepare.sources.tables import size_text
from hdtrans.prepare.writing.instances import renumber, thing_components
from hdtrans.prepare.writing.pictures import (
    Frame,
    encode_jpeg,
    encode_npy,
    encode_png,
    make_frame,
    photo_bytes,
    photo_place,
    read_photo,
)

STRETCHED = "stretched"
"""Start of the note on a changed aspect ratio, up to its colon; the summary adds the way to avoid it."""

Array = npt.NDArray[Any]

Stamp = list[Any]
"""SHA-256 of a file in hex, '' for one that holds several items, then its size, mtime and ctime in ns; see `Inputs`."""


@dataclass(frozen=True)
class Record:
    """A finished item: one line of the manifest (prepare.jsonl).

    Attributes:
        name: item name.
        split: its split.
        files: written files, relative to the output folder.
        sources: photo and annotation files, relative to the data set if inside.
        size: [height, width] of the annotation in pixels.
        made: [height, width] of the written files in pixels.
        pixels: pixel count per id in the label map.
        things: number of instances, or None without an instance map.
        notes: warnings about the item.
        inputs: stamps of all files that the item was made from (see `Inputs`); empty in manifests of older versions.
        part: digest of the item's part of annotation files that hold several items, or ''.
        table: digest of the data set's class table and of files given as options.
    """

    name: str
    split: str
    files: list[str]
    sources: list[str]
    size: list[int]
    made: list[int]
    pixels: dict[str, int] = field(default_factory=dict)
    things: int | None = None
    notes: list[str] = field(default_factory=list)
    inputs: dict[str, Stamp] = field(default_factory=dict)
    part: str = ""
    table: str = ""

    @property
    def key(self) -> str:
        """Key of the item, unique within the folder: `split/name`."""
        return f"{self.split}/{self.name}"

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        return asdict(self)


@dataclass(frozen=True)
class Made:
    """Contents of an item's files by path in the output folder, and its record."""

    files: dict[str, bytes]
    record: Record


class Maker(Protocol):
    """Builder of an item's files; picklable."""

    @property
    def source(self) -> Source | PairSource:
        """The data set."""

    @property
    def root(self) -> Path:
        """Its folder."""

    def make(self, item: Item, split: str) -> Made:
        """Build the files of one item; raise UserError with the path of a wrong file."""


@dataclass(frozen=True)
class MapsMaker:
    """Builder of label maps, instance maps and photos.

    Attributes:
        source: the data set.
        root: its folder.
        options: common options.
        remap: class remapping, or None.
        things: ids of the classes with components, for `instances: from-labels`.
    """

    source: Source
    root: Path
    options: Options
    remap: Remap | None = None
    things: tuple[int, ...] = ()

    @property
    def classes(self) -> ClassTable:
        """Class table of the written label maps."""
        return self.remap.classes if self.remap else self.source.classes

    def make(self, item: Item, split: str) -> Made:
        """Build `SPLIT_label/NAME.png`, `SPLIT_inst/NAME.png` and `SPLIT_img/NAME.png` (or `.jpg`, `.npy`)."""
        maps = self.source.read(item)
        _check_maps(maps, item)
        check_ids(maps.label, self.source.classes, item)
        label = self.remap.apply(maps.label) if self.remap else maps.label
        frame = make_frame(label.shape, self.options.size, self.options.crop_to_aspect)
        table = self.classes
        small = frame.map(label)
        bits = np.uint8 if max(len(table) - 1, table.ignore or 0) < 256 else np.uint16
        ending, encode = self.options.map_ending, encode_npy if self.options.decoded else encode_png
        files = {f"{split}_label/{item.name}.{ending}": encode(small.astype(bits))}
        counted = None
        if (instance := self._instances(maps, label)) is not None:
            dense, counted = renumber(frame.map(instance), small, len(table), table.ignore)
            files[f"{split}_inst/{item.name}.{ending}"] = encode(dense)
        notes = [*item.notes, *maps.notes, *_scaling_notes(frame)]
        if (source := maps.photo or item.photo) is not None:
            kind = self.options.photo_ending
            photo, loaded, dropped = read_photo(source, kind)
            _check_sizes(photo.shape, label.shape, loaded[1].orientation, photo_place(source), item)
            files[f"{split}_img/{item.name}.{kind}"] = photo_bytes(frame.photo(photo), loaded, kind, frame)
            notes += dropped
        counts = np.bincount(small.reshape(-1))
        pixels = {str(index): int(counts[index]) for index in np.flatnonzero(counts)}
        return Made(files, _record(item, split, files, self.root, label.shape, frame, pixels, counted, notes))

    def _instances(self, maps: Maps, label: Array) -> Array | None:
        if self.options.instances == "from-labels":
            return thing_components(label, self.things, self.options.min_area, self.options.neighbours)
        return maps.instance if self.options.instances == "own" else None


@dataclass(frozen=True)
class PairMaker:
    """Builder of picture pairs: the input in `SPLIT_A/NAME.png`, the photo in `SPLIT_B/NAME.png` (or `.jpg`, `.npy`).

    Attributes:
        source: photos, and the computation of their inputs.
        root: data set folder.
        options: common options.
    """

    source: PairSource
    root: Path
    options: Options

    def make(self, item: Item, split: str) -> Made:
        """Build the files of one pair; the input is computed from the photo at its output size."""
        assert item.photo is not None, "a pair has a photo"
        kind = self.options.photo_ending
        photo, loaded, dropped = read_photo(item.photo, kind)
        frame = make_frame(photo.shape, self.options.size, self.options.crop_to_aspect)
        target = frame.photo(photo)
        source = self.source.make_input(target)
        ending = self.options.map_ending if self.source.lossless else kind
        encode = {"png": encode_png, "jpg": encode_jpeg, "npy": encode_npy}[ending]
        files = {
            f"{split}_A/{item.name}.{ending}": encode(source),
            f"{split}_B/{item.name}.{kind}": photo_bytes(target, loaded, kind, frame),
        }
        notes = [*item.notes, *dropped, *_scaling_notes(frame)]
        return Made(files, _record(item, split, files, self.root, photo.shape, frame, {}, None, notes))


def check_ids(label: Array, table: ClassTable, item: Item) -> None:
    """Raise UserError if an (H, W) label map contains an id that is neither a class nor the ignored id."""
    found = ids_without_class(label, len(table), table.ignore)
    if not found:
        return
    listed = ", ".join(map(str, found[:8]))
    more = f" and {len(found) - 8} more" if len(found) > 8 else ""
    ignored = "no id is ignored" if table.ignore is None else f"{table.ignore} is ignored"
    where = shown(item.annotations[0]) if item.annotations else item.name
    raise UserError(
        f"{where}: ids without a class: {listed}{more}; classes are 0 to {len(table) - 1}, "
        f"{ignored}; extend the class list, or ignore the id"
    )


def _check_maps(maps: Maps, item: Item) -> None:
    assert maps.label.ndim == 2 and maps.label.dtype.kind in "iu", f"{item.name}: {maps.label.dtype}"
    if maps.instance is not None and maps.instance.shape != maps.label.shape:
        raise UserError(
            f"{_paths_text(item.annotations)}: the label map is {size_text(maps.label.shape)}, "
            f"but the instance map {size_text(maps.instance.shape)}; both must have the same size"
        )


def _check_sizes(photo: tuple[int, ...], label: tuple[int, ...], orientation: int, place: str, item: Item) -> None:
    if photo[:2] != label[:2]:
        turned = orientation > 1 and photo[1::-1] == label[:2]
        raise UserError(
            f"{shown(place)}: is {size_text(photo)}, but its annotation {size_text(label)} "
            f"({_paths_text(item.annotations)}); "
            + (
                "the annotation ignores the photo's EXIF orientation: remove the tag from the photo"
                if turned
                else "both must have the same size and show the same picture"
            )
        )


def _scaling_notes(frame: Frame) -> list[str]:
    """Return notes on stretching and enlarging."""
    height, width = frame.box[2:]
    notes = []
    if abs(height * frame.size[1] / (width * frame.size[0]) - 1) > 0.02:
        notes.append(f"{STRETCHED}: {width}x{height} to {size_text(frame.size)}")
    if height < frame.size[0] or width < frame.size[1]:
        notes.append(f"enlarged: {width}x{height} to {size_text(frame.size)}")
    return notes


def _record(
    item: Item,
    split: str,
    files: dict[str, bytes],
    root: Path,
    shape: tuple[int, ...],
    frame: Frame,
    pixels: dict[str, int],
    things: int | None,
    notes: list[str],
) -> Record:
    sources = source_names(item, root)
    return Record(item.name, split, list(files), sources, list(shape[:2]), list(frame.size), pixels, things, notes)


def source_names(item: Item, root: Path) -> list[str]:
    """Return the photo and annotation files of an item, relative to the data set if inside."""
    return [relative_name(path, root) for path in (item.photo, *item.annotations) if path]


def relative_name(path: Path, root: Path) -> str:
    """Return a file's path relative to the data set, or the path itself if it lies outside."""
    return str(path.relative_to(root) if path.is_relative_to(root) else path)


def _paths_text(paths: tuple[Path, ...]) -> str:
    return ", ".join(shown(path) for path in paths[:3])
