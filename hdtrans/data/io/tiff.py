"""Decode TIFF pictures that OpenCV does not: many channels (satellites, microscopes), and uint32 in its version 4.

Supported of TIFF 6.0 and BigTIFF: strips and tiles, channels together or in planes, uncompressed or deflated, with or
without the horizontal predictor; 8, 16 and 32 bits, integers and floating point numbers.
"""

import io
import struct
import zlib
from collections.abc import Sequence
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Tags = dict[int, tuple[int, ...]]

_READ = {256, 257, 258, 259, 262, 266, 273, 274, 277, 278, 279, 284, 317, 322, 323, 324, 325, 339}  # tags
_NUMBERS = {1: "B", 3: "H", 4: "I", 16: "Q"}  # field type: struct letter
_KINDS = {1: "u", 2: "i", 3: "f"}  # SampleFormat
_NO_COMPRESSION, _DEFLATE = 1, (8, 32946)


def read_tiff(data: bytes) -> Array:
    """Decode the first picture of a TIFF file to (H, W, C); raise ValueError with the feature not supported."""
    tags, order = tiff_tags(io.BytesIO(data))
    width, height, channels = tags[256][0], tags[257][0], tags.get(277, (1,))[0]
    planes = channels if tags.get(284, (1,))[0] == 2 else 1
    dtype = _dtype(tags, order)
    _check(tags, dtype)
    tiled = 322 in tags
    block_width = tags[322][0] if tiled else width
    block_height = tags[323][0] if tiled else min(tags.get(278, (height,))[0], height)
    offsets, lengths = (tags[324], tags[325]) if tiled else (tags[273], tags[279])
    across, down = -(-width // block_width), -(-height // block_height)
    if len(offsets) < planes * across * down or len(lengths) < len(offsets):
        raise ValueError(f"has {len(offsets)} strips or tiles of {planes * across * down}")
    picture = np.empty((height, width, channels), dtype.newbyteorder("="))
    for place in range(planes * across * down):
        plane, inside = divmod(place, across * down)
        top, left = inside // across * block_height, inside % across * block_width
        rows = block_height if tiled else min(block_height, height - top)
        shape = (rows, block_width, channels // planes)
        start = offsets[place]
        block = _block(data[start : start + lengths[place]], tags, dtype, shape)
        part = picture[top : top + rows, left : left + block_width]
        part = part[..., plane : plane + 1] if planes > 1 else part
        part[:] = block[: part.shape[0], : part.shape[1]]
    return picture


def _block(stored: bytes, tags: Tags, dtype: np.dtype[Any], shape: Sequence[int]) -> Array:
    """Return one strip or tile."""
    size = int(np.prod(shape)) * dtype.itemsize
    if tags.get(259, (1,))[0] in _DEFLATE:
        try:
            stored = zlib.decompressobj().decompress(stored, size)
        except zlib.error as error:
            raise ValueError(f"is damaged: {error}") from error
    if len(stored) < size:
        raise ValueError(f"is cut off or damaged: {len(stored)} of {size} bytes in one strip or tile")
    block = np.frombuffer(stored[:size], dtype).reshape(shape).astype(dtype.newbyteorder("="))
    if tags.get(317, (1,))[0] == 2:
        block = np.cumsum(block, axis=1, dtype=block.dtype)  # differences, which wrap around
    return block


def _dtype(tags: Tags, order: str) -> np.dtype[Any]:
    bits, kinds = set(tags.get(258, (1,))), set(tags.get(339, (1,)))
    if len(bits) > 1 or len(kinds) > 1 or not kinds <= _KINDS.keys():
        raise ValueError(f"has channels of different types ({sorted(bits)} bits)")
    kind, size = _KINDS[kinds.pop()], bits.pop()
    if size not in ((16, 32, 64) if kind == "f" else (8, 16, 32)):
        raise ValueError(f"has {size} bits a channel; read are 8, 16 and 32")
    return np.dtype(f"{order}{kind}{size // 8}")


def _check(tags: Tags, dtype: np.dtype[Any]) -> None:
    """Raise ValueError for unsupported features."""
    compression, predictor = tags.get(259, (1,))[0], tags.get(317, (1,))[0]
    if compression not in (_NO_COMPRESSION, *_DEFLATE):
        raise ValueError(f"is compressed (TIFF's number {compression}); write it plain or deflated")
    if predictor not in (1, 2) or (predictor == 2 and dtype.kind == "f"):
        raise ValueError(f"has the predictor {predictor}, which is not read here; write it plain")
    if tags.get(274, (1,))[0] != 1:
        raise ValueError("is stored turned, which is not read here; write it upright")
    if tags.get(266, (1,))[0] != 1:
        raise ValueError("has its bits in reverse order")


def tiff_tags(file: BinaryIO) -> tuple[Tags, str]:
    """Return the supported tags of the first directory of a TIFF or BigTIFF, and its byte order, < or >."""
    start = file.read(16)
    order = {b"II": "<", b"MM": ">"}.get(start[:2])
    if order is None:
        raise ValueError("has no byte order")
    big = struct.unpack_from(order + "H", start, 2)[0] == 43
    file.seek(struct.unpack_from(order + ("Q" if big else "I"), start, 8 if big else 4)[0])
    counter, head, inline = (order + "Q", order + "HHQ", 8) if big else (order + "H", order + "HHI", 4)
    count = struct.unpack(counter, file.read(struct.calcsize(counter)))[0]
    entry = struct.calcsize(head) + inline
    entries = file.read(entry * min(count, 4096))
    tags: Tags = {}
    for place in range(0, len(entries) - entry + 1, entry):
        tag, kind, amount = struct.unpack_from(head, entries, place)
        if tag not in _READ or kind not in _NUMBERS or not 0 < amount <= 1 << 24:
            continue
        numbers = f"{order}{amount}{_NUMBERS[kind]}"
        value = entries[place + entry - inline : place + entry]
        if struct.calcsize(numbers) > inline:  # the numbers lie elsewhere
            file.seek(struct.unpack(order + ("Q" if big else "I"), value)[0])
            value = file.read(struct.calcsize(numbers))
        tags[tag] = struct.unpack_from(numbers, value)
    return tags, order
