"""Styles of one model: encode photos, and compute the style input from the style that a caller names."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from hdtrans.common.errors import UnknownName, UserError
from hdtrans.config import inputs
from hdtrans.config.inputs import translated
from hdtrans.data.io.read import as_picture
from hdtrans.engine.precision import Precision
from hdtrans.inference.inputs import batch_of_one
from hdtrans.inference.styles.clusters import Styles
from hdtrans.inference.styles.objects import Objects
from hdtrans.inference.styles.style import OTHERS, Choice, Style, StyleFeatures, no_styles, of_instances
from hdtrans.methods.base import Method, normal_style

Array = npt.NDArray[Any]
Inputs = Mapping[str, Array]
_FORMS = (
    f"{', '.join(OTHERS)}, a dict of instance ids, a picture (H, W, C), or a tuple of a picture, its label map and its "
    "instance map"
)
StyleLike = str | Mapping[int, Choice] | Sequence[float] | Array | tuple[Array, ...] | Style | StyleFeatures | None


class StyleEncoder:
    """The encoder of a model and the clusters of its training objects.

    Args:
        method: method with a style, over its networks.
        table: inputs of the model in its direction; the encoder takes the target, a photo.
        precision: precision of the networks.
        device: device of the networks.
        find_styles: function that reads the clusters of training objects, called when they are first needed.

    Attributes:
        spec: form of the style.
    """

    def __init__(
        self,
        method: Method,
        table: inputs.Inputs,
        precision: Precision,
        device: torch.device,
        find_styles: Callable[[], Styles | None],
    ) -> None:
        assert method.style is not None
        self.method, self.precision, self.device = method, precision, device
        self.photo = next(each for each in table if each.role == "target")
        self._classes = next((each.name for each in translated(table) if each.values == "classes"), "")
        self.spec = method.style
        self._find_styles = find_styles
        self._encoder = self._ready()

    @cached_property
    def styles(self) -> Styles | None:
        """Clusters of training objects; None without."""
        return self._find_styles() if self.spec.prior == "clusters" else None

    def _ready(self) -> nn.Module | None:
        """Return the encoder; None for a method without one, or if its weights are missing."""
        try:
            encoder = self.method.encoder(self.method.networks).eval().requires_grad_(False)
        except NotImplementedError:
            return None
        if any(weight.is_meta for weight in encoder.parameters()):
            return None
        self.precision.prepare(encoder, self.device)
        return encoder

    @property
    def has_encoder(self) -> bool:
        """True if photos can be encoded."""
        return self._encoder is not None

    @property
    def encoder(self) -> nn.Module:
        """The module of `Method.encoder`; raises UserError if its weights are missing."""
        if self._encoder is None:
            raise UserError(
                "this model cannot encode a picture: it lacks the encoder, which .onnx and .pt2 files leave out; use "
                "the checkpoint or the .safetensors"
            )
        return self._encoder

    def objects(self, given: Inputs) -> Objects | None:
        """Return the objects of checked inputs that have a style each; None if the whole picture has one."""
        return None if self.spec.of == "picture" else Objects.of(given[self.spec.ids], given.get(self._classes))

    def encode(self, photo: Array, maps: Inputs) -> StyleFeatures:
        """Return the features of the objects of a photo, by its checked maps."""
        objects = self.objects(maps)
        assert objects is not None, "a style of the whole picture has no objects"
        ids, picture = maps[self.spec.ids], self._picture(photo)
        if picture.shape[:2] != ids.shape:
            sizes = f"the picture {picture.shape[1]}x{picture.shape[0]}, its map {ids.shape[1]}x{ids.shape[0]}"
            raise UserError(f"the picture that gives the style and its map have different sizes: {sizes}")
        pooled = self._run(picture, batch_of_one(inputs.Input("ids", "ids"), ids))
        return StyleFeatures(objects, objects.means(pooled).clip(-1, 1))

    def encode_whole(self, photo: Array) -> Array:
        """Return the style of a whole photo, (S,) float32."""
        return self._run(self._picture(photo))

    def _picture(self, photo: Array) -> Array:
        assert self.photo.size is not None
        return as_picture(photo, self.photo.size, "image")

    def _run(self, picture: Array, *ids: torch.Tensor) -> Array:
        with torch.inference_mode(), self.precision.full():
            tensors = (x.to(self.device) for x in (batch_of_one(self.photo, picture), *ids))
            encoded: Array = self.encoder(*tensors)[0].cpu().numpy()
        return encoded

    def apply(
        self, given: Inputs, style: StyleLike, seed: int, objects: Objects | None, check: Any
    ) -> dict[str, Array]:
        """Return checked inputs with the style input of the model.

        Args:
            given: checked inputs of one picture.
            style: style as a call of the Translator takes it.
            seed: seed of drawn styles.
            objects: objects of the inputs, if they are known already.
            check: function from the maps of a reference, positional, to checked maps by name.
        """
        if style is None and self.spec.name in given:
            return dict(given)  # read from data
        if self.spec.of == "picture":
            return {**given, self.spec.name: self._whole(style, seed)}
        objects = self.objects(given) if objects is None else objects
        assert objects is not None
        chosen = self._chosen(style, given, objects, check)
        features = chosen.features(objects, self.styles, self.spec.size, seed)
        return {**given, self.spec.name: objects.paint(features)}

    def _chosen(self, style: StyleLike, given: Inputs, objects: Objects, check: Callable[..., Inputs]) -> Style:
        """Return the per-object style that a caller names."""
        if isinstance(style, Style):
            return style
        if isinstance(style, Mapping):
            chosen = of_instances(style)
            if style and not chosen.instances.keys() & set(objects.ids.tolist()):
                ids = ", ".join(map(str, [*style][:8]))
                raise UserError(f"has the ids {ids}; the input has none of them", argument="style")
            return chosen
        if style is None or isinstance(style, str):
            return Style(_kind(style or "mean"))
        if not isinstance(style, StyleFeatures):
            image, *maps = style if isinstance(style, tuple) else (style,)
            if not isinstance(image, np.ndarray) or len(maps) > 2:
                raise UserError(f"cannot be used; give {_FORMS}", argument="style")
            style = self.encode(image, check(*maps) if maps else given)
        return style.style(objects, alone=self.styles is None)

    def _whole(self, style: StyleLike, seed: int) -> Array:
        """Return the style of the whole picture, (S,) float32, that a caller names."""
        if style is None or isinstance(style, str):
            if _kind(style or "sample") == "mean":
                return np.zeros(self.spec.size, np.float32)
            return normal_style(seed, self.spec.size).numpy()
        if isinstance(style, np.ndarray) and style.ndim > 1:
            return self.encode_whole(style)
        try:
            numbers = np.asarray(style, np.float32)
        except (TypeError, ValueError):
            numbers = np.zeros(0, np.float32)
        if numbers.shape != (self.spec.size,) or not np.isfinite(numbers).all():
            forms = f"{', '.join(OTHERS)}, {self.spec.size} finite numbers, or a picture"
            raise UserError(f"cannot be used; give {forms}", argument="style")
        return numbers

    def need_styles(self) -> Styles:
        """Return the clusters of training objects; raise UserError for a model without."""
        if self.styles is None:
            raise no_styles()
        return self.styles


def _kind(style: str) -> Any:
    if style not in OTHERS:
        raise UnknownName("style", style, OTHERS, argument="style", value=style)
    return style
