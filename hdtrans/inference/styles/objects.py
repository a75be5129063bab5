"""The objects of one input: the pixels that share an id, and the class that they are of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
_TABLE = 2**20  # ids below this are found by a table, which is faster than sorting them


@dataclass(frozen=True)
class Objects:
    """What an input is made of, in the order of the ids.

    Attributes:
        ids: (N,) int64, each once, rising.
        classes: (N,) int64, the id that most pixels of each have in the label map, the ignored one included; 0 where
            there is no label map.
        areas: (N,) int64, in pixels.
        places: (H, W) int64, which of the N a pixel belongs to.
    """

    ids: Array
    classes: Array
    areas: Array
    places: Array

    @classmethod
    def of(cls, ids: Array, label: Array | None = None) -> Objects:
        """Find them in (H, W) maps of ids and, if there is one, of classes."""
        found, places, areas = _unique(ids)
        classes = np.zeros(len(found), np.int64)
        if label is not None:
            kinds, kind_places, _ = _unique(label)
            votes = np.bincount((places * len(kinds) + kind_places).ravel(), minlength=len(found) * len(kinds))
            classes = kinds[votes.reshape(len(found), len(kinds)).argmax(1)]
        return cls(found, classes, areas, places)

    def __len__(self) -> int:
        return len(self.ids)

    def means(self, maps: Array) -> Array:
        """Return the mean of (F, H, W) maps over each object, (N, F) float64."""
        flat = self.places.ravel()
        sums = [np.bincount(flat, channel.ravel().astype(np.float64), len(self)) for channel in maps]
        return np.stack(sums, 1) / self.areas[:, None]

    def paint(self, values: Array) -> npt.NDArray[np.float32]:
        """Return (H, W, F) float32 in which every pixel has the values, a row of (N, F), of its object."""
        painted: npt.NDArray[np.float32] = np.take(values.astype(np.float32), self.places, 0)
        return painted

    def same_as(self, other: Objects) -> bool:
        """Whether both come of equal maps of ids."""
        return np.array_equal(self.ids, other.ids) and np.array_equal(self.places, other.places)


def _unique(ids: Array) -> tuple[Array, Array, Array]:
    """Return the ids that occur, rising, the place of each pixel's among them, and their counts, all int64."""
    if ids.dtype.itemsize > 2 and int(ids.max()) >= _TABLE:
        found, places, counts = np.unique(ids, return_inverse=True, return_counts=True)
        return found.astype(np.int64), places.reshape(ids.shape), counts
    counts = np.bincount(ids.ravel())
    found = np.flatnonzero(counts)
    table = np.zeros(len(counts), np.int64)
    table[found] = np.arange(len(found))
    return found, table[ids], counts[found]
