"""Check that every pixel of a label map belongs to a class or is ignored."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from hdtrans.common.errors import WrongIds


def check_label_ids(label: npt.NDArray[Any], labels: int, ignore: int | None, where: str) -> None:
    """Raise WrongIds if an (H, W) array of integers holds an id that is neither a class nor ignored.

    Args:
        label: label map.
        labels: number of classes; their ids are 0 to `labels` - 1.
        ignore: id of pixels without a class, or None.
        where: file or argument, the place of the message; it lists each id with its number of pixels and first place,
            the allowed ids, and the recipe keys to change.
    """
    if found := ids_without_class(label, labels, ignore):
        ids = [value.id for value in found]
        raise WrongIds(ids, labels, ignore, [str(value) for value in found], path=where, advice=[advice(ids)])


def ids_without_class(label: npt.NDArray[Any], labels: int, ignore: int | None) -> list[FoundId]:
    """Return the ids of an (H, W) array of integers that are neither a class nor ignored, sorted."""
    if not label.size or (int(label.max()) < labels and int(label.min()) >= 0):
        return []
    wrong = (label >= labels) | (label < 0)
    if ignore is not None:
        wrong &= label != ignore
    return find_ids(label, np.flatnonzero(wrong))


@dataclass(frozen=True)
class FoundId:
    """An id in a map, with its number of pixels and the first of them."""

    id: int
    pixels: int
    row: int
    column: int

    def __str__(self) -> str:
        return self.text(self.id)

    def text(self, name: object) -> str:
        """Return it for messages, under another name, as a colour's."""
        count = f"{self.pixels} pixel{'s' if self.pixels > 1 else ''}"
        return f"{name} ({count}, first at row {self.row}, column {self.column})"


def find_ids(array: npt.NDArray[Any], places: npt.NDArray[np.intp]) -> list[FoundId]:
    """Return the ids at flat `places`, (N,) sorted, of an (H, W) array, sorted by id."""
    ids, first, counts = np.unique(array.ravel()[places], return_index=True, return_counts=True)
    rows, columns = np.divmod(places[first], array.shape[1])
    parts = (ids.tolist(), counts.tolist(), rows.tolist(), columns.tolist())
    return [FoundId(*values) for values in zip(*parts, strict=True)]


def advice(ids: list[int]) -> str:
    """Return advice on the recipe keys to change for ids that are no class, sorted."""
    options = []
    if ids[0] >= 0 and ids[-1] < 65535:
        options.append(f"data.labels={ids[-1] + 1} if they are classes")
    if len(ids) == 1:
        options.append(f"data.ignore={ids[0]} if it marks pixels without a class")
    return f"Set {', or '.join(options)}" if options else "Give pixels without a class the id of data.ignore"
