"""Full-reference metrics in float64: L1, PSNR, SSIM and MS-SSIM, and their means over pictures.

The functions take (H, W, C) floats in [0, 1], as `unit` returns them, and raise ValueError for unequal shapes.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from hdtrans.evaluation.metrics.base import Metric, Settings, Summary
from hdtrans.evaluation.pairs import Item

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]

_WINDOW, _SIGMA = 11, 1.5  # Gaussian window, Wang et al. 2004, sec. III-C
_C1, _C2 = 0.01**2, 0.03**2  # (K1 L)^2 and (K2 L)^2 with L = 1, Wang et al. 2004, sec. III-B
_SCALES = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # beta_j = gamma_j, Wang et al. 2003, sec. 3.2

SMALLEST_SSIM = _WINDOW
SMALLEST_MS_SSIM = _WINDOW * 2 ** (len(_SCALES) - 1)
"""Shortest side in pixels for MS-SSIM: one whole window at the coarsest of five scales."""


def unit(picture: Array) -> Floats:
    """Convert a picture as read (uint8, int32 in [0, 65535] or floats in [-1, 1]) to float64 in [0, 1]."""
    if picture.dtype.kind == "f":
        return np.asarray((picture.astype(np.float64) + 1) / 2)
    return np.asarray(picture / (255.0 if picture.dtype == np.uint8 else 65535.0))


def l1(truth: Floats, found: Floats) -> float:
    """Return the mean absolute difference (L1), in [0, 1], lower is better.

    Example: `l1(np.zeros((1, 2, 1)), np.array([[[0.0], [0.5]]]))` gives 0.25.
    """
    _check(truth, found)
    return float(np.abs(truth - found).mean())


def psnr(truth: Floats, found: Floats) -> float:
    """Return the peak signal-to-noise ratio 10 log10(1 / MSE) in dB, higher is better; infinite for equal pictures.

    Example: `psnr(np.zeros((2, 2, 1)), np.full((2, 2, 1), 0.1))` gives 20.0.
    """
    _check(truth, found)
    squared = float(np.square(truth - found).mean())
    return float(-10 * np.log10(squared)) if squared else float("inf")


def ssim(truth: Floats, found: Floats) -> float:
    """Return SSIM in [-1, 1], higher is better (Wang et al. 2004, eq. 13, with alpha = beta = gamma = 1).

    Gaussian window of 11x11 with sigma 1.5, at all positions inside the picture (MSSIM, eq. 17), mean over channels.
    Raises ValueError for a side below 11 pixels.
    """
    _check(truth, found, SMALLEST_SSIM)
    return float(_similarity(truth, found)[0].mean())


def ms_ssim(truth: Floats, found: Floats) -> float:
    """Return MS-SSIM in [0, 1], higher is better (Wang et al. 2003, eq. 7, with M = 5 scales), mean over channels.

    Each scale halves the one before by means of 2x2 pixels. Negative terms, which have no real power, count as 0.
    Raises ValueError for a side below 176 pixels.
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
    """Return the means of SSIM and of its contrast-structure part c s over all pixels, (C,) each."""
    mean_a, mean_b = _smooth(truth), _smooth(found)
    variance_a, variance_b = _smooth(truth * truth) - mean_a**2, _smooth(found * found) - mean_b**2
    covariance = _smooth(truth * found) - mean_a * mean_b
    contrast = (2 * covariance + _C2) / (variance_a + variance_b + _C2)
    luminance = (2 * mean_a * mean_b + _C1) / (mean_a**2 + mean_b**2 + _C1)
    return (contrast * luminance).mean((0, 1)), contrast.mean((0, 1))


def _smooth(picture: Floats) -> Floats:
    """Return the Gaussian mean around each pixel whose window lies inside: (H, W, C) -> (H - 10, W - 10, C)."""
    radius = _WINDOW // 2
    smooth = cv2.GaussianBlur(picture, (_WINDOW, _WINDOW), _SIGMA).reshape(picture.shape)
    return np.asarray(smooth[radius:-radius, radius:-radius], np.float64)


def _halved(picture: Floats) -> Floats:
    """Return the means of 2x2 pixels; an odd last row or column is dropped."""
    height, width = (side // 2 * 2 for side in picture.shape[:2])
    even = picture[:height, :width]
    return np.asarray((even[::2, ::2] + even[1::2, ::2] + even[::2, 1::2] + even[1::2, 1::2]) / 4)


def _check(truth: Floats, found: Floats, smallest: int = 1) -> None:
    if truth.shape != found.shape or truth.ndim != 3:
        raise ValueError(f"truth is {truth.shape}, found is {found.shape}; both must be (H, W, C) of one shape")
    if min(truth.shape[:2]) < smallest:
        raise ValueError(f"{truth.shape[1]}x{truth.shape[0]}: each side must have {smallest} pixels or more")


_PIXELS: Mapping[str, tuple[Callable[[Any, Any], float], int, str]] = {
    "l1": (l1, 1, "mean absolute difference of channels in [0, 1], mean over pictures"),
    "psnr": (psnr, 1, "10 log10(1 / MSE) in dB of channels in [0, 1], mean over pictures"),
    "ssim": (ssim, SMALLEST_SSIM, "Gaussian window 11x11, sigma 1.5, inside the picture, per channel"),
    "ms_ssim": (ms_ssim, SMALLEST_MS_SSIM, "five scales, window as ssim, per channel"),
}


class PixelMetric:
    """Mean over pictures of L1, PSNR, SSIM or MS-SSIM.

    Args:
        name: `l1`, `psnr`, `ssim` or `ms_ssim`.
    """

    batched = False

    def __init__(self, name: str) -> None:
        self.name = name
        self._function, self._smallest, self._computes = _PIXELS[name]

    @property
    def protocol(self) -> Mapping[str, Any]:
        return {
            "implementation": f"hdtrans.evaluation.metrics.pictures.{self.name}",
            "computes": self._computes,
            "in": "float64",
        }

    def measure(self, items: Sequence[Item]) -> list[float | None]:
        """Return a number for each picture; None for one that is too small."""
        return [self._measure(item) for item in items]

    def _measure(self, item: Item) -> float | None:
        assert item.truth is not None and item.found is not None
        if min(item.found.shape[:2]) < self._smallest:
            return None
        return self._function(unit(item.truth), unit(item.found))

    def summary(self, measured: Sequence[float | None]) -> Summary:
        """Return the mean, or none if a picture is too small; equal pictures, of infinite PSNR, are left out."""
        small = sum(value is None for value in measured)
        if small:
            why = f"{small} picture(s) have a side below {self._smallest} pixels"
            return Summary({self.name: None}, left_out={self.name: why})
        values = [value for value in measured if value is not None and np.isfinite(value)]
        equal = len(measured) - len(values)
        warnings = (
            [f"{self.name}: {equal} picture(s) equal the true ones and are left out of the mean"] if equal else []
        )
        return Summary({self.name: float(np.mean(values)) if values else None}, warnings=warnings)


def make(names: Sequence[str], settings: Settings) -> list[Metric]:
    """Return one metric for each name; the settings do not matter."""
    return [PixelMetric(name) for name in names]
