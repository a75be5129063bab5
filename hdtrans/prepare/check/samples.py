"""Read the files of one sample, each once, and collect the facts for the data check."""

import hashlib
import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from hdtrans.common.errors import UserError
from hdtrans.data.fields import kind_of
from hdtrans.data.folders import SampleFiles, check_sizes
from hdtrans.data.header_notes import drops_alpha
from hdtrans.data.io.header import Header
from hdtrans.data.io.read import Loaded, load, read_picture
from hdtrans.data.kinds.base import DataKind
from hdtrans.data.preflight import kind_problem

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class FileFacts:
    """Facts of a file.

    Attributes:
        path: path of the file.
        digest: SHA-256 of its bytes; empty if it could not be read.
        header: its header; None if it could not be read.
        problem: reason why training would refuse the file, or ''.
        wrong_kind: True for a valid file that is no label map, or no picture of the required channels.
        constant: True if all pixels are equal.
        highest: largest value of a picture of integers with more than 8 bits.
        lowest: least value of a picture of floating point numbers.
        transparent: share of pixels in [0, 1] that an alpha hides, in part or wholly, and that is dropped.
    """

    path: str
    digest: bytes = b""
    header: Header | None = None
    problem: str = ""
    wrong_kind: bool = False
    constant: bool = False
    highest: int | None = None
    lowest: float | None = None
    transparent: float = 0.0


@dataclass(frozen=True, slots=True)
class SampleFacts:
    """Facts of a sample.

    Attributes:
        name, split: see `find_everything`.
        files: facts of its files by role (`label`, `photo`, ...).
        size: (height, width) in pixels; None if its files differ.
        size_problem: difference between its files, or ''.
        pixels: number of pixels by id of the label map.
        instances: number of ids in the instance map.
        torn: pixels outside the most frequent class, for each instance id but 0 that covers several classes.
        torn_background: the same number for id 0.
    """

    name: str
    split: str
    files: Mapping[str, FileFacts]
    size: tuple[int, int] | None = None
    size_problem: str = ""
    pixels: Mapping[int, int] = field(default_factory=dict)
    instances: int = 0
    torn: Mapping[int, int] = field(default_factory=dict)
    torn_background: int = 0


def read_sample(sample: SampleFiles, split: str, data: DataKind) -> SampleFacts:
    """Read all files of a sample; the facts include their problems."""
    files, arrays = {}, {}
    for name, path in sample.paths.items():
        files[name], array = _read_file(name, path, data)
        if array is not None:
            arrays[name] = array
    sizes = {
        role: (array.shape[0], data.width_of(role, array.shape[1]))
        for role, array in arrays.items()
        if kind_of(data.files[role]).spatial
    }
    problem = ""
    try:
        check_sizes({role: sample.paths[role] for role in sizes}, sizes)
    except UserError as error:
        problem = error.without_place()
    size = None if problem or not sizes else next(iter(sizes.values()))
    found = {role: spec.values for role, spec in data.files.items() if spec.kind == "ids" and role in arrays}
    maps: dict[str, Array] = {values: arrays[role] for role, values in found.items()}
    together = maps if size else {values: array for values, array in maps.items() if values == "classes"}
    return SampleFacts(sample.name, split, files, size, problem, **_of_maps(together, data.ignore))


def _read_file(name: str, path: str, data: DataKind) -> tuple[FileFacts, Array | None]:
    spec = data.files[name]
    if not kind_of(spec).has_file:
        try:
            return FileFacts(path), data.read(name, path)
        except UserError as error:
            return FileFacts(path, problem=error.without_place()), None
    try:
        loaded = load(path)
    except UserError as error:
        return FileFacts(path, problem=error.without_place()), None
    digest, header = hashlib.sha256(loaded[0]).digest(), loaded[1]
    if problem := kind_problem(name, header, data):
        if spec.values == "classes" and header.channels > 1:
            problem += _colours(path, loaded)
        return FileFacts(path, digest, header, problem, wrong_kind=True), None
    try:
        array = kind_of(spec).read_loaded(spec, path, loaded)
    except UserError as error:
        return FileFacts(path, digest, header, error.without_place()), None
    constant = any(_is_constant(side) for side in data.sides(name, array))
    highest = int(array.max()) if array.ndim == 3 and array.dtype == np.int32 else None
    transparent = 0.0 if spec.kind == "ids" else _transparent(path, loaded, drops_alpha(header, spec))
    lowest = float(array.min()) if array.ndim == 3 and header.floating else None
    facts = FileFacts(path, digest, header, "", False, constant, highest, lowest, transparent)
    return facts, array


def _transparent(path: str, loaded: Loaded, drops: bool) -> float:
    """Return the share of pixels that a dropped alpha channel, or the transparent colour of a PNG, hides.

    Args:
        path: file of a picture.
        loaded: its bytes and header.
        drops: the file has an alpha channel, which is dropped.
    """
    data, header = loaded
    if drops:
        alpha = read_picture(path, header.channels, loaded)[..., -1]
        opaque = 1.0 if alpha.dtype == np.float32 else 255 if alpha.dtype == np.uint8 else 65535
        return float((alpha != opaque).mean())
    if header.format == "PNG" and header.transparent and header.channels in (1, 3):
        with Image.open(io.BytesIO(data)) as picture:
            return float((np.asarray(picture.convert("RGBA").getchannel("A")) != 255).mean())
    return 0.0


def _is_constant(array: Array) -> bool:
    few = array[::16, ::16]
    return bool((few == array[0, 0]).all() and (array == array[0, 0]).all())


def _colours(path: str, loaded: Loaded) -> str:
    """Return a hint on the colours of a picture in place of a label map, for its message."""
    try:
        picture = read_picture(path, 3, loaded)
    except UserError:
        return ""
    if (picture == picture[..., :1]).all():
        return "; all its channels are equal: it may be a label map saved in colour, so write it with one"
    values, _ = _counts(picture.astype(np.int64) @ (1, 1 << 16, 1 << 32))
    return f"; it has {len(values)} colours"


def _of_maps(arrays: Mapping[str, Array], ignore: int | None) -> dict[str, Any]:
    """Return attributes of `SampleFacts` for maps of `classes` and `instances`, (H, W) ids in [0, 2^31 - 1]."""
    label, instance = arrays.get("classes"), arrays.get("instances")
    if label is None and instance is None:
        return {}
    if instance is None:
        assert label is not None
        ids, counts = _counts(label)
        return {"pixels": _dictionary(ids, counts)}
    both = instance.astype(np.int64) << 32
    if label is not None:
        both |= label
    keys, counts = _counts(both)
    found: dict[str, Any] = {"instances": len(np.unique(keys >> 32))}
    if label is None:
        return found
    classes = keys & 0xFFFFFFFF
    known, place = np.unique(classes, return_inverse=True)
    found["pixels"] = _dictionary(known, np.bincount(place, weights=counts))
    if ignore is not None:
        keys, counts = keys[classes != ignore], counts[classes != ignore]
    owners, first = np.unique(keys >> 32, return_index=True)  # keys are sorted, so those of an instance lie together
    if owners.size:
        outside = np.add.reduceat(counts, first) - np.maximum.reduceat(counts, first)
        torn = _dictionary(owners[outside > 0], outside[outside > 0])
        found |= {"torn_background": torn.pop(0, 0), "torn": torn}
    return found


def _dictionary(ids: Array, counts: Array) -> dict[int, int]:
    return dict(zip(ids.tolist(), counts.astype(np.int64).tolist(), strict=True))


def _counts(array: Array) -> tuple[Array, Array]:
    """Return the different values of an array, sorted, and their counts.

    Runs of equal neighbours are merged first, which leaves few values to sort.
    """
    flat = array.ravel()
    starts = np.flatnonzero(np.concatenate([[True], flat[1:] != flat[:-1]]))
    lengths = np.diff(np.append(starts, flat.size))
    values, place = np.unique(flat[starts], return_inverse=True)
    return values, np.bincount(place, weights=lengths).astype(np.int64)
