"""Two checkouts timed in turns: here this checkout and a copy of it."""

import shutil
from pathlib import Path

import pytest

from benchmarks.checkouts import compare_checkouts, report_text
from benchmarks.compare_with_original import ROOT, main
from hdtrans.benchmark.plan import Plan
from hdtrans.common.errors import ProcessError, UserError
from hdtrans.config.stage import Size

SIZE = Size(width=64, height=32)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """Return a copy of this checkout's package and recipes."""
    for name in ("hdtrans", "options"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


@pytest.mark.slow
def test_two_equal_checkouts_take_equal_time(copy: Path) -> None:
    plan = Plan(("inference", "training"), SIZE, rounds=3, dtype="fp32", device="cpu", width=2)
    found = compare_checkouts(plan, ROOT, copy)
    assert found["subjects"].keys() == {"inference", "training"}
    for each in found["subjects"].values():
        assert 0.3 < each["ratio"]["least"] <= each["ratio"]["median"] <= each["ratio"]["most"]
        assert each["seconds"]["this"] > 0 and 0.3 < each["cpu_ratio"]["median"] < 3
    assert f"other: {copy}" in report_text(found) and "this / other" in report_text(found)


def test_a_checkout_that_cannot_compute_is_a_lost_process(copy: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (copy / "hdtrans" / "benchmark" / "subjects.py").write_text("raise RuntimeError('other code runs')\n")
    with pytest.raises(ProcessError, match=r"its process ended \(exit code 1\)"):
        compare_checkouts(Plan(("inference",), SIZE, device="cpu", width=2), copy, copy)
    assert "other code runs" in capfd.readouterr().err


def test_a_folder_without_hdtrans_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inference", "--other", str(tmp_path)]) == 2
    assert "no checkout of hdtrans" in capsys.readouterr().err
    with pytest.raises(UserError, match="reading: checkouts are compared in inference and training alone"):
        compare_checkouts(Plan(("reading",), SIZE), ROOT, ROOT)
