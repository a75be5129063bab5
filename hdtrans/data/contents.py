"""From the files of a sample to the fields of a batch, and from what a network made to what a user sees.

What is read from files is brought to its size by one geometry, and only then made into fields: an input that is made
from the photo is made from what the networks see of it. Training, sample grids and inference take this one way.
"""

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from hdtrans.common.errors import UserError
from hdtrans.config.data import Data, Lab, Photos, PhotosToMaps, Pictures, SideBySide
from hdtrans.data import derived
from hdtrans.data.batch import as_bytes, as_words
from hdtrans.data.io.header import shown
from hdtrans.data.io.read import read_instance, read_label, read_picture, with_channels
from hdtrans.data.label_ids import check_label_ids
from hdtrans.data.layouts import classes_wanted, file_channels, makes_instances, odd_width

Array = npt.NDArray[Any]


def read_files(data: Data, paths: Mapping[str, str]) -> dict[str, Array]:
    """Read the files of a sample as (H, W) maps and (H, W, C) pictures; a `pair` becomes `source` and `photo`.

    Raises:
        UserError: a file that cannot be read, an id that is no class, or a pair of odd width.
    """
    arrays: dict[str, Array] = {}
    for name, path in paths.items():
        if name == "label":
            arrays[name] = read_label(path)
            if labels := classes_wanted(data):
                check_label_ids(arrays[name], labels, data.ignore, shown(path))
        elif name == "instance":
            arrays[name] = read_instance(path)
        elif name == "pair":
            assert isinstance(data, SideBySide)
            arrays |= _halves(data, read_picture(path, file_channels(data, name)), path)
        else:
            arrays[name] = read_picture(path, file_channels(data, name))
    return arrays


def _halves(data: SideBySide, picture: Array, path: str) -> dict[str, Array]:
    if problem := odd_width(picture.shape[1]):
        raise UserError(f"{shown(path)}: {problem}")
    left, right = np.split(picture, 2, axis=1)
    source, photo = (left, right) if data.direction == "AtoB" else (right, left)
    return {
        "source": with_channels(source, data.source_channels),
        "photo": with_channels(photo, data.photo_channels),
    }


def make_fields(data: Data, arrays: Mapping[str, Array], fields: Collection[str]) -> dict[str, Array]:
    """Make the fields of a batch from what `read_files` gave, after the geometry; without files there is no field."""
    made = dict(arrays)
    if isinstance(data, Photos) and "photo" in made:
        made["source"], made["photo"] = derived.split_photo(data, made["photo"])
    elif isinstance(data, PhotosToMaps):
        if "instance" in made:
            made["photo"] = derived.boundaries(made["instance"])
        elif "label" in made and data.target == "labels":
            made["photo"] = derived.one_hot(made["label"], data.photo_channels)
        elif "label" in made:
            made["photo"] = derived.boundaries(made["label"])
    elif makes_instances(data) and "instance" in fields and "label" in made:
        made["instance"] = derived.components(made["label"])
    return {name: array for name, array in made.items() if name in fields}


def read_source(data: Data, path: str, route: str = "", ready: bool = False) -> tuple[Array, Array | None]:
    """Read, for inference, the picture that goes in.

    Args:
        data: what the model was trained on. For `side_by_side` the file holds both sides, for `photos` it is the photo
            that the input is made from; else it is the input.
        path: of the file.
        route: `BtoA` takes what such data have as `photo` for the input; what they have as `source` is then the truth.
        ready: the file is the input itself: one side, a drawing, a small picture to be made larger.

    Returns:
        What goes in, and the true picture where the file holds it.
    """
    if holds_truth(data, ready):
        arrays = read_files(data, {"pair" if isinstance(data, SideBySide) else "photo": path})
        source = make_fields(data, arrays, {"source"})["source"]
        return (arrays["photo"], source) if route == "BtoA" else (source, arrays["photo"])
    if isinstance(data, Photos) and route != "BtoA":
        channels = 3 if isinstance(data.input, Lab) else data.source_channels
        return derived.ready_source(data, read_picture(path, channels)), None
    return read_picture(path, file_channels(data, "photo" if route == "BtoA" else "source")), None


def ready_source(data: Data, source: Array) -> Array:
    """Return an input picture that is given as an array, as the network takes it; whole numbers are no Lab yet."""
    if isinstance(data, Photos) and isinstance(data.input, Lab) and source.dtype.kind != "f":
        return derived.lab_of(source)[0]
    return source


def holds_truth(data: Data, ready: bool) -> bool:
    """Say whether the files of inputs hold the true picture as well: see `read_source`."""
    return not ready and isinstance(data, SideBySide | Photos)


def result_channels(data: Data, route: str = "") -> int:
    """Return how many channels `result_of` gives; 0 for a map of class ids."""
    if isinstance(data, PhotosToMaps) and data.target == "labels":
        return 0
    if isinstance(data, Photos) and isinstance(data.input, Lab):
        return 3
    return data.source_channels if route == "BtoA" and isinstance(data, Pictures) else data.photo_channels


def result_of(data: Data, source: Array | None, picture: Tensor, bits: int = 8) -> Array:
    """Turn what a network made into what a user wanted.

    Args:
        data: what the model was trained on.
        source: (H, W, C) what went in, where it was a picture.
        picture: (C, H, W) in [-1, 1].
        bits: of a picture: 8 or 16.

    Returns:
        (H, W) uint8 or int32 class ids for `photos_to_maps` with `target: labels`; (H, W, 3) RGB for colours
        (`input: {kind: lab}`); else (H, W, C). Pictures are uint8 in [0, 255] or uint16 in [0, 65535].
    """
    return from_host(data, source, for_host(data, picture, bits).cpu().numpy(), bits)


def for_host(data: Data, picture: Tensor, bits: int = 8) -> Tensor:
    """Return what the host needs of a picture, on its device: the first half of `result_of`, whose arguments it takes.

    Returns:
        (H, W) uint8 or int32 class ids, (H, W, 2) float32 colours of Lab, or the picture itself, (H, W, C).
    """
    if isinstance(data, PhotosToMaps) and data.target == "labels":
        return picture.argmax(0).to(torch.uint8 if picture.shape[0] <= 256 else torch.int32)
    if isinstance(data, Photos) and isinstance(data.input, Lab):
        return picture.float().permute(1, 2, 0).contiguous()
    return (as_bytes(picture) if bits == 8 else as_words(picture)).permute(1, 2, 0).contiguous()


def from_host(data: Data, source: Array | None, array: Array, bits: int = 8) -> Array:
    """Return what a user wanted of what `for_host` gave: the second half of `result_of`, whose arguments it takes."""
    if isinstance(data, Photos) and isinstance(data.input, Lab):
        assert source is not None
        return derived.rgb_of(source, array, bits)
    return array


def viewable(data: Data, columns: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Turn the columns of a sample grid that show nothing as they are into class maps and RGB pictures.

    Args:
        data: what the columns are of.
        columns: (B, H, W) maps and (B, C, H, W) pictures in [-1, 1], one of them `source`.
    """
    source = columns.get("source")
    if isinstance(data, PhotosToMaps) and data.target == "labels":
        many = {name for name, x in columns.items() if x.ndim == 4 and name != "source" and x.shape[1] == data.labels}
        return {name: x.argmax(1) if name in many else x for name, x in columns.items()}
    if not (isinstance(data, Photos) and isinstance(data.input, Lab)) or source is None:
        return dict(columns)
    lightness = source.float().cpu().numpy().transpose(0, 2, 3, 1)
    shown_columns = dict(columns)
    for name, column in columns.items():
        if column.ndim == 4 and column.shape[1] == 2:
            colours = column.float().cpu().numpy().transpose(0, 2, 3, 1)
            rgb = np.stack([derived.rgb_of(*both) for both in zip(lightness, colours, strict=True)])
            shown_columns[name] = torch.from_numpy(rgb.transpose(0, 3, 1, 2)).float() / 127.5 - 1
    return shown_columns
