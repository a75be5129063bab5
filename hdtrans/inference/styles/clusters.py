"""Styles of a model: clusters of the features of training objects, by class."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from hdtrans.common.errors import UnreadableFile, UserError, reading_failure
from hdtrans.common.files import plain_path, whole_file
from hdtrans.engine.checkpoint import styles_file

Array = npt.NDArray[Any]
FORMAT = 1
_FIELDS = ("centres", "spreads", "counts", "areas")


@dataclass(frozen=True)
class Clusters:
    """The clusters of one class, sorted by area, largest first.

    Attributes:
        centres: (K, F) float32 in [-1, 1], mean features of the objects, weighted by area.
        spreads: (K, F) float32, standard deviations of the features.
        counts: (K,) int64, numbers of objects.
        areas: (K,) float32, sums of the shares of their pictures that the objects cover.
    """

    centres: Array
    spreads: Array
    counts: Array
    areas: Array

    def __len__(self) -> int:
        return len(self.centres)

    @property
    def mean(self) -> Array:
        """Mean features of all objects, (F,) float64, weighted by area."""
        return np.average(self.centres.astype(np.float64), 0, self.areas)

    def pick(self, share: float) -> int:
        """Return the cluster of the object at the share `share` in [0, 1) of all objects."""
        return int(np.searchsorted(np.cumsum(self.counts), share * self.counts.sum(), side="right"))


@dataclass(frozen=True)
class Styles:
    """The clusters of all classes.

    Attributes:
        size: length F of a feature.
        weights: weights of the model, as `Translator.weights` is.
        made: options and counts of the clustering, plain values.
        classes: clusters by class id.
    """

    size: int
    weights: str
    made: Mapping[str, Any]
    classes: Mapping[int, Clusters]

    def mean(self, label: int) -> Array:
        """Return the mean features, (F,), of a class; of all classes for a class without clusters."""
        if label in self.classes:
            return self.classes[label].mean
        every = self.classes.values()
        return np.average([one.mean for one in every], 0, [one.areas.sum() for one in every])

    def to_dict(self) -> dict[str, Any]:
        """Return the styles as plain values."""
        classes = {
            str(label): {name: getattr(one, name).tolist() for name in _FIELDS} for label, one in self.classes.items()
        }
        return {"features": self.size, "weights": self.weights, "made": dict(self.made), "classes": classes}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Styles:
        """Return styles from the values of `to_dict`, arrays as lists or tensors.

        Raises:
            KeyError, TypeError, ValueError: the values are something else.
        """
        size = int(values["features"])
        classes = {int(label): _clusters(one, size) for label, one in values["classes"].items()}
        if not classes:
            raise ValueError("there is no class")
        return cls(size, str(values["weights"]), dict(values["made"]), classes)

    def save(self, checkpoint: Path) -> Path:
        """Write the styles beside a checkpoint, as tensors and plain values, whole or not at all; return the file."""
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
        """Read the styles beside a checkpoint; None without a file.

        Args:
            checkpoint: file of the checkpoint.
            weights: weights of the model, as `Translator.weights` is.

        Raises:
            UserError: the file is damaged, or belongs to other weights.
        """
        file = styles_file(checkpoint)
        if not file.is_file():
            return None
        again = "run hdtrans encode_styles again"
        try:
            with plain_path(file) as plain:
                values = torch.load(plain, map_location="cpu", weights_only=True)
            if values["format"] > FORMAT:
                ways = ["update hdtrans to read it", again]
                raise UserError("was written by a later hdtrans", path=file, advice=ways)
            styles = cls.from_dict(values)
        except UserError:
            raise
        except Exception as error:  # torch.load raises many kinds for a file that is none of its own
            raise UnreadableFile(file, reading_failure(error), "styles", advice=[again]) from None
        if styles.weights != weights:
            finding = "holds styles of other weights (another checkpoint, or last weights in place of averaged ones)"
            raise UserError(finding, path=file, advice=[f"{again}, with the same choice of averaged or last weights"])
        return styles


def _clusters(values: Mapping[str, Any], size: int) -> Clusters:
    centres, spreads, areas = (np.asarray(values[name], np.float32) for name in ("centres", "spreads", "areas"))
    counts = np.asarray(values["counts"], np.int64)
    count = len(counts)
    if not count or {centres.shape, spreads.shape} != {(count, size)} or areas.shape != (count,):
        raise ValueError(f"centres, spreads and areas have shapes {centres.shape}, {spreads.shape}, {areas.shape}")
    if not np.isfinite(centres).all() or (counts < 1).any() or not (areas > 0).all():
        raise ValueError("a centre is not finite, or a cluster is empty")
    return Clusters(centres, spreads, counts, areas)
