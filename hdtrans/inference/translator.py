"""The Translator: a checkpoint in, then numpy in and numpy out."""

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property, partial
from numbers import Integral
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from hdtrans.common.errors import Advice, PictureWarning, UserError
from hdtrans.config.inputs import lead
from hdtrans.data.fields import check_ids
from hdtrans.data.kinds.base import data_of
from hdtrans.engine.checkpoint import find_checkpoint
from hdtrans.engine.distributed import choose_device
from hdtrans.engine.precision import choose_precision
from hdtrans.inference import tiles
from hdtrans.inference.folder.results import DEGENERATE, degenerate_output
from hdtrans.inference.inputs import batch_of_one, check_inputs, given_inputs, id_maps
from hdtrans.inference.memory import Memory
from hdtrans.inference.publish.published import FORMS
from hdtrans.inference.restore import restore
from hdtrans.inference.styles.apply import StyleEncoder, StyleLike
from hdtrans.inference.styles.clusters import Styles
from hdtrans.inference.styles.objects import Objects
from hdtrans.inference.styles.style import StyleFeatures
from hdtrans.inference.transfers import Transfers
from hdtrans.networks.kernels.prepacked import prepack

Map = npt.NDArray[Any]
Picture = npt.NDArray[Any]


class Translator:
    """A trained model that translates label maps, or pictures, of any size.

    Attributes:
        recipe: recipe of the training.
        classes: names and colours of the classes; None for a model without label maps.
        inputs: inputs of the model in its direction, targets included.
        lead: first input, required: the label map, or the picture.
        given: inputs that a caller gives, by name, the lead first.
        reads: names of `given`: `label` or `source`, `instance`, ...
        images_seen: images seen in training.
        weights: SHA-256 of the file, with ` averaged` behind it if averaged weights are used.
        direction: `AtoB` or `BtoA`, or empty for a method with one direction.
        noisy: True if the picture varies with the seed of a call.
        style_size: length of a style; 0 for a model without styles.
        dtype: type that the networks compute in: `fp32`, `bf16`, `fp16` or `fp64`.

    Example: `Translator.load("runs/city")(cv2.imread("map.png", cv2.IMREAD_UNCHANGED))`.
    """

    def __init__(
        self,
        checkpoint: Path,
        device: str = "auto",
        dtype: str | torch.dtype = "auto",
        averaged: bool = True,
        direction: str = "",
        max_memory: int | None = None,
        compiled: bool = False,
        trust: bool = False,
    ) -> None:
        """Read a model from a checkpoint or a published file; see `load`."""
        self.device = choose_device(device)
        model = restore(checkpoint, self.device, averaged, direction, trust)
        self.recipe, self.classes, self.method, self.module = model.recipe, model.classes, model.method, model.module
        self.images_seen, self.stage, self.weights = model.images_seen, model.stage, model.weights
        self.direction, self.inputs, self.data = model.direction, model.inputs, data_of(self.recipe)
        self.lead, self.target = lead(self.inputs), self.method.target(self.direction)
        self._specs = {each.name: each for each in self.inputs}
        self.given = given_inputs(self.data, self.inputs)
        self.reads = frozenset(self.given)
        self.noisy = self.method.noisy(self.direction)
        self.precision = choose_precision(dtype, self.device)
        self.dtype = self.precision.name
        if not model.is_graph:
            self.precision.prepare(self.module, self.device)
        self.style_size = 0 if self.method.style is None else self.method.style.size
        self._styles_of = checkpoint, model.styles
        self.transfers = Transfers(self.device)
        self.max_memory = max_memory
        if model.is_graph and (compiled or max_memory is not None):
            finding = f"takes a checkpoint or .safetensors; {checkpoint} is an exported graph, which runs whole"
            raise UserError(finding, argument="compiled" if compiled else "max_memory")
        if max_memory is not None:
            if compiled:
                advice = [Advice("max_memory", None), Advice("compiled", None)]
                raise UserError("takes pictures whole", argument="compiled", advice=advice)
            Memory(max_memory, self.device)  # raises now if that is too little
        self.compiled = compiled
        if compiled:
            self.module.compile(dynamic=True)
        # Weights are packed at the first call, not here: export needs them as they are.
        types = ("fp32", "bf16") if self.device.type == "cpu" else ("bf16", "fp16")
        self._to_prepack = not model.is_graph and self.dtype in types
        self._prepacked = False

    @classmethod
    def load(
        cls,
        path: str | Path,
        device: str = "auto",
        dtype: str | torch.dtype = "auto",
        averaged: bool = True,
        direction: str = "",
        max_memory: int | None = None,
        compiled: bool = False,
        trust: bool = False,
        *,
        route: str = "",
    ) -> "Translator":
        """Load a run folder (its latest checkpoint), a checkpoint file, or a published model.

        Args:
            path: run folder, `RUN/best`, checkpoint, .safetensors, .onnx or .pt2.
            device: `auto`, `cpu`, `cuda` or `cuda:N`.
            dtype: type that the networks compute in: `auto` (bf16 if the device computes it, else fp32), `fp32`,
                `bf16`, `fp16` or `fp64`, or such a type of torch.
            averaged: use averaged weights if the checkpoint has them.
            direction: `AtoB` or `BtoA`, for a method with both; empty: the first.
            max_memory: bytes that the process may take, and as many on a GPU. Pictures are then made tile by tile, and
                are the same.
            compiled: compile the networks at the first call. They are compiled again for the first height, and the
                first width, that is no multiple of the stride; for no other size.
            trust: load a .pt2, which can run code of its maker.
            route: alias of `direction`.

        Raises:
            UserError: there is no such checkpoint, it cannot be used, it has no such direction, `max_memory` is too
                little, or options exclude each other.
        """
        return cls(
            find_checkpoint(Path(path)), device, dtype, averaged, direction or route, max_memory, compiled, trust
        )

    def __call__(
        self,
        given: Map | None = None,
        instance: Map | None = None,
        seed: int | None = None,
        bits: int = 8,
        style: StyleLike = None,
        **more: Map | None,
    ) -> Picture:
        """Translate one input to a picture of its size.

        Args:
            given: lead input. Label map: (H, W) integer class ids. Picture: (H, W, C) or grey (H, W), uint8, uint16 or
                int32 in [0, 65535], or floats in [-1, 1]; grey is repeated, alpha dropped, colour made grey, as for
                files. For colourisation: grey or RGB integers, or lightness L/50-1 as floats.
            instance: (H, W) integer instance ids, for a model that reads them.
            seed: seed of the noise of a `noisy` model, and of drawn styles, in [0, 2**63); None: 0.
            bits: bits per channel, 8 or 16; maps of class ids have their own type.
            style: style, for a model with `style_size` > 0. One style per object: `sample` draws a cluster of its
                class, `mean` (None) is the mean of its class; a dict gives instance ids a feature (F,) in [-1, 1], as
                `encode` returns it, or the number of a cluster; a picture (H, W, C) gives the features of its objects,
                by the map of the input; `(picture, label)` or `(picture, label, instance)` gives the mean of each
                class, by a map of its own. One style for the whole picture: `sample` (None) is drawn from N(0, 1),
                `mean` is zero; numbers (S,) or a picture give it.
            more: other inputs by name (see `given`): masks (H, W), images (H, W, C), vectors (N,), points (N, 2).

        Returns:
            (H, W, C) uint8 in [0, 255], or uint16 in [0, 65535] with `bits=16`; C as in the true pictures of training.
            (H, W) uint8 class ids, int32 for more than 256 classes, for a model that makes label maps.

        Raises:
            UserError: an input is missing or unknown, has another type, shape, range or size than required, or holds
                ids that are no class; a style, a seed or `bits` cannot be used; or `max_memory` is too little.

        Warns:
            PictureWarning: the picture has one colour, or is nearly all black and white.
        """
        inputs = self.check(given, instance, **more)
        if self.style_size or style is not None:
            inputs = self.apply_style(inputs, style, seed)
        picture = self.translate([inputs], seed, bits)[0]
        if finding := degenerate_output(picture, self.data.natural):
            warnings.warn(f"the picture is {finding}: {DEGENERATE[finding]}", PictureWarning, stacklevel=2)
        return picture

    @property
    def route(self) -> str:
        """Alias of `direction`."""
        return self.direction

    @property
    def features(self) -> int:
        """Alias of `style_size`."""
        return self.style_size

    @property
    def styles(self) -> Styles | None:
        """Clusters of training objects by class, as `hdtrans encode_styles` writes them; None without."""
        return self.style_encoder.styles if self.style_size else None

    def need_styles(self) -> Styles:
        """Return the clusters of training objects; raise UserError for a model without."""
        return self.style_encoder.need_styles()

    @cached_property
    def style_encoder(self) -> StyleEncoder:
        """The encoder and the clusters of a model with styles."""
        if not self.style_size:
            raise UserError("this model cannot encode a picture: it was trained without styles (method.features)")
        checkpoint, published = self._styles_of

        def find() -> Styles | None:
            return published if checkpoint.suffix in FORMS else Styles.load(checkpoint, self.weights)

        return StyleEncoder(self.method, self.inputs, self.precision, self.device, find)

    @property
    def encoder(self) -> nn.Module:
        """The module of `Method.encoder`; raises UserError for a model without its weights."""
        return self.style_encoder.encoder

    def check(self, given: Map | None = None, instance: Map | None = None, **more: Map | None) -> dict[str, Map]:
        """Return checked inputs of one picture, ready for `translate`; raise UserError as a call does."""
        named = {"instance": instance, **more}
        if given is not None:
            if named.get(self.lead.name) is not None:
                raise UserError(f"{self.lead.name}: is given twice, by position and by name")
            named[self.lead.name] = given
        return check_inputs(self.data, self.inputs, named)

    def check_maps(self, given: Map | None = None, instance: Map | None = None, **more: Map) -> dict[str, Map]:
        """Return the checked maps of ids of a picture that gives a style; raise UserError as a call does.

        The other inputs of a translation are not required.

        Args:
            given: label map, for a model that reads label maps; a picture in its place is not looked at.
            instance: instance map.
            more: other maps of ids by name.
        """
        named, maps = {"instance": instance, **more}, id_maps(self.inputs, self.style_encoder.spec.ids)
        if given is not None and self.lead.name in {each.name for each in maps}:
            named[self.lead.name] = given
        return check_inputs(self.data, maps, named)

    def translate(self, batch: Sequence[Mapping[str, Map]], seed: int | None = None, bits: int = 8) -> list[Picture]:
        """Translate inputs of one size together; return the picture of each.

        Args:
            batch: inputs as `check` returns them, or `apply_style` for a model with styles; all with the same names.
            seed, bits: as of a call, for all pictures.
        """
        if self.max_memory is not None:
            with self._ready(batch, seed, bits):
                return [self._in_tiles(inputs, seed or 0, bits) for inputs in batch]
        made = self._make(batch, seed, bits)
        return [self._finish(inputs, bits, sent.cpu().numpy) for inputs, sent in zip(batch, made, strict=True)]

    def begin(
        self, batch: Sequence[Mapping[str, Map]], seed: int | None = None, bits: int = 8
    ) -> list[Callable[[], Picture]]:
        """Translate as `translate` does, without waiting for a GPU; return a function per picture that waits for it.

        Any thread may call that function. Pictures lie in pinned memory, which is scarce, so do not keep them; inputs
        should lie there too (`Transfers.pinned`).
        """
        if self.max_memory is not None:
            return [partial(np.asarray, picture) for picture in self.translate(batch, seed, bits)]
        arriving = self.transfers.send(self._make(batch, seed, bits))
        return [partial(self._finish, inputs, bits, array) for inputs, array in zip(batch, arriving, strict=True)]

    @contextmanager
    def _ready(self, batch: Sequence[Mapping[str, Map]], seed: int | None, bits: int) -> Iterator[None]:
        """Check arguments, pack weights at the first call, and set the mode in which the networks run."""
        if bits not in (8, 16):
            raise UserError("a picture has 8 or 16 bits per channel", argument="bits", value=bits)
        _check_seed(seed)
        style = self.method.style
        assert style is None or all(style.name in inputs for inputs in batch), "inputs without a style"
        if self._to_prepack and not self.compiled:
            prepack(self.module, self.precision.compute, by_shape=self.max_memory is None)
            self._to_prepack, self._prepacked = False, True
        with torch.inference_mode(), self.precision.full() if self._prepacked else self.precision.autocast():
            yield

    def _make(self, batch: Sequence[Mapping[str, Map]], seed: int | None, bits: int) -> list[torch.Tensor]:
        """Return each picture on the device, in the form that goes to the host (`DataKind.to_host`)."""
        with self._ready(batch, seed, bits):
            there = [self.transfers.bring(self._tensors(inputs, seed or 0)) for inputs in batch]
            together = there[0] if len(there) == 1 else {name: torch.cat([x[name] for x in there]) for name in there[0]}
            return [self.data.to_host(picture, bits) for picture in self._run(together)]

    def _finish(self, inputs: Mapping[str, Map], bits: int, array: Callable[[], Picture]) -> Picture:
        return self.data.from_host(inputs, array(), bits)

    def objects(self, inputs: Mapping[str, Map]) -> Objects | None:
        """Return the objects of checked inputs that have a style each; None if the whole picture has one."""
        return self.style_encoder.objects(inputs)

    def apply_style(
        self, inputs: Mapping[str, Map], style: StyleLike, seed: int | None = None, objects: Objects | None = None
    ) -> dict[str, Map]:
        """Return checked inputs with the style input of the model.

        Args:
            inputs: checked inputs of one picture.
            style, seed: as of a call.
            objects: objects of the inputs, if they are known already.

        Raises:
            UserError: the model takes no style, the style cannot be used, or it needs clusters that are missing.
        """
        if not self.style_size:
            raise UserError("this model takes none; leave it out", argument="style")
        _check_seed(seed)
        return self.style_encoder.apply(inputs, style, seed or 0, objects, self.check_maps)

    def encode(self, image: Picture, ids: Map | None = None) -> Any:
        """Return the style of a photo: a feature (F,) in [-1, 1] by object id, or (S,) of the whole picture.

        Args:
            image: (H, W, C) or grey (H, W), types and ranges as of a picture that is translated.
            ids: (H, W) integers, the map that separates objects: the instance map; the label map for a model that
                makes its instance maps from it, or has a style per class. Not needed for a style of the whole picture.

        Raises:
            UserError: the model has no encoder, or an array has another type, shape or size than required.
        """
        encoder = self.style_encoder
        if encoder.spec.of == "picture":
            return encoder.encode_whole(image)
        if ids is None:
            raise UserError("ids: this model has a style per object; give the map (H, W) that separates them")
        own = encoder.spec.ids
        maps = {own: check_ids("ids", ids)} if own in self.reads else self.check_maps(ids)
        found = encoder.encode(image, maps)
        return dict(zip(found.objects.ids.tolist(), found.features.astype(np.float32), strict=True))

    def encode_style(self, image: Picture, maps: Mapping[str, Map]) -> StyleFeatures:
        """Return the features of the objects of a photo, by its checked maps."""
        return self.style_encoder.encode(image, maps)

    def _run(self, tensors: Mapping[str, torch.Tensor]) -> torch.Tensor:
        if not self.compiled:
            return self.module(**tensors)
        from torch._dynamo.exc import TorchDynamoException

        try:
            return self.module(**tensors)
        except TorchDynamoException as error:
            reason = str(error).strip().splitlines()[0]
            finding = f"this model cannot be compiled here ({reason})"
            raise UserError(finding, argument="compiled", advice=["leave it out"]) from error

    def _in_tiles(self, inputs: Mapping[str, Map], seed: int, bits: int) -> Picture:
        height, width = inputs[self.lead.name].shape[:2]
        channels = self.data.result(self.target).size if self.data.results != "labels" else 1
        memory = Memory(self.max_memory or 0, self.device, result=height * width * (channels or 1) * bits // 8)
        spatial = {name: array for name, array in inputs.items() if self._specs[name].spatial}

        def finish(tile: torch.Tensor, pixels: tiles.Pixels) -> Map:
            return self.data.result_of({name: array[pixels] for name, array in spatial.items()}, tile, bits)

        return tiles.translate(self.module, self._tensors(inputs, seed), spatial.keys(), memory, finish)

    def _tensors(self, inputs: Mapping[str, Map], seed: int) -> dict[str, torch.Tensor]:
        """Return the keywords of the module, on the CPU, for one picture."""
        tensors = {name: batch_of_one(self._specs[name], array) for name, array in inputs.items()}
        return tensors | {each.name: torch.tensor([seed]) for each in self.inputs if each.kind == "seed"}


def _check_seed(seed: object) -> None:
    if seed is not None and not (isinstance(seed, Integral) and 0 <= int(seed) < 2**63):
        raise UserError("a seed is a number from 0 to 2**63 - 1", argument="seed", value=seed)
