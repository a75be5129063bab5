"""`hdtrans colorize_labels --in DIR --out DIR`: render label maps in colour."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from hdtrans.cli.flags import flags
from hdtrans.prepare.colourise import LEGEND, colourise

SPELLING = flags({"labels": "--in"})


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line and write the pictures; return 1 if label maps could not be read, else 0."""
    parser = argparse.ArgumentParser(
        prog="hdtrans colorize_labels",
        description="Render each label map in the colours of its class table (dataset.json), and a legend.",
    )
    parser.add_argument("--in", dest="labels", type=Path, required=True, help="label map, or folder of label maps")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="output folder for the pictures")
    parser.add_argument(
        "--table", type=Path, help="class table (default: dataset.json in the folder of --in or up to two above)"
    )
    given = parser.parse_args(arguments)
    result = colourise(given.labels, given.out, given.table)
    for failure in result.failures:
        print(f"failed: {failure.text(SPELLING)}", file=sys.stderr)
    print(f"{len(result.done)} pictures and {LEGEND} are in {given.out}")
    return 1 if result.failures else 0
