"""`hdtrans infer RUN_OR_CHECKPOINT --input ... --out DIR`: translate a folder with a trained model."""

import argparse
from collections.abc import Sequence
from pathlib import Path


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line and translate; return 1 if some inputs failed, else 0."""
    parser = argparse.ArgumentParser(
        prog="hdtrans infer",
        description="Translate label maps, or pictures, of any size. All that is known of the model stands in its "
        "checkpoint. Inputs whose picture is there already are passed over, so the command can be run again.",
    )
    parser.add_argument(
        "model",
        type=Path,
        help="a run folder (its latest checkpoint is taken), a checkpoint, .safetensors, .onnx or .pt2",
    )
    parser.add_argument("--input", "--labels", type=Path, required=True, help="a folder of inputs, or one file")
    parser.add_argument(
        "--instances",
        type=Path,
        help="their instance maps, where the model needs them; unset: INPUT with _inst for _label at its end",
    )
    parser.add_argument("--truth", type=Path, help="the true pictures, to show beside the results")
    parser.add_argument("--out", type=Path, required=True, help="where pictures and index.html go")
    parser.add_argument("--format", choices=("png", "jpg"), default="png", help="of the pictures (default: png)")
    parser.add_argument("--direction", default="", help="AtoB or BtoA, where the model has both (default: AtoB)")
    parser.add_argument(
        "--ready",
        action="store_true",
        help="the inputs are what goes into the model: no photos to make edges or small pictures from, no two sides",
    )
    parser.add_argument("--seed", type=int, default=0, help="of the noise, where the model has some (default: 0)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N (default: auto)")
    parser.add_argument("--precision", choices=("auto", "fp32", "bf16", "fp16", "fp64"), default="auto")
    parser.add_argument("--no-ema", action="store_true", help="use the last weights instead of their average")
    parser.add_argument(
        "--max-memory",
        metavar="SIZE",
        help="take no more memory than this (4G, 512M): pictures are made tile by tile, and are the same",
    )
    parser.add_argument("--trust", action="store_true", help="load a .pt2, which can run code of its maker")
    given = parser.parse_args(arguments)

    from hdtrans.inference.folder import Folders, translate_folder
    from hdtrans.inference.memory import read_size
    from hdtrans.inference.translator import Translator

    folders = Folders(given.input, given.instances, given.truth, given.out, given.seed, given.ready)
    folders.check()
    most = None if given.max_memory is None else read_size(given.max_memory, "--max-memory")
    translator = Translator.load(
        given.model, given.device, given.precision, not given.no_ema, given.direction, most, given.trust
    )
    report = translate_folder(translator, folders, given.format)
    print(report.text())
    return 1 if report.failed else 0
