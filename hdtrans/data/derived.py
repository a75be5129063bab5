"""Pictures derived from pictures and maps: edges, Lab, low resolution, boundaries, components, one channel per class.

Training, previews, inference and preparation all use these. Preparation runs without torch, which is imported only to
scale. Pictures are (H, W, C): uint8 in [0, 255], int32 in [0, 65535], or float32 in [-1, 1].
"""

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from hdtrans.common.classes import ClassTable
from hdtrans.data.io.read import with_channels

Array = npt.NDArray[Any]
Bytes = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]

LARGEST_AB = 110.0
"""Divisor of the colours a and b; those of sRGB reach 108."""


def edges(photo: Array, low: float = 100, high: float = 200, blur: float = 1) -> Bytes:
    """Draw the edges of a photo (Canny, 1986): (H, W, 1) uint8, 0 on a line and 255 elsewhere.

    Args:
        photo: (H, W, C), C in {1, 3}.
        low, high: thresholds of the Sobel gradient's Euclidean length in the grey photo, in 8-bit levels.
        blur: standard deviation of the Gaussian blur before, in pixels; 0 for none.
    """
    grey = np.ascontiguousarray(with_channels(eight_bit(photo), 1)[..., 0])
    if blur:
        grey = cv2.GaussianBlur(grey, (0, 0), blur)
    lines = cv2.Canny(grey, low, high, L2gradient=True)
    return np.asarray(255 - lines[..., None], np.uint8)


def low_resolution(photo: Array, factor: int) -> Array:
    """Scale a photo down by `factor`, antialiased, and back to its size, bicubic; the dtype is kept."""
    from hdtrans.data.geometry import scale_picture

    height, width = photo.shape[:2]
    small = scale_picture(photo, max(1, round(height / factor)), max(1, round(width / factor)))
    return scale_picture(small, height, width)


def lab_of(photo: Array) -> tuple[Floats, Floats]:
    """Convert an sRGB photo to CIE Lab (D65): L/50 - 1, (H, W, 1), and ab/110, (H, W, 2), both clipped to [-1, 1]."""
    if np.issubdtype(photo.dtype, np.floating):
        unit = (photo.astype(np.float32) + 1) / 2
    else:
        unit = photo.astype(np.float32) / (255 if photo.dtype == np.uint8 else 65535)
    lab = cv2.cvtColor(np.ascontiguousarray(with_channels(unit, 3)), cv2.COLOR_RGB2Lab)
    lightness = np.clip(lab[..., :1] / 50 - 1, -1, 1)
    return lightness.astype(np.float32), np.clip(lab[..., 1:] / LARGEST_AB, -1, 1).astype(np.float32)


def rgb_of(lightness: Floats, colours: Floats, bits: int = 8) -> Array:
    """Convert L/50 - 1 and ab/110 to sRGB, (H, W, 3) uint8 or uint16; colours outside sRGB are clipped."""
    lab = np.concatenate([(lightness + 1) * 50, colours * LARGEST_AB], axis=2).astype(np.float32)
    unit = np.clip(cv2.cvtColor(lab, cv2.COLOR_Lab2RGB), 0, 1)
    return np.rint(unit * (2**bits - 1)).astype(np.uint8 if bits == 8 else np.uint16)


def boundaries(ids: Array) -> Bytes:
    """Return (H, W, 1) uint8: 255 where an id differs from that of a 4-neighbour, on both pixels; else 0.

    Example: `boundaries(np.array([[1, 1, 2]]))[..., 0]` gives `[[0, 255, 255]]`.
    """
    found = np.zeros(ids.shape, bool)
    across, down = ids[:, 1:] != ids[:, :-1], ids[1:] != ids[:-1]
    found[:, 1:] |= across
    found[:, :-1] |= across
    found[1:] |= down
    found[:-1] |= down
    return np.asarray(found[..., None] * np.uint8(255), np.uint8)


def components(label: Array) -> npt.NDArray[np.int32]:
    """Label the 4-connected components of every class: (H, W) ids from 1 on.

    One pass serves all classes, on a map of twice the size: a pixel between two pixels of the label map is set where
    both have the same class.

    Example: `components(np.array([[3, 0, 3], [3, 3, 3]]))` gives `[[1, 2, 1], [1, 1, 1]]`.
    """
    height, width = label.shape
    joined = np.zeros((2 * height - 1, 2 * width - 1), np.uint8)
    joined[::2, ::2] = 1
    joined[::2, 1::2] = label[:, 1:] == label[:, :-1]
    joined[1::2, ::2] = label[1:] == label[:-1]
    ids = cv2.connectedComponents(joined, connectivity=4, ltype=cv2.CV_32S)[1]
    return np.ascontiguousarray(ids[::2, ::2], np.int32)


def one_hot(label: Array, labels: int) -> Bytes:
    """Return (H, W, labels) uint8: 255 in the channel of a pixel's class, else 0; other ids have no channel."""
    return np.asarray((label[..., None] == np.arange(labels)) * np.uint8(255), np.uint8)


def to_rgb(array: Array, classes: ClassTable | None = None) -> Bytes:
    """Return a map or picture as people look at it: (H, W, 3) uint8 RGB.

    Args:
        array: (H, W) class ids, or an (H, W, C) picture; of 1 or 2 channels the first is shown grey, of more than 3 the
            first three are shown.
        classes: colours of the classes; None gives every id a colour of its own.
    """
    if array.ndim == 2:
        return (classes or ClassTable.generic(int(array.max()) + 1)).colourise(array)
    picture = eight_bit(array)
    if picture.shape[2] < 3:
        return np.repeat(picture[..., :1], 3, 2)
    return np.ascontiguousarray(picture[..., :3])


def eight_bit(picture: Array) -> Bytes:
    """Return a picture as uint8, rounded."""
    if picture.dtype == np.uint8:
        return picture
    scaled = (picture + 1) * 127.5 if np.issubdtype(picture.dtype, np.floating) else picture / 257
    return np.asarray(np.rint(np.clip(scaled, 0, 255)), np.uint8)
