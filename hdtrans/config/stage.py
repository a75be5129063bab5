"""The section `stages` of a recipe: sizes, geometry and length of each stage."""

import re
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, PositiveInt, ValidationError, field_serializer, model_validator

from hdtrans.common.errors import UserError
from hdtrans.config.section import Section

_SIZE = r"\s*([0-9]{1,9})\s*[xX]\s*([0-9]{1,9})\s*"


class Size(Section):
    """A picture size in pixels; written `WIDTHxHEIGHT`, as in `2048x1024`."""

    written: ClassVar[str] = "WIDTHxHEIGHT"

    height: PositiveInt
    width: PositiveInt

    @model_validator(mode="before")
    @classmethod
    def _parse(cls, value: Any) -> Any:
        if isinstance(value, Size | Mapping):
            return value
        match = re.fullmatch(_SIZE, str(value))
        if not match:
            raise ValueError(f"a size is written WIDTHxHEIGHT in pixels, for instance 1024x512; given: {value!r}")
        return {"width": int(match[1]), "height": int(match[2])}

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: Any, handler: Any) -> dict[str, Any]:
        return {"type": "string", "pattern": rf"^{_SIZE}$", "examples": ["1024x512"]}

    def __str__(self) -> str:
        return f"{self.width}x{self.height}"


def read_size(text: str, argument: str) -> Size:
    """Parse the size that an argument has; raise UserError for another text."""
    try:
        return Size.model_validate(text)
    except ValidationError:
        raise UserError("write WIDTHxHEIGHT in pixels, for instance 512x256", argument=argument, value=text) from None


def _size_or_text(size: Size | None) -> str | None:
    return None if size is None else str(size)


GeometryKind = Literal["resize", "scale_width", "crop", "resize_and_crop", "scale_width_and_crop", "none"]


class Stage(Section):
    """One stage of training: fresh optimizers over the networks it trains, its own size, length and batch."""

    name: Annotated[
        str,
        Field(
            pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$",
            description="Name in messages, checkpoints and overrides (`stages.NAME.epochs=2`).",
        ),
    ] = "train"
    size: Annotated[
        Size | None,
        Field(description="Size of the pictures that the networks are trained on, WIDTHxHEIGHT in pixels."),
    ] = None
    geometry: Annotated[
        GeometryKind,
        Field(
            description="Way from a file to `size`: `resize` to it; `scale_width` to its width, keeping the aspect "
            "ratio; `crop` at random; `resize_and_crop` and `scale_width_and_crop` scale to `load` before; `none` "
            "keeps the files as they are, without a `size`."
        ),
    ] = "resize"
    load: Annotated[
        Size | None,
        Field(description="Size before the crop, WIDTHxHEIGHT in pixels; for the two `..._and_crop` alone."),
    ] = None
    output: Annotated[
        str | None,
        Field(
            description="Network whose picture the stage trains: `head` or `enhancer1`, ... of pix2pixhd. Unset: the "
            "finest."
        ),
    ] = None
    train: Annotated[
        Annotated[tuple[str, ...], Field(min_length=1)] | None,
        Field(
            description="Networks to train; others are frozen, and only discriminators named here are used. Unset: all "
            "that the output uses."
        ),
    ] = None
    segmenter_at: Annotated[
        Literal["full", "half", "quarter"] | None,
        Field(
            description="Share of the size at which the `segmenter` of pix2pixhd looks. Unset: full where it trains."
        ),
    ] = None
    epochs: Annotated[
        float, Field(ge=0, description="Passes over the training files at the full learning rate, fractions too.")
    ] = 100
    decay_epochs: Annotated[
        float, Field(ge=0, description="Passes after them, in which the learning rate falls to 0 in a straight line.")
    ] = 0
    batch_size: Annotated[PositiveInt, Field(description="Pictures of one step in each process.")] = 1
    learning_rate: Annotated[
        Annotated[float, Field(gt=0)] | None,
        Field(description="Learning rate of this stage. Unset: `training.optimizer.learning_rate`."),
    ] = None
    decay: Annotated[
        Literal["linear", "step"],
        Field(
            description="Decay of the learning rate: to 0 in a straight line over `decay_epochs` (`linear`), or by "
            "`decay_factor` after every `decay_every` epochs (`step`)."
        ),
    ] = "linear"
    decay_every: Annotated[
        Annotated[float, Field(gt=0)] | None,
        Field(description="Epochs between two steps of `decay: step`. Unset: required there, and for `linear` none."),
    ] = None
    decay_factor: Annotated[
        float, Field(gt=0, le=1, description="Factor of the learning rate at each step of `decay: step`.")
    ] = 0.5

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
