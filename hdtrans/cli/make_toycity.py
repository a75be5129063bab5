"""`hdtrans make_toycity --out DIR`: render toy street scenes with label and instance maps."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from hdtrans.common.folder_lock import FolderLock
from hdtrans.config.stage import read_size
from hdtrans.toycity.scenes import write_dataset


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line and write the scenes; exit codes: see `hdtrans.cli.run_tool`."""
    parser = argparse.ArgumentParser(
        prog="hdtrans make_toycity",
        description="Render toy street scenes with exact label and instance maps as a training folder. "
        "Equal seeds give equal pixels on every machine. The same command resumes a stopped run; larger numbers add "
        "scenes.",
    )
    parser.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="output folder: new, empty, or a toy city to be resumed"
    )
    parser.add_argument(
        "--train", type=int, default=200, metavar="N", help="training scenes, 0 to 1000000 (default: %(default)s)"
    )
    parser.add_argument(
        "--test", type=int, default=20, metavar="N", help="test scenes, 0 to 1000000 (default: %(default)s)"
    )
    parser.add_argument(
        "--size",
        default="512x256",
        metavar="WxH",
        help="picture size, 32 to 4096 pixels per side (default: %(default)s)",
    )
    parser.add_argument("--seed", type=int, default=0, help="data set seed, 0 to 2**40 (default: %(default)s)")
    options = parser.parse_args(arguments)
    size = read_size(options.size, "size")
    with FolderLock(options.out):
        write_dataset(options.out, options.train, options.test, size.height, size.width, options.seed, _show_progress)
    return 0


def _show_progress(done: int, total: int) -> None:
    """Print progress: one rewritten line on a terminal, else only the last line."""
    if sys.stderr.isatty():
        print(f"\r{done}/{total} scenes", end="\n" if done == total else "", file=sys.stderr, flush=True)
    elif done == total:
        print(f"{total} scenes", file=sys.stderr)
