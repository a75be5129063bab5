"""What an input is to look like: features for each of its objects, drawn, averaged, taken from a picture, or given."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from numbers import Integral
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from hdtrans.common.classes import ClassTable
from hdtrans.common.errors import UnreadableFile, UserError, nearest, shown
from hdtrans.inference.styles.clusters import Styles
from hdtrans.inference.styles.objects import Objects
from hdtrans.methods.base import mix

Array = npt.NDArray[Any]
Others = Literal["sample", "mean"]
OTHERS: tuple[Others, ...] = ("sample", "mean")
Choice = int | Array
"""The number of a cluster of an object's class, or a feature, (F,) in [-1, 1]."""

NO_STYLES = (
    "this model takes a style for each object, and has none of its own: run hdtrans encode_styles on it once, or give "
    "a picture to take them from (--style from=PICTURE)"
)
_ROUNDING = 1e-6
_FORM = '{"classes": {"car": 3}, "instances": {"26001": [0.1, -0.4, 0.8]}, "others": "mean"}'


@dataclass(frozen=True)
class StyleFeatures:
    """The features of a picture's objects."""

    objects: Objects
    features: Array  # (N, F)

    def style(self, objects: Objects, alone: bool) -> Style:
        """Return the style that gives other objects the features of these.

        Of an equal map each object has its own. Else it takes the mean of its class; where there is none of its class,
        it is one of the others, or, with `alone`, takes the mean of the whole picture.
        """
        if objects.same_as(self.objects):
            return Style(instances=dict(zip(objects.ids.tolist(), self.features, strict=True)))
        classes: dict[int, Choice] = {
            label: self._mean(self.objects.classes == label) for label in np.unique(self.objects.classes).tolist()
        }
        if alone:
            classes |= dict.fromkeys(set(objects.classes.tolist()) - classes.keys(), self._mean(slice(None)))
        return Style(classes=classes)

    def _mean(self, which: Any) -> Array:
        return np.average(self.features[which], 0, self.objects.areas[which])


@dataclass(frozen=True)
class Style:
    """Where the features of objects come from: what is said of the instance, else of its class, else `others`.

    Attributes:
        others: a cluster of the class drawn for each instance, or the mean of the class.
        classes: what objects of a class take, by its id.
        instances: what an object takes, by its id.
    """

    others: Others = "mean"
    classes: Mapping[int, Choice] = field(default_factory=dict)
    instances: Mapping[int, Choice] = field(default_factory=dict)

    def features(self, objects: Objects, styles: Styles | None, count: int, seed: int) -> Array:
        """Return a feature for each object, (N, F) float64.

        What is drawn for an object follows from the seed and its id alone.

        Raises:
            UserError: nothing is said of an object and there are no styles, or a cluster or feature is none.
        """
        rows = np.empty((len(objects), count))
        for place, (number, label) in enumerate(zip(objects.ids.tolist(), objects.classes.tolist(), strict=True)):
            chosen = self.instances.get(number, self.classes.get(label))
            if chosen is not None and not isinstance(chosen, int):
                rows[place] = _checked(chosen, count, f"style of {number}")
                continue
            if styles is None:
                raise UserError(NO_STYLES)
            known = styles.classes.get(label)
            if chosen is not None:
                if known is None or not 0 <= chosen < len(known):
                    there = f"0 to {len(known) - 1}" if known else "none"
                    raise UserError(f"style of {number}: there is no cluster {chosen} of class {label}; it has {there}")
                rows[place] = known.centres[chosen]
            elif known is None or self.others == "mean":
                rows[place] = styles.mean(label)
            else:
                rows[place] = known.centres[known.pick(mix(seed, number) / 2**63)]
        return rows


def of_instances(given: Mapping[Any, Any]) -> Style:
    """Return the style that a caller gives by instance id; raise UserError where it is none."""
    return Style(instances={_id(key, "style"): _choice(value, f"style of {key}") for key, value in given.items()})


def read_style(file: Path, classes: ClassTable | None) -> Style:
    """Read a style from JSON, as the README describes it.

    Args:
        file: of the JSON.
        classes: whose names it may use in place of ids.

    Raises:
        UserError: the file cannot be read, or holds something else.
    """
    try:
        values = json.loads(file.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise UnreadableFile(file, str(error), "JSON", argument="style", value=f"file={file}") from None
    keys = ("classes", "instances", "others")
    wrong = [key for key in values if key not in keys] if isinstance(values, dict) else ["that"]
    if wrong:
        advice = nearest(str(wrong[0]), keys)
        finding = f"{wrong[0]}: there is no such key; it is like {_FORM}.{advice}"
        raise UserError(finding, argument="style", value=f"file={file}")
    sections = [values.get("classes", {}), values.get("instances", {})]
    if not all(isinstance(section, dict) for section in sections) or values.get("others", "mean") not in OTHERS:
        raise UserError(f"is like {_FORM}; others is sample or mean", argument="style", value=f"file={file}")
    where = shown(file)
    return Style(
        values.get("others", "mean"),
        {_class_id(key, classes, where): _choice(value, f"{where}: {key}") for key, value in sections[0].items()},
        {_id(key, where): _choice(value, f"{where}: {key}") for key, value in sections[1].items()},
    )


def read_numbers(file: Path) -> list[float]:
    """Read the style of a whole picture from JSON: a list of numbers; raise UserError where it is none."""
    try:
        values = json.loads(file.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise UnreadableFile(file, str(error), "JSON", argument="style", value=f"file={file}") from None
    if not isinstance(values, list) or not all(isinstance(x, int | float) for x in values):
        raise UserError("is no list of numbers, as [0.1, -0.4]", argument="style", value=f"file={file}")
    return [float(x) for x in values]


def _class_id(key: str, classes: ClassTable | None, where: str) -> int:
    names = list(classes.names) if classes else []
    if key in names:
        return names.index(key)
    if key.isdecimal():
        return int(key)
    raise UserError(f"{where}: {key!r}: is neither the name nor the id of a class.{nearest(key, names)}")


def _id(key: Any, where: str) -> int:
    if isinstance(key, Integral) or (isinstance(key, str) and key.isdecimal()):
        return int(key)
    raise UserError(f"{where}: {key!r}: is no instance id, a whole number")


def _choice(value: Any, where: str) -> Choice:
    if isinstance(value, Integral) and value is not True and value is not False:
        return int(value)
    if isinstance(value, np.ndarray | list | tuple):
        try:
            return np.asarray(value, np.float64)
        except (TypeError, ValueError):
            pass
    raise UserError(f"{where}: {value!r}: is neither the number of a cluster nor a feature, numbers in [-1, 1]")


def _checked(feature: Array, count: int, where: str) -> Array:
    if feature.shape != (count,) or not (np.abs(feature) <= 1 + _ROUNDING).all():
        raise UserError(f"{where}: {feature.tolist()}: a feature of this model is {count} numbers in [-1, 1]")
    return feature
