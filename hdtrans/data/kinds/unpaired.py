"""Two folders of unpaired pictures, A and B, of any lengths."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from hdtrans.data.index import two_sides
from hdtrans.data.kinds.base import DataKind, PictureKind

if TYPE_CHECKING:
    from hdtrans.data.index import Index


class Section(PictureKind):
    """`trainA/` and `trainB/` (or `train_A/`, `train_B/`): `source` is a picture of A, `photo` one of B."""

    paired: ClassVar[bool] = False
    usual_method: ClassVar[Mapping[str, Any]] = {"kind": "cyclegan"}

    kind: Literal["unpaired"]

    def folders(self, split: str, index: Index) -> dict[str, str]:
        return two_sides(index, split, joined=True)

    def folders_elsewhere(self, split: str) -> str:
        return f" (or {split}_A/ and so on)"

    @classmethod
    def guess(cls, root: Path, index: Index) -> DataKind | None:
        there = (index.has("train_A") and index.has("train_B")) or (index.has("trainA") and index.has("trainB"))
        return cls(kind="unpaired", root=root) if there else None
