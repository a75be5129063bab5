"""The contract of a format: which items an annotated data set has, its classes, and the maps of one item.

Each format is one file beside this one, with `HELP` (one line), `add_options(parser)` for what it alone is asked, and
`open_source(root, options)`, which looks at names and small files only and raises UserError for what is missing.
The writer does the rest for all of them: splits, sizes, renumbering, files, dataset.json.
"""

from argparse import ArgumentParser, Namespace
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from hdtrans.common.classes import ClassTable

UNCOUNTED = -1
"""The instance id of pixels that belong to nothing counted."""


@dataclass(frozen=True)
class Item:
    """One annotated photo.

    Attributes:
        name: of the files that are written, without extension; with `/` for sub-folders; unique within its split.
        split: of the data set's own (`train`, `val`, `test`), or None where it has none.
        group: what a split must keep together, such as a sequence; the name itself where there is nothing.
        photo: its file, or None where there is none.
        annotations: the files that its maps are read from.
        detail: what else `Source.read` needs; it must be picklable.
    """

    name: str
    split: str | None
    group: str
    photo: Path | None
    annotations: tuple[Path, ...] = ()
    detail: Any = None


@dataclass(frozen=True)
class Maps:
    """The maps of an item, in the annotation's own size.

    Attributes:
        label: (H, W) integers: places in the class table, or its ignored id.
        instance: (H, W) integers: the same id for all pixels of one thing, any numbers, `UNCOUNTED` for what is not
            counted; or None where the data set does not tell things apart.
        notes: findings about this item that a user should read, such as colours that are in no table. Those that are
            equal up to the first `:` are shown as one.
    """

    label: npt.NDArray[Any]
    instance: npt.NDArray[np.signedinteger[Any]] | None = None
    notes: tuple[str, ...] = ()


class Source(Protocol):
    """An annotated data set; picklable, as workers read its items."""

    @property
    def classes(self) -> ClassTable:
        """The classes of its label maps."""

    def items(self) -> list[Item]:
        """Return all items, in natural order of their names."""

    def read(self, item: Item) -> Maps:
        """Read the maps of one item.

        Raises:
            UserError: naming the file and what is wrong with it; the other items go on.
        """


@runtime_checkable
class PairSource(Protocol):
    """Photos alone, from which the other side of a pair is made; picklable."""

    @property
    def lossless(self) -> bool:
        """Whether what is made keeps its values only in a PNG."""

    def items(self) -> list[Item]:
        """Return all items, each with a photo, in natural order of their names."""

    def input_of(self, photo: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Make the input, (H, W, C), from an (H, W, C) photo as it is written."""


class Format(Protocol):
    """A file of formats, beside this one."""

    HELP: str

    def add_options(self, parser: ArgumentParser) -> None:
        """Add what this format alone is asked."""

    def open_source(self, root: Path, options: Namespace) -> Source | PairSource:
        """Look at names and small files; raise UserError for what is missing."""
