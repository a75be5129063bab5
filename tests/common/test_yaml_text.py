"""YAML dialect of recipes."""

import contextlib
import gc
import math
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from hdtrans.common.errors import UserError
from hdtrans.common.yaml_text import LARGEST_TEXT, read_yaml
from hdtrans.config.loading import load_recipe
from tests.bars import Figure
from tests.mutants.yaml_text import Comparing


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
def test_values_of_safe_dump_read_the_same(value: Any) -> None:
    found = read_yaml(yaml.safe_dump({"key": value}), "here")["key"]
    assert found == value and type(found) is type(value)


@pytest.mark.bar("B5.4", "YAML: bombs, tags and large files are refused within their time")
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: 2\na: 3", "here: line 3: the key 'a' stands twice"),
        ("a:\n  b: 1\n  c: 2\n  b: 3", "here: line 4: the key 'b' stands twice"),
        ("{a: 1, a: 1}", "here: line 1: the key 'a' stands twice"),
        ("a: &x 1\nb: *x", "here: line 2: aliases (*name) are not allowed"),
        ("a: &x [*x]", "here: line 1: aliases (*name) are not allowed"),
        ("<<: {a: 1}", "here: this is not YAML"),
        ("[a, b]: 1", "here: line 1: a key must be a word"),
        ("a: [1", "here: this is not YAML"),
        ("a: b: c", "here: this is not YAML"),
        ("a: 1\n---\nb: 2", "here: this is not YAML"),
        ("a: \x00", "here: this is not YAML"),
        ("!!python/object/apply:os.getcwd []", "here: this is not YAML"),
        ("!!map abc", "here: "),
        (f"{2**63}: 1", f"here: line 1: the key {2**63} is too large a number"),
        ("9" * 5000, "here: cannot be read as YAML"),
        ("[" * 5000, "here: cannot be read as YAML"),
        ("a" * (LARGEST_TEXT + 1), f"here: {LARGEST_TEXT + 1} characters"),
    ],
)
def test_error(text: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        read_yaml(text, "here")
    assert str(caught.value).startswith(message)


BOMB = "a0: &a0 [x, x]\n" + "\n".join(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]" for n in range(1, 12))


def leaves(value: Any) -> int:
    """Return the number of words in nested lists."""
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


def growth(text: Callable[[int], str]) -> float:
    """Return processor time of 16 x 500 keys relative to that of 500: 16 for linear time."""

    def seconds(count: int) -> float:
        start = time.process_time()
        with contextlib.suppress(UserError):
            assert len(read_yaml(text(count), "here")) == count
        return time.process_time() - start

    gc.disable()  # it looks at all that other tests have left
    try:
        return seconds(8000) / min(seconds(500) for _ in range(3))
    finally:
        gc.enable()


def words(count: int) -> str:
    """Return a section of different keys."""
    return "{" + ", ".join(f"k{n}: 1" for n in range(count)) + "}"


def numbers_of_one_hash(count: int) -> str:
    """Return a section of different keys that all have one hash."""
    return "{" + ", ".join(f"{n * (2**61 - 1)}: 1" for n in range(count)) + "}"


@pytest.mark.bar("B5.4", "YAML: bombs, tags and large files are refused within their time")
def test_the_time_of_many_keys_is_linear(figure: Figure) -> None:
    tries = (growth(words) for _ in range(3))  # what else runs on the machine disturbs one or two of them
    found = next((times for times in tries if times < 32), None)
    assert found
    with pytest.raises(UserError, match=f"here: line 1: the key {5 * (2**61 - 1)} is too large a number"):
        read_yaml(numbers_of_one_hash(6), "here")
    figure(f"16 times the keys take {found:.0f} times as long")


@pytest.mark.unhurried
@pytest.mark.bar("B5.4", "YAML: bombs, tags and large files are refused within their time")
@pytest.mark.parametrize(
    ("guard", "instead", "text"),
    [("set", Comparing, words), ("_LARGEST_KEY", math.inf, numbers_of_one_hash)],
    ids=["compares all keys", "takes numbers of one hash"],
)
def test_mutant_of_quadratic_time_is_seen(
    guard: str,
    instead: Any,
    text: Callable[[int], str],
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
    figure: Figure,
) -> None:
    monkeypatch.setattr(f"hdtrans.common.yaml_text.{guard}", instead, raising=False)
    tries = (growth(text) for _ in range(3))
    found = next((times for times in tries if times > 32), None)
    assert found
    figure(f"mutant {request.node.callspec.id}: seen, {found:.0f} times")


class TooLate(Exception):
    """The second of processor time is over."""


def refused_within_a_second(file: Path) -> bool:
    """Return True if a recipe is refused within one second of processor time."""

    def end(*_: object) -> None:
        raise TooLate

    gc.disable()  # what is raised while it tidies up gets lost
    before = signal.signal(signal.SIGVTALRM, end)
    signal.setitimer(signal.ITIMER_VIRTUAL, 1)
    try:
        load_recipe(file)
    except UserError as error:
        return "10000000 characters" in str(error)
    except TooLate:
        return False
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)
        gc.enable()
    return False


@pytest.mark.bar("B5.4", "YAML: bombs, tags and large files are refused within their time")
def test_a_file_of_10_mb_is_refused_within_a_second(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, figure: Figure
) -> None:
    file = tmp_path / "large.yaml"
    file.write_text("a: 12345\nb: 678\n" * 625_000)
    assert refused_within_a_second(file)
    monkeypatch.setattr("hdtrans.common.yaml_text.LARGEST_TEXT", math.inf)
    assert not refused_within_a_second(file)
    figure("mutant that takes 10 MB: seen, busy for more than a second")
