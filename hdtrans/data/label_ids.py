"""Check that every pixel of a label map belongs to a class or is ignored, and that the ids are no grey values."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from hdtrans.common.errors import WrongIds

_LEAST_STEP = 20  # between grey values of a mask; classes lie closer
_EVEN = 3  # most by which the steps differ: 0, 127, 254
_WHITE = (127, 128, 254, 255, 65535)  # the grey values of masks of two classes
_MOST_IGNORED = 1 / 4  # of the pixels of maps with few classes: void borders are far less
_FEW_CLASSES = 2


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
        ids, ways = [value.id for value in found], advice([value.id for value in found], count_ids(label))
        raise WrongIds(ids, labels, ignore, [str(value) for value in found], path=where, advice=[ways])


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


def count_ids(label: npt.NDArray[Any]) -> dict[int, int]:
    """Return the number of pixels of each id of an (H, W) array of integers in [0, 2^31 - 1]."""
    if label.dtype.itemsize == 1:
        counts = np.bincount(label.reshape(-1), minlength=256)
        return {int(number): int(counts[number]) for number in np.flatnonzero(counts)}
    return dict(zip(*(each.tolist() for each in np.unique(label, return_counts=True)), strict=True))


def grey_values(ids: Collection[int]) -> list[int]:
    """Return ids, sorted, if they look like the grey values of masks: 0 and 255; 0, 127 and 254; ...; else nothing."""
    values = sorted(ids)
    steps = np.diff(values)
    if len(values) < 2 or values[0] != 0 or steps.min() < _LEAST_STEP or steps.max() - steps.min() > _EVEN:
        return []
    return values if len(values) > 2 or values[-1] in _WHITE else []


@dataclass(frozen=True)
class MaskFinding:
    """Finding on label maps that are likely masks with other values than ids, or are mostly ignored.

    Attributes:
        words: sentence without the way out.
        values: values of the masks, sorted; none if the maps are no masks.
    """

    words: str
    values: tuple[int, ...] = ()

    def __str__(self) -> str:
        if not self.values:
            return self.words
        way = grey_advice(self.values)
        return f"{self.words}; {way[0].lower()}{way[1:]}"


def mask_finding(pixels: Mapping[int, int], ignore: int | None) -> MaskFinding | None:
    """Return the finding on label maps that are likely masks with other values than ids, or are mostly ignored.

    Args:
        pixels: number of pixels by id, of all maps together.
        ignore: id of pixels without a class, or None.
    """
    total, ignored = sum(pixels.values()), 0 if ignore is None else pixels.get(ignore, 0)
    share = f"{ignored / max(1, total):.1%} of the pixels are ignored (id {ignore})"
    if values := grey_values(pixels.keys()):
        lost = f", and {share}" if ignored else ""
        listed = ", ".join(map(str, values))
        words = f"the values {listed} are those of a mask, but ids of classes are 0, 1, 2, ...{lost}"
        return MaskFinding(words, tuple(values))
    others = sorted(number for number in pixels if number != ignore)
    if ignored > _MOST_IGNORED * total and 0 < len(others) <= _FEW_CLASSES:
        listed = " and ".join(map(str, others))
        return MaskFinding(f"besides {listed} there is only {ignore}: {share}", tuple(sorted(pixels)))
    if ignored > total / 2:
        return MaskFinding(f"{share}. If they are a class, set data.ignore to another id, or null")
    return None


def grey_advice(values: Collection[int]) -> str:
    """Return the way to make ids of grey values, sorted."""
    count, listed = len(values), ",".join(map(str, values))
    masks = "two classes, write 0 and 1" if count == 2 else f"{count} classes, write 0 to {count - 1}"
    return f"If they are masks of {masks}: hdtrans prepare folder with values={listed} does it"


def advice(ids: Sequence[int], present: Collection[int] = ()) -> str:
    """Return advice on the recipe keys to change, or on grey values of masks.

    Args:
        ids: ids that are no class, sorted.
        present: all ids of the same maps.
    """
    values = grey_values(present)
    if len(values) > 2:
        return grey_advice(values)
    options = []
    if ids[0] >= 0 and ids[-1] < 65535:
        options.append(f"data.labels={ids[-1] + 1} if they are classes")
    if len(ids) == 1:
        options.append(f"data.ignore={ids[0]} if it marks pixels without a class")
    if options and values:
        return f"Set {', or '.join(options)}. {grey_advice(values)}"
    return f"Set {', or '.join(options)}" if options else "Give pixels without a class the id of data.ignore"
