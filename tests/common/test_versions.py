"""Versions with known vulnerabilities are refused."""

from configparser import ConfigParser
from pathlib import Path

import pytest

from hdtrans.cli import run_tool
from hdtrans.common import versions
from tests.bars import Figure
from tests.mutants.versions import tell_and_start

bar = pytest.mark.bar("B5.1", "torch and Pillow with known holes: neither installed nor started with")


@bar
def test_setup_asks_for_what_is_checked(figure: Figure) -> None:
    settings = ConfigParser()
    settings.read(Path(__file__).resolve().parents[2] / "setup.cfg", encoding="utf-8")
    asked = settings["options"]["install_requires"].split()
    assert {f"{name}>={oldest}" for name, oldest in versions.OLDEST.items()} <= set(asked)
    figure(", ".join(f"{name} >= {oldest}" for name, oldest in versions.OLDEST.items()))


@bar
@pytest.mark.parametrize(
    ("name", "found", "refused"),
    [
        ("torch", "2.10.3+cu128", True),
        ("torch", "2.11.0a0+gitabc", False),
        ("torch", "3.0", False),
        ("pillow", "12.2.9", True),
        ("pillow", "9.5.0", True),
        ("pillow", "12.10.0", False),
    ],
)
def test_a_version_is_refused(
    name: str, found: str, refused: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(versions, "version", lambda asked: found if asked == name else "99.0")
    code, said = start(capsys)
    assert code == 2
    assert (f"{name} {found} is installed" in said) == refused, said
    assert ("pip install --upgrade" in said) == refused
    assert (STARTED in said) != refused, "it says no more, for it did not start"


STARTED = "no such run folder or checkpoint"


def start(capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """Run a command on a missing run; return its exit code and its output."""
    code = run_tool("infer", ["no/such/run", "--input", ".", "--out", "../out"])
    return code, capsys.readouterr().err


@bar
def test_mutant_that_warns_and_starts_is_seen(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], figure: Figure
) -> None:
    tell_and_start(monkeypatch)
    monkeypatch.setattr(versions, "version", lambda asked: "2.10")
    _, said = start(capsys)
    assert "torch 2.10 is installed" in said and STARTED in said
    figure("mutant that tells and starts: seen")
