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
from hdtrans.config import LabelMaps, Pictures, Recipe, check_recipe, method_module
from hdtrans.data.contents import ready_source, result_of
from hdtrans.data.label_ids import check_label_ids
from hdtrans.engine.checkpoint import digest, find_checkpoint, load
from hdtrans.engine.distributed import choose_device
from hdtrans.engine.precision import choose_precision
from hdtrans.inference import tiles
from hdtrans.inference.memory import Memory
from hdtrans.inference.published import FORMS, read_published
from hdtrans.methods.base import Method

Map = npt.NDArray[Any]
Picture = npt.NDArray[Any]


class Translator:
    """Translates label maps, or pictures, of any size.

    Attributes:
        recipe: what the model was trained with.
        classes: names and colours of its label maps; None where pictures are its input.
        reads: what a call needs: `label` or `source`, and `instance` where the model sees instance boundaries.
        images_seen: by the training until then.
        weights: the SHA-256 of the checkpoint, and whether averages are used.
        route: the direction in which it translates, of those the method has: `AtoB` or `BtoA`, or empty.
        noisy: whether the picture varies with the seed of a call.

    Example: `Translator.load("runs/city")(label=cv2.imread("map.png", cv2.IMREAD_UNCHANGED))`.
    """

    def __init__(
        self,
        checkpoint: Path,
        device: str = "auto",
        precision: str = "auto",
        averaged: bool = True,
        route: str = "",
        max_memory: int | None = None,
        trust: bool = False,
    ) -> None:
        """Read a model from a checkpoint or a published file; see `load`."""
        self.device = choose_device(device)
        published = checkpoint.suffix in FORMS
        state = read_published(checkpoint, self.device, trust) if published else load(checkpoint)
        self.images_seen: int = state["images_seen"]
        self.stage: int = state["stage"]
        self.weights = f"{digest(checkpoint)}{' averaged' if averaged and state['ema'] is not None else ''}"
        self.recipe: Recipe = check_recipe(state["recipe"], f"{checkpoint} (its recipe)")
        self.classes = None if state["classes"] is None else ClassTable.from_dict(state["classes"])
        self.reads = self.recipe.method.reads(self.recipe.data) - {"photo"}
        self._precision = choose_precision(precision, self.device)
        networks, self.method = _restore(self.recipe, state, averaged)
        self.route, self.noisy = _route(route or state.get("route", ""), self.method), self.method.noisy
        if state.get("route", "") not in ("", self.route):
            raise UserError(
                f"--direction {route}: {checkpoint} holds the direction {state['route']} alone; leave it out"
            )
        self.module: nn.Module = state.get("module") or self.method.translator(networks, self.route)
        self.module.eval().requires_grad_(False)
        if any(weight.is_meta for weight in self.module.parameters()):
            there = ", ".join(sorted({key.split(".")[0] for key in state["networks"]}))
            what = f" in the direction {self.route}" if self.route else ""
            raise UserError(f"{checkpoint}: lacks weights to translate with{what}; there are those of {there}")
        if "module" not in state:
            self._precision.prepare(self.module, self.device)
        self.max_memory = max_memory
        if max_memory is not None:
            if "module" in state:
                raise UserError(
                    f"--max-memory: takes a checkpoint or .safetensors; {checkpoint} runs whole or not at all"
                )
            Memory(max_memory, self.device)  # tells now if it is too little

    @classmethod
    def load(
        cls,
        path: str | Path,
        device: str = "auto",
        precision: str = "auto",
        averaged: bool = True,
        route: str = "",
        max_memory: int | None = None,
        trust: bool = False,
    ) -> "Translator":
        """Load a run folder (its latest checkpoint), a checkpoint file, or a published model.

        Args:
            path: the folder or file.
            device: `auto`, `cpu`, `cuda` or `cuda:N`.
            precision: `auto` (bf16 where the GPU has it), `fp32`, `bf16`, `fp16` or `fp64`.
            averaged: use the averaged weights where the checkpoint has them.
            route: the direction, of a method that has several; the first one if empty.
            max_memory: bytes that the process, and a GPU, may take; pictures are then made tile by tile, the same ones.
            trust: load a .pt2, which can run code of its maker.

        Raises:
            UserError: there is no such checkpoint, or it cannot be used, or has no such direction.
        """
        return cls(find_checkpoint(Path(path)), device, precision, averaged, route, max_memory, trust)

    @torch.inference_mode()
    def __call__(
        self, label: Map | None = None, instance: Map | None = None, source: Map | None = None, seed: int = 0
    ) -> Picture:
        """Translate one input; return the picture, (H, W, C) uint8 in [0, 255], of the input's size.

        C is `data.photo_channels` (in the direction BtoA `data.source_channels`), 3 for RGB. Colourisation gives RGB,
        and where classes are wanted the result is a map of ids, (H, W) uint8, or int32 for more than 256.

        Args:
            label: (H, W) integer class ids.
            instance: (H, W) integer instance ids.
            source: (H, W, C) the input picture: uint8, int32 in [0, 65535], or float32 in [-1, 1]. For colourisation
                grey or RGB whole numbers, or float32 lightness L/50-1.
            seed: of the noise, in [0, 2**63), where the model is `noisy`; the same gives the same picture.

        Raises:
            UserError: an input is missing, has another size than the other, or holds ids that are no class; or
                `max_memory` is too little.
        """
        given = {"label": label, "instance": instance, "source": source}
        inputs = {name: self._checked(name, given[name]) for name in sorted(self.reads)}
        sizes = {name: array.shape[:2] for name, array in inputs.items()}
        if len(set(sizes.values())) > 1:
            told = ", ".join(f"{name} {size[1]}x{size[0]}" for name, size in sizes.items())
            raise UserError(f"the inputs have different sizes: {told}")
        tensors = {name: to_tensor(name, array) for name, array in inputs.items()}
        if self.noisy:
            tensors["seeds"] = torch.tensor([seed])
        with self._precision.autocast():
            return self._make(tensors, inputs.get("source"))

    def _make(self, tensors: Mapping[str, torch.Tensor], source: Map | None) -> Picture:
        """Return the result for a batch of one, whole or from tiles."""
        data = self.recipe.data
        if self.max_memory is None:
            picture = self.module(**{name: tensor.to(self.device) for name, tensor in tensors.items()})
            return result_of(data, source, picture[0])

        def finish(tile: torch.Tensor, pixels: tiles.Pixels) -> Map:
            return result_of(data, None if source is None else source[pixels], tile)

        return tiles.translate(self.module, tensors, Memory(self.max_memory, self.device), finish)

    def _checked(self, name: str, array: Map | None) -> Map:
        if array is None:
            raise UserError(f"this model needs {' and '.join(sorted(self.reads))}; {name} was not given")
        wanted = 3 if name == "source" else 2
        if array.ndim != wanted or (name != "source" and array.dtype.kind not in "iu"):
            kind = "(H, W, C) numbers" if name == "source" else "(H, W) integers"
            raise UserError(f"{name}: has shape {array.shape} and type {array.dtype}; {kind} are wanted")
        data = self.recipe.data
        if name == "source" and isinstance(data, Pictures):
            array = ready_source(data, array)
            channels = data.photo_channels if self.route == "BtoA" else data.source_channels
            if array.shape[2] != channels:
                raise UserError(f"source: has {array.shape[2]} channel(s), but this model reads {channels}")
        if name == "label" and isinstance(data, LabelMaps):
            check_label_ids(array, data.labels, data.ignore, "label")
        return array


def _route(route: str, method: Method) -> str:
    """Return the direction asked for, or the first."""
    if route in method.routes or not route:
        return route or method.routes[0]
    if len(method.routes) == 1:
        raise UserError(f"--direction {route}: this model translates in one direction alone; leave it out")
    raise UserError(f"--direction {route}: there is no such direction; there are {', '.join(method.routes)}")


def _restore(recipe: Recipe, state: Mapping[str, Any], averaged: bool) -> tuple[nn.ModuleDict, Method]:
    """Return networks and the method over them; those that translate have a checkpoint's weights where it has them.

    No random weights are drawn first: the other networks have none.
    """
    module = method_module(recipe.method.kind)
    with torch.device("meta"):
        networks = module.build_networks(recipe.method, recipe.data, recipe.training.seed)
    weights = dict(state["networks"])
    if averaged and state["ema"] is not None:
        weights |= state["ema"]
    method: Method = module.build(recipe.method, recipe.data, recipe.stages[state["stage"]], networks)
    for name in method.averaged:
        own = {key.removeprefix(f"{name}."): value for key, value in weights.items() if key.startswith(f"{name}.")}
        if own:
            networks[name].load_state_dict(own, assign=True)
    return networks, method


def to_tensor(name: str, array: Map) -> torch.Tensor:
    """Return an input as a batch of one, its integers in a type that torch computes with."""
    if array.dtype.kind in "iu" and array.dtype != np.uint8:
        array = array.astype(np.int32)
    tensor = torch.from_numpy(np.ascontiguousarray(array))
    return (tensor.permute(2, 0, 1) if name == "source" else tensor).unsqueeze(0)
