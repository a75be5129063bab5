"""The kinds of field: how each is read, checked, moved by the geometry, stacked, padded and exported.

Numpy arrays are (H, W) ids, (H, W, C) images, (N,) vectors and (N, 2) points; tensors are the same with channels first.
A new kind is a class here and a name in `hdtrans.config.inputs.Kind`. torch is imported late, so that preparation runs
without it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from hdtrans.common.errors import UserError, shown
from hdtrans.config.inputs import Field, Input
from hdtrans.data.geometry import Plan, resample_ids
from hdtrans.data.io.header import Header
from hdtrans.data.io.read import (
    LARGEST_ID,
    Loaded,
    as_picture,
    instance_problem,
    label_problem,
    picture_problem,
    read_instance,
    read_label,
    read_picture,
)
from hdtrans.data.io.tables import read_row

if TYPE_CHECKING:
    import torch
    from torch import Tensor

Array = npt.NDArray[Any]
Spec = Field | Input

BATCH, HEIGHT, WIDTH = "batch", "height", "width"
"""Names of the dynamic dimensions of an exported graph."""


class FieldKind:
    """One kind of field. Methods take the field's spec, for its size and values.

    Attributes:
        spatial: True for a value at every pixel: cut into tiles and padded with the picture.
        has_file: True for a file in each sample, False for a row of a table.
        mirrored: True if the order of its values changes when the picture is mirrored.
        has_colours: True if its values are colours or brightness.
    """

    spatial = False
    has_file = False
    mirrored = False
    has_colours = False

    def read(self, spec: Spec, path: str) -> Array:
        """Read the array of one sample from its file or table row; raise UserError with its path."""
        return self.read_loaded(spec, path, None)

    def read_loaded(self, spec: Spec, path: str, loaded: Loaded | None) -> Array:
        """Read as `read`, from the bytes and the header of a loaded file."""
        raise NotImplementedError

    def problem(self, spec: Spec, header: Header) -> str:
        """Return why a file with this header cannot be this field, or ''."""
        return ""

    def checked(self, spec: Spec, name: str, given: object) -> Array:
        """Validate an array that a caller gave, in the form of `read`; raise UserError naming the argument `name`."""
        raise NotImplementedError

    def moved(self, plan: Plan, array: Array, size: tuple[int, int], mirror: Sequence[int] | None = None) -> Array:
        """Apply a geometry to an array of a sample of (height, width) `size`."""
        return array

    def resampled(self, array: Array, height: int, width: int, size: tuple[int, int]) -> Array:
        """Scale an array of a picture of (height, width) `size` coarsely to another size, for trial inputs."""
        return array

    def tensor(self, array: Array) -> Tensor:
        """Return an array of one sample as a tensor without a batch dimension."""
        import torch

        return torch.from_numpy(np.ascontiguousarray(array))

    def placeholder(self, spec: Spec, batch: int, height: int, width: int) -> Tensor:
        """Return zeros of the shape and type that a batch has, for estimates."""
        raise NotImplementedError

    def absent(self, spec: Spec, batch: int, height: int, width: int) -> Tensor:
        """Return the batch that replaces a missing optional input of an exported graph."""
        return self.placeholder(spec, batch, height, width)

    def as_graph_input(self, tensor: Tensor) -> Tensor:
        """Convert a batch to the type that exported graphs take."""
        return tensor.float()

    def dynamic(self) -> dict[int, str]:
        """Return the dynamic dimensions of an exported graph's input, with their names."""
        return {0: BATCH}


class Ids(FieldKind):
    """Class ids (`size` classes) or opaque instance ids: (H, W) uint8 or int32."""

    spatial = has_file = True

    def read_loaded(self, spec: Spec, path: str, loaded: Loaded | None) -> Array:
        return read_instance(path, loaded) if spec.values == "instances" else read_label(path, loaded)

    def problem(self, spec: Spec, header: Header) -> str:
        return instance_problem(header) if spec.values == "instances" else label_problem(header)

    def checked(self, spec: Spec, name: str, given: object) -> Array:
        return check_ids(name, given)

    def moved(self, plan: Plan, array: Array, size: tuple[int, int], mirror: Sequence[int] | None = None) -> Array:
        return plan.map(array)

    def resampled(self, array: Array, height: int, width: int, size: tuple[int, int]) -> Array:
        return _nearest(array, height, width)

    def tensor(self, array: Array) -> Tensor:
        if array.dtype != np.uint8:
            array = array.astype(np.int32, copy=False)
        return super().tensor(array)

    def placeholder(self, spec: Spec, batch: int, height: int, width: int) -> Tensor:
        import torch

        return torch.zeros((batch, height, width), dtype=torch.uint8 if spec.values == "classes" else torch.int32)

    def as_graph_input(self, tensor: Tensor) -> Tensor:
        return tensor.int()

    def dynamic(self) -> dict[int, str]:
        return {0: BATCH, 1: HEIGHT, 2: WIDTH}


class Image(FieldKind):
    """An image of `size` channels: (H, W, C) uint8 in [0, 255], int32 in [0, 65535], or float32 in [-1, 1]."""

    spatial = has_file = has_colours = True

    def read_loaded(self, spec: Spec, path: str, loaded: Loaded | None) -> Array:
        assert spec.size is not None
        return read_picture(path, spec.size, loaded)

    def problem(self, spec: Spec, header: Header) -> str:
        assert spec.size is not None
        return picture_problem(header, spec.size)

    def checked(self, spec: Spec, name: str, given: object) -> Array:
        assert spec.size is not None
        return as_picture(as_array(name, given), spec.size, name)

    def moved(self, plan: Plan, array: Array, size: tuple[int, int], mirror: Sequence[int] | None = None) -> Array:
        return plan.picture(array)

    def resampled(self, array: Array, height: int, width: int, size: tuple[int, int]) -> Array:
        return _nearest(array, height, width)

    def tensor(self, array: Array) -> Tensor:
        if array.dtype.kind in "iu" and array.dtype != np.uint8:
            array = array.astype(np.int32, copy=False)
        return super().tensor(array).permute(2, 0, 1)

    def placeholder(self, spec: Spec, batch: int, height: int, width: int) -> Tensor:
        import torch

        assert spec.size is not None
        return torch.zeros((batch, spec.size, height, width), dtype=torch.uint8)

    def absent(self, spec: Spec, batch: int, height: int, width: int) -> Tensor:
        zeros = self.placeholder(spec, batch, height, width)
        return zeros.float() if spec.values == "features" else zeros  # 0, or black

    def as_graph_input(self, tensor: Tensor) -> Tensor:
        import torch

        return as_floats(tensor, torch.float32)

    def dynamic(self) -> dict[int, str]:
        return {0: BATCH, 2: HEIGHT, 3: WIDTH}


class Mask(Image):
    """Mask, an image of one channel: (H, W, 1) uint8, 255 where the file is not 0; scaled as ids are."""

    def read_loaded(self, spec: Spec, path: str, loaded: Loaded | None) -> Array:
        return _mask(read_label(path, loaded))

    def problem(self, spec: Spec, header: Header) -> str:
        return label_problem(header)

    def checked(self, spec: Spec, name: str, given: object) -> Array:
        array = as_array(name, given)
        if array.ndim == 3 and array.shape[2] == 1:
            array = array[..., 0]
        if array.ndim != 2 or not array.size or array.dtype.kind not in "iubf":
            raise UserError(f"{name}: has shape {array.shape} and type {array.dtype}; a mask (H, W) is expected")
        if array.dtype.kind == "f":
            if not (np.abs(array) == 1).all():
                raise UserError(f"{name}: holds floating point values other than -1 and 1; give a mask as booleans")
            array = array > 0
        return _mask(array)

    def moved(self, plan: Plan, array: Array, size: tuple[int, int], mirror: Sequence[int] | None = None) -> Array:
        return plan.map(array[..., 0])[..., None]


class Vector(FieldKind):
    """`size` numbers for the whole picture: (N,) float32."""

    def read_loaded(self, spec: Spec, path: str, loaded: Loaded | None) -> Array:
        return self.checked(spec, shown(path), read_row(path))

    def checked(self, spec: Spec, name: str, given: object) -> Array:
        array = _numbers(name, given, "a list or array of numbers")
        if array.shape != (spec.size,):
            raise UserError(f"{name}: has shape {array.shape}; {spec.size} numbers are expected")
        if not np.isfinite(array).all():
            raise UserError(f"{name}: has numbers that are missing or not finite; {spec.size} numbers are expected")
        if spec.values == "symmetric" and np.abs(array).max() > 1:
            raise UserError(f"{name}: holds numbers from {array.min():g} to {array.max():g}; allowed are -1 to 1")
        return array

    def placeholder(self, spec: Spec, batch: int, height: int, width: int) -> Tensor:
        import torch

        assert spec.size is not None
        return torch.zeros((batch, spec.size))


class Points(FieldKind):
    """`size` points of a picture: (N, 2) float32 x, y in pixels from its upper left corner; NaN where one is missing.

    The centre of the first pixel lies at (0.5, 0.5), so that scaling a picture multiplies its points.
    """

    mirrored = True

    def read_loaded(self, spec: Spec, path: str, loaded: Loaded | None) -> Array:
        assert spec.size is not None
        row = read_row(path)
        if row.shape != (2 * spec.size,):
            raise UserError(
                f"has {row.size} numbers; {spec.size} points have {2 * spec.size}, x and y by turns", path=path
            )
        return row.reshape(spec.size, 2)

    def checked(self, spec: Spec, name: str, given: object) -> Array:
        array = _numbers(name, given, "an array (N, 2) of pixel coordinates x, y")
        if array.shape != (spec.size, 2) or np.isinf(array).any():
            raise UserError(
                f"{name}: has shape {array.shape}; ({spec.size}, 2) pixel coordinates x, y are expected, NaN for a "
                "missing point"
            )
        return array

    def moved(self, plan: Plan, array: Array, size: tuple[int, int], mirror: Sequence[int] | None = None) -> Array:
        return plan.points(array, size, mirror)

    def resampled(self, array: Array, height: int, width: int, size: tuple[int, int]) -> Array:
        return (array * (width / size[1], height / size[0])).astype(np.float32)

    def placeholder(self, spec: Spec, batch: int, height: int, width: int) -> Tensor:
        import torch

        assert spec.size is not None
        return torch.zeros((batch, spec.size, 2))

    def absent(self, spec: Spec, batch: int, height: int, width: int) -> Tensor:
        return self.placeholder(spec, batch, height, width) * float("nan")


class Seed(FieldKind):
    """One integer in [0, 2**63), from which the network draws its noise on the device."""

    def checked(self, spec: Spec, name: str, given: object) -> Array:
        if not isinstance(given, int) or not 0 <= given < 2**63:
            raise UserError(f"{name} {given}: a seed is a number from 0 to 2**63 - 1")
        return np.array(given, np.int64)

    def placeholder(self, spec: Spec, batch: int, height: int, width: int) -> Tensor:
        import torch

        return torch.zeros(batch, dtype=torch.int64)

    def as_graph_input(self, tensor: Tensor) -> Tensor:
        return tensor.long()


KINDS: Mapping[str, FieldKind] = {
    "ids": Ids(),
    "image": Image(),
    "vector": Vector(),
    "points": Points(),
    "seed": Seed(),
}
"""The kinds of field by name."""

_MASK = Mask()


def kind_of(spec: Spec) -> FieldKind:
    """Return the kind of a field or input."""
    return _MASK if spec.kind == "image" and spec.values == "binary" else KINDS[spec.kind]


def as_floats(picture: Tensor, dtype: torch.dtype) -> Tensor:
    """Return a picture in [-1, 1]: uint8 from [0, 255], int32 from [0, 65535]; floats lie in [-1, 1] already."""
    import torch

    if picture.is_floating_point():
        return picture.to(dtype)
    half = 127.5 if picture.dtype == torch.uint8 else 32767.5
    return picture.to(dtype) / half - 1


def as_bytes(picture: Tensor) -> Tensor:
    """Return a picture in [-1, 1] as uint8 in [0, 255], rounded."""
    import torch

    return (picture.float() + 1).mul_(127.5).round_().clamp_(0, 255).to(torch.uint8)


def as_words(picture: Tensor) -> Tensor:
    """Return a picture in [-1, 1] as uint16 in [0, 65535], rounded."""
    import torch

    return (picture.float() + 1).mul_(32767.5).round_().clamp_(0, 65535).to(torch.int32).to(torch.uint16)


def as_array(name: str, given: object) -> Array:
    """Return `given` if it is a numpy array; raise UserError naming the argument otherwise."""
    if not isinstance(given, np.ndarray):
        raise UserError(f"{name}: is of type {type(given).__name__}; a numpy array is wanted")
    return given


def check_ids(name: str, given: object) -> Array:
    """Return an (H, W) array of ids in [0, 2^31 - 1]; a single channel is dropped."""
    array = as_array(name, given)
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[..., 0]
    if array.ndim != 2 or not array.size or array.dtype.kind not in "iu":
        raise UserError(f"{name}: has shape {array.shape} and type {array.dtype}; (H, W) integers are wanted")
    if array.dtype.itemsize > 2 or array.dtype.kind == "i":
        lowest, highest = int(array.min()), int(array.max())
        if lowest < 0 or highest > LARGEST_ID:
            raise UserError(f"{name}: holds ids from {lowest} to {highest}; allowed are 0 to {LARGEST_ID}")
    return array


def _numbers(name: str, given: object, wanted: str) -> Array:
    try:
        return np.asarray(given, np.float32)
    except (TypeError, ValueError):
        raise UserError(f"{name}: is of type {type(given).__name__}; {wanted} is expected") from None


def _mask(ids: Array) -> npt.NDArray[np.uint8]:
    """Return a mask, (H, W, 1) uint8: 255 where the value is not 0, else 0."""
    return np.asarray((ids != 0)[..., None] * np.uint8(255), np.uint8)


def _nearest(array: Array, height: int, width: int) -> Array:
    rows, columns = resample_ids(array.shape[0], height), resample_ids(array.shape[1], width)
    return array[rows][:, columns]


def stacked(tensors: Sequence[Tensor]) -> Tensor:
    """Stack fields of samples, of one shape, to a batch of the widest dtype among them.

    Images (C, H, W) keep their range: 8 bits become 16 bits, or both become floats, where one of them is.
    """
    import torch

    widest = max((x.dtype for x in tensors), key=lambda dtype: (dtype.is_floating_point, dtype.itemsize))
    if tensors[0].ndim == 3:
        return torch.stack([_same_range(x, widest) for x in tensors])
    return torch.stack([x.to(widest) for x in tensors])


def _same_range(picture: Tensor, dtype: torch.dtype) -> Tensor:
    """Convert an image to another dtype; white stays white."""
    if dtype.is_floating_point:
        return as_floats(picture, dtype)
    return picture.to(dtype) * 257 if picture.dtype != dtype else picture
