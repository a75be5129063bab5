"""Photos alone; the input is made from each photo: edges, grey, CIE Lab or low resolution."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field, model_validator

from hdtrans.common.errors import Advice
from hdtrans.config import inputs, section
from hdtrans.data import derived
from hdtrans.data.io.read import read_picture, with_channels
from hdtrans.data.kinds.base import PHOTO, Array, Arrays, DataKind, PictureKind, given_picture

if TYPE_CHECKING:
    from torch import Tensor

    from hdtrans.data.index import Index


class Edges(section.Section):
    """Black lines on white, by Canny (1986)."""

    kind: Literal["edges"]
    low: Annotated[float, Field(ge=0, description="Lower threshold of the gradient, in 8-bit levels.")] = 100
    high: Annotated[float, Field(ge=0, description="Upper threshold of the gradient, in 8-bit levels.")] = 200
    blur: Annotated[
        float, Field(ge=0, description="Standard deviation in pixels of a Gaussian blur before; 0: none.")
    ] = 1

    @model_validator(mode="after")
    def _ordered(self) -> Edges:
        if self.low > self.high:
            raise ValueError(f"low {self.low:g} is above high {self.high:g}")
        return self


class Grey(section.Section):
    """Brightness of the photo: 0.299 R + 0.587 G + 0.114 B."""

    kind: Literal["grey"]


class Lab(section.Section):
    """CIE Lab: the lightness is the input, the colours a and b are the target."""

    kind: Literal["lab"]


class LowResolution(section.Section):
    """The photo scaled down, antialiased, and brought back to its size."""

    kind: Literal["low_resolution"]
    factor: Annotated[int, Field(ge=2, le=16, description="Factor by which height and width are reduced.")] = 4


class Section(PictureKind):
    """`train/` with photos, or `root` itself where there is no such folder; the input is made from each photo."""

    ready_note: ClassVar[tuple[str, Advice] | None] = (
        "inputs were made from photos, as in training",
        Advice("ready", reason="for drawings, or small pictures to enlarge"),
    )

    kind: Literal["photos"]
    input: Annotated[
        Edges | Grey | Lab | LowResolution,
        Field(discriminator="kind", description="The input that is made from a photo."),
    ]

    @model_validator(mode="after")
    def _channels_follow(self) -> Section:
        why = f"input: {self.input.kind}"
        if self._is_lab:
            self._settle("photo_channels", 2, why)
        elif not isinstance(self.input, LowResolution) and self.photo_channels not in (1, 3):
            raise ValueError(f"photo_channels is {self.photo_channels}, but {why} is made from 1 or 3 channels")
        of_the_photo = isinstance(self.input, LowResolution)
        self._settle("source_channels", self.photo_channels if of_the_photo else 1, why)
        return self

    @property
    def _is_lab(self) -> bool:
        return isinstance(self.input, Lab)

    @property
    def fields(self) -> Mapping[str, inputs.Field]:
        """`source` and `photo`; of Lab the lightness and the colours."""
        if not self._is_lab:
            return super().fields
        return {"source": inputs.Field("image", 1), PHOTO: inputs.Field("image", 2, "lab")}

    @property
    def files(self) -> Mapping[str, inputs.Field]:
        """The photo."""
        return {PHOTO: inputs.Field("image", 3 if self._is_lab else self.photo_channels)}

    def made_from(self, field: str) -> tuple[str, ...]:
        return (PHOTO,)

    def folders(self, split: str, index: Index) -> dict[str, str]:
        return {PHOTO: split}

    def loose_files(self, split: str, index: Index) -> str:
        return PHOTO if split == self.train and not index.has(split) else ""

    def make(self, arrays: Mapping[str, Array], fields: Collection[str], random: np.random.Generator | None) -> Arrays:
        made = dict(arrays)
        if PHOTO in made:
            made["source"], made[PHOTO] = self._split(made[PHOTO])
        return super().make(made, fields, random)

    def _split(self, photo: Array) -> tuple[Array, Array]:
        """Make input and target from a photo."""
        if isinstance(self.input, Edges):
            return derived.edges(photo, self.input.low, self.input.high, self.input.blur), photo
        if isinstance(self.input, Grey):
            return with_channels(photo, 1), photo
        if isinstance(self.input, Lab):
            return derived.lab_of(photo)
        return derived.low_resolution(photo, self.input.factor), photo

    def holds_truth(self, ready: bool) -> bool:
        return not ready

    def read_input(self, spec: inputs.Input, path: str, ready: bool = False) -> tuple[Array, Array | None]:
        if not ready and spec.field in self.fields:
            photo = self.read(PHOTO, path)
            source = self._split(photo)[0]
            return (source, photo) if spec.field == "source" else (photo, source)
        if spec.field != "source":
            return super().read_input(spec, path, ready)
        return self._ready(read_picture(path, 3 if self._is_lab else self.source_channels)), None

    def _ready(self, picture: Array) -> Array:
        """Convert a ready input: a drawing, a grey picture, a small picture to enlarge."""
        if isinstance(self.input, LowResolution):
            from hdtrans.data.geometry import scale_picture

            height, width = picture.shape[:2]
            return scale_picture(picture, height * self.input.factor, width * self.input.factor)
        return derived.lab_of(picture)[0] if self._is_lab else with_channels(picture, 1)

    def check_input(self, spec: inputs.Input, name: str, given: object) -> Array:
        if self._is_lab and spec.field == "source" and getattr(getattr(given, "dtype", None), "kind", "f") != "f":
            return derived.lab_of(given_picture(name, given, 3))[0]  # whole numbers: a picture, not a lightness
        return super().check_input(spec, name, given)

    def result(self, target: inputs.Input) -> inputs.Field:
        return inputs.Field("image", 3) if self._is_lab else super().result(target)

    def to_host(self, picture: Tensor, bits: int = 8) -> Tensor:
        return picture.float().permute(1, 2, 0).contiguous() if self._is_lab else super().to_host(picture, bits)

    def from_host(self, given: Mapping[str, Array], array: Array, bits: int = 8) -> Array:
        return derived.rgb_of(given["source"], array, bits) if self._is_lab else array

    def read_truth(self, path: str, target: inputs.Input) -> Array:
        photo = self.read(PHOTO, path)
        return photo if target.field == PHOTO else self._split(photo)[0]

    def viewable(self, columns: Mapping[str, Tensor]) -> dict[str, Tensor]:
        source = columns.get("source")
        if not self._is_lab or source is None:
            return dict(columns)
        import torch

        lightness = source.float().cpu().numpy().transpose(0, 2, 3, 1)
        shown = dict(columns)
        for name, column in columns.items():
            if column.ndim == 4 and column.shape[1] == 2:
                colours = column.float().cpu().numpy().transpose(0, 2, 3, 1)
                rgb = np.stack([derived.rgb_of(*both) for both in zip(lightness, colours, strict=True)])
                shown[name] = torch.from_numpy(rgb.transpose(0, 3, 1, 2)).float() / 127.5 - 1
        return shown

    @classmethod
    def guess(cls, root: Path, index: Index) -> DataKind | None:
        from hdtrans.data.folders import find_everything

        guessed = cls(kind="photos", root=root, input=Grey(kind="grey"))
        return guessed if find_everything(guessed, "train", [PHOTO], index).samples else None
