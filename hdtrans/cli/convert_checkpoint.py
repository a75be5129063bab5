"""`hdtrans convert_checkpoint`: convert weights of the original programs to checkpoints of ours, or back."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from hdtrans.cli.flags import flags

SPELLING = flags({"folder": "--to-original"})


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line and convert; return 0."""
    parser = argparse.ArgumentParser(
        prog="hdtrans convert_checkpoint",
        description="Convert weights of pix2pixHD, or of pytorch-CycleGAN-and-pix2pix, to a run folder for "
        "`hdtrans infer` and init_from; or a run of hdtrans to files of theirs. The architecture is inferred from the "
        "weights, the rest from opt.txt or train_opt.txt beside them; values that neither holds are required.",
    )
    parser.add_argument(
        "model",
        type=Path,
        help="latest_net_G.pth, latest_net_G_A.pth, another generator, or its folder; with --to-original a run folder "
        "or checkpoint of hdtrans",
    )
    parser.add_argument(
        "overrides", nargs="*", metavar="section.key=value", help="values of the recipe, as in data.labels=35"
    )
    way = parser.add_mutually_exclusive_group(required=True)
    way.add_argument("--out", type=Path, help="new run folder, or new checkpoint if it ends in .pt")
    way.add_argument("--to-original", type=Path, metavar="DIR", help="folder for the files of the original program")
    parser.add_argument("--no-ema", action="store_true", help="with --to-original: write last, not averaged, weights")
    given = parser.parse_intermixed_args(arguments)

    from hdtrans.common.errors import UserError
    from hdtrans.inference.originals.convert import WITHOUT_STYLES, export_original, import_original

    if given.out is not None:
        lines = import_original(given.model, given.out, given.overrides)
        if WITHOUT_STYLES in lines:
            lines.append(f"next: hdtrans encode_styles {given.out} --data FOLDER")
        lines.append(f"next: hdtrans infer {given.out} --input FOLDER --out FOLDER")
    elif given.overrides:
        raise UserError(f"{given.overrides[0]}: a conversion with --to-original takes no values of a recipe")
    else:
        lines = export_original(given.model, given.to_original, not given.no_ema)
    print("\n".join(lines))
    return 0
