"""Weighted k-means: known optima, meaning of weights, few points; and the objects of an input."""

import itertools

import numpy as np
import pytest

from hdtrans.inference.styles.clustering import assigned, k_means
from hdtrans.inference.styles.objects import Objects


def cost(points: np.ndarray, weights: np.ndarray, centres: np.ndarray) -> float:
    return float(weights @ ((points[:, None] - centres) ** 2).sum(2).min(1))


def best(points: np.ndarray, weights: np.ndarray, count: int) -> float:
    """Return the least cost over all ways to part the points."""
    found = np.inf
    for parts in itertools.product(range(count), repeat=len(points)):
        which = np.array(parts)
        groups = [which == n for n in range(count) if (which == n).any()]
        centres = np.stack([np.average(points[group], 0, weights[group]) for group in groups])
        found = min(found, cost(points, weights, centres))
    return found


@pytest.mark.parametrize("seed", range(5))
def test_few_points_are_clustered_as_well_as_can_be(seed: int) -> None:
    random = np.random.default_rng(seed)
    points, weights = random.normal(size=(8, 2)), random.uniform(0.1, 5, 8)
    assert cost(points, weights, k_means(points, weights, 3, seed)) == pytest.approx(best(points, weights, 3), rel=1e-9)


def test_a_point_of_weight_three_counts_as_three() -> None:
    points = np.array([[0.0], [1.0], [10.0], [12.0], [30.0]])
    weights = np.array([3, 1, 1, 2, 1])
    thrice = k_means(np.repeat(points, weights, 0), np.ones(weights.sum()), 3, 0)
    weighted = k_means(points, weights, 3, 0)
    assert np.allclose(np.sort(weighted, 0), np.sort(thrice, 0))
    assert np.allclose(np.sort(weighted, 0), [[0.25], [34 / 3], [30]])


def test_fewer_points_than_clusters_are_centres_themselves() -> None:
    points = np.array([[1.0, 2], [1, 2], [3, 4]])
    assert sorted(k_means(points, np.ones(3), 10, 0).tolist()) == [[1, 2], [3, 4]]
    assert k_means(points[:1], np.ones(1), 10, 0).tolist() == [[1, 2]]
    assert assigned(points, np.array([[3.0, 4], [1, 2]])).tolist() == [1, 1, 0]


def test_the_seed_decides() -> None:
    points = np.random.default_rng(0).normal(size=(300, 3))
    first, again = (k_means(points, np.ones(300), 10, 5) for _ in range(2))
    assert first.shape == (10, 3) and np.array_equal(first, again)


@pytest.mark.parametrize("base", [0, 2**31 - 10])
def test_objects_have_the_class_of_most_of_their_pixels(base: int) -> None:
    """By a table, or by sorting where ids are large."""
    ids = np.array([[7, 7, 9], [7, 2, 9]], np.int64) + base
    label = np.array([[1, 1, 255], [0, 3, 255]], np.uint8)
    objects = Objects.of(ids.astype(np.int32), label)
    assert (objects.ids - base).tolist() == [2, 7, 9]
    assert objects.classes.tolist() == [3, 1, 255] and objects.areas.tolist() == [1, 3, 2]
    maps = np.array([[[1, 2, 10], [6, 5, 20]]], np.float32)
    assert objects.means(maps).tolist() == [[5], [3], [15]]
    painted = objects.paint(np.array([[0.5, 0], [1, 0], [-1, 0]]))
    assert painted.dtype == np.float32 and painted[..., 0].tolist() == [[1, 1, -1], [1, 0.5, -1]]
    assert objects.same_as(Objects.of(ids)) and not objects.same_as(Objects.of(ids + 1))
    assert not objects.same_as(Objects.of(ids.T.copy()))
