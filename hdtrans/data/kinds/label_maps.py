"""Label maps with photos, and instance maps where the method needs them (the layout of pix2pixHD)."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import Field, model_validator

from hdtrans.config import inputs
from hdtrans.config.data import Labels, ignore_no_class
from hdtrans.data import derived
from hdtrans.data.kinds.base import PHOTO, Array, Arrays, DataKind

if TYPE_CHECKING:
    from hdtrans.data.index import Index

UNKNOWN_LABELS = 255
"""Number of classes of a guessed section before the ids are known: all but 255, which is ignored."""


class Section(DataKind):
    """`train_label/` with `train_img/`, and `train_inst/` where the method needs instance maps."""

    usual_method: ClassVar[Mapping[str, Any]] = {"kind": "pix2pixhd"}
    proposed_without_instances: ClassVar[Mapping[str, Any]] = {"instances": "components"}
    usual_stage: ClassVar[Mapping[str, Any] | None] = None
    endings: ClassVar[Mapping[str, str]] = {"label": "_label", "instance": "_inst", PHOTO: "_img"}

    kind: Literal["label_maps"] = "label_maps"
    labels: Annotated[Labels, Field(description="Number of classes; ids are 0 to labels - 1.")]
    instances: Annotated[
        Literal["files", "components"],
        Field(description="Instance maps: `files`, or the connected `components` of the classes of the label map."),
    ] = "files"

    @model_validator(mode="after")
    def _every_class_is_one(self) -> Section:
        ignore_no_class(self, self.labels)
        return self

    @property
    def fields(self) -> Mapping[str, inputs.Field]:
        """`label`, `instance` and `photo`."""
        return {
            "label": inputs.Field("ids", self.labels, "classes"),
            "instance": inputs.Field("ids", None, "instances"),
            PHOTO: inputs.Field("image", self.photo_channels),
        }

    @property
    def classes(self) -> int | None:
        """The number of classes."""
        return self.labels

    @property
    def files(self) -> Mapping[str, inputs.Field]:
        """Label map, instance map unless it is computed, photo."""
        return {role: spec for role, spec in self.fields.items() if role != "instance" or not self._makes_instances}

    @property
    def _makes_instances(self) -> bool:
        return self.instances == "components"

    def made_from(self, field: str) -> tuple[str, ...]:
        return ("label",) if field == "instance" and self._makes_instances else (field,)

    def missing_hint(self, missing: Collection[str]) -> str:
        if list(missing) != ["instance"]:
            return ""
        return " Without instance maps, data.instances=components makes them from the label maps."

    def make(self, arrays: Mapping[str, Array], fields: Collection[str], random: np.random.Generator | None) -> Arrays:
        made = dict(arrays)
        if self._makes_instances and "instance" in fields and "label" in made:
            made["instance"] = derived.components(made["label"])
        return super().make(made, fields, random)

    def needed(self, fields: Collection[str]) -> frozenset[str]:
        return frozenset(fields) - ({"instance"} if self._makes_instances else set())

    @classmethod
    def guess(cls, root: Path, index: Index) -> DataKind | None:
        return cls(root=root, labels=UNKNOWN_LABELS) if index.has("train_label") else None

    def proposed(self, labels: int) -> dict[str, Any]:
        return {"labels": labels}
