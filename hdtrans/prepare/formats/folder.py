"""Grey label maps of one's own, with a class list."""

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

HELP = "grey label maps of your own, with a class list"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this format."""
    add_folder_options(parser)
    parser.add_argument("--instance-dir", metavar="DIR", help=f"of instance maps ({DEFAULTS['instance']}, if there)")
    parser.add_argument(
        "--classes", metavar="LIST", help="a file with one name a line (with R G B), a dataset.json, or a number"
    )
    parser.add_argument("--ignore", default="255", metavar="ID", help="of pixels without a class, or none (255)")


def add_folder_options(parser: argparse.ArgumentParser) -> None:
    """Add where label maps and photos lie."""
    parser.add_argument(
        "--label-dir", metavar="DIR", help=f"in --in; {{split}} stands for train, val, test ({DEFAULTS['label']})"
    )
    parser.add_argument("--photo-dir", metavar="DIR", help=f"of photos ({DEFAULTS['photo']}, if there)")


@dataclass(frozen=True)
class FolderSource:
    """Label maps, photos and instance maps in folders."""

    root: Path
    label: str | None
    photo: str | None
    instance: str | None
    classes: ClassTable

    def items(self) -> list[Item]:
        """Return all items."""
        return paired_items(self.root, {"label": self.label, "photo": self.photo, "instance": self.instance})

    def read(self, item: Item) -> Maps:
        """Read label and instance map; ids of instances are kept, so that nothing is uncounted."""
        label = read_label(item.detail.check())
        found = item.detail.instance
        return Maps(label, None if found is None else read_instance(found).astype(np.int64))


def open_source(root: Path, options: argparse.Namespace) -> FolderSource:
    """Find the class list."""
    ignore = _ignore(options.ignore)
    given = options.classes
    if given is None:
        if not (root / "dataset.json").is_file():
            raise UserError("--classes is needed: a file with one class name a line, or the number of classes")
        given = str(root / "dataset.json")
    table = read_classes(given, "--classes", ignore)
    return FolderSource(root, options.label_dir, options.photo_dir, options.instance_dir, table)


def _ignore(text: str) -> int | None:
    if text.lower() == "none":
        return None
    if not text.isdecimal() or int(text) > 65535:
        raise UserError(f"--ignore: got {text!r}; give an id from 0 to 65535, or none")
    return int(text)
