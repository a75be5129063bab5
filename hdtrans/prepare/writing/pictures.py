"""Read, crop, scale and encode the photo and maps of one item."""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from hdtrans.common.errors import Advice, UserError
from hdtrans.data.io.header import read_header
from hdtrans.data.io.read import Loaded, load, read_picture
from hdtrans.prepare.sources.source import EmbeddedPhoto

Array = npt.NDArray[Any]

PHOTO_FILTER = "bicubic, antialiased (Pillow)"
MAP_FILTER = "nearest by pixel centre"

_JPEG = [
    *(cv2.IMWRITE_JPEG_QUALITY, 95),
    *(cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444),
]
_PNG = [cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE]  # twice as fast as the others at the same size
_FORMATS = {"png": "PNG", "jpg": "JPEG"}
_TRANSPARENT = "the photo has transparent pixels: alpha is kept, but a training drops it unless data.photo_channels=4"
_FOURTH = "the photo's fourth channel is no alpha by its file: a training drops it unless data.photo_channels=4"
_PNG_CHANNELS = {1: 1, 2: 1, 3: 3, 4: 4}  # written channels, by channels of the source file


@dataclass(frozen=True)
class Frame:
    """Crop box and output size of a picture, in pixels.

    Attributes:
        box: (top, left, height, width) of the crop.
        size: (height, width) after scaling.
    """

    box: tuple[int, int, int, int]
    size: tuple[int, int]

    @property
    def scales(self) -> bool:
        """True if the crop is scaled."""
        return self.box[2:] != self.size

    def map(self, array: Array) -> Array:
        """Crop and scale an (H, W) map, nearest by pixel centre."""
        top, left, height, width = self.box
        if not self.scales:
            return np.ascontiguousarray(array[top : top + height, left : left + width])
        rows = top + centres(height, self.size[0])
        columns = left + centres(width, self.size[1])
        return np.asarray(array[rows[:, None], columns])

    def photo(self, array: Array) -> Array:
        """Crop and scale an (H, W, C) photo, uint8 or int32 in [0, 65535]: bicubic (a = -0.5), antialiased."""
        top, left, height, width = self.box
        part = np.ascontiguousarray(array[top : top + height, left : left + width])
        return resize_photo(part, *self.size) if self.scales else part


def make_frame(shape: tuple[int, ...], size: tuple[int, int] | None, crop_to_aspect: bool) -> Frame:
    """Return the frame of a picture: all of it, or a centre crop with the aspect ratio of `size`.

    Args:
        shape: (H, W, ...) of the picture.
        size: (height, width) after scaling, or None to keep the size.
        crop_to_aspect: crop instead of stretching.
    """
    height, width = shape[:2]
    if size is None:
        return Frame((0, 0, height, width), (height, width))
    if not crop_to_aspect:
        return Frame((0, 0, height, width), size)
    rows = min(height, max(1, round(width * size[0] / size[1])))
    columns = min(width, max(1, round(height * size[1] / size[0])))
    return Frame(((height - rows) // 2, (width - columns) // 2, rows, columns), size)


def centres(before: int, after: int) -> npt.NDArray[np.intp]:
    """Return the old index under the centre of each new pixel, (after,), for a line of `before` pixels."""
    return ((2 * np.arange(after) + 1) * before // (2 * after)).astype(np.intp)


def resize_photo(photo: Array, height: int, width: int) -> Array:
    """Scale an (H, W, C) photo, uint8 or int32 in [0, 65535], with Pillow's bicubic filter; the dtype is kept."""
    if photo.dtype == np.uint8 and photo.shape[2] in (1, 3):
        picture = Image.fromarray(photo[..., 0] if photo.shape[2] == 1 else photo)
        return np.asarray(picture.resize((width, height), Image.Resampling.BICUBIC)).reshape(height, width, -1)
    channels = [
        np.asarray(Image.fromarray(photo[..., c].astype(np.float32)).resize((width, height), Image.Resampling.BICUBIC))
        for c in range(photo.shape[2])
    ]
    largest = 255 if photo.dtype == np.uint8 else 65535
    return np.clip(np.rint(np.stack(channels, axis=2)), 0, largest).astype(photo.dtype)


def load_photo(source: Path | EmbeddedPhoto) -> Loaded:
    """Return the bytes and the header of a photo; raise UserError if it is no picture."""
    if isinstance(source, EmbeddedPhoto):
        return source.data, read_header(io.BytesIO(source.data), source.where, len(source.data))
    return load(source)


def photo_place(source: Path | EmbeddedPhoto) -> str:
    """Return the file of a photo, or its place in an annotation file, for messages."""
    return source.where if isinstance(source, EmbeddedPhoto) else str(source)


def read_photo(source: Path | EmbeddedPhoto, kind: str) -> tuple[Array, Loaded, tuple[str, ...]]:
    """Read a photo with the channels that the output file type can store.

    Args:
        source: photo file, or the photo inside an annotation file.
        kind: output file type: `png`, `jpg` or `npy`.

    Returns:
        The photo, (H, W, C) uint8 or int32 in [0, 65535], its bytes and header, and notes about alpha and colours.

    Raises:
        UserError: the photo cannot be read, or the file type cannot store it.
    """
    path, loaded = photo_place(source), load_photo(source)
    header = loaded[1]
    colours = 3 if header.palette or header.cmyk else _PNG_CHANNELS.get(header.channels, header.channels)
    channels = 3 if kind == "jpg" and colours == 4 else colours
    if header.floating or channels > 4:
        found = "has floating-point pixels" if header.floating else f"has {channels} channels"
        raise UserError(f"{found}; photos must have 1 to 4 channels of 8 or 16 bits", path=path)
    if header.pages not in (1, 3):
        raise UserError(f"has {header.pages} pages; a photo is one picture, or three pages of its colours", path=path)
    if kind == "jpg" and header.bits > 8:
        finding = f"has {header.bits} bits per channel, but JPEG has 8"
        raise UserError(finding, path=path, advice=[Advice("photos", "png")])
    photo = read_picture(path, channels, loaded)
    notes = [f"the photo's colour profile {header.profile!r} was not applied"] if header.profile else []
    if header.animated:
        notes.append("the photo is animated; its first picture was taken")
    if not header.cmyk and header.channels in (2, 4):
        opaque = 255 if photo.dtype == np.uint8 else 65535
        if channels < header.channels:
            notes.append(f"the photo's {'alpha' if header.transparent else 'last'} channel was dropped")
        elif (photo[..., -1] != opaque).any():
            notes.append(_TRANSPARENT if header.transparent else _FOURTH)
    elif header.transparent:
        notes.append("the photo has transparent pixels (by a mask or colour): the colours stored there are used")
    return photo, loaded, tuple(notes)


def photo_bytes(photo: Array, loaded: Loaded, kind: str, frame: Frame) -> bytes:
    """Encode a photo; an unchanged photo of the right file type keeps its own bytes.

    Args:
        photo: (H, W, C) uint8 or int32, at its output size.
        loaded: bytes and header of its file.
        kind: output file type: `png`, `jpg` (quality 95, no chroma subsampling) or `npy`.
        frame: the applied crop and scaling.
    """
    if kind == "npy":
        return encode_npy(photo)
    whole = frame.box == (0, 0, *photo.shape[:2]) and not frame.scales
    data, header = loaded
    if whole and header.format == _FORMATS[kind] and header.channels == photo.shape[2]:
        return data
    return encode_jpeg(photo) if kind == "jpg" else encode_png(photo)


def encode_jpeg(photo: Array) -> bytes:
    """Encode an (H, W, C) uint8 photo, C in {1, 3}, RGB, as JPEG."""
    return _encode(".jpg", photo, _JPEG)


def encode_png(picture: Array) -> bytes:
    """Encode an (H, W) map or (H, W, C) RGB picture as PNG: uint8 with 8 bits, other types with 16."""
    return _encode(".png", picture if picture.dtype == np.uint8 else picture.astype(np.uint16), _PNG)


def encode_npy(picture: Array) -> bytes:
    """Encode an (H, W) map or (H, W, C) RGB picture as .npy: uint8 as it is, other types as uint16."""
    file = io.BytesIO()
    np.save(file, picture if picture.dtype == np.uint8 else picture.astype(np.uint16), allow_pickle=False)
    return file.getvalue()


def _encode(kind: str, picture: Array, settings: list[int]) -> bytes:
    if picture.ndim == 3 and picture.shape[2] >= 3:
        code = cv2.COLOR_RGB2BGR if picture.shape[2] == 3 else cv2.COLOR_RGBA2BGRA
        picture = cv2.cvtColor(np.ascontiguousarray(picture), code)
    done, data = cv2.imencode(kind, picture, settings)
    assert done, f"cv2 cannot encode {picture.dtype} {picture.shape} as {kind}"
    return data.tobytes()
