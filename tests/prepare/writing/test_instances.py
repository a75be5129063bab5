"""Instance maps: dense 16-bit ids and connected components, against hand-made results."""

import numpy as np
import pytest

from hdtrans.common.errors import UserError
from hdtrans.prepare.sources.source import NO_INSTANCE
from hdtrans.prepare.writing.instances import renumber, thing_components


@pytest.mark.parametrize("first", [26_000, 2**30])
def test_numbers_are_dense(first):
    instance = np.array([[NO_INSTANCE, first + 5, first, first + 5]])
    dense, count = renumber(instance, np.array([[7, 26, 26, 26]]), 35, 255)
    assert dense.tolist() == [[7, 36, 35, 36]] and count == 2 and dense.dtype == np.uint16


def test_the_ignored_id_is_left_out():
    dense, count = renumber(np.array([[NO_INSTANCE, 0, 1, 2]]), np.array([[9, 0, 0, 0]]), 8, 9)
    assert dense.tolist() == [[9, 8, 10, 11]] and count == 3


def test_classes_beyond_65_fit():
    """Class * 1000 + number does not fit 16 bits from class 66 on."""
    dense, _ = renumber(np.array([[149_001, 149_000]]), np.array([[149, 149]]), 150, 255)
    assert dense.tolist() == [[151, 150]]


def test_map_without_instances():
    dense, count = renumber(np.full((1, 2), NO_INSTANCE), np.array([[3, 255]]), 8, 255)
    assert dense.tolist() == [[3, 255]] and count == 0


def test_too_many_instances():
    ids = np.arange(256 * 256).reshape(256, 256)
    with pytest.raises(UserError, match="65536 instances and 3 classes do not fit 16 bits"):
        renumber(ids, np.zeros_like(ids), 3, 255)


def test_components_do_not_cross_classes():
    label = np.array([[1, 2, 1], [1, 2, 1]])
    found = thing_components(label, [1, 2], 1, 4)
    assert np.unique(found).tolist() == [0, 1, 2] and len(set(found[0].tolist())) == 3
    assert thing_components(label, [2], 3, 4).tolist() == [[NO_INSTANCE] * 3] * 2, "too small"
