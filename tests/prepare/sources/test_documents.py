"""Documents and their fields: parsed, or refused with file and position."""

import numpy as np
import pytest

from hdtrans.common.errors import UserError
from hdtrans.prepare.sources.dataset_files import sorted_items, split_of
from hdtrans.prepare.sources.documents import (
    claim,
    field,
    flag,
    identifier,
    read_json,
    read_lines,
    read_xml,
    size_of,
    to_points,
    whole_number,
)
from hdtrans.prepare.sources.source import Item
from tests.prepare.small_sets import refused, write


def test_invalid_json_is_refused(tmp_path):
    assert read_json(write(tmp_path / "a.json", '\ufeff{"a": 1}')) == {"a": 1}
    refused(lambda: read_json(tmp_path / "b.json"), tmp_path / "b.json", "cannot be read")
    refused(lambda: read_json(write(tmp_path / "c.json", '{"a": [1,')), "c.json", "is no JSON", "line 1")
    refused(lambda: read_json(write(tmp_path / "d.json", "[" * 100_000)), "d.json", "is no JSON")
    (tmp_path / "e.json").write_bytes(b'{"a": "\xe4"}')
    refused(lambda: read_json(tmp_path / "e.json"), "e.json", "is no utf-8 text", "byte 7")


def test_lines_without_comments(tmp_path):
    assert read_lines(write(tmp_path / "a.txt", "# remark\r\n a b \r\n\r\nc\n")) == ["a b", "c"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_xml_with_entities_is_refused(tmp_path, encoding):
    text = '<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><a>&b;</a>'
    (tmp_path / "a.xml").write_bytes(text.encode(encoding))
    refused(lambda: read_xml(tmp_path / "a.xml"), "a.xml", "has a DOCTYPE")


def test_xml(tmp_path):
    tree = read_xml(write(tmp_path / "a.xml", "<a x='1'><b>c &amp; ö</b></a>"))
    assert (tree.get("x"), tree.findtext("b")) == ("1", "c & ö")
    refused(lambda: read_xml(write(tmp_path / "b.xml", "<a><b>")), "b.xml", "is no XML")
    refused(lambda: read_xml(tmp_path / "c.xml"), "c.xml", "cannot be read")


def test_fields():
    values = {"id": 3, "flag": True, "name": "a", "area": 2}
    assert field(values, "id", int, "x") == 3 and field(values, "area", float, "x") == 2.0
    refused(lambda: field(values, "nane", str, "a.json: shape 4"), "a.json: shape 4", "'nane' is missing", "'name'?")
    refused(lambda: field(values, "flag", int, "x"), "'flag' is not an integer: True")
    refused(lambda: field({"id": 2**63}, "id", int, "x"), "'id' is not an integer: 9223372036854775808")
    refused(lambda: field([1], "id", int, "x"), "expected an object with the key 'id', got [1]")
    refused(lambda: size_of({"height": 0, "width": 4}, "x"), "a size of 4x0 pixels")


@pytest.mark.parametrize(
    ("value", "number"),
    [
        *((40, 40), (40.0, 40), ("40", 40), (" 40.0 ", 40), ("-3", -3), (2**63 - 1, 2**63 - 1)),
        *((40.5, None), ("40.5", None), (True, None), (float("nan"), None), (1e300, None), ("", None), (None, None)),
        *((2**63, None), ("4_0", None), ([4], None), ("1e2", None)),
    ],
)
def test_whole_numbers(value, number):
    assert whole_number(value) == number and type(whole_number(value)) in (int, type(None))


def test_numbers_and_truths():
    values = {"area": "2.5", "nan": float("nan"), "true": True, "one": 1.0, "no": "0", "two": 2, "null": None}
    assert field(values, "area", float, "x") == 2.5 and field(values, "one", bool, "x") is True
    refused(lambda: field(values, "nan", float, "x"), "'nan' is not a number: nan")
    refused(lambda: field(values, "true", float, "x"), "'true' is not a number: True")
    refused(lambda: flag(values, "two", False, "x"), "'two' is not true or false: 2")
    assert [flag(values, key, True, "x") for key in ("no", "null", "missing")] == [False, True, True]


def test_ids_that_are_equal_in_json():
    assert [identifier(value) for value in (7, 7.0, "7", "007", "a", "", None, True, 7.5)] == [
        *(7, 7, 7, "007", "a", None, None, None, None)
    ]


def test_keys_that_are_not_unique_are_refused_with_both_places():
    seen: dict[int, str] = {}
    claim(seen, 1, "a.json: images[0]", "id")
    claim(seen, 2, "a.json: images[1]", "id")
    words = "a.json: images[2]: the id 1 is that of a.json: images[0] as well"
    refused(lambda: claim(seen, 1, "a.json: images[2]", "id"), words)


def test_other_sizes_are_refused():
    refused(lambda: size_of({"height": 10**9, "width": 4}, "x"), "a size of 4x1000000000 pixels")


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ([[1, True], [3, 4]], "no pairs of numbers"),
        ([[1, 2], [3]], "no pairs of numbers"),
        ([1, 2, 3], "no pairs of numbers"),
        ([["a", 2]], "no pairs of numbers"),
        (None, "no pairs of numbers"),
        ([[1, 2], [float("nan"), 4], [5, 6]], "not finite or beyond 10000000 pixels"),
        ([[1, 2], [1e300, 4], [5, 6]], "not finite or beyond 10000000 pixels"),
    ],
)
def test_invalid_points_are_refused(values, words):
    with pytest.raises(UserError) as caught:
        to_points(values, "a.json: shape 1")
    assert str(caught.value).startswith("a.json: shape 1: ") and words in str(caught.value)


def test_points_as_pairs_or_flat_list():
    expected = np.array([[1.0, 2], [3, 4], [5, 6]])
    for values in ([[1, 2], [3, 4], [5, 6]], [1, 2, 3, 4, 5, 6], [["1", "2"], ["3", "4"], ["5", "6"]]):
        np.testing.assert_array_equal(to_points(values, "x"), expected)


def test_splits_by_name():
    found = [split_of(n) for n in ("train2017", "instances_val", "ADE_train_1", "Validation", "trainannot", "testing")]
    assert found == ["train", "val", "train", "val", None, "test"]
    assert split_of("images", "training", "train_station") == "train"


def test_items_are_in_natural_order_and_unique_in_their_split(tmp_path):
    def item(name, split):
        return Item(name, split, name, None)

    found = sorted_items([item("a10", "train"), item("b", "train"), item("a2", None), item("b", "val")], tmp_path)
    assert [(i.name, i.split) for i in found] == [("a2", None), ("a10", "train"), ("b", "train"), ("b", "val")]
    refused(lambda: sorted_items([item("a", "val"), item("a", "val")], tmp_path), "belong to two pictures of one split")
    refused(lambda: sorted_items([], tmp_path), "contains no annotated picture", "Found: nothing")
