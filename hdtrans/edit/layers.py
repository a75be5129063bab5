"""Layers of a document: the inputs of a model that a page can paint, and their form in memory, files and requests."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hdtrans.common.errors import UserError
from hdtrans.config.inputs import Input
from hdtrans.data.fields import kind_of
from hdtrans.data.io.header import read_header
from hdtrans.inference.folder.results import encode_result
from hdtrans.inference.translator import Translator

Array = npt.NDArray[Any]

MOST_PIXELS = 4096 * 2048
"""Largest number of pixels of a document."""

_PAINTS = {"classes": "classes", "instances": "objects", "symmetric": "picture", "binary": "mask"}
_PNG_LARGEST_ID = 65535


@dataclass(frozen=True)
class Layer:
    """One painted input of a model.

    Attributes:
        spec: the input.
        paint: pen that it takes: `classes`, `objects`, `picture` or `mask`.
        channels: numbers of a pixel: 1 for ids and masks.
    """

    spec: Input
    paint: str
    channels: int

    @property
    def name(self) -> str:
        """Name of the input."""
        return self.spec.name

    @property
    def has_ids(self) -> bool:
        """True if its numbers are ids, four bytes each; else levels of one byte."""
        return self.paint in ("classes", "objects")

    def size_of(self, pixels: int) -> int:
        """Return the bytes of so many pixels in a request."""
        return pixels * (4 if self.has_ids else self.channels)

    def packed(self, array: Array) -> bytes:
        """Return an array as the page reads it: ids int32, levels uint8, little-endian, row by row."""
        return np.ascontiguousarray(array, "<i4" if self.has_ids else np.uint8).tobytes()

    def unpacked(self, data: bytes, height: int, width: int) -> Array:
        """Return the array of `packed` bytes: (H, W) int32, or (H, W, C) uint8."""
        if self.has_ids:
            return np.frombuffer(data, "<i4").reshape(height, width).astype(np.int32)
        return np.frombuffer(data, np.uint8).reshape(height, width, self.channels).copy()

    def blank(self, height: int, width: int, value: int) -> Array:
        """Return a layer with nothing on it: one class or id, a white sheet, or zeros for what may be missing."""
        if self.has_ids:
            return np.full((height, width), value, np.int32)
        white = self.paint == "picture" and not self.spec.optional
        return np.full((height, width, self.channels), 255 if white else 0, np.uint8)

    def editable(self, array: Array) -> Array:
        """Return a checked input as the editor holds it: ids int32, levels uint8.

        Raises:
            UserError: a picture has more than 8 bits, which the page would reduce.
        """
        if self.has_ids:
            return array.astype(np.int32)
        picture = array[..., None] if array.ndim == 2 else array
        if picture.dtype != np.uint8:
            finding = f"{self.name}: holds {picture.dtype} values; the editor shows and paints pictures of 8 bits"
            raise UserError(finding, advice=["use hdtrans infer, which keeps them"])
        return np.ascontiguousarray(picture)

    def file(self, array: Array) -> tuple[str, bytes]:
        """Return ending and bytes of a file that `hdtrans infer` reads as exactly this array."""
        ending = ".png"
        if self.has_ids:
            largest = int(array.max())
            array = array.astype(np.uint8) if largest < 256 else array
            ending = ".png" if largest <= _PNG_LARGEST_ID else ".npy"
        elif self.channels not in (1, 3, 4):
            ending = ".npy"
        return ending, encode_result(Path(f"layer{ending}"), array)

    def read(self, name: str, data: bytes) -> Array:
        """Read an uploaded file as this layer; raise UserError for another kind of file, or one too large."""
        header = read_header(io.BytesIO(data), name, len(data))
        check_size(header.width, header.height, name)
        return self.editable(kind_of(self.spec).read_loaded(self.spec, name, (data, header)))


def check_size(width: int, height: int, place: str) -> None:
    """Raise UserError for a size that the editor does not take."""
    if width < 1 or height < 1 or width * height > MOST_PIXELS:
        finding = f"{width}x{height} pixels; the editor takes 1x1 to {MOST_PIXELS:,} pixels (4096x2048)"
        raise UserError(finding, path=place, advice=["crop it", "make it smaller"])


def layers_of(translator: Translator) -> tuple[dict[str, Layer], list[str]]:
    """Return the layers of a model by name, the lead first, and the optional inputs that cannot be painted.

    Raises:
        UserError: the model requires an input that cannot be painted.
    """
    layers: dict[str, Layer] = {}
    left_out = []
    for name, spec in translator.given.items():
        paint = _PAINTS.get(spec.values) if kind_of(spec).spatial else None
        if paint is not None and (paint in ("classes", "objects", "mask") or spec.size in (1, 3)):
            layers[name] = Layer(spec, paint, 1 if paint != "picture" else spec.size or 1)
        elif spec.optional or spec.role == "style":
            left_out.append(name)
        else:
            what = f"{spec.kind}, {spec.size or 'any'} {spec.values}"
            finding = f"this model requires the input {name} ({what}), which the editor cannot paint"
            raise UserError(finding, argument="model", advice=["use hdtrans infer"])
    return layers, left_out


def checked(translator: Translator, layers: Mapping[str, Array]) -> dict[str, Array]:
    """Return layers as `Translator.check` does; raise UserError as it does."""
    return translator.check(**{name: array for name, array in layers.items() if name in translator.given})
