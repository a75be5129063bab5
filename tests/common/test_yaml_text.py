"""YAML as people write recipes."""

import math
import os
import time
from collections.abc import Callable
from typing import Any

import pytest
import yaml

from hdtrans.common.errors import UserError
from hdtrans.common.yaml_text import LARGEST_TEXT, read_yaml
from tests.bars import Figure


@pytest.mark.parametrize(
    ("text", "value"),
    [
        # numbers, with and without a point
        ("2e-4", 2e-4),
        ("1E5", 1e5),
        ("1e3", 1000.0),
        ("-.5e-3", -0.5e-3),
        ("1.", 1.0),
        (".5", 0.5),
        ("+1.5", 1.5),
        ("0", 0),
        ("-7", -7),
        (".inf", math.inf),
        # words that YAML 1.1 takes for something else
        ("no", "no"),
        ("yes", "yes"),
        ("on", "on"),
        ("Off", "Off"),
        ("y", "y"),
        ("010", "010"),
        ("1:30", "1:30"),
        ("1_000", "1_000"),
        ("0x10", "0x10"),
        ("0x1024", "0x1024"),
        ("2026-01-02", "2026-01-02"),
        ("=", "="),
        ("1024x512", "1024x512"),
        ("1.5.2", "1.5.2"),
        ("e5", "e5"),
        # what stays as YAML has it
        ("true", True),
        ("False", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("# nothing", None),
        ("'2e-4'", "2e-4"),
        ('"true"', "true"),
        ("[1, no, 2e-4]", [1, "no", 2e-4]),
        ("{a: {b: off}}", {"a": {"b": "off"}}),
        ("a: ä", {"a": "ä"}),
    ],
)
def test_value(text: str, value: Any) -> None:
    found = read_yaml(text, "here")
    assert found == value and type(found) is type(value)


def test_not_a_number() -> None:
    assert math.isnan(read_yaml(".nan", "here"))


@pytest.mark.parametrize("value", [2e-4, 1e-8, 3.0, 7, "010", "1:30", "no", "true", "", "=", None, True, [1, "a"]])
def test_what_is_written_with_safe_dump_reads_the_same(value: Any) -> None:
    found = read_yaml(yaml.safe_dump({"key": value}), "here")["key"]
    assert found == value and type(found) is type(value)


@pytest.mark.bar("B5.4", "YAML: bombs, tags and large files are refused within their time")
@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a: 1\nb: 2\na: 3", "here: line 3: the key 'a' stands twice"),
        ("a:\n  b: 1\n  c: 2\n  b: 3", "here: line 4: the key 'b' stands twice"),
        ("{a: 1, a: 1}", "here: line 1: the key 'a' stands twice"),
        ("a: &x 1\nb: *x", "here: line 2: aliases (*name) are not used"),
        ("a: &x [*x]", "here: line 1: aliases (*name) are not used"),
        ("<<: {a: 1}", "here: this is not YAML"),
        ("[a, b]: 1", "here: line 1: a key is a word"),
        ("a: [1", "here: this is not YAML"),
        ("a: b: c", "here: this is not YAML"),
        ("a: 1\n---\nb: 2", "here: this is not YAML"),
        ("a: \x00", "here: this is not YAML"),
        ("!!python/object/apply:os.getcwd []", "here: this is not YAML"),
        ("!!map abc", "here: "),
        ("9" * 5000, "here: cannot be read as YAML"),
        ("[" * 5000, "here: cannot be read as YAML"),
        ("a" * (LARGEST_TEXT + 1), f"here: {LARGEST_TEXT + 1} characters"),
    ],
)
def test_error(text: str, told: str) -> None:
    with pytest.raises(UserError) as caught:
        read_yaml(text, "here")
    assert str(caught.value).startswith(told)


BOMB = "a0: &a0 [x, x]\n" + "\n".join(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]" for n in range(1, 12))


def leaves(value: Any) -> int:
    """Return how many words there are in nested lists."""
    return sum(map(leaves, value)) if isinstance(value, list) else 1


@pytest.mark.bar("B5.4", "YAML: bombs, tags and large files are refused within their time")
@pytest.mark.parametrize(
    ("guard", "instead", "text", "seen"),
    [
        ("_Loader", yaml.SafeLoader, BOMB, lambda value: leaves(value["a11"]) == 4096),
        ("_Loader", yaml.SafeLoader, "a: 1\na: 3", lambda value: value == {"a": 3}),
        ("_Loader", yaml.UnsafeLoader, "!!python/object/apply:os.getcwd []", lambda value: value == os.getcwd()),
        ("LARGEST_TEXT", math.inf, "a" * (LARGEST_TEXT + 1), lambda value: len(value) == LARGEST_TEXT + 1),
    ],
    ids=["a bomb", "a key twice", "a tag", "a large text"],
)
def test_mutant_without_the_guard_it_is_read(
    guard: str,
    instead: Any,
    text: str,
    seen: Callable[[Any], bool],
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
    figure: Figure,
) -> None:
    with pytest.raises(UserError):
        read_yaml(text, "here")
    monkeypatch.setattr(f"hdtrans.common.yaml_text.{guard}", instead)
    assert seen(read_yaml(text, "here"))
    figure(f"mutant without the guard: {request.node.callspec.id} is read")


@pytest.mark.bar("B5.4", "YAML: bombs, tags and large files are refused within their time")
def test_many_keys_take_no_more_than_their_time() -> None:
    text = "{" + ", ".join(f"k{n}: 1" for n in range(20_000)) + "}"
    start = time.perf_counter()
    assert len(read_yaml(text, "here")) == 20_000
    assert time.perf_counter() - start < 30
