"""Inputs to try a model on, at any size: an input of the user's, or else a toy street scene."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from hdtrans.common.errors import UserError
from hdtrans.config.data import LabelMaps, Pictures
from hdtrans.inference.folder.files import Folders
from hdtrans.inference.folder.translate import read_inputs
from hdtrans.inference.inputs import as_tensor
from hdtrans.inference.styles.objects import Objects
from hdtrans.inference.translator import Map, Translator
from hdtrans.toycity.scenes import render


class Samples:
    """One input of a model, scaled to any size.

    Args:
        translator: of the model.
        given: a map or picture, or a folder of them, the first of which is taken; None for a toy street scene.
        instances: its instance map, where the model needs one: see `Folders`.
    """

    def __init__(self, translator: Translator, given: Path | None = None, instances: Path | None = None) -> None:
        self.noisy = translator.noisy
        self.arrays = _toy(translator) if given is None else _read(translator, given, instances)
        if translator.features:
            objects = Objects.of(self.arrays[translator.method.pools])
            drawn = np.random.default_rng(0).uniform(-1, 1, (len(objects), translator.features))
            self.arrays["features"] = objects.paint(drawn)

    def inputs(self, height: int, width: int, batch: int = 1) -> dict[str, Tensor]:
        """Return what the module takes by name: maps (B, H, W), pictures and features (B, C, H, W), seeds (B,)."""
        tensors = {}
        for name, array in self.arrays.items():
            rows, columns = np.arange(height) * len(array) // height, np.arange(width) * array.shape[1] // width
            tensors[name] = as_tensor(name, array[rows][:, columns]).expand(batch, *[-1] * array.ndim)
        if self.noisy:
            tensors["seeds"] = torch.arange(batch)
        return tensors


def _read(translator: Translator, given: Path, instances: Path | None) -> dict[str, Map]:
    for option, path in (("--input", given), ("--instances", instances)):
        if path is not None and not path.exists():
            raise UserError(f"{option} {path}: there is no such file or folder")
    folders = Folders(given, instances, None, Path())
    first = folders.samples(translator.recipe, translator.reads)[0]
    arrays = read_inputs(translator, first)[0]
    return translator.check(arrays["label"] if "label" in arrays else arrays["source"], arrays.get("instance"))


def _toy(translator: Translator) -> dict[str, Map]:
    data, scene = translator.recipe.data, render(0, 256, 512)
    if isinstance(data, LabelMaps):
        given: Map = (scene.label % data.labels).astype(np.int32)
    else:
        assert isinstance(data, Pictures)
        channels = data.photo_channels if translator.route == "BtoA" else data.source_channels
        given = scene.photo[..., np.arange(channels) % 3].astype(np.float32) / 127.5 - 1
    return translator.check(given, scene.instance if "instance" in translator.reads else None)
