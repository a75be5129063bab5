"""The Translator: a checkpoint in, then numpy in and numpy out."""

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from hdtrans.common.classes import ClassTable
from hdtrans.common.errors import PictureWarning, UserError
from hdtrans.config.recipe import Recipe, check_recipe
from hdtrans.config.registry import method_module
from hdtrans.data.contents import for_host, from_host, result_channels, result_of
from hdtrans.data.io.read import as_picture
from hdtrans.engine.checkpoint import digest, find_checkpoint, load
from hdtrans.engine.distributed import choose_device
from hdtrans.engine.precision import choose_precision
from hdtrans.inference import tiles
from hdtrans.inference.folder.results import ODDITIES, oddity
from hdtrans.inference.inputs import as_tensor, asked_for, check_ids, check_inputs
from hdtrans.inference.memory import Memory
from hdtrans.inference.publish.published import FORMS, read_published
from hdtrans.inference.styles.clusters import Styles
from hdtrans.inference.styles.objects import Objects
from hdtrans.inference.styles.style import NO_STYLES, OTHERS, Choice, Look, Style, of_instances
from hdtrans.inference.transfers import Transfers
from hdtrans.methods.base import Method
from hdtrans.networks.kernels.prepacked import prepack

Map = npt.NDArray[Any]
Picture = npt.NDArray[Any]
StyleLike = str | Mapping[int, Choice] | Picture | tuple[Picture, ...] | Style | Look | None


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
        features: how many numbers a style gives each object; 0 where the model takes no style.
        dtype: what the networks compute in: `fp32`, `bf16`, `fp16` or `fp64`; `precision` knows what that takes.

    Example: `Translator.load("runs/city")(cv2.imread("map.png", cv2.IMREAD_UNCHANGED))`.
    """

    def __init__(
        self,
        checkpoint: Path,
        device: str = "auto",
        dtype: str | torch.dtype = "auto",
        averaged: bool = True,
        route: str = "",
        max_memory: int | None = None,
        compiled: bool = False,
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
        self._sees = self.recipe.method.reads(self.recipe.data) - {"photo"}
        self.reads = asked_for(self.recipe.data, self._sees)
        self.precision = choose_precision(dtype, self.device)
        self.dtype = self.precision.name
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
            self.precision.prepare(self.module, self.device)
        self.features = self.method.features
        self._encoder = self._find_encoder(networks) if self.features else None
        self._find_styles = lambda: state["styles"] if published else Styles.load(checkpoint, self.weights)
        self.transfers = Transfers(self.device)
        self.max_memory = max_memory
        if "module" in state and (compiled or max_memory is not None):
            option = "--compile" if compiled else "--max-memory"
            raise UserError(f"{option}: takes a checkpoint or .safetensors; {checkpoint} runs as it is, and whole")
        if max_memory is not None:
            if compiled:
                raise UserError("--compile: takes pictures whole; leave out --max-memory, or --compile")
            Memory(max_memory, self.device)  # tells now if it is too little
        self.compiled = compiled
        if compiled:
            self.module.compile(dynamic=True)
        # Weights are laid out at the first call, for whoever exports the module wants them as they are.
        types = ("fp32", "bf16") if self.device.type == "cpu" else ("bf16", "fp16")
        self._to_lay_out = "module" not in state and self.dtype in types
        self._laid_out = False

    @classmethod
    def load(
        cls,
        path: str | Path,
        device: str = "auto",
        dtype: str | torch.dtype = "auto",
        averaged: bool = True,
        route: str = "",
        max_memory: int | None = None,
        compiled: bool = False,
        trust: bool = False,
    ) -> "Translator":
        """Load a run folder (its latest checkpoint), a checkpoint file, or a published model.

        Args:
            path: the folder or file.
            device: `auto`, `cpu`, `cuda` or `cuda:N`.
            dtype: what the networks compute in: `auto` (bf16 where the device has it, else fp32), `fp32`, `bf16`,
                `fp16` or `fp64`, or such a type of torch.
            averaged: use the averaged weights where the checkpoint has them.
            route: the direction, of a method that has several; the first one if empty.
            max_memory: bytes that the process, and a GPU, may take; pictures are then made tile by tile, the same ones.
            compiled: compile the networks at the first call, and again where the height, the width or both are the
                first that are no multiples of the stride; for no other size.
            trust: load a .pt2, which can run code of its maker.

        Raises:
            UserError: there is no such checkpoint, or it cannot be used, or has no such direction.
        """
        return cls(find_checkpoint(Path(path)), device, dtype, averaged, route, max_memory, compiled, trust)

    def __call__(
        self,
        label: Map,
        instance: Map | None = None,
        seed: int | None = None,
        bits: int = 8,
        style: StyleLike = None,
    ) -> Picture:
        """Translate one input; return the picture, (H, W, C) uint8 in [0, 255], of the input's size.

        C is `data.photo_channels` (in the direction BtoA `data.source_channels`), 3 for RGB. Colourisation gives RGB,
        and where classes are wanted the result is a map of ids, (H, W) uint8, or int32 for more than 256.

        Args:
            label: (H, W) integer class ids; of a model of pictures the picture, (H, W, C) or grey (H, W): uint8, uint16
                or int32 in [0, 65535], or floats in [-1, 1]. Its channels are made those of the model as files' are:
                grey is repeated, alpha dropped, colour made grey. For colourisation grey or RGB whole numbers, or
                lightness L/50-1 as floats.
            instance: (H, W) integer instance ids, where the model `reads` them.
            seed: of the noise, in [0, 2**63), where the model is `noisy`, and of the style `sample`; the same gives the
                same picture. None is 0.
            bits: 8, or 16 for a picture that is uint16 in [0, 65535]; maps of classes stay as they are.
            style: of a model with `features`: `sample` draws a cluster of its class for each object, `mean` takes the
                mean of its class (so does None). A dict gives some instances, by id, a feature as `encode` returns it,
                or the number of a cluster; the others take the mean. A picture, (H, W, C), gives the looks of its
                objects to those of the input, where it has the same map; with a map of its own, `(picture, label)` or
                `(picture, label, instance)`, each class gives its mean.

        Raises:
            UserError: an input is missing or too many, is no array of this kind, has another size than the other, or
                holds ids that are no class; or `max_memory` is too little.

        Warns:
            PictureWarning: the picture is of one colour, or nearly all black and white.
        """
        inputs = self.check(label, instance)
        if self.features or style is not None:
            inputs = self.dress(inputs, style, seed)
        picture = self.translate([inputs], seed, bits)[0]
        if odd := oddity(self.recipe.data, picture):
            warnings.warn(f"the picture is {odd}: {ODDITIES[odd]}", PictureWarning, stacklevel=2)
        return picture

    @cached_property
    def styles(self) -> Styles | None:
        """Clusters of the features of each class, where `hdtrans encode_styles` has made some."""
        return self._find_styles() if self.features else None

    @property
    def encoder(self) -> nn.Module:
        """The module of `Method.encoder`; raises UserError where the model has none."""
        if self._encoder is None:
            why = "was trained without features"
            if self.features:
                why = "lacks the encoder, which an .onnx and a .pt2 leave out; take the checkpoint or the .safetensors"
            raise UserError(f"this model cannot encode a picture: it {why}")
        return self._encoder

    def need_styles(self) -> Styles:
        """Return the styles; raise UserError where there are none."""
        if self.styles is None:
            raise UserError(NO_STYLES)
        return self.styles

    def check(self, label: Map, instance: Map | None = None) -> dict[str, Map]:
        """Return what the model reads of one input, ready for `translate`; raise UserError as a call does."""
        return check_inputs(self.recipe.data, self._sees, self.route, label, instance)

    def translate(self, batch: Sequence[Mapping[str, Map]], seed: int | None = None, bits: int = 8) -> list[Picture]:
        """Translate inputs of one size together, each as `check` returns it; return the picture of each.

        Where the model has `features`, as `dress` returns them.
        """
        if self.max_memory is not None:
            with self._ready(batch, seed, bits):
                return [self._in_tiles(inputs, seed or 0, bits) for inputs in batch]
        made = self._make(batch, seed, bits)
        return [self._finish(inputs, bits, sent.cpu().numpy) for inputs, sent in zip(batch, made, strict=True)]

    def begin(
        self, batch: Sequence[Mapping[str, Map]], seed: int | None = None, bits: int = 8
    ) -> list[Callable[[], Picture]]:
        """Translate as `translate` does, without waiting for a GPU; return what waits for each picture and gives it.

        Any thread may call that. The pictures lie in pinned memory, so let them go; inputs should (`Transfers.pinned`).
        """
        if self.max_memory is not None:
            return [partial(np.asarray, picture) for picture in self.translate(batch, seed, bits)]
        arriving = self.transfers.send(self._make(batch, seed, bits))
        return [partial(self._finish, inputs, bits, array) for inputs, array in zip(batch, arriving, strict=True)]

    @contextmanager
    def _ready(self, batch: Sequence[Mapping[str, Map]], seed: int | None, bits: int) -> Iterator[None]:
        """Check what is asked, and lay weights out where they are not yet, before what computes."""
        if bits not in (8, 16):
            raise UserError(f"bits {bits}: a picture has 8 or 16")
        _check_seed(seed)
        assert not self.features or all("features" in inputs for inputs in batch), "inputs without a style"
        if self._to_lay_out and not self.compiled:
            prepack(self.module, self.precision.compute, by_shape=self.max_memory is None)
            self._to_lay_out, self._laid_out = False, True
        with torch.inference_mode(), self.precision.full() if self._laid_out else self.precision.autocast():
            yield

    def _make(self, batch: Sequence[Mapping[str, Map]], seed: int | None, bits: int) -> list[torch.Tensor]:
        """Return what the host needs of each picture, on the device."""
        with self._ready(batch, seed, bits):
            there = [self.transfers.bring(_tensors(inputs, seed or 0 if self.noisy else None)) for inputs in batch]
            together = there[0] if len(there) == 1 else {name: torch.cat([x[name] for x in there]) for name in there[0]}
            return [for_host(self.recipe.data, picture, bits) for picture in self._run(together)]

    def _finish(self, inputs: Mapping[str, Map], bits: int, array: Callable[[], Picture]) -> Picture:
        return from_host(self.recipe.data, inputs.get("source"), array(), bits)

    def objects(self, inputs: Mapping[str, Map]) -> Objects:
        """Return what takes a feature of its own in inputs as `check` returns them."""
        return Objects.of(inputs[self.method.pools], inputs.get("label"))

    def dress(
        self, inputs: Mapping[str, Map], style: StyleLike, seed: int | None = None, objects: Objects | None = None
    ) -> dict[str, Map]:
        """Return inputs, as `check` returns them, with a feature for every pixel.

        Args:
            inputs: of one picture.
            style, seed: those of a call.
            objects: of the inputs, where they are known already.

        Raises:
            UserError: the model takes no style, or it is none, or needs styles that there are not.
        """
        if not self.features:
            raise UserError("style: this model takes none; leave it out")
        _check_seed(seed)
        objects = self.objects(inputs) if objects is None else objects
        chosen = self._style(style, inputs, objects)
        features = chosen.features(objects, self.styles, self.features, seed or 0)
        return {**inputs, "features": objects.paint(features)}

    def encode(self, image: Picture, ids: Map) -> dict[int, npt.NDArray[np.float32]]:
        """Return the feature of each object in a photo, by its id: (F,) in [-1, 1], with F of `features`.

        Args:
            image: (H, W, C) or grey (H, W), as a picture that is translated.
            ids: (H, W) integers, the map that tells objects apart: the instance map; or the label map, where the model
                makes its instance maps of that, or tells classes apart alone.

        Raises:
            UserError: the model has no encoder, or the arrays are none of this kind or have different sizes.
        """
        pools = self.method.pools
        look = self.look(image, {pools: check_ids("ids", ids)} if pools in self.reads else self.check(ids))
        return dict(zip(look.objects.ids.tolist(), look.features.astype(np.float32), strict=True))

    def look(self, image: Picture, maps: Mapping[str, Map]) -> Look:
        """Return the features of a photo whose maps are as `check` returns them."""
        ids, picture = maps[self.method.pools], as_picture(image, self.recipe.data.photo_channels, "image")
        if picture.shape[:2] != ids.shape:
            told = f"the picture {picture.shape[1]}x{picture.shape[0]}, its map {ids.shape[1]}x{ids.shape[0]}"
            raise UserError(f"a picture that gives a style and its map have different sizes: {told}")
        with torch.inference_mode(), self.precision.full():
            tensors = (as_tensor(name, array).to(self.device) for name, array in (("photo", picture), ("ids", ids)))
            pooled = self.encoder(*tensors)[0].cpu().numpy()
        objects = self.objects(maps)
        return Look(objects, objects.means(pooled).clip(-1, 1))

    def _style(self, style: StyleLike, inputs: Mapping[str, Map], objects: Objects) -> Style:
        """Return what a caller means by a style."""
        if isinstance(style, Style):
            return style
        if isinstance(style, Mapping):
            chosen = of_instances(style)
            if style and not chosen.instances.keys() & set(objects.ids.tolist()):
                raise UserError(f"style: has the ids {', '.join(map(str, [*style][:8]))}; the input has none of them")
            return chosen
        if style is None or isinstance(style, str):
            kind = style or "mean"
            if kind not in OTHERS:
                raise UserError(f"style {kind!r}: is none; there are {', '.join(OTHERS)}")
            return Style(kind)
        if not isinstance(style, Look):
            image, *maps = style if isinstance(style, tuple) else (style,)
            style = self.look(image, self.check(*maps) if maps else inputs)
        return style.style(objects, alone=self.styles is None)

    def _find_encoder(self, networks: nn.ModuleDict) -> nn.Module | None:
        """Return the encoder, ready; None where its weights are not there."""
        encoder = self.method.encoder(networks).eval().requires_grad_(False)
        if any(weight.is_meta for weight in encoder.parameters()):
            return None
        self.precision.prepare(encoder, self.device)
        return encoder

    def _run(self, tensors: Mapping[str, torch.Tensor]) -> torch.Tensor:
        if not self.compiled:
            return self.module(**tensors)
        from torch._dynamo.exc import TorchDynamoException

        try:
            return self.module(**tensors)
        except TorchDynamoException as error:
            reason = str(error).strip().splitlines()[0]
            raise UserError(f"--compile: this model cannot be compiled here ({reason}); leave it out") from error

    def _in_tiles(self, inputs: Mapping[str, Map], seed: int, bits: int) -> Picture:
        source, tensors = inputs.get("source"), _tensors(inputs, seed if self.noisy else None)
        height, width = next(iter(inputs.values())).shape[:2]
        size = height * width * max(1, result_channels(self.recipe.data, self.route)) * bits // 8
        memory = Memory(self.max_memory or 0, self.device, result=size)

        def finish(tile: torch.Tensor, pixels: tiles.Pixels) -> Map:
            return result_of(self.recipe.data, None if source is None else source[pixels], tile, bits)

        return tiles.translate(self.module, tensors, memory, finish)


def _check_seed(seed: int | None) -> None:
    if seed is not None and not 0 <= seed < 2**63:
        raise UserError(f"seed {seed}: a seed is a number from 0 to 2**63 - 1")


def _tensors(inputs: Mapping[str, Map], seed: int | None) -> dict[str, torch.Tensor]:
    """Return what the networks take by name, on the CPU: one input, and its seed unless that is None."""
    tensors = {name: as_tensor(name, array) for name, array in inputs.items()}
    return tensors if seed is None else {**tensors, "seeds": torch.tensor([seed])}


def _route(route: str, method: Method) -> str:
    """Return the direction asked for, or the first."""
    if route in method.directions or not route:
        return route or method.directions[0]
    if len(method.directions) == 1:
        raise UserError(f"--direction {route}: this model translates in one direction alone; leave it out")
    raise UserError(f"--direction {route}: there is no such direction; there are {', '.join(method.directions)}")


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
