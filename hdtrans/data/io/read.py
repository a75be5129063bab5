"""Read label maps, instance maps and pictures: ids exactly as stored, truncated pictures refused.

OpenCV decodes most formats, tifffile TIFF. Pillow decodes palettes (as indices, where OpenCV returns colours) and CMYK;
netpbm formats and .npy are decoded here. EXIF orientations are applied, so that a file is read as viewers show it.
"""

import io
import re
from collections.abc import Callable
from typing import Any, BinaryIO

import cv2
import numpy as np
import numpy.typing as npt
from PIL.BmpImagePlugin import BmpImageFile
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.WebPImagePlugin import WebPImageFile

from hdtrans.common.errors import UserError
from hdtrans.data.io.cut_off import check_jpeg, check_png, still_png
from hdtrans.data.io.header import (
    DECODER_ERRORS,
    EXTENSIONS,
    FilePath,
    Header,
    damaged,
    npy_header,
    open_regular,
    pnm_header,
    probe,
    read_header,
    shown,
)
from hdtrans.data.io.tables import read_row, split_row
from hdtrans.data.io.tiff import TiffPicture

__all__ = [
    "EXTENSIONS",
    "Header",
    "Loaded",
    "as_picture",
    "contents",
    "load",
    "probe",
    "read_instance",
    "read_label",
    "read_picture",
    "with_channels",
]

Array = npt.NDArray[Any]

Loaded = tuple[bytes, Header]
"""The bytes of a file, and what its header tells."""

_COMMENT = re.compile(rb"#[^\n]*")  # of netpbm

LARGEST_ID = 2**31 - 1

# What OpenCV would print about a damaged file is raised here, with the file's name.
(cv2.setLogLevel if hasattr(cv2, "setLogLevel") else cv2.utils.logging.setLogLevel)(0)  # OpenCV 4 and 5

_PILLOW: dict[str, Callable[[BinaryIO], ImageFile]] = {
    "PNG": PngImageFile,
    "JPEG": JpegImageFile,
    "BMP": BmpImageFile,
    "WEBP": WebPImageFile,
}
_KEYS_OF_CHANNELS = "data.source_channels for the pictures that go in, data.photo_channels for those that come out"
_PICTURE_TYPES = ("uint8", "uint16", "int32", "float16", "float32", "float64")  # of arrays that a caller gives


def read_label(path: FilePath, loaded: Loaded | None = None) -> npt.NDArray[np.uint8] | npt.NDArray[np.int32]:
    """Read a label map: (H, W) uint8, or int32 where the file has more than 8 bits.

    Grey PNG, TIFF, BMP and PGM give their values, a 1-bit file 0 and 1; palette files give the places in the palette;
    .npy holds integers.

    Args:
        path: the file.
        loaded: result of `load`, if the file was read before.

    Raises:
        UserError: a colour picture, a JPEG or WEBP (their ids are not exact), floating point numbers, an id outside
            [0, 2^31 - 1], or a file that `probe` or the decoder refuses.
    """
    data, header = loaded or load(path)
    if problem := label_problem(header):
        raise UserError(problem, path=path)
    label = _ids(path, header, _decode(path, data, header, as_ids=True))
    return label if label.dtype == np.uint8 else label.astype(np.int32, copy=False)


def label_problem(header: Header, noun: str = "label map") -> str:
    """Return why a file with this header cannot be a label map (or a map called `noun`), or ''."""
    article = "an" if noun[0] in "aeiou" else "a"
    if header.lossy:
        return (
            f"{article} {noun} is expected, but this is a {header.lossy}, which changes ids; "
            f"write {noun}s as PNG, TIFF (LZW, deflated or plain), PGM or .npy"
        )
    if header.channels > 1:
        return (
            f"{article} {noun} (one id a pixel) is expected, but this is a picture of {header.channels} channels; if "
            "its colours stand for classes, convert it to ids with a colour table first (hdtrans prepare)"
        )
    if header.floating:
        return f"{article} {noun} is expected, but this holds floating point numbers; write its ids as integers"
    return ""


def read_instance(path: FilePath, loaded: Loaded | None = None) -> npt.NDArray[np.int32]:
    """Read an instance map: (H, W) int32 opaque ids in [0, 2^31 - 1].

    An RGB file is a COCO panoptic map, whose id is R + 256 G + 65536 B; all others are read as label maps.

    Raises:
        UserError: as `read_label`.
    """
    data, header = loaded or load(path)
    if problem := instance_problem(header):
        raise UserError(problem, path=path)
    array = _decode(path, data, header, as_ids=True)
    if array.ndim == 2:
        return _ids(path, header, array).astype(np.int32, copy=False)
    weights = np.array([1, 256, 65536], np.int32)
    return np.asarray(array[..., :3].astype(np.int32) @ weights, np.int32)


def instance_problem(header: Header) -> str:
    """Say why a file with this header cannot be an instance map, or ''."""
    if header.channels == 3 and header.bits == 8 and not header.lossy and header.format != "npy":
        return ""
    return label_problem(header, "instance map")


def read_picture(
    path: FilePath, channels: int = 3, loaded: Loaded | None = None
) -> npt.NDArray[np.uint8 | np.int32 | np.float32]:
    """Read a picture: (H, W, C) in RGB order.

    8-bit files give uint8 in [0, 255], 16-bit files int32 in [0, 65535], floating point files float32, whose values
    must lie in [-1, 1]. Alpha is dropped unless `channels` includes it, grey is repeated to 3 channels, colour becomes
    grey for 1 channel (0.299 R + 0.587 G + 0.114 B), CMYK and palettes become RGB.

    Raises:
        UserError: another number of channels, values out of range or not finite, or a file that `probe` or the decoder
            refuses.
    """
    data, header = loaded or load(path)
    if problem := picture_problem(header, channels):
        raise UserError(problem, path=path)
    picture = _decode(path, data, header, as_ids=False)
    if picture.ndim == 2:
        picture = picture[..., None]
    return _in_range(shown(path), with_channels(picture, channels))


def as_picture(array: Array, channels: int, where: str) -> npt.NDArray[np.uint8 | np.int32 | np.float32]:
    """Convert an (H, W) or (H, W, C) array, uint8, uint16, int32 or floating point, to the form of `read_picture`.

    Raises:
        UserError: another type or number of channels, values out of range or not finite; `where` is its place.
    """
    if array.ndim not in (2, 3) or not array.size or array.dtype.name not in _PICTURE_TYPES:
        raise UserError(
            f"has shape {array.shape} and type {array.dtype}; a picture is (H, W) or (H, W, C), and uint8, "
            "uint16, int32 from 0 to 65535, or floating point in [-1, 1]",
            path=where,
        )
    if array.dtype.kind == "f":
        array = array.astype(np.float32, copy=False)
    picture = array[..., None] if array.ndim == 2 else array
    if problem := channels_problem(picture.shape[2], channels):
        raise UserError(problem, path=where)
    return _in_range(where, with_channels(picture, channels))


def picture_problem(header: Header, channels: int) -> str:
    """Return the reason why a file with this header cannot be a picture of so many channels, or ''."""
    if header.pages not in (1, channels):
        return (
            f"has {header.pages} grey pages, which are its channels, but {channels} channel(s) are wanted. Write the "
            f"page that is meant into a file of its own, or set the key to {header.pages}: {_KEYS_OF_CHANNELS}"
        )
    return channels_problem(header.picture_channels, channels)


def channels_problem(found: int, channels: int) -> str:
    """Return the reason why a picture of `found` channels cannot be read with `channels`, or ''."""
    if found == channels or (channels in (1, 3) and found in (1, 2, 3, 4)):
        return ""
    return f"has {found} channel(s), but {channels} are wanted ({_KEYS_OF_CHANNELS})"


def contents(path: str) -> bytes:
    """Return the bytes of a file, or of the numbers of a table row."""
    return read_row(path).tobytes() if split_row(path)[0] else load(path)[0]


def load(path: FilePath) -> Loaded:
    """Read a file's bytes and its header; raise UserError as `probe`."""
    file, size = open_regular(path)
    with file:
        try:
            data = file.read()
        except OSError as error:
            raise UserError(f"cannot be read ({size} bytes): {error.strerror or error}", path=path) from error
    return data, read_header(io.BytesIO(data), path, len(data))


def _decode(path: FilePath, data: bytes, header: Header, as_ids: bool) -> Array:
    """Decode to (H, W), or (H, W, C) in RGB order; palettes to indices if `as_ids`, else to colours."""
    try:
        if header.format == "npy":
            array = _decode_npy(data)
        elif header.format == "PNM":
            array = _decode_pnm(data, as_ids)
        elif header.format == "TIFF":
            array = TiffPicture(io.BytesIO(data)).decode(data, as_ids)
        elif (as_ids and (header.palette or header.format == "BMP")) or header.cmyk:
            array = _decode_pillow(data, header, as_ids)
        else:
            array = _decode_opencv(data, header)
            if as_ids and header.bits < 8 and not header.palette:
                array //= np.uint8(255 // (2**header.bits - 1))  # OpenCV spreads 1, 2 and 4 bits over [0, 255]
    except (*DECODER_ERRORS, cv2.error) as error:
        raise damaged(path, len(data), f"{header.format}: {error}") from error
    array = _turn(array, header.orientation)
    channels = header.channels if as_ids else header.picture_channels
    if problem := _unlike_header(array, header, channels):
        raise damaged(path, len(data), f"its header tells {problem}")
    return array


def _unlike_header(array: Array, header: Header, channels: int) -> str:
    """Return how a decoded array differs from the header in size, channels or type, or ''."""
    if array.shape[:2] != (header.height, header.width):
        return f"{header.width}x{header.height}, but it decodes to {array.shape[1]}x{array.shape[0]}"
    found = array.shape[2] if array.ndim == 3 else 1
    if found != channels:
        return f"{channels} channel(s), but it decodes to {found}"
    bits = 8 if header.palette and channels == 3 else min(header.bits, 32)  # colours of palettes have 8
    narrow = array.dtype.kind != "b" and 8 * array.dtype.itemsize < bits
    if narrow or (array.dtype.kind == "f") != header.floating:
        return f"{header.bits} bits{', floating point' * header.floating}, but it decodes to {array.dtype}"
    return ""


def _decode_opencv(data: bytes, header: Header) -> Array:
    if header.format == "PNG":
        check_png(data)
        data = still_png(data) if header.animated else data
    elif header.format == "JPEG":
        check_jpeg(data)
    colours = header.palette and header.format == "BMP"  # else a palette of greys gives one channel
    array = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR if colours else cv2.IMREAD_UNCHANGED)
    if array is None:
        # Pillow says what is wrong; what it alone can read is refused too, as it fills missing rows with black.
        _PILLOW[header.format](io.BytesIO(data)).load()
        raise ValueError("is cut off, damaged or of an unusual kind; write it again, for instance as PNG")
    if array.ndim == 3 and array.shape[2] == 4 and header.picture_channels < 4:
        # grey and alpha come as four channels, and so do files with a transparent value, which is no channel
        array = array[..., [2, 3]] if header.channels == 2 else array[..., : 3 if header.picture_channels == 3 else 1]
    if array.ndim == 3 and array.shape[2] == 3:
        array = np.ascontiguousarray(array)
        cv2.cvtColor(array, cv2.COLOR_BGR2RGB, array)
    elif array.ndim == 3 and array.shape[2] == 4:
        array = array[..., [2, 1, 0, 3]]
    return array[..., 0] if array.ndim == 3 and array.shape[2] == 1 else np.asarray(array)


def _decode_pillow(data: bytes, header: Header, as_ids: bool) -> Array:
    picture = _PILLOW[header.format](io.BytesIO(data))
    picture.load()
    return np.array(picture if as_ids else picture.convert("RGB"))  # a copy, which can be written to


def _decode_npy(data: bytes) -> Array:
    file = io.BytesIO(data)
    shape, fortran, dtype = npy_header(file)
    start, size = file.tell(), int(np.prod(shape, dtype=object)) * dtype.itemsize
    if len(data) - start < size:
        raise ValueError(f"is cut off: {len(data) - start} bytes of numbers, {dtype} of shape {shape} has {size}")
    array = np.frombuffer(data, dtype, count=size // dtype.itemsize, offset=start)
    array = array.reshape(shape[::-1]).transpose() if fortran else array.reshape(shape)
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[..., 0]
    return array.astype(dtype.newbyteorder("="))


def _decode_pnm(data: bytes, as_ids: bool) -> Array:
    """Decode P2, P3, P5 and P6; pictures are scaled so that white is 255 or 65535, ids are not."""
    kind, width, height, largest, start = pnm_header(data)
    shape = (height, width, 3) if kind in (3, 6) else (height, width)
    dtype = np.dtype(np.uint8 if largest < 256 else np.uint16)
    count = int(np.prod(shape))
    if kind in (2, 3):
        array = np.array(_COMMENT.sub(b"", data[start:]).split()[:count], dtype=np.int64)
    else:
        size = count * dtype.itemsize
        if data[start - 1 : start + 1] == b"\r\n" and len(data) == start + size + 1:
            start += 1  # a header with the line ends of Windows
        if data[start + size :].lstrip().startswith(data[:2]):
            raise ValueError("holds more than one picture; write each into a file of its own")
        array = np.frombuffer(data[start : start + size], dtype.newbyteorder(">")).astype(np.int64)
    if array.size < count:
        raise ValueError(f"is cut off: {array.size} of {count} values")
    if array.min() < 0 or array.max() > largest:
        raise ValueError(f"has a value outside 0 to {largest}, which its header calls white")
    white = 255 if largest < 256 else 65535
    if not as_ids and largest != white:
        array = (array * white + largest // 2) // largest
    return array.astype(dtype).reshape(shape)


def _turn(array: Array, orientation: int) -> Array:
    """Apply an EXIF orientation."""
    if orientation in (2, 7):
        array = array[:, ::-1]
    elif orientation in (4, 5):
        array = array[::-1]
    quarters = {3: 2, 5: -1, 6: -1, 7: -1, 8: 1}.get(orientation, 0)
    return np.ascontiguousarray(np.rot90(array, quarters))


def _ids(path: FilePath, header: Header, array: Array) -> Array:
    """Validate the range of ids, (H, W)."""
    if array.dtype == np.bool_:
        return array.astype(np.uint8)
    assert array.ndim == 2 and array.dtype.kind in "iu", f"{path}: {array.dtype} {array.shape} from {header}"
    if array.dtype.itemsize > 2 or array.dtype.kind == "i":
        lowest, highest = int(array.min()), int(array.max())
        if lowest < 0 or highest > LARGEST_ID:
            bad = lowest if lowest < 0 else highest
            row, column = (int(place[0]) for place in np.nonzero(array == bad))
            raise UserError(
                f"holds the id {bad} at row {row}, column {column}; allowed are 0 to {LARGEST_ID}. "
                "Give pixels without a class the id of data.ignore",
                path=path,
            )
    return array.astype(np.uint8) if array.dtype == np.int8 else array


def with_channels(picture: Array, channels: int) -> Array:
    """Convert an (H, W, C) picture to another number of channels, by the rules of `read_picture`."""
    found = picture.shape[2]
    if found in (2, 4) and channels in (1, 3):
        picture = picture[..., : found - 1]
    if picture.shape[2] == 1 and channels == 3:
        picture = np.repeat(picture, 3, axis=2)
    elif picture.shape[2] == 3 and channels == 1:
        if picture.dtype.kind == "i":
            picture = picture.astype(np.float64) @ (0.299, 0.587, 0.114)
            picture = np.rint(picture).astype(np.int32)[..., None]
        else:
            picture = cv2.cvtColor(np.ascontiguousarray(picture), cv2.COLOR_RGB2GRAY)[..., None]
    return np.ascontiguousarray(picture)


def _in_range(where: str, picture: Array) -> npt.NDArray[np.uint8 | np.int32 | np.float32]:
    """Validate the values of a picture and return it as uint8, int32 or float32."""
    if picture.dtype == np.uint8:
        return picture
    if picture.dtype == np.uint16:
        return picture.astype(np.int32)
    lowest, highest = picture.min(), picture.max()
    if picture.dtype.kind == "f":
        if not (lowest >= -1 and highest <= 1):
            raise UserError(
                f"holds floating point values from {lowest:g} to {highest:g}; floating point pictures "
                "must lie in [-1, 1], where -1 is black and 1 is white. Scale it, or write it with 8 or 16 bits",
                path=where,
            )
        return picture.astype(np.float32, copy=False)
    if picture.dtype == np.bool_ or lowest < 0 or highest > 65535:
        raise UserError(
            f"holds {picture.dtype} values from {lowest} to {highest}; a picture holds 8 bits, 16 bits "
            "(0 to 65535) or floating point numbers in [-1, 1]",
            path=where,
        )
    return picture.astype(np.int32)
