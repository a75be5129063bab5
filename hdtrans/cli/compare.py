"""`hdtrans compare RUN RUN ... --out page.html`: runs side by side on one page."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from hdtrans.evaluation.report.comparison import write_comparison


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line and write the page; exit codes: see `hdtrans.cli.run_tool`."""
    parser = argparse.ArgumentParser(
        prog="hdtrans compare",
        description="Write one self-contained page: figures of hdtrans evaluate, pictures of the same inputs, curves "
        "of losses and validation, and differences of the recipes.",
    )
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="run folders, or reports of hdtrans evaluate")
    parser.add_argument("--out", type=Path, required=True, metavar="PAGE.html", help="page to write")
    parser.add_argument("--count", type=int, default=8, metavar="N", help="rows of pictures (8)")
    given = parser.parse_args(arguments)
    if len(given.runs) < 2:
        parser.error(f"RUN: {len(given.runs)} given; give two or more")
    if given.count < 1:
        parser.error(f"--count {given.count}: give 1 or more")
    write_comparison(given.runs, given.out, given.count)
    print(f"written: {given.out}")
    return 0
