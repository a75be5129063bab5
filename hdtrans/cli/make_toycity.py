"""`hdtrans make_toycity --out DIR`: render toy street scenes with label and instance maps."""

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from hdtrans.common.errors import UserError
from hdtrans.toycity.scenes import write_dataset


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line and write the scenes; exit codes: see `hdtrans.cli.run_tool`."""
    parser = argparse.ArgumentParser(
        prog="hdtrans make_toycity",
        description="Render toy street scenes with exact label and instance maps as a training folder; the same seed "
        "gives the same pixels on every machine. The same command finishes what was stopped; larger numbers add to it.",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="a new, an empty or a toy city's folder")
    parser.add_argument("--train", type=int, default=200, metavar="N", help="training scenes (default: %(default)s)")
    parser.add_argument("--test", type=int, default=20, metavar="N", help="test scenes (default: %(default)s)")
    parser.add_argument("--size", default="512x256", metavar="WxH", help="in pixels (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="another seed gives other streets (default: %(default)s)")
    options = parser.parse_args(arguments)
    width, height = _read_size(options.size)
    write_dataset(options.out, options.train, options.test, height, width, options.seed, _show_progress)
    return 0


def _read_size(text: str) -> tuple[int, int]:
    """Return the (width, height) of a text such as 512x256."""
    found = re.fullmatch(r"([0-9]{1,6})x([0-9]{1,6})", text.lower())
    if found is None:
        raise UserError(f"--size: got {text!r}; give width x height in pixels, for example 512x256")
    return int(found[1]), int(found[2])


def _show_progress(done: int, total: int) -> None:
    """Rewrite one line on a terminal; elsewhere print the last line alone."""
    if sys.stderr.isatty():
        print(f"\r{done}/{total} scenes", end="\n" if done == total else "", file=sys.stderr, flush=True)
    elif done == total:
        print(f"{total} scenes", file=sys.stderr)
