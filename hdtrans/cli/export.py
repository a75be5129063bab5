"""`hdtrans export RUN_OR_CHECKPOINT --out FILE`: publish a model as .safetensors, .onnx or .pt2."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from hdtrans.cli.flags import flags

SPELLING = flags({"given": "--input", "extra": None, "model": "MODEL"})


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line and write the file; return 1 if its pictures differ from the checkpoint's, else 0."""
    parser = argparse.ArgumentParser(
        prog="hdtrans export",
        description="Write a model for others to use, load it again, and compare its pictures with the checkpoint's at "
        "three sizes; if they are more than one level of 255 apart, no file is written. .safetensors holds the weights "
        "and loads without running code, .onnx the whole graph from integer maps to pictures, .pt2 the same for "
        "PyTorch. `hdtrans infer` takes each.",
    )
    parser.add_argument("model", type=Path, help="run folder (its latest checkpoint is used) or checkpoint")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="file: .safetensors, .onnx or .pt2")
    parser.add_argument(
        "--dtype",
        choices=("fp32", "bf16", "fp16"),
        default="fp32",
        help="type of the weights in .safetensors (default: fp32)",
    )
    parser.add_argument(
        "--direction", default="", help="AtoB or BtoA, for a model with both (default: both in .safetensors, else AtoB)"
    )
    parser.add_argument("--no-ema", action="store_true", help="publish the last weights instead of averaged ones")
    parser.add_argument("--input", type=Path, help="file or folder to compare on (default: a toy street scene)")
    parser.add_argument("--instances", type=Path, help="instance maps of --input, for a model that reads them")
    parser.add_argument("--size", default="2048x1024", metavar="WxH", help="size to compare at (default: %(default)s)")
    given = parser.parse_args(arguments)

    from hdtrans.config.stage import read_size
    from hdtrans.inference.publish.export import export

    options = given.dtype, not given.no_ema, given.direction, given.input, given.instances
    lines, written = export(given.model, given.out, read_size(given.size, "size"), *options)
    print("\n".join(lines))
    return 0 if written else 1
