"""Per-instance style features: sampled, mean, encoded or given."""

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
from hdtrans.common.errors import Advice, UnreadableFile, UserError, nearest, shown
from hdtrans.inference.styles.clusters import Styles
from hdtrans.inference.styles.objects import Objects
from hdtrans.methods.base import mix

Array = npt.NDArray[Any]
Others = Literal["sample", "mean"]
OTHERS: tuple[Others, ...] = ("sample", "mean")
Choice = int | Array
"""The number of a cluster of an object's class, or a feature, (F,) in [-1, 1]."""


def no_styles(way: Advice | str = "take the style from a picture") -> UserError:
    """Return the error of a model that lacks clusters of styles.

    Args:
        way: advice on a style that does without them.
    """
    ways: list[Advice | str] = ["run hdtrans encode_styles on it once", way]
    return UserError("this model has a style per object, and its clusters of styles are missing", advice=ways)


_ROUNDING = 1e-6
_FORM = '{"classes": {"car": 3}, "instances": {"26001": [0.1, -0.4, 0.8]}, "others": "mean"}'
_NO_STYLE = f"is no style; write it as {_FORM}; others is sample or mean"


@dataclass(frozen=True)
class StyleFeatures:
    """Style features of the objects of a picture: `features` is (N, F), in the order of the objects."""

    objects: Objects
    features: Array

    def style(self, objects: Objects, alone: bool) -> Style:
        """Return the style that gives other objects the features of these.

        With an equal map each object has its own features, else the mean of its class.

        Args:
            objects: objects of another input.
            alone: give objects of other classes the mean of the whole picture; else they count as `others`.
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
    """Source of the features of each object: the entry of the instance, else of its class, else `others`.

    Attributes:
        others: `sample` draws a cluster of the class for each instance, `mean` is the mean of the class.
        classes: feature or cluster of the objects of a class, by class id.
        instances: feature or cluster of one object, by instance id.
    """

    others: Others = "mean"
    classes: Mapping[int, Choice] = field(default_factory=dict)
    instances: Mapping[int, Choice] = field(default_factory=dict)

    def features(self, objects: Objects, styles: Styles | None, count: int, seed: int) -> Array:
        """Return a feature for each object, (N, F) float64; draws depend on the seed and the object's id alone.

        Args:
            objects: N objects.
            styles: clusters of training objects, or None.
            count: F, length of a feature.
            seed: seed of the draws.

        Raises:
            UserError: an object needs clusters and there are none, or a cluster or feature cannot be used.
        """
        rows = np.empty((len(objects), count))
        for place, (number, label) in enumerate(zip(objects.ids.tolist(), objects.classes.tolist(), strict=True)):
            chosen = self.instances.get(number, self.classes.get(label))
            if chosen is not None and not isinstance(chosen, int):
                rows[place] = _checked(chosen, count, number)
                continue
            if styles is None:
                raise no_styles()
            known = styles.classes.get(label)
            if chosen is not None:
                if known is None or not 0 <= chosen < len(known):
                    there = f"0 to {len(known) - 1}" if known else "none"
                    finding = f"object {number}: there is no cluster {chosen} of class {label}; it has {there}"
                    raise UserError(finding, argument="style")
                rows[place] = known.centres[chosen]
            elif known is None or self.others == "mean":
                rows[place] = styles.mean(label)
            else:
                rows[place] = known.centres[known.pick(mix(seed, number) / 2**63)]
        return rows


def of_instances(given: Mapping[Any, Any]) -> Style:
    """Return the style that a caller gives by instance id; raise UserError if it cannot be used."""
    return Style(instances={_id(key): _choice(value, str(key)) for key, value in given.items()})


def read_style(file: Path, classes: ClassTable | None) -> Style:
    """Read a style from JSON with the keys `classes`, `instances` and `others`, all optional.

    Args:
        file: JSON file.
        classes: class table, whose names may stand for ids; or None.

    Raises:
        UserError: the file cannot be read, or holds something else.
    """
    return parse_style(_read_json(file), classes, f"file={file}")


def parse_style(values: Any, classes: ClassTable | None, value: str) -> Style:
    """Return the style in the values of a style file.

    Args:
        values: plain values with the keys `classes`, `instances` and `others`, all optional.
        classes: class table, whose names may stand for ids; or None.
        value: place of the values in messages, as `file=style.json`.

    Raises:
        UserError: the values are something else.
    """
    keys = ("classes", "instances", "others")
    wrong = [key for key in values if key not in keys] if isinstance(values, dict) else ["that"]
    if wrong:
        guess = nearest(str(wrong[0]), keys)
        finding = (
            f"there is no key {wrong[0]!r}; write it as {_FORM}.{guess}" if isinstance(values, dict) else _NO_STYLE
        )
        raise UserError(finding, argument="style", value=value)
    sections = [values.get("classes", {}), values.get("instances", {})]
    if not all(isinstance(section, dict) for section in sections) or values.get("others", "mean") not in OTHERS:
        raise UserError(_NO_STYLE, argument="style", value=value)
    return Style(
        values.get("others", "mean"),
        {_class_id(key, classes, value): _choice(each, key, value) for key, each in sections[0].items()},
        {_id(key, value): _choice(each, key, value) for key, each in sections[1].items()},
    )


def read_numbers(file: Path, count: int) -> list[float]:
    """Read the style of a whole picture from JSON: a list of `count` finite numbers; raise UserError for another."""
    return parse_numbers(_read_json(file), count, f"file={file}")


def parse_numbers(values: Any, count: int, value: str) -> list[float]:
    """Return the style of a whole picture from the values of a style file; raise UserError for another."""
    numbers = isinstance(values, list) and all(isinstance(x, int | float) and not isinstance(x, bool) for x in values)
    if not numbers or len(values) != count or not np.isfinite(np.asarray(values, np.float64)).all():
        finding = f"is no style of this model, a list of {count} finite numbers, as [0.1, -0.4]"
        raise UserError(finding, argument="style", value=value)
    return [float(x) for x in values]


def _read_json(file: Path) -> Any:
    try:
        return json.loads(file.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise UnreadableFile(file, str(error), "JSON", argument="style", value=f"file={shown(file)}") from None


def _class_id(key: str, classes: ClassTable | None, file: str) -> int:
    names = list(classes.names) if classes else []
    if key in names:
        return names.index(key)
    if key.isdecimal():
        return int(key)
    finding = f"{key!r} is neither the name nor the id of a class.{nearest(key, names)}"
    raise UserError(finding, argument="style", value=file)


def _id(key: Any, file: str | None = None) -> int:
    if isinstance(key, Integral) or (isinstance(key, str) and key.isdecimal()):
        return int(key)
    raise UserError(f"{key!r} is no instance id, a whole number", argument="style", value=file)


def _choice(given: Any, key: str, file: str | None = None) -> Choice:
    if isinstance(given, Integral) and given is not True and given is not False:
        return int(given)
    if isinstance(given, np.ndarray | list | tuple):
        try:
            return np.asarray(given, np.float64)
        except (TypeError, ValueError):
            pass
    finding = f"{key}: {given!r} is neither the number of a cluster nor a feature, numbers in [-1, 1]"
    raise UserError(finding, argument="style", value=file)


def _checked(feature: Array, count: int, number: int) -> Array:
    if feature.shape != (count,) or not (np.abs(feature) <= 1 + _ROUNDING).all():
        finding = f"object {number}: {feature.tolist()} is no feature of this model, {count} numbers in [-1, 1]"
        raise UserError(finding, argument="style")
    return feature
