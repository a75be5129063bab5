"""What `hdtrans infer` is asked."""

import argparse
from pathlib import Path
from typing import Any


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add all options to the parser of the command."""
    parser.add_argument(
        "model",
        type=Path,
        help="a run folder (its latest checkpoint is taken), RUN/best, a checkpoint, .safetensors, .onnx or .pt2",
    )
    _of_files(parser.add_argument_group("inputs and results"))
    _of_pictures(parser.add_argument_group("the pictures"))
    _of_computing(parser.add_argument_group("computing"))


def _of_files(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--input",
        "--labels",
        nargs="+",
        required=True,
        metavar="INPUT",
        help="a folder; or files, patterns ('maps/*.png'), lists (@FILE, one name a line), - for a list on stdin",
    )
    group.add_argument(
        "--instances",
        type=Path,
        metavar="DIR",
        help="their instance maps, where the model needs them; unset: INPUT with _inst for _label at its end",
    )
    group.add_argument(
        "--with",
        dest="extra",
        type=_named_path,
        action=_Collect,
        default={},
        metavar="NAME=PATH",
        help="folder (or table) of a further input by its name, as mask=DIR; unset: found beside INPUT where folders "
        "are named as in training",
    )
    group.add_argument("--truth", type=Path, metavar="DIR", help="the true pictures, to show beside the results")
    group.add_argument("--out", type=Path, required=True, metavar="DIR", help="where pictures and index.html go")
    group.add_argument(
        "--ready",
        action="store_true",
        help="the inputs are what goes into the model: no photos to make edges or small pictures from, no two sides",
    )


def _of_pictures(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--direction", default="", help="AtoB or BtoA, where the model has both (default: AtoB)")
    group.add_argument(
        "--style",
        help="of a model with features: mean (default), sample, from=PICTURE or from=FOLDER (where it is taken from), "
        "file=JSON",
    )
    group.add_argument("--seed", type=int, default=0, help="of noise and of --style sample (default: 0)")
    group.add_argument(
        "--num-samples",
        type=_count,
        default=1,
        metavar="N",
        help="pictures of each input, in DIR/sample_0, sample_1, ...; each has the seed after the one before it",
    )
    group.add_argument("--format", choices=("png", "jpg"), default="png", help="of the files (default: png)")
    group.add_argument("--bits", type=int, choices=(8, 16), default=8, help="of each channel (default: 8)")
    group.add_argument("--video", type=_rate, metavar="FPS", help="also make DIR/video.mp4 of all results, in order")


def _of_computing(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N (default: auto)")
    group.add_argument("--dtype", choices=("auto", "fp32", "bf16", "fp16", "fp64"), default="auto")
    group.add_argument("--batch-size", type=_count, default=1, help="inputs of one size made at once (default: 1)")
    group.add_argument(
        "--max-memory",
        metavar="SIZE",
        help="take no more memory than this (4G, 512M): pictures are made tile by tile, and are the same",
    )
    group.add_argument(
        "--compile",
        action="store_true",
        help="compile the model first, for a GPU and many inputs; on a CPU it is slower",
    )
    group.add_argument("--no-ema", action="store_true", help="use the last weights instead of their average")
    group.add_argument("--trust", action="store_true", help="load a .pt2, which can run code of its maker")


class _Collect(argparse.Action):
    """Gathers NAME=PATH pairs of an option that may be given several times."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        name, path = values
        setattr(namespace, self.dest, {**getattr(namespace, self.dest), name: path})


def _named_path(text: str) -> tuple[str, Path]:
    name, sign, path = text.partition("=")
    if not name or not sign or not path:
        raise argparse.ArgumentTypeError(f"got {text!r}; write NAME=PATH, as in mask=masks/")
    return name, Path(path)


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"got {text!r}; give a whole number from 1")
    return int(text)


def _rate(text: str) -> float:
    try:
        rate = float(text)
    except ValueError:
        rate = 0.0
    if not 1 <= rate <= 1000:
        raise argparse.ArgumentTypeError(f"got {text!r}; frames per second are from 1 to 1000")
    return rate
