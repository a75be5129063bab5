"""The files of one item, made in memory."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from hdtrans.common.classes import ClassTable
from hdtrans.common.errors import UserError
from hdtrans.data.io.header import shown
from hdtrans.prepare.options import Options
from hdtrans.prepare.sources.remap import Remap
from hdtrans.prepare.sources.source import Item, Maps, PairSource, Source
from hdtrans.prepare.writing.instances import components, renumber
from hdtrans.prepare.writing.pictures import (
    Frame,
    encode_jpeg,
    encode_npy,
    encode_png,
    frame_of,
    photo_bytes,
    read_photo,
)

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Record:
    """What was made of an item: a line of the journal.

    Attributes:
        name: of the item.
        split: the split it went to.
        files: paths of what was written, in the output folder.
        sources: paths of what it was made from, in the data set's folder.
        size: (height, width) of the annotation.
        made: (height, width) of what was written.
        pixels: pixels of each id that the label map holds.
        things: how many things are counted, or None without an instance map.
        notes: what a user should know.
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

    @property
    def key(self) -> str:
        """Return what no other item of the folder has: split and name."""
        return f"{self.split}/{self.name}"

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)


@dataclass(frozen=True)
class Made:
    """The files of an item, by their paths in the output folder, and its record."""

    files: dict[str, bytes]
    record: Record


class Maker(Protocol):
    """Makes the files of an item; picklable. Shards would take what it makes where files do now."""

    def make(self, item: Item, split: str) -> Made:
        """Return the files of one item; raise UserError naming the file that is wrong."""


@dataclass(frozen=True)
class MapsMaker:
    """Makes label maps, instance maps and photos.

    Attributes:
        source: the data set.
        root: its folder.
        options: sizes and kinds.
        remap: which class becomes which, or None.
        things: the ids of the classes whose components are counted.
    """

    source: Source
    root: Path
    options: Options
    remap: Remap | None = None
    things: tuple[int, ...] = ()

    @property
    def classes(self) -> ClassTable:
        """The classes of what is written."""
        return self.remap.classes if self.remap else self.source.classes

    def make(self, item: Item, split: str) -> Made:
        """Return `SPLIT_label/NAME.png`, `SPLIT_inst/NAME.png` and `SPLIT_img/NAME.png`; or `.jpg`, `.npy`."""
        maps = self.source.read(item)
        _check_maps(maps, item)
        check_ids(maps.label, self.source.classes, item)
        label = self.remap.apply(maps.label) if self.remap else maps.label
        frame = frame_of(label.shape, self.options.size, self.options.crop_to_aspect)
        table = self.classes
        small = frame.map(label)
        bits = np.uint8 if max(len(table) - 1, table.ignore or 0) < 256 else np.uint16
        ending, encode = self.options.map_ending, encode_npy if self.options.decoded else encode_png
        files = {f"{split}_label/{item.name}.{ending}": encode(small.astype(bits))}
        counted = None
        if (instance := self._instances(maps, label)) is not None:
            dense, counted = renumber(frame.map(instance), small, len(table), table.ignore)
            files[f"{split}_inst/{item.name}.{ending}"] = encode(dense)
        notes = [*maps.notes, *_of_frame(frame)]
        if item.photo is not None:
            kind = self.options.photo_ending
            photo, header, dropped = read_photo(item.photo, kind)
            _check_sizes(photo.shape, label.shape, header.orientation, item)
            files[f"{split}_img/{item.name}.{kind}"] = photo_bytes(frame.photo(photo), item.photo, header, kind, frame)
            notes += dropped
        counts = np.bincount(small.reshape(-1))
        pixels = {str(place): int(counts[place]) for place in np.flatnonzero(counts)}
        return Made(files, _record(item, split, files, self.root, label.shape, frame, pixels, counted, notes))

    def _instances(self, maps: Maps, label: Array) -> Array | None:
        if self.options.instances == "from-labels":
            return components(label, self.things, self.options.min_area, self.options.neighbours)
        return maps.instance if self.options.instances == "own" else None


@dataclass(frozen=True)
class PairMaker:
    """Pairs of a photo and what a network gets of it: `SPLIT_A/NAME.png`, `SPLIT_B/NAME.png`; or `.jpg`, `.npy`."""

    source: PairSource
    root: Path
    options: Options

    def make(self, item: Item, split: str) -> Made:
        """Return the files of one pair; the input is made from the photo that is written."""
        assert item.photo is not None, "a pair has a photo"
        kind = self.options.photo_ending
        photo, header, notes = read_photo(item.photo, kind)
        frame = frame_of(photo.shape, self.options.size, self.options.crop_to_aspect)
        wanted = frame.photo(photo)
        given = self.source.input_of(wanted)
        ending = self.options.map_ending if self.source.lossless else kind
        encode = {"png": encode_png, "jpg": encode_jpeg, "npy": encode_npy}[ending]
        files = {
            f"{split}_A/{item.name}.{ending}": encode(given),
            f"{split}_B/{item.name}.{kind}": photo_bytes(wanted, item.photo, header, kind, frame),
        }
        told = [*notes, *_of_frame(frame)]
        return Made(files, _record(item, split, files, self.root, photo.shape, frame, {}, None, told))


def check_ids(label: Array, table: ClassTable, item: Item) -> None:
    """Raise UserError if a label map holds an id that is neither a class nor ignored."""
    count = len(table)
    if int(label.min()) >= 0 and int(label.max()) < count:
        return
    wrong = (label >= count) | (label < 0)
    if table.ignore is not None:
        wrong &= label != table.ignore
    if not wrong.any():
        return
    ids, counts = np.unique(label[wrong], return_counts=True)
    row, column = (int(place[0]) for place in np.nonzero(wrong))
    told = ", ".join(f"{i} ({n} pixels)" for i, n in list(zip(ids.tolist(), counts.tolist(), strict=True))[:8])
    more = f" and {ids.size - 8} more" if ids.size > 8 else ""
    ignored = "no id is ignored" if table.ignore is None else f"{table.ignore} is ignored"
    where = shown(item.annotations[0]) if item.annotations else item.name
    raise UserError(
        f"{where}: ids that are no class: {told}{more}, first at row {row}, column {column}. "
        f"Classes are 0 to {count - 1}, {ignored}: is the list of classes too short, or one of them no class?"
    )


def _check_maps(maps: Maps, item: Item) -> None:
    assert maps.label.ndim == 2 and maps.label.dtype.kind in "iu", f"{item.name}: {maps.label.dtype}"
    if maps.instance is not None and maps.instance.shape != maps.label.shape:
        raise UserError(
            f"{_named(item.annotations)}: the label map has {_shown(maps.label.shape)}, "
            f"but the instance map {_shown(maps.instance.shape)}; they must have the same size"
        )


def _check_sizes(photo: tuple[int, ...], label: tuple[int, ...], orientation: int, item: Item) -> None:
    if photo[:2] != label[:2]:
        turned = orientation > 1 and photo[1::-1] == label[:2]
        raise UserError(
            f"{shown(item.photo or '')}: has {_shown(photo)}, but its annotation {_shown(label)} "
            f"({_named(item.annotations)}); "
            + (
                "the annotation ignores the EXIF orientation of the photo: remove that from the photo"
                if turned
                else "they must have the same size: are they of the same picture?"
            )
        )


def _of_frame(frame: Frame) -> list[str]:
    """Say what happens to pictures that a user may not expect."""
    height, width = frame.box[2:]
    notes = []
    if abs(height * frame.size[1] / (width * frame.size[0]) - 1) > 0.02:
        notes.append(f"stretched (--crop-to-aspect cuts instead): {width}x{height} to {_shown(frame.size)}")
    if height < frame.size[0] or width < frame.size[1]:
        notes.append(f"made larger: {width}x{height} to {_shown(frame.size)}")
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
    paths = [*([item.photo] if item.photo else []), *item.annotations]
    sources = [str(path.relative_to(root) if path.is_relative_to(root) else path) for path in paths]
    return Record(item.name, split, list(files), sources, list(shape[:2]), list(frame.size), pixels, things, notes)


def _named(paths: tuple[Path, ...]) -> str:
    return ", ".join(shown(path) for path in paths[:3])


def _shown(shape: tuple[int, ...]) -> str:
    return f"{shape[1]}x{shape[0]}"
