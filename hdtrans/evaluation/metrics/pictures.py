"""Distances between a picture and the true one: L1, PSNR, SSIM, MS-SSIM. All computed in float64.

Pictures are (H, W, C) floats in [0, 1], as `unit` returns them. Each raises ValueError where the two differ in shape.
"""

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]

_WINDOW, _SIGMA = 11, 1.5  # of the Gaussian (Wang et al., 2004)
_C1, _C2 = 0.01**2, 0.03**2
_SCALES = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # Wang et al., 2003

SMALLEST_SSIM = _WINDOW
SMALLEST_MS_SSIM = _WINDOW * 2 ** (len(_SCALES) - 1)
"""The shortest side in pixels that MS-SSIM is defined for: a whole window at the coarsest of five scales."""


def unit(picture: Array) -> Floats:
    """Return a picture as read from a file (uint8, int32 in [0, 65535], floats in [-1, 1]) as float64 in [0, 1]."""
    if picture.dtype.kind == "f":
        return np.asarray((picture.astype(np.float64) + 1) / 2)
    return np.asarray(picture / (255.0 if picture.dtype == np.uint8 else 65535.0))


def l1(truth: Floats, found: Floats) -> float:
    """Return the mean absolute difference, in [0, 1].

    Example: `l1(np.zeros((1, 2, 1)), np.array([[[0.0], [0.5]]]))` gives 0.25.
    """
    _check(truth, found)
    return float(np.abs(truth - found).mean())


def psnr(truth: Floats, found: Floats) -> float:
    """Return 10 log10(1 / mean squared difference) in decibels; infinite for equal pictures.

    Example: `psnr(np.zeros((2, 2, 1)), np.full((2, 2, 1), 0.1))` gives 20.0.
    """
    _check(truth, found)
    squared = float(np.square(truth - found).mean())
    return float(-10 * np.log10(squared)) if squared else float("inf")


def ssim(truth: Floats, found: Floats) -> float:
    """Return the structural similarity, at most 1 (Wang et al., 2004, section III-B).

    With their Gaussian window of 11x11 and sigma 1.5, where it lies in the picture as a whole, and the mean over the
    channels. Raises ValueError for a side below 11 pixels.
    """
    _check(truth, found, SMALLEST_SSIM)
    return float(_similarity(truth, found)[0].mean())


def ms_ssim(truth: Floats, found: Floats) -> float:
    """Return the multi-scale structural similarity, in [0, 1] (Wang et al., 2003, equation 7), over five scales.

    Each is half the one before, by the means of 2x2 pixels. Negative terms, which have no real power, count as 0.
    The mean over the channels. Raises ValueError for a side below 176 pixels.
    """
    _check(truth, found, SMALLEST_MS_SSIM)
    product = np.ones(truth.shape[2])
    for place, weight in enumerate(_SCALES):
        whole, contrast = _similarity(truth, found)
        last = place == len(_SCALES) - 1
        product *= np.maximum(whole if last else contrast, 0) ** weight
        truth, found = (truth, found) if last else (_halved(truth), _halved(found))
    return float(product.mean())


def _similarity(truth: Floats, found: Floats) -> tuple[Floats, Floats]:
    """Return the mean over the pixels of SSIM and of its contrast-structure part, for each channel."""
    mean_a, mean_b = _smooth(truth), _smooth(found)
    variance_a, variance_b = _smooth(truth * truth) - mean_a**2, _smooth(found * found) - mean_b**2
    covariance = _smooth(truth * found) - mean_a * mean_b
    contrast = (2 * covariance + _C2) / (variance_a + variance_b + _C2)
    luminance = (2 * mean_a * mean_b + _C1) / (mean_a**2 + mean_b**2 + _C1)
    return (contrast * luminance).mean((0, 1)), contrast.mean((0, 1))


def _smooth(picture: Floats) -> Floats:
    """Return the Gaussian mean around each pixel whose window lies inside, (H - 10, W - 10, C)."""
    radius = _WINDOW // 2
    smooth = cv2.GaussianBlur(picture, (_WINDOW, _WINDOW), _SIGMA).reshape(picture.shape)
    return np.asarray(smooth[radius:-radius, radius:-radius], np.float64)


def _halved(picture: Floats) -> Floats:
    """Return the means of 2x2 pixels; an odd last row or column is left out."""
    height, width = (side // 2 * 2 for side in picture.shape[:2])
    even = picture[:height, :width]
    return np.asarray((even[::2, ::2] + even[1::2, ::2] + even[::2, 1::2] + even[1::2, 1::2]) / 4)


def _check(truth: Floats, found: Floats, smallest: int = 1) -> None:
    if truth.shape != found.shape or truth.ndim != 3:
        raise ValueError(f"truth is {truth.shape}, found is {found.shape}; they are (H, W, C) of one shape")
    if min(truth.shape[:2]) < smallest:
        raise ValueError(f"{truth.shape[1]}x{truth.shape[0]}: each side must have {smallest} pixels or more")
