"""The objects of one input: pixels that share an id, and their class."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
_TABLE = 2**20  # ids below this are counted in a table, which is faster than sorting


@dataclass(frozen=True)
class Objects:
    """The objects of an input, sorted by id.

    Attributes:
        ids: (N,) int64, unique, rising.
        classes: (N,) int64, most frequent id of each object in the label map, the ignored id included; 0 without map.
        areas: (N,) int64, in pixels.
        places: (H, W) int64 in [0, N), index of each pixel's object.
    """

    ids: Array
    classes: Array
    areas: Array
    places: Array

    @classmethod
    def of(cls, ids: Array, label: Array | None = None) -> Objects:
        """Return the objects of a map of ids (H, W); `label`: class ids (H, W), or None."""
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
        """Return the means of (F, H, W) maps over each object, (N, F) float64."""
        flat = self.places.ravel()
        sums = [np.bincount(flat, channel.ravel().astype(np.float64), len(self)) for channel in maps]
        return np.stack(sums, 1) / self.areas[:, None]

    def paint(self, values: Array) -> npt.NDArray[np.float32]:
        """Return (H, W, F) float32 in which each pixel has the row of `values` (N, F) of its object."""
        painted: npt.NDArray[np.float32] = np.take(values.astype(np.float32), self.places, 0)
        return painted

    def same_as(self, other: Objects) -> bool:
        """Return whether both have equal maps of ids."""
        return np.array_equal(self.ids, other.ids) and np.array_equal(self.places, other.places)


def _unique(ids: Array) -> tuple[Array, Array, Array]:
    """Return the ids that occur, rising, the index of each pixel's id among them, and their counts, all int64."""
    if ids.dtype.itemsize > 2 and int(ids.max()) >= _TABLE:
        found, places, counts = np.unique(ids, return_inverse=True, return_counts=True)
        return found.astype(np.int64), places.reshape(ids.shape), counts
    counts = np.bincount(ids.ravel())
    found = np.flatnonzero(counts)
    table = np.zeros(len(counts), np.int64)
    table[found] = np.arange(len(found))
    return found, table[ids], counts[found]
