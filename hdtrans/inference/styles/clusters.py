"""Styles: what the objects of each class look like in the training pictures, as clusters of their features."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from hdtrans.common.errors import UserError, reading_failure
from hdtrans.common.files import whole_file
from hdtrans.engine.checkpoint import styles_file

Array = npt.NDArray[Any]
FORMAT = 1
_FIELDS = ("centres", "spreads", "counts", "areas")


@dataclass(frozen=True)
class Clusters:
    """The clusters of one class, those that cover most first.

    Attributes:
        centres: (K, F) float32 in [-1, 1], the mean features of the objects, each counted as large as it is.
        spreads: (K, F) float32, their standard deviations.
        counts: (K,) int64, how many objects.
        areas: (K,) float32, the shares of their pictures that they cover, added up.
    """

    centres: Array
    spreads: Array
    counts: Array
    areas: Array

    def __len__(self) -> int:
        return len(self.centres)

    @property
    def mean(self) -> Array:
        """The mean features of all objects, (F,) float64, each counted as large as it is."""
        return np.average(self.centres.astype(np.float64), 0, self.areas)

    def pick(self, share: float) -> int:
        """Return the cluster at a share in [0, 1) of the way through all objects."""
        return int(np.searchsorted(np.cumsum(self.counts), share * self.counts.sum(), side="right"))


@dataclass(frozen=True)
class Styles:
    """The clusters of all classes.

    Attributes:
        features: how many numbers a feature has.
        weights: of the model that they belong to, as `Translator.weights` says.
        made: how they were made: options and counts, plain values.
        classes: clusters by the id of the class.
    """

    features: int
    weights: str
    made: Mapping[str, Any]
    classes: Mapping[int, Clusters]

    def mean(self, label: int) -> Array:
        """Return the mean features, (F,), of a class, or of everything where the class has none."""
        if label in self.classes:
            return self.classes[label].mean
        every = self.classes.values()
        return np.average([one.mean for one in every], 0, [one.areas.sum() for one in every])

    def to_dict(self) -> dict[str, Any]:
        """Return them as plain values."""
        classes = {
            str(label): {name: getattr(one, name).tolist() for name in _FIELDS} for label, one in self.classes.items()
        }
        return {"features": self.features, "weights": self.weights, "made": dict(self.made), "classes": classes}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Styles:
        """Return what `to_dict` or a file holds; raise KeyError, TypeError or ValueError where that is something else.

        The arrays may be lists, or tensors.
        """
        features = int(values["features"])
        classes = {int(label): _clusters(one, features) for label, one in values["classes"].items()}
        if not classes:
            raise ValueError("there is no class")
        return cls(features, str(values["weights"]), dict(values["made"]), classes)

    def save(self, checkpoint: Path) -> Path:
        """Write them beside a checkpoint, as tensors and plain values, whole or not at all; return the file."""
        classes = {
            label: {name: torch.from_numpy(getattr(one, name)) for name in _FIELDS}
            for label, one in self.classes.items()
        }
        file = styles_file(checkpoint)
        with whole_file(file) as target:
            torch.save({"format": FORMAT, **self.to_dict(), "classes": classes}, target)
        return file

    @classmethod
    def load(cls, checkpoint: Path, weights: str) -> Styles | None:
        """Read what lies beside a checkpoint; None where there is nothing.

        Raises:
            UserError: the file is damaged, or belongs to other weights than `weights`.
        """
        file = styles_file(checkpoint)
        if not file.is_file():
            return None
        again = "run hdtrans encode_styles again"
        try:
            values = torch.load(file, map_location="cpu", weights_only=True)
            if values["format"] > FORMAT:
                raise UserError(f"{file}: was written by a later hdtrans; update hdtrans to read it, or {again}")
            styles = cls.from_dict(values)
        except UserError:
            raise
        except Exception as error:  # torch.load raises many kinds for a file that is none of its own
            raise UserError(f"{file}: cannot be read as styles ({reading_failure(error)}); {again}") from None
        if styles.weights != weights:
            raise UserError(
                f"{file}: holds styles of other weights (of another checkpoint, or the last ones in place of their "
                f"average); {again}, with --no-ema or without it, as here"
            )
        return styles


def _clusters(values: Mapping[str, Any], features: int) -> Clusters:
    centres, spreads, areas = (np.asarray(values[name], np.float32) for name in ("centres", "spreads", "areas"))
    counts = np.asarray(values["counts"], np.int64)
    count = len(counts)
    if not count or {centres.shape, spreads.shape} != {(count, features)} or areas.shape != (count,):
        raise ValueError(f"centres, spreads and areas have shapes {centres.shape}, {spreads.shape}, {areas.shape}")
    if not np.isfinite(centres).all() or (counts < 1).any() or not (areas > 0).all():
        raise ValueError("a centre is not finite, or a cluster is empty")
    return Clusters(centres, spreads, counts, areas)
