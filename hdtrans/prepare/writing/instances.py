"""Instance maps: connected components of label maps, and dense renumbering to 16 bits."""

from collections.abc import Collection
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from hdtrans.common.errors import Advice, UserError
from hdtrans.prepare.sources.source import LARGEST_ID, NO_INSTANCE

_LARGEST_TABLE = 1 << 22


def thing_components(
    label: npt.NDArray[Any], things: Collection[int], min_area: int, neighbours: int
) -> npt.NDArray[np.int64]:
    """Return (H, W) ids of the connected components of thing classes, `NO_INSTANCE` elsewhere.

    Ids are numbered class by class, unlike those of `hdtrans.data.derived.components`, which knows no classes, no
    smallest area and 4 neighbours only.

    Args:
        label: (H, W) class ids.
        things: ids of the classes with components.
        min_area: smallest area of a component in pixels.
        neighbours: connectivity, 4 or 8.

    Example: `thing_components(np.array([[1, 0, 1]]), [1], 1, 4)` gives `[[0, -1, 1]]`.
    """
    found = np.full(label.shape, NO_INSTANCE, np.int64)
    count = 0
    for thing in sorted(things):
        mask = label == thing
        if not mask.any():
            continue
        total, ids, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=neighbours)
        numbers = np.full(total, NO_INSTANCE, np.int64)
        large = np.flatnonzero(stats[1:, cv2.CC_STAT_AREA] >= min_area) + 1
        numbers[large] = count + np.arange(large.size)
        count += large.size
        found[mask] = numbers[ids[mask]]
    return found


def renumber(
    instance: npt.NDArray[Any], label: npt.NDArray[Any], classes: int, ignore: int | None
) -> tuple[npt.NDArray[np.uint16], int]:
    """Renumber instances densely from `classes` on, and count them.

    Pixels without an instance get their class id (or the ignored id). Instances keep the order of their ids; the
    ignored id is left out.

    Args:
        instance: (H, W) arbitrary ids >= 0, or `NO_INSTANCE`.
        label: (H, W) class ids in [0, 65535].
        classes: number of classes.
        ignore: ignored id, or None.

    Returns:
        (H, W) uint16 ids, and the number of instances.

    Raises:
        UserError: the ids do not fit 16 bits.

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
        ids, inverse = np.unique(instance, return_inverse=True)
        without = int(ids[0] == NO_INSTANCE)
        things = ids[without:]
        table = np.concatenate([np.zeros(without, np.uint16), _numbers(things.size, classes, ignore)])
        dense = table[inverse].reshape(instance.shape)
    return np.where(instance == NO_INSTANCE, label.astype(np.uint16), dense), int(things.size)


def _numbers(count: int, classes: int, ignore: int | None) -> npt.NDArray[np.uint16]:
    """Return the first `count` numbers that are neither a class id nor the ignored id."""
    numbers = np.arange(classes, classes + count + 1)
    numbers = numbers[numbers != ignore][:count] if ignore is not None else numbers[:count]
    if count and numbers[-1] > LARGEST_ID:
        raise UserError(
            f"{count} instances and {classes} classes do not fit 16 bits (ids up to {LARGEST_ID})",
            advice=[Advice("min_area", "PIXELS"), Advice("things", "CLASSES"), Advice("instances", "none")],
        )
    return numbers.astype(np.uint16)
