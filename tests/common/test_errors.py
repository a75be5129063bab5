"""Errors carry facts, and read in the words of the interface that prints them."""

import pickle
from pathlib import Path
from typing import Any

import pytest

from hdtrans.cli.flags import flags
from hdtrans.common import errors
from hdtrans.common.errors import (
    Advice,
    MissingFile,
    MissingPackage,
    MissingPartner,
    NonFiniteError,
    RecipeError,
    SizeMismatch,
    UnknownName,
    UnreadableFile,
    UserError,
    WrongIds,
    as_one,
    nearest,
)

MEMORY = UserError("weights take 9M", argument="max_memory", value="8M", advice=[Advice("max_memory", "16M")])
TRUST = {"argument": "segmenter", "advice": [Advice("trust", reason="if you know its origin"), "export it to ONNX"]}


def test_exit_codes_are_those_of_the_design() -> None:
    assert UserError("x").exit_code == 2
    assert NonFiniteError("x").exit_code == 3
    assert isinstance(UserError("x"), ValueError)


def test_nearest_finds_a_slip_and_stays_silent_otherwise() -> None:
    assert nearest("lerning_rate", ["seed", "learning_rate"]) == " Did you mean 'learning_rate'?"
    assert nearest("LABEL", ["label"]) == " Did you mean 'label'?"
    assert nearest("zebra", ["seed", "learning_rate"]) == ""
    assert nearest("anything", []) == ""


@pytest.mark.parametrize(
    ("error", "facts", "message"),
    [
        (UserError("is damaged"), {"finding": "is damaged", "path": None}, "is damaged"),
        (UserError("is damaged", path="a.png"), {"path": "a.png"}, "a.png: is damaged"),
        (UserError("is odd", path="a\n.png"), {}, r"'a\n.png': is odd"),
        (MEMORY, {"argument": "max_memory", "value": "8M"}, "max_memory=8M: weights take 9M; give max_memory=16M"),
        (
            UserError("takes one", argument="route", value="AtoB", advice=[Advice("route", None), Advice("trust")]),
            {},
            "route=AtoB: takes one; leave out route, or give trust=True",
        ),
        (
            UserError(
                "is too much", advice=[Advice("a", None), Advice("b", None), Advice("c", 1), Advice("d", 2, "too")]
            ),
            {},
            "is too much; leave out a, or b, or give c=1, or d=2 too",
        ),
        (
            MissingFile("a.pnt", there=["a.png"]),
            {"path": "a.pnt"},
            "a.pnt: there is no such file. Did you mean 'a.png'?",
        ),
        (
            MissingFile(Path("w"), "file or folder", argument="weights", advice=["write it"]),
            {"path": Path("w"), "argument": "weights"},
            "weights=w: there is no such file or folder; write it",
        ),
        (
            MissingFile("a.pnt", there=["a.png"], advice=["write it"]),
            {},
            "a.pnt: there is no such file. Did you mean 'a.png'? Write it",
        ),
        (
            UnreadableFile("a.png", "ends early", "a picture"),
            {"reason": "ends early"},
            "a.png: cannot be read as a picture: ends early",
        ),
        (
            UnknownName("metric", "psrn", ["psnr", "fid"], argument="metrics"),
            {"name": "psrn", "allowed": ("psnr", "fid")},
            "metrics: there is no metric 'psrn'; there are psnr, fid. Did you mean 'psnr'?",
        ),
        (
            SizeMismatch({"label": "a.png", "photo": "b.png"}, {"label": (64, 32), "photo": (32, 32)}),
            {"sizes": {"label": (64, 32), "photo": (32, 32)}},
            "a.png: the files of this sample differ in size: label 64x32 (a.png), photo 32x32 (b.png); make them equal",
        ),
        (
            MissingPartner("2 samples lack a file", {"photo": ["1", "2"]}, path="city"),
            {"missing": {"photo": ("1", "2")}},
            "city: 2 samples lack a file",
        ),
        (
            WrongIds([7, 9], 5, 255, path="a.png"),
            {"ids": (7, 9), "labels": 5, "ignore": 255},
            "a.png: ids that are no class: 7, 9. Classes are 0 to 4 (data.labels=5), 255 is ignored (data.ignore).",
        ),
        (
            WrongIds(list(range(20, 40)), 5, None, path="a.png"),
            {"ignore": None},
            "a.png: ids that are no class: 20, 21, 22, 23, 24, 25, 26, 27 and 12 more, up to 39. "
            "Classes are 0 to 4 (data.labels=5), no id is ignored (data.ignore).",
        ),
        (
            MissingPackage("onnx", "export", ".onnx files"),
            {"package": "onnx", "extra": "export"},
            ".onnx files: needs onnx: pip install hdtrans[export]",
        ),
        (
            RecipeError("a.yaml", [("training.seed", "is missing"), ("", "stages need names")]),
            {"problems": (("training.seed", "is missing"), ("", "stages need names"))},
            "a.yaml: 2 problem(s) in this recipe:\n  training.seed: is missing\n  stages need names",
        ),
    ],
)
def test_facts_and_their_message(error: UserError, facts: dict[str, Any], message: str) -> None:
    again = pickle.loads(pickle.dumps(error))  # from another process
    for one in (error, again):
        assert {name: getattr(one, name) for name in facts} == facts
        assert str(one) == message
        assert message.endswith(one.without_place())
        assert one.exit_code == 2
    assert type(again) is type(error)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ({}, "--max-memory 8M: weights take 9M; give --max-memory 16M"),
        ({"max_memory": "--memory"}, "--memory 8M: weights take 9M; give --memory 16M"),
        ({"max_memory": None}, "max_memory=8M: weights take 9M"),
    ],
)
def test_a_command_names_its_flags(names: dict[str, str | None], message: str) -> None:
    assert MEMORY.text(flags(names)) == message
    assert str(MEMORY).startswith("max_memory=8M")


def test_flags_of_switches_and_keys() -> None:
    spell = flags({"route": "--direction"})
    assert spell("trust", True) == "--trust"
    assert spell("route", "AtoB") == "--direction AtoB"
    assert spell("route", None) == "--direction"
    assert spell("data.labels", 5) == "data.labels=5"


def test_a_recipe_names_its_keys() -> None:
    """The keys stay when a command prints the error, and advice that a recipe cannot follow is dropped."""
    error = UserError("is a script", path="a.pt", **TRUST)  # type: ignore[arg-type]
    assert (
        error.text(flags())
        == "--segmenter a.pt: is a script; give --trust if you know its origin, or export it to ONNX"
    )
    keys = {"segmenter": "validate.segmenter", "trust": None}
    renamed = error.renamed(keys, "validate").renamed({"segmenter": "other"}, "other")
    assert renamed is error
    for spelling in (errors.as_argument, flags()):
        assert error.text(spelling) == "validate.segmenter=a.pt: is a script; export it to ONNX"
    assert str(UserError("is odd", path="b.png").renamed(keys, "validate")) == "validate: b.png: is odd"
    assert str(UserError("is odd").renamed(keys, "validate")) == "validate: is odd"


def test_equal_errors_are_one_and_different_ones_have_lines_of_their_own() -> None:
    small, wide = (UserError("too large", argument="max_memory", value=size) for size in ("8M", "9M"))
    again = UserError("too large", argument="max_memory", value="8M")
    assert as_one([small, again]) in (small, again)
    both = pickle.loads(pickle.dumps(as_one([small, wide, again])))
    assert str(both) == "max_memory=8M: too large\nmax_memory=9M: too large"
    assert both.text(flags()) == "--max-memory 8M: too large\n--max-memory 9M: too large"
    assert both.renamed({"max_memory": "memory"}).text(flags()) == "memory=8M: too large\nmemory=9M: too large"
