"""Points of a picture as heat maps, drawn on the device."""

import torch
from torch import Tensor

from hdtrans.networks.parts import Features, locally


def heat_maps(points: Tensor, height: int, width: int, sigma: float = 2.0) -> Tensor:
    """Draw each point as a Gaussian of height 1: exp(-d^2 / (2 sigma^2)), d the distance to a pixel's centre.

    Args:
        points: (B, N, 2) pixel coordinates x, y from the upper left corner; the map of a missing point (NaN) is 0.
        height, width: size of the maps in pixels.
        sigma: standard deviation in pixels, above 0.

    Returns:
        (B, N, height, width) in [0, 1], in the type of `points`.

    Example: the point (0.5, 0.5) has 1 in the first pixel.
    """
    places = torch.arange(height * width, device=points.device).view(1, 1, height, width)
    return _drawn(points, places, width, sigma)


def heat_maps_like(points: Tensor, x: Features, sigma: float = 2.0) -> Features:
    """Draw heat maps of the size of `x`, a tensor (..., H, W) or parts of one: see `heat_maps`."""
    height, width = x.shape[-2:]
    if isinstance(x, Tensor):
        return heat_maps(points, height, width, sigma)
    return locally(lambda places: _drawn(points.to(places.device), places, width, sigma), x.places())


def _drawn(points: Tensor, places: Tensor, width: int, sigma: float) -> Tensor:
    """Return the maps at pixels given by their numbers in reading order, (1, 1, h, w)."""
    rows = torch.div(places, width, rounding_mode="floor")
    x = (places - rows * width).to(points.dtype) + 0.5
    y = rows.to(points.dtype) + 0.5
    across, down = (points[..., axis, None, None] for axis in (0, 1))
    maps = torch.exp(((x - across).square() + (y - down).square()) / (-2 * sigma**2))
    return torch.where(torch.isnan(across + down), torch.zeros_like(maps), maps)
