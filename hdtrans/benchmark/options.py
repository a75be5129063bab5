"""Command-line options of `hdtrans benchmark`."""

import argparse
import re
from pathlib import Path

from pydantic import ValidationError

from hdtrans.config.stage import Size


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the subjects, their settings and the outputs."""
    add = parser.add_argument
    add("what", nargs="*", help="inference, training, reading, preparing (default: all)")
    add(
        "--size",
        type=_size,
        default="512x256",
        metavar="WxH",
        help="size of generated pictures, and of scaled reading and preparing (default: %(default)s)",
    )
    add("--enhancers", type=int, choices=(0, 1), default=0, help="local enhancers (default: 0)")
    add("--rounds", type=_count, default=3, metavar="N", help="timed calls of each subject (default: 3)")
    add("--threads", type=_count, metavar="N", help="CPU threads (default: 1, or all cores with --busy)")
    add("--busy", type=_count, default=0, metavar="N", help="also measure beside N spinning processes (default: none)")
    add("--width", type=_count, default=64, metavar="N", help="channels of the generator's first layer (default: 64)")
    add("--dtype", default="auto", help="compute type: auto, fp32, bf16, fp16 (default: auto)")
    add("--device", default="auto", help="auto, cpu, cuda or cuda:N (default: auto)")
    add("--data", type=Path, metavar="DIR", help="folder with train_label/ train_inst/ train_img/ (default: toy)")
    add("--json", action="store_true", help="print all figures as JSON")
    add("--page", type=Path, metavar="FILE", help="also write an HTML page")


def _size(text: str) -> Size:
    """Parse a size; raise ArgumentTypeError for another text, or one that networks are not measured at."""
    try:
        size = Size.model_validate(text)
    except ValidationError:
        size = None
    if size is None or not 32 <= min(size.height, size.width) <= max(size.height, size.width) < 100_000:
        raise argparse.ArgumentTypeError(f"got {text!r}; give WIDTHxHEIGHT in pixels, 32x32 or more, such as 512x256")
    return size


def _count(text: str) -> int:
    if not re.fullmatch(r"[1-9][0-9]{0,3}", text):
        raise argparse.ArgumentTypeError(f"got {text!r}; give a whole number in [1, 9999]")
    return int(text)
