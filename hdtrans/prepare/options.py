"""Options common to all formats: size, file types, splits, classes, instances."""

import argparse
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from hdtrans.common.errors import Advice, UserError
from hdtrans.config.stage import Size
from hdtrans.data.io.header import LARGEST_PIXELS

SPLITS = ("train", "val", "test")

_RUN_OPTIONS = ("root", "out", "workers", "limit", "dry_run", "shards", "format")
"""Options that do not affect the files, and so may change on resume."""


@dataclass(frozen=True)
class Options:
    """Options common to all formats.

    Attributes:
        size: (height, width) of the written pictures in pixels, or None to keep each picture's own.
        crop_to_aspect: crop to the aspect ratio of `size` before scaling, instead of stretching.
        photos: file type of photos, `png` or `jpg`.
        decoded: write all files as `npy` arrays instead.
        split: shares of `test` and `val` in (0, 1); empty for the data set's own split.
        split_by: items kept in one split: those of a `group`, each `name` alone, or equal matches of a pattern.
        remap: class remapping file, or None.
        instances: `own` (from the data set), `from-labels` (connected components) or `none`.
        things: names or ids of the classes with components; empty for all.
        min_area: smallest area of a component in pixels, >= 1.
        neighbours: connectivity of components, 4 or 8.
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
            needed = Advice("size", "WIDTHxHEIGHT")
            raise UserError("needs a size, which gives the aspect ratio", argument="crop_to_aspect", advice=[needed])
        if self.decoded and self.photos == "jpg":
            ways = [Advice("photos", None), Advice("decoded", None)]
            raise UserError("decoded photos are .npy files", argument="photos", value="jpg", advice=ways)
        if self.split_by != "group" and not self.split:
            raise UserError(
                "needs the shares of test and val",
                argument="split_by",
                value=self.split_by,
                advice=[Advice("split", "SHARES")],
            )
        if self.instances != "from-labels" and (self.things or self.min_area != 1):
            name, value = ("things", ",".join(self.things)) if self.things else ("min_area", self.min_area)
            way = Advice("instances", "from-labels")
            raise UserError("is for components of label maps", argument=name, value=value, advice=[way])

    @property
    def photo_ending(self) -> str:
        """File extension of photos, without a dot."""
        return "npy" if self.decoded else self.photos

    @property
    def map_ending(self) -> str:
        """File extension of maps and other lossless files, without a dot."""
        return "npy" if self.decoded else "png"


def add_common_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `Options` and the run options to a format's parser."""
    parser.add_argument("--in", dest="root", type=Path, required=True, metavar="DIR", help="annotated data set")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="output folder: new, or to be resumed")
    _add_output_options(parser.add_argument_group("output"))
    _add_instance_options(parser.add_argument_group("instance maps"))
    group = parser.add_argument_group("run")
    group.add_argument("--workers", type=_parse_count, metavar="N", help="processes (default: one per core)")
    group.add_argument("--limit", type=_parse_count, metavar="N", help="items per split, at most (default: all)")
    group.add_argument(
        "--shards",
        metavar="SIZE",
        help="also pack the result into OUT_shards/, tar files of at most SIZE, such as 1GB (default: off)",
    )
    group.add_argument("--dry-run", action="store_true", help="list the items per split; write nothing")


def _add_output_options(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--size", type=_parse_size, metavar="WxH", help="output size in pixels (default: as annotated)")
    group.add_argument(
        "--crop-to-aspect",
        action="store_true",
        help="crop to the aspect ratio of --size before scaling (default: stretch)",
    )
    group.add_argument(
        "--photos",
        choices=("png", "jpg"),
        default="png",
        help="file type of photos; jpg copies JPEG photos whose size stays (default: png)",
    )
    group.add_argument(
        "--decoded",
        action="store_true",
        help="write all files as .npy arrays: 8 times as fast to read, several times as large",
    )
    group.add_argument(
        "--split",
        type=_parse_shares,
        default=(),
        metavar="SHARES",
        help="shares of test and val, such as test=0.1,val=0.1 (default: the data set's own split)",
    )
    group.add_argument(
        "--split-by",
        default="group",
        metavar="KEY",
        help="items kept in one split: group (the data set's sequences), name (each alone), or equal matches of a "
        "pattern such as '^seq[0-9]+' (default: group)",
    )
    group.add_argument(
        "--remap", type=Path, metavar="FILE", help="class remapping, YAML or JSON: `old class: new class` or ignore"
    )


def _add_instance_options(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--instances",
        choices=("own", "from-labels", "none"),
        default="own",
        help="instance maps: the data set's own, connected components of the label maps, or none (default: own)",
    )
    group.add_argument(
        "--things",
        type=_parse_list,
        default=(),
        metavar="A,B",
        help="from-labels: classes with components, by name or id (default: all)",
    )
    group.add_argument(
        "--min-area",
        type=_parse_count,
        default=1,
        metavar="PIXELS",
        help="from-labels: smallest area of a component (default: 1)",
    )
    group.add_argument(
        "--neighbours", type=int, choices=(4, 8), default=8, help="from-labels: connectivity of components (default: 8)"
    )


def common_options(given: argparse.Namespace) -> Options:
    """Return the common options of a parsed command line; raise UserError if they contradict each other."""
    return Options(**{name: getattr(given, name) for name in Options.__dataclass_fields__})


def format_options(given: argparse.Namespace) -> dict[str, Any]:
    """Return the format's own options of a parsed command line, as JSON values."""
    common = {*Options.__dataclass_fields__, *_RUN_OPTIONS}
    return {name: to_json_values(value) for name, value in vars(given).items() if name not in common}


def to_json_values(value: Any) -> Any:
    """Convert a value to JSON types; unknown types become strings."""
    if isinstance(value, Mapping):
        return {str(key): to_json_values(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [to_json_values(each) for each in value]
    return value if value is None or isinstance(value, bool | int | float) else str(value)


def _parse_size(text: str) -> tuple[int, int]:
    try:
        size = Size.model_validate(text)
    except ValidationError:
        size = None
    if size is None or size.width * size.height > LARGEST_PIXELS:
        raise argparse.ArgumentTypeError(
            f"got {text!r}; give WIDTHxHEIGHT, 1 to {LARGEST_PIXELS} pixels, for example 1024x512"
        )
    return size.height, size.width


def _parse_shares(text: str) -> tuple[tuple[str, float], ...]:
    shares = {}
    for part in text.split(","):
        found = re.fullmatch(r"(test|val)=(0?\.[0-9]+)", part.strip())
        if found is None or found[1] in shares or float(found[2]) == 0:
            raise argparse.ArgumentTypeError(f"got {text!r}; give shares between 0 and 1, for example test=0.1,val=0.1")
        shares[found[1]] = float(found[2])
    if sum(shares.values()) >= 1:
        raise argparse.ArgumentTypeError(f"got {text!r}, which leaves no item for training; give a sum below 1")
    return tuple((name, shares[name]) for name in ("test", "val") if name in shares)


def _parse_list(text: str) -> tuple[str, ...]:
    return tuple(word for part in text.split(",") if (word := part.strip()))


def _parse_count(text: str) -> int:
    if not re.fullmatch(r"[1-9][0-9]{0,8}", text):
        raise argparse.ArgumentTypeError(f"got {text!r}; give an integer from 1 to 999999999")
    return int(text)
