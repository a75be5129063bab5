"""Decode pictures inside annotation files: base64 of a whole picture file."""

import base64
import binascii
from typing import Any

import cv2
import numpy as np

from hdtrans.common.errors import UserError
from hdtrans.prepare.sources.documents import abridged
from hdtrans.prepare.sources.shapes import Mask
from hdtrans.prepare.sources.source import EmbeddedPhoto


def embedded_photo(text: Any, where: str) -> EmbeddedPhoto:
    """Decode a photo; raise UserError if it is no base64. `where` is its place."""
    try:
        data = _decoded(text)
    except (binascii.Error, TypeError, ValueError) as error:
        finding = f"{where}: is no base64 picture: {error}; put back the file that imagePath names"
        raise UserError(finding) from error
    return EmbeddedPhoto(where, data)


def embedded_mask(text: Any, where: str) -> Mask:
    """Decode a mask, a PNG whose pixels above 0 belong to the shape; raise UserError if it is none."""
    try:
        data = _decoded(text or "")
        picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE) if data else None
    except (binascii.Error, TypeError, ValueError, cv2.error) as error:
        raise UserError(f"{where}: mask is no base64 PNG: {error}") from error
    if picture is None:
        raise UserError(f"{where}: mask is no base64 PNG: {abridged(text)}")
    return np.asarray(picture > 0)


def _decoded(text: Any) -> bytes:
    """Decode base64, with or without line breaks, padding and the start of a data URL."""
    if not isinstance(text, str):
        raise TypeError(f"got {abridged(text)}")
    letters = "".join(text.split())
    if letters.startswith("data:"):
        letters = letters.partition(",")[2]
    return base64.b64decode(letters + "=" * (-len(letters) % 4), validate=True)
