import math
import re

import pytest

from hdtrans.common.charts import line_chart, number

Point = tuple[float, ...]


def paths(text: str, kind: str = "line") -> list[list[list[Point]]]:
    """Return the points of every path of a class, by unbroken run."""
    drawn = re.findall(rf'<path class="{kind}"[^>]* d="([^"]*)"', text)
    runs = [[run for run in path.replace("Z", "").split("M") if run] for path in drawn]
    return [[[point(pair) for pair in run.removesuffix("h0").split("L")] for run in path] for path in runs]


def point(pair: str) -> Point:
    return tuple(float(part) for part in pair.split())


def test_points_have_the_right_coordinates() -> None:
    (path,) = paths(line_chart("t", {"a": [(0, 0.0), (10, 1.0), (5, 0.5)]}))
    ((first, middle, last),) = path
    assert first[0] == 0
    assert middle == pytest.approx(((first[0] + last[0]) / 2, (first[1] + last[1]) / 2), abs=0.11)
    assert first[1] > last[1], "larger values stand higher"


def test_an_axis_from_zero_keeps_heights_in_proportion() -> None:
    def rise(from_zero: bool) -> float:
        (((first, last),),) = paths(line_chart("t", {"a": [(1, 9.0), (2, 10.0)]}, from_zero=from_zero))
        return first[1] - last[1]

    inside = 212.0 / 1.12  # of the plot, without its margins
    assert rise(False) == pytest.approx(inside, abs=0.2)
    assert rise(True) == pytest.approx(inside / 10, abs=0.2)


def test_values_that_are_not_finite_break_the_line_and_are_counted() -> None:
    text = line_chart("t", {"a": [(0, 1.0), (1, math.nan), (2, 2.0), (3, 3.0), (4, math.inf), (5, 1.0)]})
    assert [[len(run) for run in path] for path in paths(text)] == [[1, 2, 1]]
    assert "(2 not finite)" in text
    coordinates = re.findall(r' (?:d|x|y|x1|y1)="([^"]*)"', text)
    assert not any("nan" in value or "inf" in value for value in coordinates)


@pytest.mark.parametrize(
    "points",
    [
        [],
        [(0, math.nan)],
        [(math.nan, 1.0)],
        [(5, 3.0)],
        [(5, 0.0), (5, 0.0)],
        [(0, 1e300), (1, -1e300)],
        [(0, 1.7e308), (1, -1.7e308)],
        [(0, 1e-310), (1, 2e-310)],
        [(0, 7.0), (1, 7.0 + 1e-15)],
        [(place, 1.7e308) for place in range(1000)],
        [(place, math.nan) for place in range(1000)],
        [(3, float(place)) for place in range(1000)],
    ],
)
def test_odd_series_still_make_a_chart(points: list[tuple[float, float]]) -> None:
    text = line_chart("t", {"a": points, "b": []}, marks=[(0, "start"), (1e9, "outside")])
    assert text.count("<svg") == text.count("</svg>")
    assert not re.search(r'(?:d|x|y|x1|y1)="[^"]*(?:nan|inf)', text)


def test_an_empty_chart_has_a_note() -> None:
    assert "no values yet" in line_chart("t", {})
    assert "no values yet" not in line_chart("t", {"a": [(0, 1.0)]})


def test_thousands_of_points_are_thinned_to_means_and_ranges() -> None:
    points = [(float(place), float(place % 2)) for place in range(20_000)]
    points[500] = (500.0, math.nan)
    text = line_chart("t", {"a": points})
    assert len(text) < 20_000
    (line,), (band,) = paths(text), paths(text, "range")
    assert len(line[0]) == 200
    heights = [y for _, y in line[0]]
    assert max(heights) - min(heights) < 2, "the mean of every slice is one half"
    edges = [y for _, y in band[0]]
    assert max(edges) - min(edges) > 150, "the band shows the range"


def test_many_series_can_be_told_apart() -> None:
    text = line_chart("t", {f"s{place}": [(0, place), (1, place)] for place in range(20)})
    styles = re.findall(r'<path class="line" style="([^"]*)"', text)
    assert len(set(styles)) == 20


@pytest.mark.parametrize(
    ("top", "shown"),
    [(2e-4, "2e-4"), (0.5, "0.4"), (1.0, "1.0"), (40.0, "40"), (40_000.0, "40k"), (2.5e6, "2M"), (3e13, "3e13")],
)
def test_ticks_are_round_numbers(top: float, shown: str) -> None:
    text = line_chart("t", {"a": [(0, 0.0), (1, top)]})
    assert f">{shown}</text>" in text


def test_numbers_are_short() -> None:
    values = (1234567, 0.25, 1234567.8, 2e-4, 0)
    assert [number(value) for value in values] == ["1,234,567", "0.25", "1,234,568", "0.0002", "0"]
