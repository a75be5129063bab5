"""Rasterised shapes: a pixel is covered if its centre is inside."""

import numpy as np
import pytest

from hdtrans.common.errors import UserError
from hdtrans.prepare.sources.rle import decode
from hdtrans.prepare.sources.shapes import Canvas, Region, box, ellipse, paste, polygon, rotate, stroke
from hdtrans.prepare.sources.tables import class_table, translate, translate_colours


def drawn(region, height, width):
    """Return the pixels of a region as text."""
    canvas = Canvas(height, width, 0)
    canvas.draw(region, 1, 0)
    return ["".join(".#"[pixel] for pixel in row) for row in canvas.label.tolist()]


def test_a_polygon_on_pixel_borders_covers_the_pixels_between_them():
    assert drawn(polygon(np.array([[1.0, 1], [4, 1], [4, 3], [1, 3]]), 4, 5), 4, 5) == [
        ".....",
        ".###.",
        ".###.",
        ".....",
    ]


def test_a_polygon_that_crosses_itself_has_a_hole():
    outer, inner = [[0.0, 0], [5, 0], [5, 5], [0, 5], [0, 0]], [[1.0, 1], [4, 1], [4, 4], [1, 4], [1, 1]]
    assert drawn(polygon(np.array(outer + inner), 5, 5), 5, 5) == ["#####", "#...#", "#...#", "#...#", "#####"]


@pytest.mark.parametrize("seed", range(20))
def test_a_polygon_equals_the_even_odd_rule_per_pixel(seed):
    random = np.random.default_rng(seed)
    height, width = random.integers(3, 30, 2)
    points = np.round(random.uniform(-10, 40, (random.integers(3, 9), 2)), 1)
    y, x = np.mgrid[:height, :width] + 0.5
    inside = np.zeros((height, width), bool)
    for (x0, y0), (x1, y1) in zip(points, np.roll(points, -1, 0), strict=True):
        crosses = (y0 <= y) != (y1 <= y)
        with np.errstate(divide="ignore", invalid="ignore"):
            inside ^= crosses & (x0 + (y - y0) * (x1 - x0) / (y1 - y0) <= x)
    canvas = Canvas(height, width, 0)
    canvas.draw(polygon(points, height, width), 1, 7)
    np.testing.assert_array_equal(canvas.label == 1, inside)
    np.testing.assert_array_equal(canvas.instance, np.where(inside, 7, -1))


def test_a_polygon_outside_the_picture_or_without_area_covers_nothing():
    for points in ([[9.0, 9], [12, 9], [12, 12]], [[1.0, 1], [3, 1], [1, 1]], [[-5.0, 0], [-1, 0], [-1, 3]]):
        assert not Canvas(4, 4, 0).draw(polygon(np.array(points), 4, 4), 1, 0)


def test_boxes_strokes_discs_and_ellipses():
    assert drawn(box(np.array([[3.0, 2], [1, 0]]), 3, 4), 3, 4) == [".##.", ".##.", "...."]
    assert drawn(stroke(np.array([[0.5, 1.5], [3.5, 1.5]]), 1, 3, 5)[0], 3, 5) == [".....", "####.", "....."]
    disc = drawn(stroke(np.array([[2.0, 2]]), 4, 4, 4)[0], 4, 4)
    assert disc == [".##.", "####", "####", ".##."]
    round_, area = polygon(ellipse(np.array([50.0, 50]), np.array([40.0, 20])), 100, 100), np.pi * 40 * 20
    assert abs(int(round_.mask.sum()) - area) < 0.01 * area


def test_rotation_is_clockwise_as_seen():
    np.testing.assert_allclose(rotate(np.array([[2.0, 0]]), np.array([0.0, 0]), 90), [[0, 2]], atol=1e-12)


def test_a_mask_is_clipped_at_the_borders():
    mask = np.ones((3, 3), bool)
    assert drawn(paste(mask, -1, -2, 3, 4), 3, 4) == ["##..", "....", "...."]
    assert drawn(paste(mask, 3, 1, 3, 4), 3, 4) == ["....", "...#", "...#"]
    assert drawn(paste(mask, 9, 9, 3, 4), 3, 4) == ["....", "....", "...."]


def test_later_shapes_cover_earlier_ones():
    canvas = Canvas(1, 3, 255)
    canvas.draw(Region(0, 0, np.ones((1, 2), bool)), 4, 0)
    canvas.draw(Region(0, 1, np.ones((1, 2), bool)), 5, 1)
    assert canvas.label.tolist() == [[4, 5, 5]]
    assert canvas.instance.tolist() == [[0, 1, 1]]


class TestRunLengths:
    MASK = np.zeros((6, 8), bool)
    MASK[1:5, 2:7] = True
    MASK[2, 4] = False

    def test_numbers_by_columns_and_by_rows(self):
        runs = [13, 4, 2, 4, 2, 1, 1, 2, 2, 4, 2, 4, 7]
        np.testing.assert_array_equal(decode(runs, 6, 8, "x"), self.MASK)
        flat = np.diff(np.flatnonzero(np.diff(np.r_[2, self.MASK.ravel(), 2])))
        np.testing.assert_array_equal(decode(flat.tolist(), 6, 8, "x", by_columns=False), self.MASK)

    def test_compressed_text(self):
        """Reference text: pycocotools' encoding of this mask."""
        np.testing.assert_array_equal(decode("=4200MO112005", 6, 8, "x"), self.MASK)

    @pytest.mark.parametrize(
        ("runs", "words"),
        [
            ([40], "run lengths sum to 40 pixels, but 8x6 has 48"),
            ([50, -2], "no list of integers >= 0"),
            (None, "no list of integers"),
            ("=4P", "the run-length code is cut off"),
            ("=4!", "invalid character '!'"),
        ],
    )
    def test_an_invalid_code(self, runs, words):
        with pytest.raises(UserError, match=words):
            decode(runs, 6, 8, "a.json: annotation 3")


class TestTables:
    def test_unknown_values_are_reported_by_frequency(self):
        with pytest.raises(UserError) as caught:
            translate(np.array([[1, 7, 9], [9, 9, 2]]), {1: 0, 2: 1}, "a.png")
        assert str(caught.value) == (
            "a.png: ids without a class: 9 (3 pixels, first at row 0, column 2), 7 (1 pixel, first at row 0, column 1)"
        )

    @pytest.mark.parametrize("add", [0, 10**6])
    def test_small_and_large_values(self, add):
        """Small values use a lookup table, large ones a binary search."""
        raw, ids = np.array([[3, 1], [1, 0]]) + add, {add: 4, add + 1: 0, add + 3: 255}
        assert translate(raw, ids, "a").tolist() == [[255, 0], [0, 4]]
        with pytest.raises(UserError, match=rf"without a class: {add + 3} \(1 pixel, first at row 0, column 0\)"):
            translate(raw, {add: 4, add + 1: 0}, "a")

    def test_colours(self):
        picture = np.array([[[1, 2, 3], [4, 5, 6]]], np.uint8)
        assert translate_colours(picture, {(4, 5, 6): 0, (1, 2, 3): 9}, "a").tolist() == [[9, 0]]
        with pytest.raises(UserError, match=r"colours without a class: \[4, 5, 6\] \(1 pixel, "):
            translate_colours(picture, {(1, 2, 3): 9}, "a")

    def test_ignored_id_is_not_a_class(self):
        assert class_table(["a"] * 255).ignore == 255
        assert class_table(["a"] * 256).ignore == 65535
