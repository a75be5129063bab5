"""Remarks on data: Python warnings, printed once by commands."""

import warnings

import pytest

from hdtrans.common.remarks import DataNote, DataWarning, printed_remarks, remark


def test_commands_print_each_text_once(capsys: pytest.CaptureFixture[str]) -> None:
    with printed_remarks():
        for _ in range(2):
            remark("a: 2 files are not read")
            remark("b: paired", DataNote)
    assert capsys.readouterr().err == "warning: a: 2 files are not read\nnote: b: paired\n"


def test_other_processes_are_silent(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    with printed_remarks():
        remark("a")
    assert capsys.readouterr().err == ""


def test_other_warnings_are_shown_as_ever() -> None:
    with pytest.warns(UserWarning, match="other") as caught, printed_remarks():
        warnings.warn("other", UserWarning, stacklevel=1)
    assert len(caught) == 1


def test_from_python_they_are_warnings() -> None:
    with pytest.warns(DataWarning, match="a"):
        remark("a")
