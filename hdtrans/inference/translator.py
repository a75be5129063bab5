"""The Translator: a checkpoint in, then numpy in and numpy out."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from hdtrans.common.classes import ClassTable
from hdtrans.common.errors import UserError
from hdtrans.config import LabelMaps, Recipe, check_recipe, method_module
from hdtrans.data.batch import as_bytes
from hdtrans.data.label_ids import check_label_ids
from hdtrans.engine.checkpoint import digest, find_checkpoint, load
from hdtrans.engine.distributed import choose_device
from hdtrans.engine.precision import choose_precision

Map = npt.NDArray[Any]
Picture = npt.NDArray[np.uint8]


class Translator:
    """Translates label maps, or pictures, of any size.

    Attributes:
        recipe: what the model was trained with.
        classes: names and colours of its label maps; None where pictures are its input.
        reads: what a call needs: `label` or `source`, and `instance` where the model sees instance boundaries.
        images_seen: by the training until then.
        weights: the SHA-256 of the checkpoint, and whether averages are used.

    Example: `Translator.load("runs/city")(label=cv2.imread("map.png", cv2.IMREAD_UNCHANGED))`.
    """

    def __init__(self, checkpoint: Path, device: str = "auto", precision: str = "auto", averaged: bool = True) -> None:
        """Read a model from a checkpoint; see `load`."""
        state = load(checkpoint)
        self.images_seen: int = state["images_seen"]
        self.weights = f"{digest(checkpoint)}{' averaged' if averaged and state['ema'] is not None else ''}"
        self.recipe: Recipe = check_recipe(state["recipe"], f"{checkpoint} (its recipe)")
        self.classes = None if state["classes"] is None else ClassTable.from_dict(state["classes"])
        self.reads = self.recipe.method.reads(self.recipe.data) - {"photo"}
        self.device = choose_device(device)
        self._precision = choose_precision(precision, self.device)
        self._module = _restore(self.recipe, state, averaged).eval().requires_grad_(False)
        self._precision.prepare(self._module, self.device)

    @classmethod
    def load(
        cls, path: str | Path, device: str = "auto", precision: str = "auto", averaged: bool = True
    ) -> "Translator":
        """Load a run folder (its latest checkpoint) or a checkpoint file.

        Args:
            path: the folder or file.
            device: `auto`, `cpu`, `cuda` or `cuda:N`.
            precision: `auto` (bf16 where the GPU has it), `fp32`, `bf16`, `fp16` or `fp64`.
            averaged: use the averaged weights where the checkpoint has them.

        Raises:
            UserError: there is no such checkpoint, or it cannot be used.
        """
        return cls(find_checkpoint(Path(path)), device, precision, averaged)

    @torch.inference_mode()
    def __call__(self, label: Map | None = None, instance: Map | None = None, source: Map | None = None) -> Picture:
        """Translate one input; return the picture, (H, W, 3) uint8 RGB in [0, 255], of the input's size.

        Args:
            label: (H, W) integer class ids.
            instance: (H, W) integer instance ids.
            source: (H, W, C) the input picture: uint8, int32 in [0, 65535], or float32 in [-1, 1].

        Raises:
            UserError: an input is missing, has another size than the other, or holds ids that are no class.
        """
        given = {"label": label, "instance": instance, "source": source}
        inputs = {name: self._checked(name, given[name]) for name in sorted(self.reads)}
        sizes = {name: array.shape[:2] for name, array in inputs.items()}
        if len(set(sizes.values())) > 1:
            told = ", ".join(f"{name} {size[1]}x{size[0]}" for name, size in sizes.items())
            raise UserError(f"the inputs have different sizes: {told}")
        tensors = {name: _tensor(name, array).to(self.device) for name, array in inputs.items()}
        with self._precision.autocast():
            picture = self._module(**tensors)
        return np.ascontiguousarray(as_bytes(picture[0]).cpu().numpy().transpose(1, 2, 0))

    def _checked(self, name: str, array: Map | None) -> Map:
        if array is None:
            raise UserError(f"this model needs {' and '.join(sorted(self.reads))}; {name} was not given")
        wanted = 3 if name == "source" else 2
        if array.ndim != wanted or (name != "source" and array.dtype.kind not in "iu"):
            kind = "(H, W, C) numbers" if name == "source" else "(H, W) integers"
            raise UserError(f"{name}: has shape {array.shape} and type {array.dtype}; {kind} are wanted")
        data = self.recipe.data
        if name == "label" and isinstance(data, LabelMaps):
            check_label_ids(array, data.labels, data.ignore, "label")
        return array


def _restore(recipe: Recipe, state: Mapping[str, Any], averaged: bool) -> nn.Module:
    """Return the module that translates, with a checkpoint's weights, without drawing random ones first."""
    module = method_module(recipe.method.kind)
    with torch.device("meta"):
        networks = module.build_networks(recipe.method, recipe.data, recipe.training.seed)
    weights = dict(state["networks"])
    if averaged and state["ema"] is not None:
        weights |= state["ema"]
    networks.load_state_dict(weights, assign=True)
    stage = recipe.stages[state["stage"]]
    translator: nn.Module = module.build(recipe.method, recipe.data, stage, networks).translator(networks)
    return translator


def _tensor(name: str, array: Map) -> torch.Tensor:
    """Return an input as a batch of one, its integers in a type that torch computes with."""
    if array.dtype.kind in "iu" and array.dtype != np.uint8:
        array = array.astype(np.int32)
    tensor = torch.from_numpy(np.ascontiguousarray(array))
    return (tensor.permute(2, 0, 1) if name == "source" else tensor).unsqueeze(0)
