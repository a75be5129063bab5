"""Files as the original programs save them: random weights in shapes that are known, and the golden traces'."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hdtrans.cli import run_tool
from tests.golden_files import Golden, shared

# What the recorded traces call other than the originals' option files do.
_OPTIONS = {"gan": "gan_mode", "dropout": "no_dropout", "instance_features": "instance_feat"}


def convert(*arguments: object) -> int:
    return run_tool("convert_checkpoint", [str(a) for a in arguments])


def infer(*arguments: object) -> int:
    return run_tool("infer", [str(a) for a in arguments])


def save(folder: Path, weights: Mapping[str, Mapping[str, Tensor]], start: str = "latest") -> Path:
    """Write each network's weights to `<start>_net_<letter>.pth` and return the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for letter, state in weights.items():
        torch.save(dict(state), folder / f"{start}_net_{letter}.pth")
    return folder


def save_trace(folder: Path, *golden: str, options: bool = True) -> tuple[Golden, dict[str, dict[str, Tensor]]]:
    """Write the first weights of a training trace, and its options as the original writes them."""
    trace = Golden(*golden)
    letters = {name.split("/")[1] for name in trace.arrays if name.startswith("state/")}
    weights = {letter: trace.under(f"state/{letter}") for letter in sorted(letters)}
    save(folder, weights)
    if options:
        values = {_OPTIONS.get(key, key): not x if key == "dropout" else x for key, x in trace.config.items()}
        write_options(folder / ("opt.txt" if golden[0] == "pix2pixhd" else "train_opt.txt"), values)
    return trace, weights


def write_options(file: Path, values: Mapping[str, Any]) -> None:
    """Write an options file, padded and with the defaults that newer versions note."""
    lines = [f"{key:>25}: {value!s:<30}\t[default: something]" for key, value in values.items()]
    file.write_text("\n".join(["----------------- Options ---------------", *lines, "--- End ---", ""]))


def random_weights(shapes: Mapping[str, Any]) -> dict[str, Tensor]:
    """Return random weights of these names and shapes."""
    generator = torch.Generator().manual_seed(0)
    weights = {key: torch.randn(tuple(shape), generator=generator) for key, shape in shapes.items()}
    return {key: x.long() if key.endswith("num_batches_tracked") else x for key, x in weights.items()}


def shaped(weights: Mapping[str, Tensor]) -> dict[str, Any]:
    """Return names and shapes of weights."""
    return {key: list(x.shape) for key, x in weights.items()}


def true_shapes(letter: str) -> dict[str, Any]:
    """Return names and shapes of a published CycleGAN."""
    file = shared("data", "weights", "truncated_cyclegan", f"latest_net_{letter}_keys.json")
    return json.loads(file.read_text())


def same_bits(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> bool:
    """Return whether two state dicts have the same keys in the same order, and the same bits."""
    return list(a) == list(b) and all(a[key].dtype == b[key].dtype and torch.equal(a[key], b[key]) for key in a)


def write_pictures(folder: Path, pictures: Tensor) -> Path:
    folder.mkdir()
    for place, picture in enumerate(pictures):
        np.save(folder / f"{place}.npy", picture.numpy().transpose(1, 2, 0))
    return folder
