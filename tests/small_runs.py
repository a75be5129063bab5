"""Small real runs that several tests look at: toy scenes, a recipe of a few thousand weights, seconds of training."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
import yaml

import hdtrans
from hdtrans.common.classes import ClassTable
from hdtrans.config.recipe import check_recipe
from hdtrans.config.registry import method_module
from hdtrans.data.kinds.label_maps import Section as LabelMaps
from hdtrans.engine import checkpoint
from hdtrans.engine.run import train
from hdtrans.inference.translator import Translator
from hdtrans.toycity.scenes import CLASS_NAMES, write_dataset


def small_recipe(root: Path, out: Path, **changes: Any) -> dict[str, Any]:
    """Return the plain values of a one-stage recipe on the data under `root`; `changes` replace whole sections."""
    values: dict[str, Any] = {
        "name": "small",
        "out": str(out),
        "data": {"kind": "label_maps", "root": str(root), "labels": len(CLASS_NAMES)},
        "method": {
            "kind": "pix2pixhd",
            "condition": {"boundary": "instance"},
            "generator": {"width": 4, "downsamples": 2, "blocks": 1},
            "discriminator": {"width": 4, "layers": 1, "scales": 1},
            "perceptual": {"kind": "none"},
        },
        "training": {"workers": 0, "device": "cpu", "ema": {"half_life": 10}, "sample_count": 1},
        "stages": [{"size": "64x32", "epochs": 1}],
    }
    return values | changes


def toy_data(root: Path, train_count: int = 4, test_count: int = 3) -> Path:
    """Render a toy city of 64x32 pixels and return its folder."""
    for name, data in _rendered(train_count, test_count).items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    return root


@cache
def _rendered(train_count: int, test_count: int) -> dict[Path, bytes]:
    """Return the files of a toy city; rendering takes a quarter of a second."""
    with TemporaryDirectory() as folder:
        root = Path(folder)
        write_dataset(root, train_count, test_count, 32, 64)
        return {file.relative_to(root): file.read_bytes() for file in sorted(root.rglob("*")) if file.is_file()}


def train_values(values: dict[str, Any]) -> Path:
    """Train plain recipe values, as from a file; return the run folder."""
    return train(check_recipe(values, "test recipe"))


def write_recipe(file: Path, values: dict[str, Any]) -> Path:
    """Write plain recipe values to a YAML file and return it."""
    file.write_text(yaml.safe_dump(values, sort_keys=False), encoding="utf-8")
    return file


def made_checkpoint(file: Path, data: dict[str, Any], method: dict[str, Any]) -> Path:
    """Write a checkpoint as the trainer does, of random weights that make pictures of some contrast; return it."""
    values = {"name": file.stem, "data": data, "method": method, "stages": [{"size": "64x64", "epochs": 1}]}
    recipe = check_recipe(values, "test recipe")
    networks = method_module(recipe.method.kind).build_networks(recipe.method, recipe.data, 0)
    with torch.no_grad():
        for parameter in networks.parameters():
            parameter.mul_(5 if parameter.ndim == 4 else 1)
    labels = recipe.data.labels if isinstance(recipe.data, LabelMaps) else 0
    state = {
        "version": hdtrans.__version__,
        "recipe": recipe.model_dump(mode="json"),
        "classes": ClassTable.generic(labels).to_dict() if labels else None,
        "images_seen": 7,
        "stage": 0,
        "networks": networks.state_dict(),
        "ema": None,
    }
    checkpoint.save(file, state)
    return file


def translated(translator: Translator, inputs: Mapping[str, Any], **more: Any) -> Any:
    """Call a Translator with the fields of a batch that it reads, by name; with features of random looks."""
    given = inputs["label"] if "label" in inputs else inputs["source"]
    if translator.features:
        ids = np.unique(inputs[translator.method.style.ids]).tolist()
        values = np.random.default_rng(0).uniform(-1, 1, (len(ids), translator.features))
        more = {"style": dict(zip(ids, values, strict=True)), **more}
    return translator(given, inputs.get("instance"), **more)
