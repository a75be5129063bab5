"""`hdtrans prepare FORMAT --in ... --out ...`: from annotations to a folder that trains."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from hdtrans.common.sizes import read_bytes
from hdtrans.prepare.options import add_common_options
from hdtrans.prepare.registry import FORMATS, prepare
from hdtrans.prepare.writing.shards import write_shards


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
    packing = formats.add_parser("shards", help="a training folder, packed into tar files", description=_pack.__doc__)
    packing.add_argument("--in", dest="root", type=Path, required=True, metavar="DIR", help="the training folder")
    packing.add_argument("--out", type=Path, required=True, metavar="DIR", help="a new folder, or one to continue")
    packing.add_argument("--size", default="1GB", help="of a shard, at most (1GB)")
    given = parser.parse_args(arguments)
    if given.format == "shards":
        return _pack(given.root, given.out, read_bytes(given.size, "--size"))
    size = read_bytes(given.shards, "--shards") if given.shards else 0
    report = prepare(given.format, given)
    if isinstance(report, str):
        print(report)
        return 0
    print(report.text())
    packed = given.out.with_name(f"{given.out.name}_shards")
    if size and report.failures:
        print(f"not packed: first mend what failed, or give hdtrans prepare shards --in {given.out} --out {packed}")
    elif size:
        _pack(given.out, packed, size)
    return 1 if report.failures else 0


def _pack(folder: Path, out: Path, size: int) -> int:
    """Pack a training folder into tar files (WebDataset's layout) that data.root can name in its place."""
    shards = write_shards(folder, out, size)
    print(f"{shards.samples} samples ({shards.files} files) are in {len(shards.paths)} shards: data.root={out}")
    return 0
