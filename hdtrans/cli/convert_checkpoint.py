"""`hdtrans convert_checkpoint`: weights of the original programs to checkpoints of ours, and back."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from hdtrans.cli.flags import flags

SPELLING = flags({"folder": "--to-original"})


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line and convert; return 0."""
    parser = argparse.ArgumentParser(
        prog="hdtrans convert_checkpoint",
        description="Turn weights of pix2pixHD, or of pytorch-CycleGAN-and-pix2pix, into a run folder that "
        "`hdtrans infer` and init_from take; or a run of hdtrans into files of theirs. Networks are told from the "
        "weights, the rest from opt.txt or train_opt.txt beside them; what neither says is asked for.",
    )
    parser.add_argument(
        "model",
        type=Path,
        help="latest_net_G.pth, latest_net_G_A.pth, another generator, or the folder with it; with --to-original a run "
        "folder or checkpoint of hdtrans",
    )
    parser.add_argument(
        "overrides", nargs="*", metavar="section.key=value", help="values of the recipe, as in data.labels=35"
    )
    way = parser.add_mutually_exclusive_group(required=True)
    way.add_argument("--out", type=Path, help="the run folder to write, or a checkpoint if it ends in .pt")
    way.add_argument("--to-original", type=Path, metavar="DIR", help="write the original's files into this folder")
    parser.add_argument("--no-ema", action="store_true", help="write the last weights instead of their average")
    given = parser.parse_intermixed_args(arguments)

    from hdtrans.common.errors import UserError
    from hdtrans.inference.originals.convert import export_original, import_original

    if given.out is not None:
        lines = import_original(given.model, given.out, given.overrides)
        lines.append(f"next: hdtrans infer {given.out} --input FOLDER --out FOLDER")
    elif given.overrides:
        raise UserError(f"{given.overrides[0]}: with --to-original there is nothing to set")
    else:
        lines = export_original(given.model, given.to_original, not given.no_ema)
    print("\n".join(lines))
    return 0
