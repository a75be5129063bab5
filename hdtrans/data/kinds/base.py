"""The contract of a data kind: its section of the recipe, its files, the fields made of them, and its results.

A kind's file holds one class `Section`, derived from `DataKind`. All differences between kinds are answered here; no
other room branches on the kind.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np
import numpy.typing as npt
from pydantic import Field

from hdtrans.common.errors import Advice, UserError, shown
from hdtrans.config import inputs
from hdtrans.config.data import Channels, DataSection
from hdtrans.config.recipe import Recipe
from hdtrans.data.fields import as_array, as_bytes, as_words, kind_of
from hdtrans.data.io.read import as_picture, read_picture
from hdtrans.data.label_ids import check_label_ids
from hdtrans.data.points import mirror_order

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

    from hdtrans.data.index import Index

Array = npt.NDArray[Any]
Arrays = dict[str, Array]

PHOTO = "photo"
"""Field of the target picture, in all kinds of data that have one."""


PAPER_STAGE: Mapping[str, Any] = {"size": "256x256", "geometry": "resize_and_crop", "load": "286x286"}
"""Stage of the papers pix2pix and CycleGAN: scaled to 286x286, then cropped."""


class DataKind(DataSection):
    """Training data of one kind. The defaults serve data whose every field has a folder of files.

    Class attributes:
        usual_method: keys of the method that suits such data, for recipes that `check_data` proposes.
        usual_stage: keys of the stage of such a recipe; None where the sizes of the files decide.
        proposed_without_instances: keys of the section that do without files of instance maps.
        follow: keys of the section that follow from the number of classes.
        ready_note: remark where inputs are read as training data, not as ready inputs, and the advice for the latter.
        natural: True if results are photographs, of which one nearly all black and white is suspicious.
        endings: ends of the folders' names by role (`train_label/` ends in `_label`).
    """

    usual_method: ClassVar[Mapping[str, Any]] = {"kind": "pix2pix"}
    usual_stage: ClassVar[Mapping[str, Any] | None] = PAPER_STAGE
    proposed_without_instances: ClassVar[Mapping[str, Any]] = {}
    follow: ClassVar[Collection[str]] = ()
    ready_note: ClassVar[tuple[str, Advice] | None] = None
    natural: ClassVar[bool] = True
    endings: ClassVar[Mapping[str, str]] = {}

    # Files

    @property
    def files(self) -> Mapping[str, inputs.Field]:
        """Files of a sample by role, with the field spec to read them by; by default one for each field."""
        return self.fields

    def files_for(self, fields: Iterable[str]) -> list[str]:
        """Return the roles of the files that fields are made from, in the order of `files`.

        Raises:
            UserError: this kind has no such field.
        """
        wanted = set(fields)
        if unknown := wanted - self.fields.keys():
            has = ", ".join(self.fields)
            raise UserError(f"data.kind: {self.kind} has {has}, but {', '.join(sorted(unknown))} is required")
        roles = {role for name in wanted for role in self.made_from(name)}
        return [role for role in self.files if role in roles]

    def made_from(self, field: str) -> tuple[str, ...]:
        """Return the roles of the files that a field is made from; by default its own."""
        return (field,)

    def folders(self, split: str, index: Index) -> dict[str, str]:
        """Return the folder (or table) of each role of file, relative to the root; by default SPLIT with its ending.

        Raises:
            UserError: folders of several layouts exist.
        """
        return {role: f"{split}{self.endings[role]}" for role in self.files}

    def folders_elsewhere(self, split: str) -> str:
        """Return a hint at another layout, for the message about a missing folder."""
        return ""

    def missing_hint(self, missing: Collection[str]) -> str:
        """Return advice for the message that the folders of these roles are missing."""
        return ""

    def loose_files(self, split: str, index: Index) -> str:
        """Return the role of files in the root itself, for a split without a folder; '' for none."""
        return ""

    def sides(self, role: str, array: Array) -> list[Array]:
        """Return the pictures side by side in a file; by default one."""
        return [array]

    def width_of(self, role: str, width: int) -> int:
        """Return the width of a sample whose file of this role is `width` pixels wide."""
        return width

    def width_problem(self, role: str, width: int) -> str:
        """Return the reason why a file of this role cannot have this width, or ''."""
        return ""

    def read(self, role: str, path: str) -> Array:
        """Read one file of a sample.

        Raises:
            UserError: the file cannot be read, or holds an id that is no class.
        """
        spec = self.files[role]
        array = kind_of(spec).read(spec, path)
        if spec.values == "classes" and spec.size is not None:
            check_label_ids(array, spec.size, self.ignore, shown(path))
        return array

    def read_files(self, paths: Mapping[str, str]) -> Arrays:
        """Read the files of a sample: arrays by field, before the geometry."""
        return {role: self.read(role, path) for role, path in paths.items()}

    # Fields

    def make(self, arrays: Mapping[str, Array], fields: Collection[str], random: np.random.Generator | None) -> Arrays:
        """Make the fields of a batch from arrays after the geometry.

        Args:
            arrays: arrays of `read_files`, scaled and cropped.
            fields: fields to make.
            random: generator of the sample, for masks and the like; None makes deterministic fields.

        Returns:
            Those of the fields whose files exist.
        """
        return {name: array for name, array in arrays.items() if name in fields}

    def mirrored_points(self, field: str) -> tuple[int, ...] | None:
        """Return the order of a field's points after mirroring, by default that of dataset.json; None for none."""
        spec = self.fields.get(field)
        return mirror_order(self.root, spec.size or 0) if spec is not None and kind_of(spec).mirrored else None

    def needed(self, fields: Collection[str]) -> frozenset[str]:
        """Return the fields that a user must give in translating; the others are made from these."""
        return frozenset(fields)

    # Inputs of translating

    def holds_truth(self, ready: bool) -> bool:
        """Return True if the files of inputs also hold the true picture: see `read_input`."""
        return False

    def read_input(self, spec: inputs.Input, path: str, ready: bool = False) -> tuple[Array, Array | None]:
        """Read one input of translating from a file.

        Args:
            spec: the input.
            path: its file.
            ready: the file is the input itself (one side, a drawing, a small picture to enlarge), not a file of
                training data.

        Returns:
            The input, and the true picture if the file holds it.
        """
        return kind_of(spec).read(spec, path), None

    def check_input(self, spec: inputs.Input, name: str, given: object) -> Array:
        """Validate an input that a caller gave as an array; raise UserError naming the argument `name`."""
        array = kind_of(spec).checked(spec, name, given)
        if spec.values == "classes" and spec.size is not None:
            check_label_ids(array, spec.size, self.ignore, name)
        return array

    # Results

    def result(self, target: inputs.Input) -> inputs.Field:
        """Return the form of results: ids, or an image with its channels."""
        return inputs.Field("image", target.size)

    def to_host(self, picture: Tensor, bits: int = 8) -> Tensor:
        """Reduce a generated picture, on its device, to the data that the host needs.

        Args:
            picture: (C, H, W) in [-1, 1].
            bits: 8 or 16 bits per channel.

        Returns:
            (H, W, C) uint8 or uint16, unless the kind has another form.
        """
        return (as_bytes(picture) if bits == 8 else as_words(picture)).permute(1, 2, 0).contiguous()

    def from_host(self, given: Mapping[str, Array], array: Array, bits: int = 8) -> Array:
        """Return the user's result.

        Args:
            given: inputs by name, (H, W, C) or (H, W), at the same pixels.
            array: result of `to_host`.
            bits: 8 or 16 bits per channel.
        """
        return array

    def result_of(self, given: Mapping[str, Array], picture: Tensor, bits: int = 8) -> Array:
        """Turn a generated picture (C, H, W) in [-1, 1] into the user's result: `to_host`, then `from_host`."""
        return self.from_host(given, self.to_host(picture, bits).cpu().numpy(), bits)

    def true_result(self, given: Mapping[str, Array], photo: Tensor) -> Array:
        """Turn the true picture of a batch, (C, H, W) in [-1, 1], into the form of results, for metrics."""
        return self.result_of(given, photo)

    def read_truth(self, path: str, target: inputs.Input) -> Array:
        """Read the true result of a sample from the file that its target is made from."""
        return read_picture(path, self.result(target).size or 3)

    def viewable(self, columns: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Convert columns of a preview that cannot be shown directly to class maps and RGB pictures.

        Args:
            columns: maps (B, H, W) and pictures (B, C, H, W) in [-1, 1], by name.
        """
        return dict(columns)

    # Proposals of `check_data`

    @classmethod
    def guess(cls, root: Path, index: Index) -> DataKind | None:
        """Return a section that fits a folder without a recipe; None if the folder is of another kind."""
        return None

    def proposed(self, labels: int) -> dict[str, Any]:
        """Return keys of the section that follow from the number of classes found in the data."""
        return {}


class PictureKind(DataKind):
    """Data whose input is a picture: batches have `source`, the input, and `photo`, the target."""

    source_channels: Annotated[Channels, Field(description="Channels of the input pictures.")] = 3

    @property
    def fields(self) -> Mapping[str, inputs.Field]:
        """`source` and `photo`."""
        return {
            "source": inputs.Field("image", self.source_channels),
            PHOTO: inputs.Field("image", self.photo_channels),
        }


def data_of(recipe: Recipe) -> DataKind:
    """Return the section `data` of a recipe."""
    assert isinstance(recipe.data, DataKind), type(recipe.data).__name__
    return recipe.data


def halves(array: Array) -> tuple[Array, Array]:
    """Return the left and the right half of an array of even width."""
    left, right = np.split(array, 2, axis=1)
    return left, right


def given_picture(name: str, given: object, channels: int) -> Array:
    """Validate an array that a caller gave as a picture of so many channels."""
    return as_picture(as_array(name, given), channels, name)
