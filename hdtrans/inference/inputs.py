"""What a caller hands to the Translator, checked as files are when they are read."""

from collections.abc import Collection
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from hdtrans.common.errors import UserError
from hdtrans.config.data import Data, Lab, LabelMaps, Photos, Pictures
from hdtrans.data.contents import make_fields, ready_source
from hdtrans.data.io.read import LARGEST_ID, as_picture
from hdtrans.data.label_ids import check_label_ids
from hdtrans.data.layouts import makes_instances

Array = npt.NDArray[Any]


def check_inputs(
    data: Data, reads: Collection[str], route: str, given: Array, instance: Array | None
) -> dict[str, Array]:
    """Return the inputs by the names of a batch's fields, (H, W) maps and an (H, W, C) picture.

    Args:
        data: what the model was trained on.
        reads: the fields that it needs; an instance map may be one that is made from the label map.
        route: the direction in which it translates.
        given: the label map, or the picture.
        instance: the instance map.

    Raises:
        UserError: an input is missing or superfluous, no numpy array, of another shape, type, size or range, or holds
            ids that are no class.
    """
    asks = asked_for(data, reads)
    if "instance" in asks and instance is None:
        raise UserError("this model was trained with instance maps and needs one: instance was not given")
    if "instance" not in asks and instance is not None:
        instead = "makes its instance maps from label maps" if "instance" in reads else "reads no instance map"
        raise UserError(f"instance: this model {instead}; leave it out")
    if isinstance(data, LabelMaps):
        inputs = {"label": check_ids("label", given)}
        check_label_ids(inputs["label"], data.labels, data.ignore, "label")
    else:
        inputs = {"source": _picture(data, route, given)}
    if instance is not None:
        inputs["instance"] = check_ids("instance", instance)
        size, wanted = inputs["instance"].shape, next(iter(inputs.values())).shape[:2]
        if size != wanted:
            told = f"{next(iter(inputs))} {wanted[1]}x{wanted[0]}, instance {size[1]}x{size[0]}"
            raise UserError(f"the inputs have different sizes: {told}")
    return inputs if reads == asks else make_fields(data, inputs, reads)


def asked_for(data: Data, reads: Collection[str]) -> frozenset[str]:
    """Return those of the fields that a model needs which have to be given."""
    return frozenset(reads) - ({"instance"} if makes_instances(data) else set())


def as_tensor(name: str, array: Array) -> torch.Tensor:
    """Return an input as a batch of one, its integers in a type that torch computes with."""
    if array.dtype.kind in "iu" and array.dtype != np.uint8:
        array = array.astype(np.int32, copy=False)
    tensor = torch.from_numpy(np.ascontiguousarray(array))
    return (tensor.permute(2, 0, 1) if tensor.ndim == 3 else tensor).unsqueeze(0)


def check_ids(name: str, given: Array) -> Array:
    """Return an (H, W) array of ids in [0, 2^31 - 1]; one channel more is taken off."""
    array = _array(name, given)
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[..., 0]
    if array.ndim != 2 or not array.size or array.dtype.kind not in "iu":
        raise UserError(f"{name}: has shape {array.shape} and type {array.dtype}; (H, W) integers are wanted")
    if array.dtype.itemsize > 2 or array.dtype.kind == "i":
        lowest, highest = int(array.min()), int(array.max())
        if lowest < 0 or highest > LARGEST_ID:
            raise UserError(f"{name}: holds ids from {lowest} to {highest}; allowed are 0 to {LARGEST_ID}")
    return array


def _picture(data: Data, route: str, given: Array) -> Array:
    """Return the picture as the network takes it; from whole numbers, colourisation takes the lightness."""
    assert isinstance(data, Pictures)
    array = _array("picture", given)
    if isinstance(data, Photos) and isinstance(data.input, Lab) and array.dtype.kind != "f":
        return ready_source(data, as_picture(array, 3, "picture"))
    return as_picture(array, data.photo_channels if route == "BtoA" else data.source_channels, "picture")


def _array(name: str, given: object) -> Array:
    if not isinstance(given, np.ndarray):
        raise UserError(f"{name}: is of type {type(given).__name__}; a numpy array is wanted")
    return given
