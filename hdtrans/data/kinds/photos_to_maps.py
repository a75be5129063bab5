"""Photos as input; a channel for each class, or the boundaries of classes or instances, as target."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import Field, model_validator

from hdtrans.config import inputs
from hdtrans.config.data import Labels, ignore_no_class
from hdtrans.config.metrics import Results
from hdtrans.data import derived
from hdtrans.data.io.read import read_instance, read_label
from hdtrans.data.kinds.base import PHOTO, Array, Arrays, DataKind, PictureKind

if TYPE_CHECKING:
    from torch import Tensor

    from hdtrans.data.index import Index


class Section(PictureKind):
    """`train_img/` with `train_label/` or `train_inst/`: the photo is the input, the target is made from the map."""

    usual_method: ClassVar[Mapping[str, Any]] = {"kind": "pix2pix", "generator": {"kind": "unet", "dropout": False}}
    follow: ClassVar[Collection[str]] = ("photo_channels",)
    natural: ClassVar[bool] = False
    endings: ClassVar[Mapping[str, str]] = {"source": "_img", "label": "_label", "instance": "_inst"}

    kind: Literal["photos_to_maps"]
    target: Annotated[
        Literal["labels", "label_boundaries", "instance_boundaries"],
        Field(
            description="`labels`: a channel for each class. `label_boundaries`, `instance_boundaries`: one channel, "
            "white where the class or the instance of neighbouring pixels differs."
        ),
    ]
    labels: Annotated[Labels | None, Field(description="Number of classes; required for `target: labels`.")] = None

    @model_validator(mode="after")
    def _channels_follow(self) -> Section:
        if self.target == "labels" and self.labels is None:
            raise ValueError("target: labels needs labels, the number of classes")
        if self.target == "labels" and self.labels is not None and self.labels > 1024:
            raise ValueError(f"target: labels makes a channel of each class; {self.labels} are more than 1024")
        if self.labels is not None:
            ignore_no_class(self, self.labels)
        channels = self.labels if self.target == "labels" else 1
        self._settle("photo_channels", channels, f"target: {self.target}")
        return self

    @property
    def _wants_labels(self) -> bool:
        return self.target == "labels"

    @property
    def _map(self) -> str:
        """Role of the map that the target is made from."""
        return "instance" if self.target == "instance_boundaries" else "label"

    @property
    def fields(self) -> Mapping[str, inputs.Field]:
        """`source`, the photo, and `photo`, the target."""
        values: inputs.Values = "one_hot" if self._wants_labels else "boundaries"
        return {**super().fields, PHOTO: inputs.Field("image", self.photo_channels, values)}

    @property
    def files(self) -> Mapping[str, inputs.Field]:
        """Label map, instance map and photo."""
        return {
            "label": inputs.Field("ids", self.labels, "classes"),
            "instance": inputs.Field("ids", None, "instances"),
            "source": inputs.Field("image", self.source_channels),
        }

    @property
    def classes(self) -> int | None:
        """Number of classes, if given."""
        return self.labels

    @property
    def results(self) -> Results:
        """Label maps or boundaries."""
        return "labels" if self._wants_labels else "boundaries"

    def made_from(self, field: str) -> tuple[str, ...]:
        return (self._map,) if field == PHOTO else (field,)

    def make(self, arrays: Mapping[str, Array], fields: Collection[str], random: np.random.Generator | None) -> Arrays:
        made = dict(arrays)
        if "instance" in made:
            made[PHOTO] = derived.boundaries(made["instance"])
        elif "label" in made and self._wants_labels:
            made[PHOTO] = derived.one_hot(made["label"], self.photo_channels)
        elif "label" in made:
            made[PHOTO] = derived.boundaries(made["label"])
        return super().make(made, fields, random)

    def result(self, target: inputs.Input) -> inputs.Field:
        return inputs.Field("ids", self.labels, "classes") if self._wants_labels else super().result(target)

    def to_host(self, picture: Tensor, bits: int = 8) -> Tensor:
        if not self._wants_labels:
            return super().to_host(picture, bits)
        import torch

        return picture.argmax(0).to(torch.uint8 if picture.shape[0] <= 256 else torch.int32)

    def true_result(self, given: Mapping[str, Array], photo: Tensor) -> Array:
        truth = self.result_of(given, photo)
        if not self._wants_labels or self.ignore is None:
            return truth
        classless = ~(photo > 0).any(0).cpu().numpy()
        return np.where(classless, self.ignore, truth)

    def read_truth(self, path: str, target: inputs.Input) -> Array:
        ids = read_instance(path) if self._map == "instance" else read_label(path)
        return ids if self._wants_labels else derived.boundaries(ids)

    def viewable(self, columns: Mapping[str, Tensor]) -> dict[str, Tensor]:
        if not self._wants_labels:
            return dict(columns)
        many = {n for n, x in columns.items() if x.ndim == 4 and n != "source" and x.shape[1] == self.labels}
        return {name: x.argmax(1) if name in many else x for name, x in columns.items()}

    @classmethod
    def guess(cls, root: Path, index: Index) -> DataKind | None:
        there = index.has("train_img") and index.has("train_inst")
        return cls(kind="photos_to_maps", root=root, target="instance_boundaries") if there else None

    def proposed(self, labels: int) -> dict[str, Any]:
        return {} if self.labels is None else {"labels": labels}
