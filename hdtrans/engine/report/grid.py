"""Preview grid: pictures side by side in one image, with the names of rows and columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import cv2
import numpy as np
import numpy.typing as npt

__all__ = ["Pictures", "sample_grid"]

Pictures = Mapping[str, Sequence[npt.NDArray[np.uint8]]]
"""Columns of a grid by name, each one (H, W, 3) uint8 RGB picture in [0, 255] for each row."""

_GAP, _PAPER, _INK = 6, 250, 40  # pixels between pictures, grey level of the background, grey level of the text


def sample_grid(names: Sequence[str], pictures: Pictures) -> npt.NDArray[np.uint8]:
    """Lay pictures out as a grid with the names of its columns and rows; no picture is resized.

    Args:
        names: names of the rows.
        pictures: columns by name, each one (H, W, 3) uint8 RGB picture for each row; sizes may differ.

    Returns:
        (height, width, 3) uint8 RGB.

    Raises:
        ValueError: a column has another number of pictures than there are names, or a picture is not (H, W, 3) uint8.
    """
    for column, shown in pictures.items():
        if len(shown) != len(names):
            raise ValueError(f"{column}: {len(shown)} pictures for {len(names)} names")
        for picture in shown:
            if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3:
                raise ValueError(f"{column}: expected (H, W, 3) uint8, got {picture.shape} {picture.dtype}")
    heights = [max((shown[row].shape[0] for shown in pictures.values()), default=0) for row in range(len(names))]
    widths = [max((picture.shape[1] for picture in shown), default=0) for shown in pictures.values()]
    strip = min(48, max(16, max(widths, default=0) // 24))  # height of a line of text, pixels
    height = strip + sum(strip + tall + _GAP for tall in heights) + _GAP
    grid = np.full((height, sum(wide + _GAP for wide in widths) + _GAP, 3), _PAPER, dtype=np.uint8)
    left = _GAP
    for column, wide in zip(pictures, widths, strict=True):
        top = strip
        _write_text(grid, column, 0, left, strip, wide)
        for picture, tall in zip(pictures[column], heights, strict=True):
            top += strip
            grid[top : top + picture.shape[0], left : left + picture.shape[1]] = picture
            top += tall + _GAP
        left += wide + _GAP
    top = strip
    for name, tall in zip(names, heights, strict=True):
        _write_text(grid, name, top, _GAP, strip, grid.shape[1] - 2 * _GAP)
        top += strip + tall + _GAP
    return grid


def _write_text(grid: npt.NDArray[np.uint8], text: str, top: int, left: int, strip: int, room: int) -> None:
    """Write a line of text into a strip of the grid, cut to `room` pixels; letters that the font lacks become `?`."""
    shown = text.encode("ascii", "replace").decode("ascii")
    area = grid[top : top + strip, left : left + max(0, room)]
    canvas = np.ascontiguousarray(area)
    place = (0, round(strip * 0.72))
    cv2.putText(canvas, shown, place, cv2.FONT_HERSHEY_SIMPLEX, strip / 40, (_INK, _INK, _INK), 1, cv2.LINE_AA)
    area[:] = canvas
