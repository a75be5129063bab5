"""Your own grey label maps, with a class list."""

import argparse
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hdtrans.common.classes import ClassTable
from hdtrans.common.errors import Advice, UserError
from hdtrans.data.io.header import probe, shown
from hdtrans.data.io.read import read_instance, read_label, read_picture
from hdtrans.data.label_ids import count_ids, grey_values
from hdtrans.prepare.sources.class_list import read_classes
from hdtrans.prepare.sources.paired import DEFAULTS, paired_folders, paired_items
from hdtrans.prepare.sources.source import Item, Maps
from hdtrans.prepare.sources.tables import translate
from hdtrans.prepare.sources.values import read_values

HELP = "your own grey label maps, with a class list"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this format."""
    add_folder_options(parser)
    parser.add_argument(
        "--instance-dir",
        metavar="DIR",
        help=f"instance map folder below --in (default: {DEFAULTS['instance']} if present)",
    )
    parser.add_argument(
        "--classes",
        metavar="LIST",
        help="class list: a file with one name per line (optionally `R G B name`), a dataset.json, or the number of "
        "classes (default: dataset.json of --in, or one class for each of --values)",
    )
    parser.add_argument(
        "--values",
        metavar="LIST",
        help="grey values of class 0, class 1, ..., as masks have them: `0,255`; or VALUE:CLASS, by id, name or "
        "ignore: `0:0,255:road` (default: values are ids)",
    )
    parser.add_argument(
        "--ignore", default="255", metavar="ID", help="id of unlabelled pixels, 0 to 65535, or none (default: 255)"
    )


def add_folder_options(parser: argparse.ArgumentParser) -> None:
    """Add the options for the folders of label maps and photos."""
    parser.add_argument(
        "--label-dir",
        metavar="DIR",
        help=f"label map folder below --in; {{split}} is replaced by train, val, test (default: {DEFAULTS['label']})",
    )
    parser.add_argument(
        "--photo-dir", metavar="DIR", help=f"photo folder below --in (default: {DEFAULTS['photo']} if present)"
    )


@dataclass(frozen=True)
class FolderSource:
    """Label maps, photos and instance maps in folders below `root`; None selects the default folder name.

    Attributes:
        values: class id, or the ignored id, by grey value of the label maps; None where the values are ids.
    """

    root: Path
    label: str | None
    photo: str | None
    instance: str | None
    classes: ClassTable
    values: Mapping[int, int] | None = None

    def items(self) -> list[Item]:
        """Return all items."""
        return paired_items(self.root, {"label": self.label, "photo": self.photo, "instance": self.instance})

    def read(self, item: Item) -> Maps:
        """Read label and instance map; instance ids are kept as they are."""
        path = item.detail.check()
        label: npt.NDArray[Any] = read_label(path) if self.values is None else _read_grey(path)
        if self.values is not None:
            label = translate(label, self.values, shown(path), "values")
        elif int(label.max()) >= len(self.classes) and (grey := grey_values(count_ids(label))):
            self._check_grey(grey, path)
        found = item.detail.instance
        return Maps(label, None if found is None else read_instance(found).astype(np.int64))

    def _check_grey(self, grey: list[int], path: Path) -> None:
        """Raise UserError for a map whose grey values are no ids; the summary reports those that are ignored."""
        wrong = [value for value in grey if value >= len(self.classes) and value != self.classes.ignore]
        if wrong:
            listed = ", ".join(map(str, grey))
            finding = f"has the values {listed}, as masks have them, but classes are 0 to {len(self.classes) - 1}"
            way = Advice("values", ",".join(map(str, grey)), "if each is a class")
            raise UserError(finding, path=path, advice=[way])


def _read_grey(path: Path) -> npt.NDArray[Any]:
    """Read a label map, (H, W), or a mask that was saved in colour, all of whose channels are equal."""
    header = probe(path)
    if header.channels in (3, 4) and not header.cmyk and not header.lossy:
        picture = read_picture(path)
        if picture.dtype.kind in "iu" and (picture == picture[..., :1]).all():
            return picture[..., 0]
    return read_label(path)


def searched(root: Path, options: argparse.Namespace) -> list[Path]:
    """Return the folders that are searched."""
    names = {"label": options.label_dir, "photo": options.photo_dir, "instance": options.instance_dir}
    return paired_folders(root, names)


def open_source(root: Path, options: argparse.Namespace) -> FolderSource:
    """Read the class list, and the grey values of the classes."""
    table = _classes(root, options)
    values = None if options.values is None else read_values(options.values, table)
    return FolderSource(root, options.label_dir, options.photo_dir, options.instance_dir, table, values)


def _classes(root: Path, options: argparse.Namespace) -> ClassTable:
    ignore = _ignore(options.ignore)
    given = options.classes
    if given is None and options.values is not None and not (root / "dataset.json").is_file():
        given = str(len(options.values.split(",")))
    if given is None:
        if not (root / "dataset.json").is_file():
            raise UserError(
                f"required, as {root} has no dataset.json; give a file with one class name per line, or the number of "
                "classes",
                argument="classes",
            )
        given = str(root / "dataset.json")
    return read_classes(given, "classes", ignore)


def _ignore(text: str) -> int | None:
    if text.lower() == "none":
        return None
    if not text.isdecimal() or int(text) > 65535:
        raise UserError("give an id from 0 to 65535, or none", argument="ignore", value=text)
    return int(text)
