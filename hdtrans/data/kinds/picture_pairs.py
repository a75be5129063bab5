"""Pairs of pictures in two folders, A and B, paired by name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from hdtrans.config import inputs
from hdtrans.config.data import Direction
from hdtrans.data.index import two_sides
from hdtrans.data.kinds.base import PHOTO, DataKind, PictureKind

if TYPE_CHECKING:
    from hdtrans.data.index import Index


class Section(PictureKind):
    """`train_A/` with `train_B/` (or `trainA/` with `trainB/`), and `train_inst/` where the method needs it."""

    usual_method: ClassVar[Mapping[str, Any]] = {"kind": "pix2pixhd"}
    usual_stage: ClassVar[Mapping[str, Any] | None] = None

    kind: Literal["picture_pairs"]
    direction: Annotated[
        Direction, Field(description="The side that is the input, and the side that is the target.")
    ] = "AtoB"

    @property
    def fields(self) -> Mapping[str, inputs.Field]:
        """`instance`, `source` and `photo`."""
        return {"instance": inputs.Field("ids", None, "instances"), **super().fields}

    def folders(self, split: str, index: Index) -> dict[str, str]:
        sides = two_sides(index, split, joined=False)
        if self.direction == "BtoA":
            sides = {"source": sides[PHOTO], PHOTO: sides["source"]}
        return sides | {"instance": f"{split}_inst"}

    def folders_elsewhere(self, split: str) -> str:
        return f" (or {split}A/ and so on)"

    @classmethod
    def guess(cls, root: Path, index: Index) -> DataKind | None:
        from hdtrans.data.folders import find_everything

        if not (index.has("train_A") and index.has("train_B")) and not (index.has("trainA") and index.has("trainB")):
            return None
        section = cls(kind="picture_pairs", root=root)
        samples = find_everything(section, "train", ["source", PHOTO], index).samples
        complete = sum(len(sample.paths) == 2 for sample in samples)
        return section if 2 * complete >= len(samples) else None
