"""Format contract: the items of an annotated data set, its classes, and the maps of one item.

A format is one module in `hdtrans/prepare/formats/`, found by its name, with

* `HELP`: one line for `hdtrans prepare --help`;
* `NEEDS_PHOTOS = True` if its annotations belong to photos, so that label maps without any photo are a failure;
* `searched(root, options)`: returns the folders that it searches, if not all below the root;
* `add_options(parser)`: adds the format's own options;
* `open_source(root, options)`: indexes the data set by file names and small files, and raises UserError for missing
  ones.

Splits, sizes, instance numbering, files and dataset.json are handled by the writer for all formats.
"""

from argparse import ArgumentParser, Namespace
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from hdtrans.common.classes import ClassTable

NO_INSTANCE = -1
"""Instance id of pixels without an instance."""

LARGEST_ID = 65535
"""Largest id in a written map, 16 bits."""


@dataclass(frozen=True)
class Item:
    """One annotated photo.

    Attributes:
        name: output file name without extension; `/` separates sub-folders; unique within its split.
        split: the data set's own split (`train`, `val`, `test`), or None.
        group: key of items that must stay in one split, such as a sequence; the name itself if alone.
        photo: photo file, or None.
        annotations: annotation files of the item.
        detail: further picklable data for `Source.read`.
        inputs: further files that the item's maps are made from, such as masks.
        wanted: path of a photo that the annotations name and that was not found; '' if it was found, or none is named.
        notes: warnings about the item that were found without reading it.
    """

    name: str
    split: str | None
    group: str
    photo: Path | None
    annotations: tuple[Path, ...] = ()
    detail: Any = None
    inputs: tuple[Path, ...] = ()
    wanted: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Maps:
    """Label and instance map of an item, at the annotation's own size.

    Attributes:
        label: (H, W) integers: class ids, or the ignored id.
        instance: (H, W) integers: one arbitrary id >= 0 per instance, `NO_INSTANCE` elsewhere; None if the data set
            has no instances.
        notes: warnings about this item, such as unknown colours; notes equal up to the first `:` are reported as one.
        photo: photo inside the annotation file, in place of `Item.photo`; or None.
    """

    label: npt.NDArray[Any]
    instance: npt.NDArray[np.signedinteger[Any]] | None = None
    notes: tuple[str, ...] = ()
    photo: "EmbeddedPhoto | None" = None


@dataclass(frozen=True)
class EmbeddedPhoto:
    """An encoded photo inside an annotation file.

    Attributes:
        where: file and place in it, for messages.
        data: bytes of the picture file.
    """

    where: str
    data: bytes


class Source(Protocol):
    """An annotated data set; picklable, as workers read its items."""

    @property
    def classes(self) -> ClassTable:
        """Class table of the label maps."""

    def items(self) -> list[Item]:
        """Return all items, in natural order of their names."""

    def read(self, item: Item) -> Maps:
        """Read the maps of one item.

        Raises:
            UserError: the annotation is wrong; the message gives the file. Other items are not affected.
        """


@runtime_checkable
class SharedDocuments(Protocol):
    """A source with annotation files that hold several items, so that their bytes do not tell which item changed."""

    @property
    def shared(self) -> Collection[Path]:
        """Those files, among the annotations and inputs of the items."""

    def part(self, item: Item) -> object:
        """Return what `read` takes from these files for an item, as JSON values."""


@runtime_checkable
class Noted(Protocol):
    """A source with findings about the whole data set."""

    @property
    def notes(self) -> Sequence[str]:
        """Findings, one sentence each."""


@runtime_checkable
class PairSource(Protocol):
    """Photos from which the input side of picture pairs is computed; picklable."""

    @property
    def lossless(self) -> bool:
        """True if the input must be written without loss (never as JPEG)."""

    def items(self) -> list[Item]:
        """Return all items, each with a photo, in natural order of their names."""

    def make_input(self, photo: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Compute the input, (H, W, C), from an (H, W, C) photo at its output size."""


class Format(Protocol):
    """A module in `hdtrans/prepare/formats/`."""

    HELP: str

    def add_options(self, parser: ArgumentParser) -> None:
        """Add the format's own options."""

    def open_source(self, root: Path, options: Namespace) -> Source | PairSource:
        """Index the data set by file names and small files; raise UserError for missing ones."""
