"""Broken twins of reading and scaling label maps."""

import io
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from hdtrans.data.geometry import Plan


def mixing_neighbours(self: Plan, x: np.ndarray) -> np.ndarray:
    """Scale ids as if they were colours."""
    assert self.resize is not None
    return cv2.resize(x.astype(np.float32), self.resize[::-1]).astype(x.dtype)


def in_8_bits(self: Plan, x: np.ndarray) -> np.ndarray:
    """Scale ids as colours of 8 bits."""
    assert self.resize is not None
    return cv2.resize(x.astype(np.uint8), self.resize[::-1]).astype(x.dtype)


def shades_of_grey(patch: pytest.MonkeyPatch) -> None:
    """Read palettes and wide ids as shades of grey."""

    def shades(path: Path, data: bytes, header: Any, as_ids: bool) -> np.ndarray:
        return np.array(Image.open(io.BytesIO(data)).convert("L"))

    patch.setattr("hdtrans.data.io.read._decode", shades)


def letting_errors_through(patch: pytest.MonkeyPatch) -> None:
    """Catch no error of a decoder."""
    for module in ("header", "read"):
        patch.setattr(f"hdtrans.data.io.{module}.DECODER_ERRORS", ())
