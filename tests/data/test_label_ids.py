"""Masks of grey values, which are no ids."""

import numpy as np
import pytest

from hdtrans.common.errors import WrongIds
from hdtrans.data.label_ids import check_label_ids, count_ids, grey_values, mask_finding


@pytest.mark.parametrize("ids", [[0, 255], [0, 128], [0, 127, 254], [0, 128, 255], [0, 85, 170, 255], [0, 65535]])
def test_grey_values_of_masks(ids: list[int]) -> None:
    assert grey_values(set(ids)) == ids


@pytest.mark.parametrize("ids", [[], [0], [0, 1], [0, 24], [0, 1, 255], [1, 255], [0, 7, 8, 11], [0, 60, 255]])
def test_ids_that_are_no_grey_values(ids: list[int]) -> None:
    assert grey_values(set(ids)) == []


def test_finding() -> None:
    half = mask_finding({0: 50, 255: 50}, 255)
    assert half is not None and half.values == (0, 255)
    assert "the values 0, 255 are those of a mask" in str(half) and "50.0% of the pixels are ignored" in str(half)
    assert str(half).endswith("write 0 and 1: hdtrans prepare folder with values=0,255 does it")
    three = mask_finding({0: 35, 1: 35, 255: 30}, 255)
    assert (
        three is not None and "besides 0 and 1 there is only 255: 30.0%" in str(three) and three.values == (0, 1, 255)
    )
    assert "ignored" not in str(mask_finding({0: 9, 127: 9, 254: 9}, 255))
    for most in ({0: 9, 1: 9, 2: 9, 255: 99}, {255: 9}):
        found = mask_finding(most, 255)
        assert (
            found is not None and not found.values and "of the pixels are ignored (id 255). If they are" in str(found)
        )
    for sound in ({0: 40, 1: 40, 255: 20}, {0: 9, 1: 9, 2: 9, 255: 9}, {0: 9, 1: 9}, {}):
        assert mask_finding(sound, 255) is None


@pytest.mark.parametrize("dtype", [np.uint8, np.int32])
def test_counts(dtype: type) -> None:
    assert count_ids(np.array([[0, 7], [7, 255]], dtype)) == {0: 1, 7: 2, 255: 1}


def test_advice_on_wrong_ids() -> None:
    def message(values: list[int], ignore: int | None = 255) -> str:
        with pytest.raises(WrongIds) as caught:
            check_label_ids(np.array([values], np.uint8), 2, ignore, "map")
        return str(caught.value)

    assert message([0, 127, 254]).endswith(
        "masks of 3 classes, write 0 to 2: hdtrans prepare folder with values=0,127,254 does it"
    )
    both = message([0, 255], None)
    assert "data.ignore=255 if it marks pixels without a class" in both and "values=0,255" in both
    assert "values=" not in message([0, 1, 77])
