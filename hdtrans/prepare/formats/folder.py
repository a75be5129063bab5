"""Your own grey label maps, with a class list."""

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hdtrans.common.classes import ClassTable
from hdtrans.common.errors import UserError
from hdtrans.data.io.read import read_instance, read_label
from hdtrans.prepare.sources.class_list import read_classes
from hdtrans.prepare.sources.paired import DEFAULTS, paired_items
from hdtrans.prepare.sources.source import Item, Maps

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
        "classes (default: dataset.json of --in)",
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
    """Label maps, photos and instance maps in folders below `root`; None selects the default folder name."""

    root: Path
    label: str | None
    photo: str | None
    instance: str | None
    classes: ClassTable

    def items(self) -> list[Item]:
        """Return all items."""
        return paired_items(self.root, {"label": self.label, "photo": self.photo, "instance": self.instance})

    def read(self, item: Item) -> Maps:
        """Read label and instance map; instance ids are kept as they are."""
        label = read_label(item.detail.check())
        found = item.detail.instance
        return Maps(label, None if found is None else read_instance(found).astype(np.int64))


def open_source(root: Path, options: argparse.Namespace) -> FolderSource:
    """Read the class list."""
    ignore = _ignore(options.ignore)
    given = options.classes
    if given is None:
        if not (root / "dataset.json").is_file():
            raise UserError(
                f"required, as {root} has no dataset.json; give a file with one class name per line, or the number of "
                "classes",
                argument="classes",
            )
        given = str(root / "dataset.json")
    table = read_classes(given, "classes", ignore)
    return FolderSource(root, options.label_dir, options.photo_dir, options.instance_dir, table)


def _ignore(text: str) -> int | None:
    if text.lower() == "none":
        return None
    if not text.isdecimal() or int(text) > 65535:
        raise UserError("give an id from 0 to 65535, or none", argument="ignore", value=text)
    return int(text)
