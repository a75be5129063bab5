"""Write results as files and as RGB pictures for pages, with any number of channels."""

import io
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from hdtrans.common.errors import UserError
from hdtrans.common.files import write_bytes
from hdtrans.common.pages import THUMBNAIL_SIDE

Array = npt.NDArray[Any]

DEGENERATE = {
    "of one colour": "all pixels are the same; the input may be empty, or the weights broken",
    "nearly all black and white": "right for drawings and masks; for photos, the input may differ from training data",
}
"""Signs of a suspicious result, and their possible causes."""

_SATURATED = 0.99  # share of values that are 0 or 255


def file_ending(channels: int, ending: str) -> str:
    """Return the ending of the results' names: `ending` for 1 or 3 channels, `png` for 4 or class ids, else `npy`.

    Args:
        channels: channels of the results; 0 for maps of class ids.
        ending: wanted ending, `png` or `jpg`.

    Raises:
        UserError: `ending` is `jpg`, and the results are class ids or have 4 channels.
    """
    if channels in (1, 3):
        return ending
    if channels in (0, 4) and ending == "jpg":
        finding = "changes class ids" if channels == 0 else "has no 4 channels"
        raise UserError(f"{finding}; leave it out", argument="ending", value="jpg")
    return "png" if channels in (0, 4) else "npy"


def write_result(target: Path, result: Array) -> None:
    """Write a result; a file that holds the same bytes already is not touched.

    Args:
        target: file that ends in `.png`, `.jpg` or `.npy`.
        result: (H, W) ids, written as grey PNG, of 16 bits if int32; or picture (H, W, C) uint8 or uint16.
    """
    data = encode_result(target, result)
    if not target.is_file() or target.read_bytes() != data:
        write_bytes(target, data)


def encode_result(target: Path, result: Array) -> bytes:
    """Return the bytes of a file that `write_result` writes."""
    if target.suffix == ".npy":
        file = io.BytesIO()
        np.save(file, result)
        return file.getvalue()
    if result.ndim == 2 and result.dtype != np.uint8:
        result = result.astype(np.uint16)
    elif result.ndim == 3 and result.shape[2] >= 3:
        result = np.ascontiguousarray(result[..., [2, 1, 0, 3][: result.shape[2]]])  # BGR for OpenCV
    options = [cv2.IMWRITE_JPEG_QUALITY, 95] if target.suffix == ".jpg" else [cv2.IMWRITE_PNG_COMPRESSION, 1]
    done, data = cv2.imencode(target.suffix, result, options)
    assert done, f"the encoder refused {result.dtype} {result.shape}"
    return data.tobytes()


def thinned(array: Array) -> Array:
    """Return every n-th row and column of a map or picture, at least four per pixel of a thumbnail."""
    step = max(1, max(array.shape[:2]) // (4 * THUMBNAIL_SIDE))
    return array[::step, ::step]


def degenerate_output(result: Array, natural: bool = True) -> str:
    """Return why a result is degenerate, a key of `DEGENERATE`, or ''.

    Args:
        result: (H, W) ids or (H, W, C) picture.
        natural: photographs are expected, which are never all black and white.
    """
    if result.shape[0] * result.shape[1] == 1:
        return ""
    if (result[0] == result[0, 0]).all() and (result == result[0, 0]).all():
        return "of one colour"
    if result.dtype != np.uint8 or not natural:
        return ""
    extreme = np.count_nonzero(result + np.uint8(1) < 2)  # 255 wraps around to 0
    return "nearly all black and white" if extreme > _SATURATED * result.size else ""
