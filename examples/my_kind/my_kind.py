"""A data kind of one's own: label maps and photos, optional masks, and a table of points.

`train_label/`, `train_img/`, `train_mask/` (optional: pixels other than 0 are in the mask) and `train_points.csv`:

    name,left_x,left_y,right_x,right_y,...
    000,12.5,8,40,8.25,...
"""

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

import pydantic

from hdtrans.config.data import Labels
from hdtrans.config.inputs import Field
from hdtrans.data.kinds.base import DataKind


class Section(DataKind):
    """The section `data` with `kind: my_kind`."""

    endings: ClassVar[Mapping[str, str]] = {
        "label": "_label",
        "mask": "_mask",
        "points": "_points.csv",
        "photo": "_img",
    }

    kind: Literal["my_kind"] = "my_kind"
    labels: Annotated[Labels, pydantic.Field(description="Number of classes; ids are 0 to labels - 1.")]
    points: Annotated[int, pydantic.Field(ge=1, le=1000, description="Number of points of a picture.")] = 5

    @property
    def fields(self) -> Mapping[str, Field]:
        """Fields of a batch; each is read from its folder or table."""
        return {
            "label": Field("ids", self.labels, "classes"),
            "mask": Field("image", 1, "binary"),
            "points": Field("points", self.points, "pixels"),
            "photo": Field("image", self.photo_channels),
        }

    @property
    def classes(self) -> int:
        """Number of classes: previews show label maps in their colours."""
        return self.labels
