"""One geometry per sample: scale, crop and mirror, the same for the maps and the pictures."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from hdtrans.common.errors import UserError
from hdtrans.config.stage import GeometryKind, Size, Stage

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Geometry:
    """Scaling and cropping from a file's size to the size that networks see: keys of a stage.

    `scale_width_and_crop` uses only the width of `load`.
    """

    kind: GeometryKind = "none"
    size: Size | None = None
    load: Size | None = None

    @classmethod
    def of(cls, stage: Stage) -> "Geometry":
        """Return the geometry of a stage of a recipe."""
        return cls(stage.geometry, stage.size, stage.load)


@dataclass(frozen=True)
class Plan:
    """Resize to (height, width), then crop (top, left, height, width), then mirror; None leaves a step out."""

    resize: tuple[int, int] | None = None
    crop: tuple[int, int, int, int] | None = None
    flip: bool = False

    def map(self, array: Array) -> Array:
        """Apply to an (H, W) map of ids of any dtype, by the nearest pixel centre."""
        height, width = self.resize or array.shape[:2]
        top, left, rows, columns = self.crop or (0, 0, height, width)
        if self.resize is None or self.resize == array.shape[:2]:
            array = array[top : top + rows, left : left + columns]
        else:
            vertical = resample_ids(array.shape[0], height)[top : top + rows]
            horizontal = resample_ids(array.shape[1], width)[left : left + columns]
            array = array[vertical[:, None], horizontal]
        return np.ascontiguousarray(array[:, ::-1] if self.flip else array)

    def picture(self, array: Array) -> Array:
        """Apply to an (H, W, C) picture, uint8, int32 in [0, 65535] or float32 in [-1, 1], with any number of channels.

        Scaling is bicubic (Keys, a = -0.5), antialiased when it reduces, as Pillow's: uint8 results differ from
        Pillow's by one level in 1 of 50,000 values of photos (of noise: in 1 of 200). int32 is within one level of
        65,535, float32 within 1e-4; all stay in their range.
        """
        if self.resize is not None and self.resize != array.shape[:2]:
            array = scale_picture(array, *self.resize)
        if self.crop is not None:
            top, left, height, width = self.crop
            array = array[top : top + height, left : left + width]
        return cv2.flip(array, 1).reshape(array.shape) if self.flip else np.ascontiguousarray(array)

    def points(self, array: Array, size: tuple[int, int], mirror: Sequence[int] | None = None) -> Array:
        """Apply to (N, 2) pixel coordinates x, y of a picture of (height, width) `size`; NaN stays NaN.

        Args:
            array: coordinates from the upper left corner of the picture, so that scaling multiplies them.
            size: height and width before the geometry.
            mirror: where the picture is mirrored, point k of the result is point `mirror[k]` (left and right eye
                exchange places); None keeps the order.
        """
        height, width = self.resize or size
        top, left, _, columns = self.crop or (0, 0, height, width)
        x = array[:, 0] * (width / size[1]) - left
        y = array[:, 1] * (height / size[0]) - top
        if not self.flip:
            return np.stack([x, y], 1).astype(np.float32)
        order = slice(None) if mirror is None else list(mirror)
        return np.stack([columns - x, y], 1)[order].astype(np.float32)


def plan(geometry: Geometry, height: int, width: int, flip: bool, random: np.random.Generator | None) -> Plan:
    """Draw the geometry of one sample of size (height, width).

    Args:
        geometry: scaling and cropping of the stage.
        height, width: size of the sample's files, in pixels.
        flip: mirror left to right with probability 0.5.
        random: generator of the sample; always three draws, used or not. None centres crops and mirrors nothing.

    Raises:
        UserError: the crop is larger than what it is cut from, or `scale_width` gives another height than wanted.

    Example: `plan(Geometry("crop", Size(height=2, width=2)), 4, 6, True, None)` gives `Plan(crop=(1, 2, 2, 2))`.
    """
    down, right, mirror = (0.5, 0.5, 1.0) if random is None else random.random(3)
    resize = _scaled(geometry, height, width)
    crop = None
    if geometry.kind in ("crop", "resize_and_crop", "scale_width_and_crop"):
        assert geometry.size is not None
        crop = _crop(geometry, *(resize or (height, width)), down, right)
    return Plan(
        resize if resize != (height, width) else None,
        crop if crop != (0, 0, *(resize or (height, width))) else None,
        bool(flip and mirror < 0.5),
    )


def _scaled(geometry: Geometry, height: int, width: int) -> tuple[int, int] | None:
    """Return the (height, width) that a file is scaled to, or None."""
    size, load = geometry.size, geometry.load
    if geometry.kind == "resize":
        assert size is not None
        return size.height, size.width
    if geometry.kind == "resize_and_crop":
        assert load is not None
        return load.height, load.width
    if geometry.kind == "scale_width_and_crop":
        assert load is not None
        return max(1, round(height * load.width / width)), load.width
    if geometry.kind == "scale_width":
        assert size is not None
        scaled = height * size.width / width
        if abs(scaled - size.height) > 1:
            raise UserError(
                f"geometry: scale_width makes {size.width}x{round(scaled)} of {width}x{height}, but size is {size}; "
                f"use geometry: scale_width_and_crop to cut out {size}, or resize to change the aspect"
            )
        return size.height, size.width
    return None


def _crop(geometry: Geometry, height: int, width: int, down: float, right: float) -> tuple[int, int, int, int]:
    """Place the crop at the fractions `down` and `right`, in [0, 1), of its range."""
    size = geometry.size
    assert size is not None
    if size.height > height or size.width > width:
        if geometry.kind == "crop":
            advice = "use a smaller size, or geometry: resize_and_crop with a load that is larger than size"
        elif geometry.kind == "resize_and_crop":
            advice = "use a smaller size or a larger load"
        else:
            advice = f"it was scaled to the width {width} of load; use a smaller size, a wider load, or resize_and_crop"
        raise UserError(f"a crop of size {size} does not fit into {width}x{height}; {advice}")
    top, left = int(down * (height - size.height + 1)), int(right * (width - size.width + 1))
    return top, left, size.height, size.width


def resample_ids(before: int, after: int) -> npt.NDArray[np.intp]:
    """Return the nearest source pixel for each of `after` pixels along a side of `before` pixels."""
    return ((2 * np.arange(after) + 1) * before // (2 * after)).astype(np.intp)


def scale_picture(array: Array, height: int, width: int) -> Array:
    """Scale an (H, W, C) picture, bicubic and antialiased: see `Plan.picture`."""
    import torch  # here, as what plans a geometry also runs without; its kernel is several times faster than Pillow's

    picture = torch.from_numpy(np.ascontiguousarray(array)).permute(2, 0, 1)[None]
    picture = picture if array.dtype == np.uint8 else picture.float()
    sized = torch.nn.functional.interpolate(picture, (height, width), mode="bicubic", antialias=True)
    scaled: Array = sized[0].permute(1, 2, 0).numpy()
    if array.dtype == np.int32:
        return np.clip(np.rint(scaled), 0, 65535).astype(np.int32)
    return scaled if array.dtype == np.uint8 else np.clip(scaled, -1, 1)
