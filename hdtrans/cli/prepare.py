"""`hdtrans prepare FORMAT --in ... --out ...`: from annotations to a folder that trains."""

import argparse
from collections.abc import Sequence

from hdtrans.prepare.formats import FORMATS, prepare
from hdtrans.prepare.options import add_common_options


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line and prepare; return 1 if some items failed, else 0."""
    parser = argparse.ArgumentParser(
        prog="hdtrans prepare",
        description="Make a training folder (train_label/ train_inst/ train_img/ ..., dataset.json) from annotations. "
        "The same command goes on where it was stopped.",
        epilog="hdtrans prepare FORMAT --help says more of each.",
    )
    formats = parser.add_subparsers(dest="format", required=True, metavar="FORMAT")
    for name, module in FORMATS.items():
        one = formats.add_parser(name, help=module.HELP, description=module.HELP[0].upper() + module.HELP[1:] + ".")
        add_common_options(one)
        module.add_options(one)
    given = parser.parse_args(arguments)
    report = prepare(given.format, given)
    if isinstance(report, str):
        print(report)
        return 0
    print(report.text())
    return 1 if report.failures else 0
