"""Open documents: layers, style and seed of one edited input, with a revision that counts the changes."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from hdtrans.common.errors import UserError
from hdtrans.edit.layers import Layer

Array = npt.NDArray[Any]


class StaleRevision(Exception):
    """A change was made against an older state: another tab changed the document meanwhile.

    Attributes:
        revision: the present one.
    """

    def __init__(self, revision: int) -> None:
        super().__init__(f"the document is at revision {revision}")
        self.revision = revision


@dataclass(frozen=True)
class State:
    """A document at one moment; arrays are copies.

    Attributes:
        layers: arrays by name.
        style: values of a style file; None for a model without styles.
        seed: seed of noise and drawn styles.
        revision: number of the state.
    """

    layers: dict[str, Array]
    style: Any
    seed: int
    revision: int


@dataclass
class Document:
    """One edited input. All methods may be called from any thread.

    Attributes:
        name: name of its project file, unique in the output folder.
        table: layers of the model by name.
        arrays: present array of each layer.
        things: ids of the classes whose strokes make objects.
        style: values of a style file, or None.
        seed: seed of noise and drawn styles.
        revision: number of changes.
        saved: revision that lies on disk.
        key: random name in requests.
    """

    name: str
    table: Mapping[str, Layer]
    arrays: dict[str, Array]
    things: list[int] = field(default_factory=list)
    style: Any = None
    seed: int = 0
    revision: int = 0
    saved: int = 0
    key: str = field(default_factory=lambda: secrets.token_hex(8))
    lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels."""
        height, width = next(iter(self.arrays.values())).shape[:2]
        return width, height

    def state(self) -> State:
        """Return a copy of the present state."""
        with self.lock:
            arrays = {name: array.copy() for name, array in self.arrays.items()}
            return State(arrays, self.style, self.seed, self.revision)

    def packed(self) -> tuple[bytes, int]:
        """Return all layers as the page reads them, one after the other, and their revision."""
        state = self.state()
        return b"".join(self.table[name].packed(array) for name, array in state.layers.items()), state.revision

    def replace(self, base: int, box: tuple[int, int, int, int], data: bytes) -> int:
        """Put a rectangle of all layers in place; return the new revision.

        Args:
            base: revision that the rectangle was painted on.
            box: x, y, width, height.
            data: the rectangle of each layer, packed, one after the other.

        Raises:
            StaleRevision: the document has another revision.
            UserError: the rectangle lies outside, has other bytes than it should, or holds negative ids.
        """
        x, y, width, height = box
        whole = self.size
        if min(x, y) < 0 or min(width, height) < 1 or x + width > whole[0] or y + height > whole[1]:
            finding = f"{width}x{height} at {x}, {y} lies outside of the document, {whole[0]}x{whole[1]}"
            raise UserError(finding, path="rectangle")
        sizes = [self.table[name].size_of(width * height) for name in self.arrays]
        if len(data) != sum(sizes):
            raise UserError(f"has {len(data)} bytes; {sum(sizes)} are expected", path="rectangle")
        new, start = {}, 0
        for name, size in zip(self.arrays, sizes, strict=True):
            new[name] = self.table[name].unpacked(data[start : start + size], height, width)
            start += size
            if self.table[name].has_ids and int(new[name].min()) < 0:
                raise UserError(f"{name}: holds the id {int(new[name].min())}; ids start at 0", path="rectangle")
        with self.lock:
            if base != self.revision:
                raise StaleRevision(self.revision)
            for name, part in new.items():
                self.arrays[name][y : y + height, x : x + width] = part
            self.revision += 1
            return self.revision

    def set_layer(self, name: str, array: Array) -> int:
        """Replace a whole layer; return the new revision. Raises UserError for another size."""
        with self.lock:
            there = self.arrays[name].shape[:2]
            if array.shape[:2] != there:
                sizes = f"{array.shape[1]}x{array.shape[0]}, the document {there[1]}x{there[0]}"
                raise UserError(f"{name}: the file is {sizes}; give a file of the document's size")
            self.arrays[name] = array
            self.revision += 1
            return self.revision

    def set_style(self, style: Any, seed: int) -> int:
        """Set style and seed; return the new revision if that changes something."""
        with self.lock:
            if (style, seed) != (self.style, self.seed):
                self.style, self.seed = style, seed
                self.revision += 1
            return self.revision


def things_of(layers: Mapping[str, Layer], arrays: Mapping[str, Array]) -> list[int]:
    """Return the ids of the classes that have objects of their own; objects of the others have their class's id.

    Args:
        layers: layers of a model.
        arrays: arrays of one input.
    """
    classes = next((name for name, layer in layers.items() if layer.paint == "classes"), "")
    objects = next((name for name, layer in layers.items() if layer.paint == "objects"), "")
    if classes not in arrays or objects not in arrays:
        return []
    other = arrays[objects] != arrays[classes]
    return [int(number) for number in np.unique(arrays[classes][other])]
