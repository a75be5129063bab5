"""The section `data` of a recipe: which files are read, and what is made of them. One model for each kind."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, field_serializer, field_validator, model_validator

from hdtrans.config.section import Section as Section

Channels = Annotated[int, Field(ge=1, le=1024)]
Labels = Annotated[int, Field(ge=1, le=65535)]
Direction = Literal["AtoB", "BtoA"]


class DataSection(Section):
    """What every kind of training folder has in common.

    `validation` is the name of a folder (a split, as `train` and `test` are), or a share of the training files that is
    held back; which files follows from their names.
    """

    root: Path
    train: str = "train"
    test: str = "test"
    validation: float | str | None = None
    flip: bool = True
    ignore: int | None = 255
    photo_channels: Channels = 3

    @field_serializer("root")
    def _root_text(self, root: Path) -> str:
        return str(root)

    @field_validator("validation", mode="before")
    @classmethod
    def _share_or_name(cls, value: Any) -> Any:
        share = isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 1
        if value is None or share or (isinstance(value, str) and value):
            return value
        raise ValueError(f"is a share of the training files, as 0.1, or the name of a folder; given: {value!r}")

    @property
    def fields(self) -> frozenset[str]:
        """The fields of a batch that such data have."""
        return frozenset({"source", "photo"})


class LabelMaps(DataSection):
    """`train_label/` with `train_img/`, and `train_inst/` where the method reads instance maps.

    Instance maps are `files`, or made from the label map: the `components` of its classes.
    """

    kind: Literal["label_maps"] = "label_maps"
    labels: Labels
    instances: Literal["files", "components"] = "files"

    @model_validator(mode="after")
    def _every_class_is_one(self) -> "LabelMaps":
        _ignore_no_class(self, self.labels)
        return self

    @property
    def fields(self) -> frozenset[str]:
        """The fields of a batch that such data have."""
        return frozenset({"label", "instance", "photo"})


class Pictures(DataSection):
    """Data whose input is a picture: batches have `source`, what goes in, and `photo`, what is wanted."""

    source_channels: Channels = 3


class PicturePairs(Pictures):
    """`train_A/` with `train_B/` (or `trainA/` with `trainB/`), paired by name; `direction` says which goes in."""

    kind: Literal["picture_pairs"]
    direction: Direction = "AtoB"

    @property
    def fields(self) -> frozenset[str]:
        """The fields of a batch that such data have."""
        return frozenset({"source", "photo", "instance"})


class SideBySide(Pictures):
    """`train/` with pictures whose left half is A and whose right half is B; `direction` says which goes in."""

    kind: Literal["side_by_side"]
    direction: Direction = "AtoB"

    @model_validator(mode="after")
    def _of_one_file(self) -> "SideBySide":
        if self.source_channels != self.photo_channels and {self.source_channels, self.photo_channels} != {1, 3}:
            raise ValueError(
                f"source_channels {self.source_channels} and photo_channels {self.photo_channels} are read from one "
                "file; they are equal, or 1 and 3"
            )
        return self


class Unpaired(Pictures):
    """`trainA/` and `trainB/` (or `train_A/`, `train_B/`) of any lengths: `source` is of A, `photo` of B."""

    kind: Literal["unpaired"]


class Edges(Section):
    """Black lines on white, by Canny (1986): two thresholds of the gradient, in 8-bit levels, after a Gaussian blur."""

    kind: Literal["edges"]
    low: Annotated[float, Field(ge=0)] = 100
    high: Annotated[float, Field(ge=0)] = 200
    blur: Annotated[float, Field(ge=0)] = 1

    @model_validator(mode="after")
    def _ordered(self) -> "Edges":
        if self.low > self.high:
            raise ValueError(f"low {self.low:g} is above high {self.high:g}")
        return self


class Grey(Section):
    """The photo's brightness: 0.299 R + 0.587 G + 0.114 B."""

    kind: Literal["grey"]


class Lab(Section):
    """CIE Lab: the lightness goes in, the colours a and b are wanted."""

    kind: Literal["lab"]


class LowResolution(Section):
    """The photo made `factor` times smaller, antialiased, and brought back to its size."""

    kind: Literal["low_resolution"]
    factor: Annotated[int, Field(ge=2, le=16)] = 4


class Photos(Pictures):
    """`train/` with photos, or `root` itself where there is no such folder; what goes in is made from each of them."""

    kind: Literal["photos"]
    input: Annotated[Edges | Grey | Lab | LowResolution, Field(discriminator="kind")]

    @model_validator(mode="after")
    def _channels_follow(self) -> "Photos":
        why = f"input: {self.input.kind}"
        if isinstance(self.input, Lab):
            self._settle("photo_channels", 2, why)
        elif not isinstance(self.input, LowResolution) and self.photo_channels not in (1, 3):
            raise ValueError(f"photo_channels is {self.photo_channels}, but {why} is made from 1 or 3 channels")
        of_the_photo = isinstance(self.input, LowResolution)
        self._settle("source_channels", self.photo_channels if of_the_photo else 1, why)
        return self


class PhotosToMaps(Pictures):
    """`train_img/` with `train_label/` or `train_inst/`: the photo goes in, what the maps say is wanted.

    `target: labels` wants a channel for each class; the `..._boundaries` want one channel, white where the class or the
    instance of neighbours differs.
    """

    kind: Literal["photos_to_maps"]
    target: Literal["labels", "label_boundaries", "instance_boundaries"]
    labels: Labels | None = None

    @model_validator(mode="after")
    def _channels_follow(self) -> "PhotosToMaps":
        if self.target == "labels" and self.labels is None:
            raise ValueError("target: labels needs labels, the number of classes")
        if self.target == "labels" and self.labels is not None and self.labels > 1024:
            raise ValueError(f"target: labels makes a channel of each class; {self.labels} are more than 1024")
        if self.labels is not None:
            _ignore_no_class(self, self.labels)
        channels = self.labels if self.target == "labels" else 1
        self._settle("photo_channels", channels, f"target: {self.target}")
        return self


def _ignore_no_class(data: DataSection, labels: int) -> None:
    """Let 255 be a class where there are so many, and nobody said that it is none."""
    if data.ignore is not None and data.ignore < labels and "ignore" not in data.model_fields_set:
        object.__setattr__(data, "ignore", None)


Data = Annotated[LabelMaps | PicturePairs | SideBySide | Unpaired | Photos | PhotosToMaps, Field(discriminator="kind")]
"""The section `data` of a recipe."""
