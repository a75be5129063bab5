"""Pictures that hold both sides: A in the left half, B in the right half."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from hdtrans.common.errors import Advice, UserError
from hdtrans.config import inputs
from hdtrans.config.data import Direction
from hdtrans.data.io.header import probe
from hdtrans.data.io.read import with_channels
from hdtrans.data.kinds.base import PHOTO, Array, Arrays, DataKind, PictureKind, halves

if TYPE_CHECKING:
    from hdtrans.data.index import Index

_MOST_PROBED = 50  # headers, in guessing


class Section(PictureKind):
    """`train/` with pictures whose left half is A and whose right half is B."""

    ready_note: ClassVar[tuple[str, Advice] | None] = (
        "inputs were read as pictures that hold both sides",
        Advice("ready", reason="for those that hold one"),
    )

    kind: Literal["side_by_side"]
    direction: Annotated[
        Direction, Field(description="The side that is the input, and the side that is the target.")
    ] = "AtoB"

    @model_validator(mode="after")
    def _of_one_file(self) -> Section:
        if self.source_channels != self.photo_channels and {self.source_channels, self.photo_channels} != {1, 3}:
            raise ValueError(
                f"source_channels {self.source_channels} and photo_channels {self.photo_channels} are read from one "
                "file; they are equal, or 1 and 3"
            )
        return self

    @property
    def files(self) -> Mapping[str, inputs.Field]:
        """`pair`, the picture that holds both sides."""
        return {"pair": inputs.Field("image", max(self.source_channels, self.photo_channels))}

    def made_from(self, field: str) -> tuple[str, ...]:
        return ("pair",)

    def folders(self, split: str, index: Index) -> dict[str, str]:
        return {"pair": split}

    def sides(self, role: str, array: Array) -> list[Array]:
        return list(halves(array))

    def width_of(self, role: str, width: int) -> int:
        return width // 2

    def width_problem(self, role: str, width: int) -> str:
        if width % 2 == 0:
            return ""
        return f"is {width} pixels wide; data.kind: side_by_side holds A and B of one width, so it must be even"

    def read_files(self, paths: Mapping[str, str]) -> Arrays:
        return self._split(self.read("pair", paths["pair"]), paths["pair"]) if paths else {}

    def _split(self, picture: Array, path: str) -> Arrays:
        if problem := self.width_problem("pair", picture.shape[1]):
            raise UserError(problem, path=path)
        left, right = halves(picture)
        source, photo = (left, right) if self.direction == "AtoB" else (right, left)
        return {"source": with_channels(source, self.source_channels), PHOTO: with_channels(photo, self.photo_channels)}

    def holds_truth(self, ready: bool) -> bool:
        return not ready

    def read_input(self, spec: inputs.Input, path: str, ready: bool = False) -> tuple[Array, Array | None]:
        if ready or spec.field not in self.fields:
            return super().read_input(spec, path, ready)
        arrays = self.read_files({"pair": path})
        given = arrays.pop(spec.field)
        return given, next(iter(arrays.values()))

    def read_truth(self, path: str, target: inputs.Input) -> Array:
        return self.read_files({"pair": path})[target.field]

    @classmethod
    def guess(cls, root: Path, index: Index) -> DataKind | None:
        if not index.has("train"):
            return None
        files = sorted(index.scan("train").files)
        step = -(-len(files) // _MOST_PROBED) if files else 1
        headers = []
        for file in files[::step]:
            try:
                headers.append(probe(index.scan("train").place(file)))
            except UserError:  # reported with all others, when it is read
                continue
        wide = bool(headers) and all(h.width >= 2 * h.height and h.width % 2 == 0 for h in headers)
        return cls(kind="side_by_side", root=root) if wide else None
