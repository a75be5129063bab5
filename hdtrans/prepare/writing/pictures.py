"""Photos and maps of one item: read, cut, scaled and encoded."""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from hdtrans.common.errors import UserError
from hdtrans.data.io.header import Header, probe, shown
from hdtrans.data.io.read import read_picture

Array = npt.NDArray[Any]

PHOTO_FILTER = "bicubic, antialiased (Pillow)"
MAP_FILTER = "nearest by pixel centre"

_JPEG = [
    *(cv2.IMWRITE_JPEG_QUALITY, 95),
    *(cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444),
]
_PNG = [cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE]  # twice as fast as others, and as small
_FORMATS = {"png": "PNG", "jpg": "JPEG"}
_KEPT = {1: 1, 2: 1, 3: 3, 4: 4}  # channels in a file: channels in a PNG


@dataclass(frozen=True)
class Frame:
    """The part of a picture that is kept, and the size it is brought to.

    Attributes:
        box: top, left, height and width of the part.
        size: (height, width) of what is written.
    """

    box: tuple[int, int, int, int]
    size: tuple[int, int]

    @property
    def scales(self) -> bool:
        """Whether the part is scaled."""
        return self.box[2:] != self.size

    def map(self, array: Array) -> Array:
        """Cut and scale an (H, W) map: the id at the centre of each new pixel, never a mixture."""
        top, left, height, width = self.box
        if not self.scales:
            return np.ascontiguousarray(array[top : top + height, left : left + width])
        rows = top + centres(height, self.size[0])
        columns = left + centres(width, self.size[1])
        return np.asarray(array[rows[:, None], columns])

    def photo(self, array: Array) -> Array:
        """Cut and scale an (H, W, C) photo, uint8 or int32 in [0, 65535]: bicubic (a = -0.5), antialiased."""
        top, left, height, width = self.box
        part = np.ascontiguousarray(array[top : top + height, left : left + width])
        return resize_photo(part, *self.size) if self.scales else part


def frame_of(shape: tuple[int, ...], size: tuple[int, int] | None, crop_to_aspect: bool) -> Frame:
    """Return the frame of a picture of a shape (H, W, ...): all of it, or its middle with the aspect of `size`."""
    height, width = shape[:2]
    if size is None:
        return Frame((0, 0, height, width), (height, width))
    if not crop_to_aspect:
        return Frame((0, 0, height, width), size)
    rows = min(height, max(1, round(width * size[0] / size[1])))
    columns = min(width, max(1, round(height * size[1] / size[0])))
    return Frame(((height - rows) // 2, (width - columns) // 2, rows, columns), size)


def centres(before: int, after: int) -> npt.NDArray[np.intp]:
    """Return the old places in which the centres of the new pixels lie."""
    return ((2 * np.arange(after) + 1) * before // (2 * after)).astype(np.intp)


def resize_photo(photo: Array, height: int, width: int) -> Array:
    """Scale an (H, W, C) photo, uint8 or int32 in [0, 65535], with Pillow's bicubic filter; its type stays."""
    if photo.dtype == np.uint8 and photo.shape[2] in (1, 3):
        picture = Image.fromarray(photo[..., 0] if photo.shape[2] == 1 else photo)
        return np.asarray(picture.resize((width, height), Image.Resampling.BICUBIC)).reshape(height, width, -1)
    channels = [
        np.asarray(Image.fromarray(photo[..., c].astype(np.float32)).resize((width, height), Image.Resampling.BICUBIC))
        for c in range(photo.shape[2])
    ]
    largest = 255 if photo.dtype == np.uint8 else 65535
    return np.clip(np.rint(np.stack(channels, axis=2)), 0, largest).astype(photo.dtype)


def read_photo(path: Path, kind: str) -> tuple[Array, Header, tuple[str, ...]]:
    """Read a photo for a file of a kind (png, jpg, npy): (H, W, C) uint8 or int32, its header, and what was dropped.

    Raises:
        UserError: it cannot be read, or does not fit the kind.
    """
    header = probe(path)
    colours = 3 if header.palette or header.cmyk else _KEPT.get(header.channels, header.channels)
    channels = 3 if kind == "jpg" and colours == 4 else colours
    if header.floating or channels > 4:
        found = "holds floating point numbers" if header.floating else f"has {channels} channels"
        raise UserError(
            f"{shown(path)}: {found}, which PNG and JPEG cannot; photos have 1 to 4 channels of 8 or 16 bits"
        )
    if kind == "jpg" and header.bits > 8:
        raise UserError(f"{shown(path)}: has {header.bits} bits, which JPEG cannot hold; use --photos png")
    dropped = header.channels in (2, 4) and channels < header.channels and not header.cmyk
    return read_picture(path, channels), header, ("the photo's transparency was dropped",) if dropped else ()


def photo_bytes(photo: Array, path: Path, header: Header, kind: str, frame: Frame) -> bytes:
    """Return the bytes of the file of a photo: its own where nothing changes, else encoded.

    JPEG has quality 95 and full colour resolution.
    """
    if kind == "npy":
        return encode_npy(photo)
    whole = frame.box == (0, 0, *photo.shape[:2]) and not frame.scales
    if whole and header.format == _FORMATS[kind] and header.channels == photo.shape[2]:
        return path.read_bytes()
    return encode_jpeg(photo) if kind == "jpg" else encode_png(photo)


def encode_jpeg(photo: Array) -> bytes:
    """Return an (H, W, 1 or 3) uint8 RGB photo as JPEG."""
    return _encode(".jpg", photo, _JPEG)


def encode_png(picture: Array) -> bytes:
    """Return an (H, W) map or an (H, W, C) picture, RGB, as PNG of 8 bits, or of 16 where its type has more."""
    return _encode(".png", picture if picture.dtype == np.uint8 else picture.astype(np.uint16), _PNG)


def encode_npy(picture: Array) -> bytes:
    """Return an (H, W) map or an (H, W, C) picture, RGB, as a .npy file of 8 bits, or of 16 where its type has more."""
    file = io.BytesIO()
    np.save(file, picture if picture.dtype == np.uint8 else picture.astype(np.uint16), allow_pickle=False)
    return file.getvalue()


def _encode(kind: str, picture: Array, how: list[int]) -> bytes:
    if picture.ndim == 3 and picture.shape[2] >= 3:
        code = cv2.COLOR_RGB2BGR if picture.shape[2] == 3 else cv2.COLOR_RGBA2BGRA
        picture = cv2.cvtColor(np.ascontiguousarray(picture), code)
    done, data = cv2.imencode(kind, picture, how)
    assert done, f"cv2 writes {picture.dtype} of {picture.shape} as {kind}"
    return data.tobytes()
