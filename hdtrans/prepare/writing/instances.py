"""Instance maps: components of label maps, and the dense numbers that are written."""

from collections.abc import Collection
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from hdtrans.common.errors import UserError
from hdtrans.prepare.sources.source import UNCOUNTED

LARGEST_ID = 65535
_LARGEST_TABLE = 1 << 22


def components(
    label: npt.NDArray[Any], things: Collection[int], min_area: int, neighbours: int
) -> npt.NDArray[np.int64]:
    """Return (H, W) ids of the connected components of some classes; everything else is `UNCOUNTED`.

    Args:
        label: (H, W) class ids.
        things: the classes whose components are counted.
        min_area: components with fewer pixels are not counted.
        neighbours: 4, or 8 where pixels that touch at a corner belong together.

    Example: `components(np.array([[1, 0, 1]]), [1], 1, 4)` gives `[[0, -1, 1]]`.
    """
    found = np.full(label.shape, UNCOUNTED, np.int64)
    count = 0
    for thing in sorted(things):
        mask = label == thing
        if not mask.any():
            continue
        total, places, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=neighbours)
        numbers = np.full(total, UNCOUNTED, np.int64)
        large = np.flatnonzero(stats[1:, cv2.CC_STAT_AREA] >= min_area) + 1
        numbers[large] = count + np.arange(large.size)
        count += large.size
        found[mask] = numbers[places[mask]]
    return found


def renumber(
    instance: npt.NDArray[Any], label: npt.NDArray[Any], classes: int, ignore: int | None
) -> tuple[npt.NDArray[np.uint16], int]:
    """Return (H, W) instance ids that fit 16 bits, and how many things there are.

    Uncounted pixels get their class id (or the ignored id), things the numbers from `classes` on, in the order of
    their ids, but for the ignored one.

    Args:
        instance: (H, W) any ids from 0, or `UNCOUNTED`.
        label: (H, W) ids of classes in [0, 65535].
        classes: the number of classes.
        ignore: the ignored id, or None.

    Raises:
        UserError: there are more things than 16 bits have numbers for.

    Example: `renumber(np.array([[-1, 26001, 26000]]), np.array([[7, 26, 26]]), 35, 255)` gives `[[7, 36, 35]]`, 2.
    """
    largest = int(instance.max())
    if largest < _LARGEST_TABLE:
        table = np.zeros(largest + 2, np.uint16)
        table[instance.reshape(-1) + 1] = 1
        table[0] = 0
        things = np.flatnonzero(table)
        table[things] = _numbers(things.size, classes, ignore)
        dense = table[instance + 1]
    else:
        ids, places = np.unique(instance, return_inverse=True)
        uncounted = int(ids[0] == UNCOUNTED)
        things = ids[uncounted:]
        table = np.concatenate([np.zeros(uncounted, np.uint16), _numbers(things.size, classes, ignore)])
        dense = table[places].reshape(instance.shape)
    return np.where(instance == UNCOUNTED, label.astype(np.uint16), dense), int(things.size)


def _numbers(count: int, classes: int, ignore: int | None) -> npt.NDArray[np.uint16]:
    """Return the first `count` numbers that are neither a class nor ignored."""
    numbers = np.arange(classes, classes + count + 1)
    numbers = numbers[numbers != ignore][:count] if ignore is not None else numbers[:count]
    if count and numbers[-1] > LARGEST_ID:
        raise UserError(
            f"{count} instances beside {classes} classes do not fit 16 bits ({LARGEST_ID}); count fewer: --min-area, "
            "--things, or --instances none"
        )
    return numbers.astype(np.uint16)
