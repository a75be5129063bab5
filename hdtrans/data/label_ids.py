"""Check that every pixel of a label map belongs to a class or is ignored."""

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
    if not label.size or (int(label.max()) < labels and int(label.min()) >= 0):
        return
    wrong = (label >= labels) | (label < 0)
    if ignore is not None:
        wrong &= label != ignore
    places = np.flatnonzero(wrong)
    if not places.size:
        return
    ids, first, counts = np.unique(label.ravel()[places], return_index=True, return_counts=True)
    found = []
    for number, start, count in zip(ids.tolist(), first.tolist(), counts.tolist(), strict=True):
        row, column = divmod(int(places[start]), label.shape[1])
        found.append(f"{number} ({count} pixel{'s' if count > 1 else ''}, first at row {row}, column {column})")
    raise WrongIds(ids.tolist(), labels, ignore, found, path=where, advice=[advice(ids.tolist())])


def advice(ids: list[int]) -> str:
    """Return advice on the recipe keys to change for ids that are no class, sorted."""
    options = []
    if ids[0] >= 0 and ids[-1] < 65535:
        options.append(f"data.labels={ids[-1] + 1} if they are classes")
    if len(ids) == 1:
        options.append(f"data.ignore={ids[0]} if it marks pixels without a class")
    return f"Set {', or '.join(options)}" if options else "Give pixels without a class the id of data.ignore"
