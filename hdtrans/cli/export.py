"""`hdtrans export RUN_OR_CHECKPOINT --out FILE`: publish a model as .safetensors, .onnx or .pt2."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from hdtrans.cli.flags import flags

SPELLING = flags({"given": "--input", "route": "--direction"})


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line and write the file; return 1 if it makes other pictures than the checkpoint, else 0."""
    parser = argparse.ArgumentParser(
        prog="hdtrans export",
        description="Write a model for others to use, run it back, and compare its pictures with the checkpoint's at "
        "three sizes; where they are more than one level of 255 apart, nothing is left. .safetensors holds the weights "
        "and loads without running code, .onnx the whole graph from integer maps to pictures, .pt2 the same for "
        "PyTorch. `hdtrans infer` takes each.",
    )
    parser.add_argument("model", type=Path, help="a run folder (its latest checkpoint is taken) or a checkpoint file")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="ends in .safetensors, .onnx or .pt2")
    parser.add_argument(
        "--dtype",
        choices=("fp32", "bf16", "fp16"),
        default="fp32",
        help="of the weights in .safetensors (default: fp32)",
    )
    parser.add_argument("--direction", default="", help="AtoB or BtoA, where the model has both; else both, or AtoB")
    parser.add_argument("--no-ema", action="store_true", help="publish the last weights instead of their average")
    parser.add_argument("--input", type=Path, help="a file or folder to compare on (default: a toy street scene)")
    parser.add_argument("--instances", type=Path, help="its instance maps, where the model needs them")
    parser.add_argument("--size", default="2048x1024", metavar="WxH", help="to compare at (default: %(default)s)")
    given = parser.parse_args(arguments)

    from hdtrans.inference.publish.export import export, read_compared_size

    how = given.dtype, not given.no_ema, given.direction, given.input, given.instances
    lines, well = export(given.model, given.out, read_compared_size(given.size), *how)
    print("\n".join(lines))
    return 0 if well else 1
