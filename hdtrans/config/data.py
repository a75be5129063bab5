"""The section `data` of a recipe: the keys that all kinds of data have in common, and what a kind must declare.

One kind is one file of `hdtrans/data/kinds/`, found by the key `kind`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, field_serializer, field_validator

from hdtrans.config import inputs
from hdtrans.config.section import Section

Channels = Annotated[int, Field(ge=1, le=1024)]
Labels = Annotated[int, Field(ge=1, le=65535)]
Direction = Literal["AtoB", "BtoA"]


class DataSection(Section):
    """Keys that every kind of training data has, and the facts about its batches that a recipe is checked against.

    Attributes:
        paired: True if every sample has a true picture of its own.
        results: results of a model of such data: `pictures`, maps of class ids (`labels`) or `boundaries`.
    """

    paired: ClassVar[bool] = True

    kind: str
    root: Annotated[Path, Field(description="Training folder, with the sub-folders that the kind of data names.")]
    train: Annotated[str, Field(description="Start of the names of the training folders.")] = "train"
    test: Annotated[str, Field(description="Start of the names of the test folders; previews show these.")] = "test"
    validation: Annotated[
        float | str | None,
        Field(
            description="Samples for validation: a share of the training files in (0, 1), chosen by a hash of their "
            "names, or the start of the names of other folders. Unset: none are held back."
        ),
    ] = None
    flip: Annotated[bool, Field(description="Mirror every other training sample, left to right.")] = True
    ignore: Annotated[int | None, Field(description="Id of label-map pixels that belong to no class.")] = 255
    photo_channels: Annotated[Channels, Field(description="Channels of the target pictures.")] = 3

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
    def fields(self) -> Mapping[str, inputs.Field]:
        """The fields that batches of such data can hold, by name."""
        raise NotImplementedError

    @property
    def classes(self) -> int | None:
        """The number of classes of its label maps; None where it has none."""
        return None

    @property
    def results(self) -> Literal["pictures", "labels", "boundaries"]:
        """The kind of result, which decides what metrics fit."""
        return "pictures"


Data = DataSection
"""The section `data`, of any kind."""


def ignore_no_class(data: DataSection, labels: int) -> None:
    """Let 255 be a class where there are more than 255 classes and the recipe does not set `ignore`."""
    if data.ignore is not None and data.ignore < labels and "ignore" not in data.model_fields_set:
        object.__setattr__(data, "ignore", None)
