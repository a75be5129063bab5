"""Trial inputs of any size for a model: files of the user, or a toy street scene."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from hdtrans.common.errors import MissingFile
from hdtrans.config.inputs import Input
from hdtrans.data.fields import kind_of
from hdtrans.inference.folder.files import Folders
from hdtrans.inference.folder.translate import read_inputs
from hdtrans.inference.inputs import batch_of_one
from hdtrans.inference.translator import Map, Translator
from hdtrans.toycity.scenes import Scene, render


class Samples:
    """Inputs of a model at any size, optional ones and a style included.

    Args:
        translator: model.
        given: map or picture, or a folder, whose first file is used; None: a toy street scene.
        instances: its instance map, or a folder of instance maps, for a model that reads them: see `Folders`.
    """

    def __init__(self, translator: Translator, given: Path | None = None, instances: Path | None = None) -> None:
        self.specs = {each.name: each for each in translator.inputs}
        self.arrays = _toy(translator) if given is None else _read(translator, given, instances)
        self.size = self.arrays[translator.lead.name].shape[:2]
        if translator.style_size:
            random = np.random.default_rng(0)
            objects, style = translator.objects(self.arrays), translator.style_encoder.spec
            if objects is None:
                self.arrays[style.name] = random.standard_normal(style.size).astype(np.float32)
            else:
                self.arrays[style.name] = objects.paint(random.uniform(-1, 1, (len(objects), style.size)))

    def inputs(self, height: int, width: int, batch: int = 1) -> dict[str, Tensor]:
        """Return the keywords of the module for a batch of pictures of this size."""
        absent = (spec for name, spec in self.specs.items() if spec.optional and name not in self.arrays)
        tensors = {
            spec.name: kind_of(spec).absent(spec, batch, height, width) for spec in absent if spec.role != "target"
        }
        for name, array in self.arrays.items():
            scaled = kind_of(self.specs[name]).resampled(array, height, width, self.size)
            one = batch_of_one(self.specs[name], scaled)
            tensors[name] = one.expand(batch, *one.shape[1:])
        return tensors | {name: torch.arange(batch) for name, spec in self.specs.items() if spec.kind == "seed"}


def _read(translator: Translator, given: Path, instances: Path | None) -> dict[str, Map]:
    for argument, path in (("given", given), ("instances", instances)):
        if path is not None and not path.exists():
            raise MissingFile(path, "file or folder", argument=argument)
    folders = Folders(given, {} if instances is None else {"instance": instances}, None, Path())
    first = folders.samples(translator.data, translator.given, translator.method.style)[0]
    return translator.check(**read_inputs(translator, first)[0])


def _toy(translator: Translator) -> dict[str, Map]:
    scene = render(0, 256, 512)
    return translator.check(**{name: _of_scene(spec, scene) for name, spec in translator.given.items()})


def _of_scene(spec: Input, scene: Scene) -> Map:
    """Return an input derived from a toy scene."""
    if spec.kind == "ids":
        return scene.instance if spec.values == "instances" else (scene.label % (spec.size or 1)).astype(np.int32)
    if spec.values == "binary":
        return (scene.label % 2 == 0).astype(np.uint8)
    if spec.kind == "image":
        return scene.photo[..., np.arange(spec.size or 1) % 3].astype(np.float32) / 127.5 - 1
    random = np.random.default_rng(len(spec.name))
    if spec.kind == "points":
        height, width = scene.label.shape
        return (random.random((spec.size or 1, 2)) * (width, height)).astype(np.float32)
    return random.standard_normal(spec.size or 1).astype(np.float32)
