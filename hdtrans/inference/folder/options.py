"""Command-line options of `hdtrans infer`."""

import argparse
from pathlib import Path
from typing import Any


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add all options to the parser of the command."""
    add_model(parser)
    _add_files(parser.add_argument_group("inputs and results"))
    _add_pictures(parser.add_argument_group("pictures"))
    computing = parser.add_argument_group("computing")
    add_computing(computing)
    computing.add_argument("--batch-size", type=_count, default=1, help="inputs of one size per batch (default: 1)")
    computing.add_argument(
        "--compile",
        action="store_true",
        help="compile the model first: faster on a GPU for many inputs, slower on a CPU",
    )


def add_model(parser: argparse.ArgumentParser) -> None:
    """Add the position of the model."""
    parser.add_argument(
        "model",
        type=Path,
        help="run folder (its latest checkpoint is used), RUN/best, checkpoint, .safetensors, .onnx or .pt2",
    )


def _add_files(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--input",
        "--labels",
        nargs="+",
        required=True,
        metavar="INPUT",
        help="folder; or files, patterns ('maps/*.png'), lists (@FILE: a name a line, found here or else beside the "
        "list), - for a list on stdin",
    )
    add_further_inputs(group)
    group.add_argument("--truth", type=Path, metavar="DIR", help="true pictures to show beside the results")
    group.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for pictures and index.html")


def add_further_inputs(group: argparse._ArgumentGroup) -> None:
    """Add the options that name inputs beside the first, and the form of inputs."""
    group.add_argument(
        "--instances",
        type=Path,
        metavar="DIR",
        help="instance maps, for a model that reads them (default: INPUT with _inst in place of _label at its end)",
    )
    group.add_argument(
        "--with",
        dest="extra",
        type=_named_path,
        action=_Collect,
        default={},
        metavar="NAME=PATH",
        help="folder (or table) of a further input by name, as mask=DIR; may be repeated (default: found beside INPUT "
        "if folders are named as in training)",
    )
    group.add_argument(
        "--ready",
        action="store_true",
        help="inputs are already preprocessed (drawn edges, small pictures)",
    )


def _add_pictures(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--style",
        help="style, for a model that takes one: sample, mean, from=PICTURE or from=FOLDER (encode pictures), "
        "file=JSON (default: mean for styles per object, sample for a style of the whole picture)",
    )
    group.add_argument("--seed", type=int, default=0, help="seed of noise and of --style sample (default: 0)")
    group.add_argument(
        "--num-samples",
        type=_count,
        default=1,
        metavar="N",
        help="pictures per input, with seeds --seed, --seed + 1, ..., in DIR/sample_0, sample_1, ... (default: 1)",
    )
    group.add_argument("--format", choices=("png", "jpg"), default="png", help="file format (default: png)")
    group.add_argument(
        "--bits", type=int, choices=(8, 16), default=8, help="bits per channel of the results (default: 8)"
    )
    group.add_argument(
        "--video",
        type=_rate,
        metavar="FPS",
        help="also write DIR/video.webm of all results (hdtrans[video])",
    )


def add_computing(group: argparse._ArgumentGroup) -> None:
    """Add the options that choose weights, device and precision."""
    group.add_argument("--direction", default="", help="AtoB or BtoA, for a model with both (default: AtoB)")
    group.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N (default: auto)")
    group.add_argument(
        "--dtype",
        choices=("auto", "fp32", "bf16", "fp16", "fp64"),
        default="auto",
        help="type that the networks compute in (default: auto, bf16 if the device computes it, else fp32)",
    )
    group.add_argument(
        "--max-memory",
        metavar="SIZE",
        help="memory limit (4G, 512M): pictures are made tile by tile, and are the same",
    )
    group.add_argument("--no-ema", action="store_true", help="use the last weights instead of averaged ones")
    group.add_argument("--trust", action="store_true", help="load a .pt2, which can run code of its maker")


class _Collect(argparse.Action):
    """Collect NAME=PATH pairs of an option that may be repeated."""

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
        raise argparse.ArgumentTypeError(f"got {text!r}; give an integer from 1")
    return int(text)


def _rate(text: str) -> float:
    try:
        rate = float(text)
    except ValueError:
        rate = 0.0
    if not 1 <= rate <= 1000:
        raise argparse.ArgumentTypeError(f"got {text!r}; frames per second are from 1 to 1000")
    return rate
