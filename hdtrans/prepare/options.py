"""What every format is asked: sizes, pictures, splits, classes, instances."""

import argparse
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hdtrans.common.errors import UserError
from hdtrans.data.io.header import LARGEST_PIXELS

SPLITS = ("train", "val", "test")

_OF_A_RUN = ("root", "out", "workers", "limit", "dry_run", "shards", "format")
"""What may differ when a folder is continued: it changes no file."""


@dataclass(frozen=True)
class Options:
    """The common options; the command line spells them with dashes.

    Attributes:
        size: (height, width) of what is written, or None for each picture's own.
        crop_to_aspect: cut to the aspect of `size` before scaling, instead of stretching.
        photos: the kind of file of photos, `png` or `jpg`.
        decoded: write all files as arrays, `npy`, instead.
        split: the share of `test` and of `val`, or none for the data set's own split.
        split_by: what stays together in a split: `group`, `name`, or a pattern whose match in the name does.
        remap: a file that says which class becomes which, or None.
        instances: `own`, those of the data set; `from-labels`, connected components; or `none`.
        things: names or ids of the classes that components are made of; none for all.
        min_area: pixels that a component has at least.
        neighbours: 4 or 8, of a pixel.
    """

    size: tuple[int, int] | None = None
    crop_to_aspect: bool = False
    photos: str = "png"
    decoded: bool = False
    split: tuple[tuple[str, float], ...] = ()
    split_by: str = "group"
    remap: Path | None = None
    instances: str = "own"
    things: tuple[str, ...] = ()
    min_area: int = 1
    neighbours: int = 8

    def __post_init__(self) -> None:
        if self.crop_to_aspect and self.size is None:
            raise UserError("--crop-to-aspect needs --size, whose aspect it cuts to")
        if self.decoded and self.photos == "jpg":
            raise UserError("--decoded writes no JPEG; leave out --photos jpg")
        if self.split_by != "group" and not self.split:
            raise UserError("--split-by needs --split, the shares of test and val")
        if self.instances != "from-labels" and (self.things or self.min_area != 1):
            raise UserError("--things and --min-area need --instances from-labels")

    @property
    def photo_ending(self) -> str:
        """Return what the names of photos end in, without a dot."""
        return "npy" if self.decoded else self.photos

    @property
    def map_ending(self) -> str:
        """Return what the names of maps end in, and of whatever else must not lose anything."""
        return "npy" if self.decoded else "png"


def add_common_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `Options` and of a run to the parser of a format."""
    parser.add_argument("--in", dest="root", type=Path, required=True, metavar="DIR", help="the annotated data set")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="a new folder, or one to continue")
    group = parser.add_argument_group("what is written")
    group.add_argument("--size", type=_size, metavar="WxH", help="scale to this size (default: each picture's own)")
    group.add_argument("--crop-to-aspect", action="store_true", help="cut to the aspect of --size, do not stretch")
    group.add_argument(
        "--photos", choices=("png", "jpg"), default="png", help="jpg copies JPEG photos that keep their size (png)"
    )
    group.add_argument(
        "--decoded", action="store_true", help="all as arrays (.npy): read 8 times as fast, several times as large"
    )
    group.add_argument(
        "--split", type=_shares, default=(), metavar="SHARES", help="test=0.1,val=0.1 (default: the data set's own)"
    )
    group.add_argument(
        "--split-by",
        default="group",
        metavar="WHAT",
        help="what a split keeps together: group (the data set's sequences), name, or a pattern such as '^seq[0-9]+'",
    )
    group.add_argument("--remap", type=Path, metavar="FILE", help="YAML or JSON of `old class: new`, or ignore")
    group.add_argument(
        "--instances", choices=("own", "from-labels", "none"), default="own", help="from-labels: connected components"
    )
    group.add_argument("--things", type=_words, default=(), metavar="A,B", help="classes with components (all)")
    group.add_argument("--min-area", type=_count, default=1, metavar="PIXELS", help="of a component (1)")
    group.add_argument("--neighbours", type=int, choices=(4, 8), default=8, help="of a pixel of a component (8)")
    group = parser.add_argument_group("this run")
    group.add_argument("--workers", type=_count, metavar="N", help="processes (default: one a core)")
    group.add_argument("--limit", type=_count, metavar="N", help="at most so many items of each split")
    group.add_argument(
        "--shards", metavar="SIZE", help="also pack all into DIR_shards/, tar files of at most SIZE (1GB)"
    )
    group.add_argument("--dry-run", action="store_true", help="say what would be written; reads names only")


def common_options(given: argparse.Namespace) -> Options:
    """Return the common options of a command line; raise UserError where they do not go together."""
    return Options(**{name: getattr(given, name) for name in Options.__dataclass_fields__})


def own_options(given: argparse.Namespace) -> dict[str, Any]:
    """Return what else a format was asked, as plain values."""
    common = {*Options.__dataclass_fields__, *_OF_A_RUN}
    return {name: plain(value) for name, value in vars(given).items() if name not in common}


def plain(value: Any) -> Any:
    """Return a value as JSON has it."""
    if isinstance(value, Mapping):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    return value if value is None or isinstance(value, bool | int | float) else str(value)


def _size(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"([0-9]{1,5})x([0-9]{1,5})", text.lower())
    width, height = (int(found[1]), int(found[2])) if found else (0, 0)
    if not 0 < width * height <= LARGEST_PIXELS:
        raise argparse.ArgumentTypeError(f"got {text!r}; give WIDTHxHEIGHT in pixels, for example 1024x512")
    return height, width


def _shares(text: str) -> tuple[tuple[str, float], ...]:
    shares = {}
    for part in text.split(","):
        found = re.fullmatch(r"(test|val)=(0?\.[0-9]+)", part.strip())
        if found is None or found[1] in shares or float(found[2]) == 0:
            raise argparse.ArgumentTypeError(f"got {text!r}; give shares between 0 and 1, for example test=0.1,val=0.1")
        shares[found[1]] = float(found[2])
    if sum(shares.values()) >= 1:
        raise argparse.ArgumentTypeError(f"got {text!r}, which leaves nothing for training")
    return tuple((name, shares[name]) for name in ("test", "val") if name in shares)


def _words(text: str) -> tuple[str, ...]:
    return tuple(word for part in text.split(",") if (word := part.strip()))


def _count(text: str) -> int:
    if not re.fullmatch(r"[1-9][0-9]{0,8}", text):
        raise argparse.ArgumentTypeError(f"got {text!r}; give a whole number from 1")
    return int(text)
