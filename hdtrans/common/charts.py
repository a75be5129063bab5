"""Line charts as inline SVG for pages without scripts, in light and dark."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["CHART_STYLE", "escape", "line_chart", "number"]

Floats = npt.NDArray[np.float64]

_WIDTH, _HEIGHT = 640, 270
_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 14, 14, 44  # margins around the plot
_PLOT_WIDTH, _PLOT_HEIGHT = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM
_PLAIN_POINTS = 300  # longest series drawn point by point; longer ones as mean and range of slices of the x axis
_SLICES = 200

_LIGHT = ("#2f6db3", "#c9591b", "#2c8a5b", "#a63d8b", "#8f7410", "#6255c7", "#14879a", "#b3354a")
_DARK = ("#74b0f0", "#f29a62", "#68c795", "#e08bca", "#d3b64c", "#a99cf5", "#58c4d6", "#f08496")
_DASHES = ("none", "6 4", "2 3")

CHART_STYLE = (
    f":root {{ {' '.join(f'--line{place}: {colour};' for place, colour in enumerate(_LIGHT))} }}\n"
    f"@media (prefers-color-scheme: dark) {{ :root {{ "
    f"{' '.join(f'--line{place}: {colour};' for place, colour in enumerate(_DARK))} }} }}\n"
    """.chart { display: block; width: 100%; height: auto; font: 11px system-ui, sans-serif; fill: var(--quiet); }
.chart .grid { stroke: var(--rule); stroke-width: 1; }
.chart .mark { stroke: var(--quiet); stroke-width: 1; stroke-dasharray: 2 4; }
.chart .line { fill: none; stroke-width: 1.8; stroke-linejoin: round; stroke-linecap: round; }
.chart .range { stroke: none; opacity: .16; }
.legend { display: flex; flex-wrap: wrap; gap: .15rem 1.1rem; margin: .5rem 0 0; padding: 0; list-style: none;
  font-size: .82rem; color: var(--quiet); }
.legend b { color: var(--text); font-weight: 500; font-variant-numeric: tabular-nums; }
.legend svg { width: 18px; height: 8px; margin-right: .35rem; vertical-align: 1px; }
"""
)


@dataclass(frozen=True)
class _Curve:
    """One series, ready to draw: (N,) arrays, NaN in `middle` at gaps of the line."""

    name: str
    x: Floats
    low: Floats
    middle: Floats
    high: Floats
    latest: float
    non_finite: int


def escape(text: str) -> str:
    """Escape plain text for HTML elements and quoted attributes, and bytes of names that are not UTF-8."""
    return html.escape(text.encode("utf-8", "backslashreplace").decode("utf-8"), quote=True)


def number(value: float) -> str:
    """Format a number: integers and large numbers with commas, others with four significant digits."""
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:,.0f}" if 1e4 <= abs(value) < 1e15 else f"{value:.4g}"


def line_chart(
    title: str,
    series: Mapping[str, Sequence[tuple[float, float]]],
    x_label: str = "images",
    y_label: str = "",
    marks: Sequence[tuple[float, str]] = (),
    from_zero: bool = False,
) -> str:
    """Return a card with a line chart and its legend, as HTML with inline SVG.

    A non-finite value breaks the line and is counted in the legend. A series of more than 300 points is drawn as the
    means of 200 slices of the x axis, with the range of each slice as a pale band. The y axis fits the lines and most
    of the bands, so rare peaks of a band can leave the plot.

    Args:
        title: heading, plain text.
        series: points (x, y) by name, in any order of x.
        x_label: name of the x axis.
        y_label: name of the y axis.
        marks: x and name of thin vertical lines (starts of stages).
        from_zero: include zero in the y axis, so that heights are proportional.
    """
    curves = [_curve(name, points) for name, points in series.items()]
    left, right = _limits([curve.x for curve in curves], pad=0.0)
    held = [array for curve in curves for array in (curve.middle, _usual_range(curve))]
    low, high = _limits([*held, np.zeros(int(from_zero))], pad=0.06)
    heading = escape(title)
    parts = [
        f'<figure class="card">\n<h3>{heading}</h3>',
        f'<svg class="chart" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{heading}">',
        _axes((left, right), (low, high), x_label, y_label),
        # The inner svg clips to the plot.
        f'<svg x="{_LEFT}" y="{_TOP}" width="{_PLOT_WIDTH}" height="{_PLOT_HEIGHT}">',
        *(_mark(place, name, left, right) for place, name in marks if left <= place <= right),
        *(_drawing(curve, place, (left, right), (low, high)) for place, curve in enumerate(curves)),
        "</svg>",
    ]
    if not any(np.isfinite(curve.middle).any() for curve in curves):
        middle = f'x="{_LEFT + _PLOT_WIDTH / 2:g}" y="{_TOP + _PLOT_HEIGHT / 2:g}"'
        parts.append(f'<text {middle} text-anchor="middle">no values yet</text>')
    parts += ["</svg>", _legend(curves), "</figure>"]
    return "\n".join(parts)


def _curve(name: str, points: Sequence[tuple[float, float]]) -> _Curve:
    """Sort the points of a series, and thin a long one."""
    pairs = np.asarray(points, dtype=np.float64).reshape(-1, 2)
    pairs = pairs[np.isfinite(pairs[:, 0])]
    pairs = pairs[np.argsort(pairs[:, 0], kind="stable")]
    x, y = pairs[:, 0], np.where(np.isfinite(pairs[:, 1]), pairs[:, 1], np.nan)
    latest = float(pairs[-1, 1]) if len(pairs) else math.nan
    non_finite = int(np.isnan(y).sum())
    if len(x) <= _PLAIN_POINTS or x[0] == x[-1]:
        return _Curve(name, x, y, y, y, latest, non_finite)
    slices = np.minimum((x - x[0]) / (x[-1] - x[0]) * _SLICES, _SLICES - 1).astype(np.intp)
    kept, place = np.unique(slices, return_inverse=True)
    finite = ~np.isnan(y)
    count = np.bincount(place[finite], minlength=len(kept))
    low, high = np.full(len(kept), np.inf), np.full(len(kept), -np.inf)
    np.minimum.at(low, place[finite], y[finite])
    np.maximum.at(high, place[finite], y[finite])
    with np.errstate(all="ignore"):
        middle = np.bincount(place[finite], y[finite], len(kept)) / count
        centre = np.bincount(place, x, len(kept)) / np.bincount(place, minlength=len(kept))
    middle[~np.isfinite(middle)] = np.nan
    return _Curve(name, centre, low, middle, high, latest, non_finite)


def _usual_range(curve: _Curve) -> Floats:
    """Return the 10 % quantile of lows and the 90 % quantile of highs, so that one peak does not flatten the lines."""
    low, high = curve.low[np.isfinite(curve.low)], curve.high[np.isfinite(curve.high)]
    if curve.low is curve.middle or not low.size:
        return np.zeros(0)
    return np.array([np.quantile(low, 0.1), np.quantile(high, 0.9)])


def _limits(values: Sequence[Floats], pad: float) -> tuple[float, float]:
    """Return the nonempty range of all finite values, widened on both sides by `pad` times its length."""
    joined = np.concatenate([np.zeros(0), *values])
    joined = joined[np.isfinite(joined)]
    if not joined.size:
        return 0.0, 1.0
    # Larger values would overflow with the margins.
    low, high = float(np.clip(joined.min(), -1e300, 1e300)), float(np.clip(joined.max(), -1e300, 1e300))
    if high - low <= 1e-12 * max(abs(low), abs(high)):
        margin = 0.1 * abs(low) or 1.0
        return low - margin, high + margin
    return low - pad * (high - low), high + pad * (high - low)


def _ticks(low: float, high: float, count: int) -> list[tuple[float, str]]:
    """Return round values between two limits with their labels, in steps of 1, 2 or 5 times a power of ten."""
    span = high - low
    power = 10.0 ** math.floor(math.log10(span / count))
    step = next((size * power for size in (1.0, 2.0, 5.0) if span / (size * power) <= count), 10.0 * power)
    places = [index * step for index in range(math.ceil(low / step), math.floor(high / step) + 1)]
    largest = max((abs(place) for place in places), default=0.0)
    unit, sign = next(((u, s) for u, s in ((1e9, "G"), (1e6, "M"), (1e3, "k")) if u <= largest < 1e12), (1.0, ""))
    if largest and not 1e-2 <= largest < 1e12:
        exponent = math.floor(math.log10(largest))
        return [(place, f"{place / 10.0**exponent:.4g}e{exponent}" if place else "0") for place in places]
    decimals = max(0, -math.floor(math.log10(step / unit) + 1e-9))
    return [(place, f"{place / unit:.{decimals}f}{sign if place else ''}") for place in places]


def _axes(across: tuple[float, float], upward: tuple[float, float], x_label: str, y_label: str) -> str:
    """Return grid, ticks and names of both axes."""
    bottom = _TOP + _PLOT_HEIGHT
    parts = []
    for place, name in _ticks(*upward, 5):
        y = bottom - (place - upward[0]) / (upward[1] - upward[0]) * _PLOT_HEIGHT
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{name}</text>')
    for place, name in _ticks(*across, 7):
        x = _LEFT + (place - across[0]) / (across[1] - across[0]) * _PLOT_WIDTH
        parts.append(f'<text x="{x:.1f}" y="{bottom + 18}" text-anchor="middle">{name}</text>')
    parts.append(f'<text x="{_WIDTH - _RIGHT}" y="{_HEIGHT - 6}" text-anchor="end">{escape(x_label)}</text>')
    if y_label:
        parts.append(f'<text x="{_LEFT}" y="{_TOP - 4}">{escape(y_label)}</text>')
    return "\n".join(parts)


def _mark(place: float, name: str, left: float, right: float) -> str:
    """Return a thin vertical line with its name, in plot coordinates."""
    x = (place - left) / (right - left) * _PLOT_WIDTH
    line = f'<line class="mark" x1="{x:.1f}" x2="{x:.1f}" y1="0" y2="{_PLOT_HEIGHT}"/>'
    return f'{line}<text x="{x + 5:.1f}" y="11">{escape(name)}</text>'


def _stroke(place: int) -> str:
    """Return the style of a series: eight solid colours, then the same dashed."""
    colour, dash = place % len(_LIGHT), _DASHES[place // len(_LIGHT) % len(_DASHES)]
    return f"stroke: var(--line{colour})" + ("" if dash == "none" else f"; stroke-dasharray: {dash}")


def _drawing(curve: _Curve, place: int, across: tuple[float, float], upward: tuple[float, float]) -> str:
    """Return band and line of a series, in plot coordinates."""
    x = (curve.x - across[0]) / (across[1] - across[0]) * _PLOT_WIDTH

    def height(values: Floats) -> Floats:
        # Clipped: viewers disagree on coordinates beyond some thousands.
        share = np.clip((values - upward[0]) / (upward[1] - upward[0]), -2.0, 3.0)
        return np.asarray((1.0 - share) * _PLOT_HEIGHT, dtype=np.float64)

    low, middle, high = height(curve.low), height(curve.middle), height(curve.high)
    lines, bands = [], []
    for run in _unbroken(curve.middle):
        points = [f"{x[i]:.1f} {middle[i]:.1f}" for i in run]
        lines.append(f"M{'L'.join(points)}" if len(points) > 1 else f"M{points[0]}h0")
        if curve.low is not curve.middle:
            edge = [f"{x[i]:.1f} {high[i]:.1f}" for i in run] + [f"{x[i]:.1f} {low[i]:.1f}" for i in reversed(run)]
            bands.append(f"M{'L'.join(edge)}Z")
    colour = f"fill: var(--line{place % len(_LIGHT)})"
    band = f'<path class="range" style="{colour}" d="{"".join(bands)}"/>' if bands else ""
    path = f'<path class="line" style="{_stroke(place)}" d="{"".join(lines)}">'
    return f"{band}{path}<title>{escape(curve.name)}</title></path>" if lines else ""


def _unbroken(values: Floats) -> list[range]:
    """Return the index ranges without NaN."""
    edges: npt.NDArray[Any] = np.flatnonzero(np.diff(np.concatenate([[0], np.isfinite(values), [0]]).astype(np.int8)))
    return [range(start, stop) for start, stop in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True)]


def _legend(curves: Sequence[_Curve]) -> str:
    """Return the names of the series with their latest values."""
    items = []
    for place, curve in enumerate(curves):
        swatch = f'<svg viewBox="0 0 18 8"><path d="M0 4H18" style="{_stroke(place)}; stroke-width: 3"/></svg>'
        latest = f" <b>{number(curve.latest)}</b>" if len(curve.x) else ""
        broken = f" ({curve.non_finite:,} not finite)" if curve.non_finite else ""
        items.append(f"<li>{swatch}{escape(curve.name)}{latest}{broken}</li>")
    return f'<ul class="legend">{"".join(items)}</ul>'
