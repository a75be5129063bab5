"""The section `stages` of a recipe: sizes, geometry and length of each stage."""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, PositiveInt, field_serializer, model_validator

from hdtrans.config.section import Section


class Size(Section):
    """A picture size in pixels; written `WIDTHxHEIGHT`, as in `2048x1024`."""

    height: PositiveInt
    width: PositiveInt

    @model_validator(mode="before")
    @classmethod
    def _parse(cls, value: Any) -> Any:
        if isinstance(value, Size | Mapping):
            return value
        match = re.fullmatch(r"\s*([0-9]{1,9})\s*[xX]\s*([0-9]{1,9})\s*", str(value))
        if not match:
            raise ValueError(f"a size is written WIDTHxHEIGHT in pixels, for instance 1024x512; given: {value!r}")
        return {"width": int(match[1]), "height": int(match[2])}

    def __str__(self) -> str:
        return f"{self.width}x{self.height}"


def _size_or_text(size: Size | None) -> str | None:
    return None if size is None else str(size)


GeometryKind = Literal["resize", "scale_width", "crop", "resize_and_crop", "scale_width_and_crop", "none"]


class Stage(Section):
    """One leg of the schedule: fresh optimizers over the networks it trains, its own size, length and batch.

    `size` is what the networks see. `geometry` says how a file gets there: `resize` to it; `scale_width` to its width,
    keeping the aspect; `crop` it at random from the file; `resize_and_crop` and `scale_width_and_crop`, the same after
    scaling to `load`; `none`: as the file is. `batch_size` is per process.

    The learning rate is constant for `epochs`, then falls to 0 linearly over `decay_epochs` (`decay: linear`). With
    `decay: step` it is multiplied by `decay_factor` after every `decay_every` epochs.
    """

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")] = "train"
    size: Size | None = None
    geometry: GeometryKind = "resize"
    load: Size | None = None
    output: str | None = None
    train: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    epochs: Annotated[float, Field(ge=0)] = 100
    decay_epochs: Annotated[float, Field(ge=0)] = 0
    batch_size: PositiveInt = 1
    learning_rate: Annotated[float, Field(gt=0)] | None = None
    decay: Literal["linear", "step"] = "linear"
    decay_every: Annotated[float, Field(gt=0)] | None = None
    decay_factor: Annotated[float, Field(gt=0, le=1)] = 0.5

    _serialize = field_serializer("size", "load")(_size_or_text)

    @model_validator(mode="after")
    def _sizes_fit(self) -> "Stage":
        if self.epochs + self.decay_epochs <= 0:
            raise ValueError("epochs and decay_epochs are both 0: a stage trains for some epochs")
        if self.decay == "step" and (self.decay_every is None or self.decay_epochs > 0):
            raise ValueError("decay: step needs decay_every, in epochs, and takes no decay_epochs (epochs is all)")
        if self.decay == "linear" and self.decay_every is not None:
            raise ValueError("decay_every is not used by decay: linear; leave it out, or give decay: step")
        if self.geometry == "none":
            if self.size is not None:
                raise ValueError("geometry: none takes the files as they are; leave out size")
        elif self.size is None:
            raise ValueError(f"geometry: {self.geometry} needs a size, for instance size: 1024x512")
        crops_after_scaling = self.geometry in ("resize_and_crop", "scale_width_and_crop")
        if crops_after_scaling and self.load is None:
            raise ValueError(f"geometry: {self.geometry} scales to load before it crops size; give load: WIDTHxHEIGHT")
        if not crops_after_scaling and self.load is not None:
            raise ValueError(f"load is not used by geometry: {self.geometry}; leave it out")
        if self.load and self.size and self.load.width < self.size.width:
            raise ValueError(f"load {self.load} is narrower than the crop size {self.size}")
        if self.geometry == "resize_and_crop" and self.load and self.size and self.load.height < self.size.height:
            raise ValueError(f"load {self.load} is lower than the crop size {self.size}")
        return self
