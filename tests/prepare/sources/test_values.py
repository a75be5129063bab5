"""Grey values of masks in place of ids."""

import pytest

from hdtrans.common.classes import ClassTable
from hdtrans.common.errors import UserError
from hdtrans.prepare.sources.values import read_values

TABLE = ClassTable(("sky", "road"), ((0, 0, 0), (1, 1, 1)), 255)


@pytest.mark.parametrize(
    ("given", "ids"),
    [
        ("0,255", {0: 0, 255: 1}),
        ("0, 128", {0: 0, 128: 1, 255: 255}),
        ("255:0,0:road", {255: 0, 0: 1}),
        ("0:sky,7:sky,9:ignore", {0: 0, 7: 0, 9: 255, 255: 255}),
    ],
)
def test_class_of_each_value(given: str, ids: dict[int, int]) -> None:
    assert read_values(given, TABLE) == ids


def test_without_an_ignored_id() -> None:
    table = ClassTable(TABLE.names, TABLE.colours, None)
    assert read_values("0,128", table) == {0: 0, 128: 1}
    with pytest.raises(UserError, match="no id is ignored"):
        read_values("0:0,9:ignore", table)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("0", "has 1 value(s) for 2 classes"),
        ("0,1,2", "has 3 value(s) for 2 classes"),
        ("0,x", "'x' is no value"),
        ("0,-1", "'-1' is no value"),
        ("0,0", "the value 0 is listed twice"),
        ("0:0,255", "give a class to every value"),
        ("0:0,255:rod", "unknown class 'rod'. Did you mean 'road'?"),
        ("0:0,255:2", "unknown class 2; classes are 0 to 1"),
    ],
)
def test_wrong_lists(given: str, words: str) -> None:
    with pytest.raises(UserError) as caught:
        read_values(given, TABLE)
    assert str(caught.value).startswith(f"values={given}: ") and words in str(caught.value)
