import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hdtrans.common.classes import CITYSCAPES, ClassTable
from hdtrans.common.errors import UserError

TABLE = ClassTable(names=("sky", "Straße", 'a "quoted" name'), colours=((1, 2, 3), (4, 5, 6), (7, 8, 9)), ignore=255)


@pytest.mark.parametrize("kind", [np.uint8, np.int32, np.int64, np.uint16, np.uint64])
def test_colourise_looks_up_every_integer_type(kind: type[np.integer[Any]]) -> None:
    label = np.array([[0, 1], [2, 255]], dtype=kind)
    painted = TABLE.colourise(label)
    assert painted.dtype == np.uint8
    assert painted.tolist() == [[[1, 2, 3], [4, 5, 6]], [[7, 8, 9], [0, 0, 0]]]


def test_colourise_paints_unknown_and_ignored_ids_black() -> None:
    label = np.array([[-1, 3, 2**31 - 1, -(2**31), 1]], dtype=np.int32)
    assert TABLE.colourise(label).tolist() == [[[0, 0, 0]] * 4 + [[4, 5, 6]]]
    ignoring_a_class = ClassTable(TABLE.names, TABLE.colours, ignore=1)
    assert ignoring_a_class.colourise(np.array([[0, 1, 2]])).tolist() == [[[1, 2, 3], [0, 0, 0], [7, 8, 9]]]
    assert ClassTable.generic(400).colourise(np.array([[255]], dtype=np.uint8)).tolist() == [[[0, 0, 0]]]


def test_colourise_refuses_other_arrays() -> None:
    for wrong in (np.zeros((2, 2)), np.zeros((2, 2, 3), dtype=np.uint8), np.zeros((2, 2), dtype=bool)):
        with pytest.raises(UserError, match=r"\(H, W\)"):
            TABLE.colourise(wrong)  # type: ignore[arg-type]


def test_tables_survive_the_file(tmp_path: Path) -> None:
    path = tmp_path / "dataset.json"
    TABLE.write(path, extra={"sources": ["a.png"]})
    assert ClassTable.read(path) == TABLE
    values = json.loads(path.read_text(encoding="utf-8"))
    assert values["sources"] == ["a.png"]
    assert values["labels"] == 3
    assert values["classes"][0] == {"id": 0, "name": "sky", "colour": [1, 2, 3]}
    assert ClassTable.from_dict(ClassTable.generic(5, ignore=None).to_dict()).ignore is None


def test_entries_may_stand_in_any_order(tmp_path: Path) -> None:
    values = TABLE.to_dict()
    values["classes"].reverse()
    del values["labels"], values["ignore"]
    assert ClassTable.from_dict(values) == TABLE


def _without(key: str) -> dict[str, Any]:
    return {name: value for name, value in TABLE.to_dict().items() if name != key}


def _with_class(**change: object) -> dict[str, Any]:
    values = TABLE.to_dict()
    values["classes"][1].update(change)
    return values


@pytest.mark.parametrize(
    ("values", "key"),
    [
        ([], "classes"),
        (_without("format"), "format"),
        (TABLE.to_dict() | {"format": 2}, "format: expected 1, got 2"),
        (_without("classes"), "classes"),
        (TABLE.to_dict() | {"classes": []}, "classes"),
        (TABLE.to_dict() | {"classes": ["sky"]}, r"classes\[0\]"),
        (TABLE.to_dict() | {"labels": 4}, "labels: expected 3"),
        (TABLE.to_dict() | {"ignore": "no"}, "ignore"),
        (_with_class(id=0), "id 1 is missing"),
        (_with_class(id=3), r"classes\[1\]\.id"),
        (_with_class(id=True), r"classes\[1\]\.id"),
        (_with_class(name=""), r"classes\[1\]\.name"),
        (_with_class(colour=[1, 2]), r"classes\[1\]\.colour"),
        (_with_class(colour=[1, 2, 256]), r"classes\[1\]\.colour"),
        (_with_class(colour=[1, 2, 0.5]), r"classes\[1\]\.colour"),
        (_with_class(colour=None), r"classes\[1\]\.colour"),
    ],
)
def test_malformed_files_name_the_file_and_the_key(tmp_path: Path, values: object, key: str) -> None:
    path = tmp_path / "dataset.json"
    path.write_text(json.dumps(values))
    with pytest.raises(UserError, match=key) as caught:
        ClassTable.read(path)
    assert str(caught.value).startswith(str(path))


def test_missing_and_unreadable_files_are_user_errors(tmp_path: Path) -> None:
    path = tmp_path / "dataset.json"
    with pytest.raises(UserError, match=r"dataset\.json: cannot be read"):
        ClassTable.read(path)
    for broken in (b'{"format": 1', b"\xff\xfe\x00", b""):
        path.write_bytes(broken)
        with pytest.raises(UserError, match=r"dataset\.json: not a JSON file"):
            ClassTable.read(path)


def test_the_constructor_checks_too() -> None:
    with pytest.raises(UserError, match="no class"):
        ClassTable((), ())
    with pytest.raises(UserError, match="1 names but 2 colours"):
        ClassTable(("a",), ((0, 0, 0), (1, 1, 1)))
    with pytest.raises(UserError, match="0"):
        ClassTable.generic(0)


def test_generic_colours_are_the_same_every_time_and_apart() -> None:
    table = ClassTable.generic(256)
    assert table == ClassTable.generic(256)
    assert ClassTable.generic(3).colours == table.colours[:3]
    assert len(set(table.colours)) == 256
    assert table.names[17] == "class 17"
    colours = np.array(table.colours[:20], dtype=np.int64)
    distance = np.abs(colours[:, None] - colours[None]).sum(-1) + 1000 * np.eye(20, dtype=np.int64)
    assert distance.min() > 40
    assert (np.array(table.colours).max(1) > 100).all()  # black is left for the ignored id


def test_cityscapes_has_the_published_ids() -> None:
    assert len(CITYSCAPES) == 35
    known = {7: ("road", (128, 64, 128)), 23: ("sky", (70, 130, 180)), 26: ("car", (0, 0, 142)), 34: ("license plate",)}
    for place, (name, *colour) in known.items():
        assert CITYSCAPES.names[place] == name
        assert not colour or CITYSCAPES.colours[place] == colour[0]
    assert CITYSCAPES.names[33] == "bicycle"
    assert CITYSCAPES.colourise(np.array([[7, 255]])).tolist() == [[[128, 64, 128], [0, 0, 0]]]
