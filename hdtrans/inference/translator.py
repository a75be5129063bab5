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

from hdtrans.common.errors import Advice, PictureWarning, UserError
from hdtrans.config.inputs import lead
from hdtrans.data.fields import check_ids
from hdtrans.data.kinds.base import data_of
from hdtrans.engine.checkpoint import find_checkpoint
from hdtrans.engine.distributed import choose_device
from hdtrans.engine.precision import choose_precision
from hdtrans.inference import tiles
from hdtrans.inference.folder.results import ODDITIES, oddity
from hdtrans.inference.inputs import batch_of_one, check_inputs, given_inputs
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
    """Translates label maps, or pictures, of any size.

    Attributes:
        recipe: recipe of the training.
        classes: names and colours of its label maps; None where pictures are its input.
        inputs: the inputs of the model in its direction, targets included.
        lead: the first of them: the label map, or the picture.
        given: the inputs that a caller gives, by name, the lead first.
        reads: their names: `label` or `source`, `instance`, ...
        images_seen: images seen in training.
        weights: SHA-256 of the checkpoint, and whether averages are used.
        route: direction of the translation, of those the method has: `AtoB` or `BtoA`, or empty.
        noisy: whether the picture varies with the seed of a call.
        features: numbers of a style; 0 where the model takes no style.
        dtype: type that the networks compute in: `fp32`, `bf16`, `fp16` or `fp64`.

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
        model = restore(checkpoint, self.device, averaged, route, trust)
        self.recipe, self.classes, self.method, self.module = model.recipe, model.classes, model.method, model.module
        self.images_seen, self.stage, self.weights, self.route = (
            model.images_seen,
            model.stage,
            model.weights,
            model.route,
        )
        self.data, self.inputs = data_of(self.recipe), model.inputs
        self.lead, self.target = lead(self.inputs), self.method.target(self.route)
        self._specs = {each.name: each for each in self.inputs}
        self.given = given_inputs(self.data, self.inputs)
        self.reads = frozenset(self.given)
        self.noisy = self.method.noisy(self.route)
        self.precision = choose_precision(dtype, self.device)
        self.dtype = self.precision.name
        if not model.is_graph:
            self.precision.prepare(self.module, self.device)
        self.features = 0 if self.method.style is None else self.method.style.size
        self._styles_of = checkpoint, model.styles
        self.transfers = Transfers(self.device)
        self.max_memory = max_memory
        if model.is_graph and (compiled or max_memory is not None):
            finding = f"takes a checkpoint or .safetensors; {checkpoint} runs as it is, and whole"
            raise UserError(finding, argument="compiled" if compiled else "max_memory")
        if max_memory is not None:
            if compiled:
                advice = [Advice("max_memory", None), Advice("compiled", None)]
                raise UserError("takes pictures whole", argument="compiled", advice=advice)
            Memory(max_memory, self.device)  # refuses now if it is too little
        self.compiled = compiled
        if compiled:
            self.module.compile(dynamic=True)
        # Weights are laid out at the first call, for whoever exports the module wants them as they are.
        types = ("fp32", "bf16") if self.device.type == "cpu" else ("bf16", "fp16")
        self._to_lay_out = not model.is_graph and self.dtype in types
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
            dtype: type that the networks compute in: `auto` (bf16 where the device has it, else fp32), `fp32`, `bf16`,
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
        given: Map | None = None,
        instance: Map | None = None,
        seed: int | None = None,
        bits: int = 8,
        style: StyleLike = None,
        **more: Map | None,
    ) -> Picture:
        """Translate one input; return the picture, (H, W, C) uint8 in [0, 255], of the input's size.

        C is the number of channels of the training's target pictures, 3 for RGB. Colourisation gives RGB, and where
        classes are wanted the result is a map of ids, (H, W) uint8, or int32 for more than 256.

        Args:
            given: the lead input. A label map: (H, W) integer class ids. A picture: (H, W, C) or grey (H, W), uint8,
                uint16 or int32 in [0, 65535], or floats in [-1, 1]. Its channels are made those of the model as
                files' are: grey is repeated, alpha dropped, colour made grey. For colourisation grey or RGB whole
                numbers, or lightness L/50-1 as floats.
            instance: (H, W) integer instance ids, where the model reads them.
            seed: seed of the noise, in [0, 2**63), where the model is `noisy`, and of drawn styles; the same seed gives
                the same picture. None is 0.
            bits: 8, or 16 for a picture that is uint16 in [0, 65535]; maps of classes stay as they are.
            style: for a model with `features`. Of objects: `sample` draws a cluster of its class for each, `mean`
                (None) takes the mean of its class; a dict gives some instances, by id, a feature as `encode` returns
                it, or the number of a cluster; a picture, (H, W, C), gives the features of its objects to those of the
                input, where it has the same map; with a map of its own, `(picture, label)` or `(picture, label,
                instance)`, each class gives its mean. Of the whole picture: `sample` (None) draws it from N(0, 1),
                `mean` is zero; numbers (S,) or a picture give it.
            more: the other inputs that the model reads, by name: masks, images, vectors, points (see `inputs`).

        Raises:
            UserError: an input is missing or unknown, is no array of its kind, has another size than the lead, or holds
                ids that are no class; or `max_memory` is too little.

        Warns:
            PictureWarning: the picture is of one colour, or nearly all black and white.
        """
        inputs = self.check(given, instance, **more)
        if self.features or style is not None:
            inputs = self.apply_style(inputs, style, seed)
        picture = self.translate([inputs], seed, bits)[0]
        if odd := oddity(picture, self.data.natural):
            warnings.warn(f"the picture is {odd}: {ODDITIES[odd]}", PictureWarning, stacklevel=2)
        return picture

    @property
    def styles(self) -> Styles | None:
        """Clusters of the features of each class, where `hdtrans encode_styles` has made some."""
        return self.style_encoder.styles if self.features else None

    def need_styles(self) -> Styles:
        """Return the styles; raise UserError where there are none."""
        return self.style_encoder.need_styles()

    @cached_property
    def style_encoder(self) -> StyleEncoder:
        """The encoder and the styles of a model with `features`."""
        if not self.features:
            raise UserError("this model cannot encode a picture: it was trained without features")
        checkpoint, published = self._styles_of

        def find() -> Styles | None:
            return published if checkpoint.suffix in FORMS else Styles.load(checkpoint, self.weights)

        return StyleEncoder(self.method, self.target, self.precision, self.device, find)

    @property
    def encoder(self) -> nn.Module:
        """The module of `Method.encoder`; raises UserError where the model has none."""
        return self.style_encoder.encoder

    def check(self, given: Map | None = None, instance: Map | None = None, **more: Map | None) -> dict[str, Map]:
        """Return checked inputs of one picture, ready for `translate`; raise UserError as a call does."""
        if given is not None and self.lead.name in more:
            raise UserError(f"{self.lead.name}: is given twice, by its place and by its name")
        first = more.pop(self.lead.name, None) if given is None else given
        return check_inputs(self.data, self.inputs, {self.lead.name: first, "instance": instance, **more})

    def translate(self, batch: Sequence[Mapping[str, Map]], seed: int | None = None, bits: int = 8) -> list[Picture]:
        """Translate inputs of one size together, each as `check` returns it; return the picture of each.

        Inputs of a model with `features` are as `apply_style` returns them.
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
        style = self.method.style
        assert style is None or all(style.name in inputs for inputs in batch), "inputs without a style"
        if self._to_lay_out and not self.compiled:
            prepack(self.module, self.precision.compute, by_shape=self.max_memory is None)
            self._to_lay_out, self._laid_out = False, True
        with torch.inference_mode(), self.precision.full() if self._laid_out else self.precision.autocast():
            yield

    def _make(self, batch: Sequence[Mapping[str, Map]], seed: int | None, bits: int) -> list[torch.Tensor]:
        """Return what the host needs of each picture, on the device."""
        with self._ready(batch, seed, bits):
            there = [self.transfers.bring(self._tensors(inputs, seed or 0)) for inputs in batch]
            together = there[0] if len(there) == 1 else {name: torch.cat([x[name] for x in there]) for name in there[0]}
            return [self.data.to_host(picture, bits) for picture in self._run(together)]

    def _finish(self, inputs: Mapping[str, Map], bits: int, array: Callable[[], Picture]) -> Picture:
        return self.data.from_host(inputs, array(), bits)

    def objects(self, inputs: Mapping[str, Map]) -> Objects | None:
        """Return the objects of checked inputs that have a style each; None where the whole picture has one."""
        return self.style_encoder.objects(inputs)

    def apply_style(
        self, inputs: Mapping[str, Map], style: StyleLike, seed: int | None = None, objects: Objects | None = None
    ) -> dict[str, Map]:
        """Return checked inputs with the style input of the model.

        Args:
            inputs: checked inputs of one picture.
            style, seed: as of a call.
            objects: objects of the inputs, where they are known already.

        Raises:
            UserError: the model takes no style, or the style is none, or needs clusters that there are not.
        """
        if not self.features:
            raise UserError("style: this model takes none; leave it out")
        _check_seed(seed)
        return self.style_encoder.apply(inputs, style, seed or 0, objects, self.check)

    def encode(self, image: Picture, ids: Map | None = None) -> Any:
        """Return the style of a photo: by object id a feature (F,) in [-1, 1], or (S,) of the whole picture.

        Args:
            image: (H, W, C) or grey (H, W), as a picture that is translated.
            ids: (H, W) integers, the map that separates objects: the instance map; or the label map, where the model
                makes its instance maps of that, or has a style for each class. Not needed for the whole picture.

        Raises:
            UserError: the model has no encoder, or the arrays are none of this kind or have different sizes.
        """
        encoder = self.style_encoder
        if encoder.spec.of == "picture":
            return encoder.encode_whole(image)
        own = encoder.spec.ids
        maps = {own: check_ids("ids", ids)} if own in self.reads else self.check(ids)
        found = encoder.encode(image, maps)
        return dict(zip(found.objects.ids.tolist(), found.features.astype(np.float32), strict=True))

    def encode_style(self, image: Picture, maps: Mapping[str, Map]) -> StyleFeatures:
        """Return the features of the objects of a photo whose maps are checked."""
        return self.style_encoder.encode(image, maps)

    def _run(self, tensors: Mapping[str, torch.Tensor]) -> torch.Tensor:
        if not self.compiled:
            return self.module(**tensors)
        from torch._dynamo.exc import TorchDynamoException

        try:
            return self.module(**tensors)
        except TorchDynamoException as error:
            reason = str(error).strip().splitlines()[0]
            finding = f"this model cannot be compiled here ({reason}); leave it out"
            raise UserError(finding, argument="compiled") from error

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


def _check_seed(seed: int | None) -> None:
    if seed is not None and not 0 <= seed < 2**63:
        raise UserError(f"seed {seed}: a seed is a number from 0 to 2**63 - 1")
