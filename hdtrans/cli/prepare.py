"""`hdtrans prepare FORMAT --in ... --out ...`: convert annotations to a training folder."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from hdtrans.cli.flags import flags
from hdtrans.common.folder_lock import FolderLock
from hdtrans.common.sizes import read_bytes
from hdtrans.prepare.options import add_common_options
from hdtrans.prepare.registry import format_names, load_format, prepare
from hdtrans.prepare.writing.shards import write_shards

SPELLING = flags({"root": "--in"})


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line and prepare the folder; return 1 if items or all photos failed, else 0."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    given = _parser(words).parse_args(words)
    if given.format == "shards":
        return _pack(given.root, given.out, read_bytes(given.size, "size"))
    size = read_bytes(given.shards, "shards") if given.shards else 0
    report = prepare(given.format, given)
    if isinstance(report, str):
        print(report)
        return 0
    print(report.text(SPELLING))
    packed = given.out.with_name(f"{given.out.name}_shards")
    if size and report.failures:
        print(
            f"--shards: not packed, as items failed; repair them and repeat the command, or pack the others: "
            f"hdtrans prepare shards --in {given.out} --out {packed}"
        )
    elif size:
        _pack(given.out, packed, size)
    return 1 if report.failed else 0


def _parser(words: Sequence[str]) -> argparse.ArgumentParser:
    """Return the parser; if the first word is a format, only this one is imported."""
    parser = argparse.ArgumentParser(
        prog="hdtrans prepare",
        description="Convert annotations to a training folder (train_label/ train_inst/ train_img/ ..., dataset.json). "
        "The same command resumes a stopped run, and makes anew the items whose sources changed.",
        epilog="hdtrans prepare FORMAT --help shows the options of a format.",
    )
    parsers = parser.add_subparsers(dest="format", required=True, metavar="FORMAT")
    names = format_names()
    for name in words[:1] if words and words[0] in names else names:
        module = load_format(name)
        one = parsers.add_parser(name, help=module.HELP, description=module.HELP[0].upper() + module.HELP[1:] + ".")
        add_common_options(one)
        module.add_options(one)
    packing = parsers.add_parser("shards", help="pack a training folder into tar files", description=_pack.__doc__)
    packing.add_argument("--in", dest="root", type=Path, required=True, metavar="DIR", help="training folder")
    packing.add_argument("--out", type=Path, required=True, metavar="DIR", help="output folder: new, or to be resumed")
    packing.add_argument("--size", default="1GB", help="largest shard, at least 64KiB (default: 1GB)")
    return parser


def _pack(folder: Path, out: Path, size: int) -> int:
    """Pack a training folder into tar shards (WebDataset layout); `data.root` accepts the result like the folder."""
    with FolderLock(out):
        shards = write_shards(folder, out, size)
    print(f"{shards.samples} samples ({shards.files} files) are in {len(shards.paths)} shards: data.root={out}")
    return 0
