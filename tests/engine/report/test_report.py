import importlib.util
import io
import json
import os
import re
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

import hdtrans.engine.report.reporter as report
from hdtrans.common.errors import UserError
from hdtrans.engine.report.grid import sample_grid
from hdtrans.engine.report.reporter import Reporter
from tests.bars import Figure


class Terminal(io.StringIO):
    """Standard error that claims to be a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def without_tensorboard(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide TensorBoard, which saves seconds; one test undoes this."""
    monkeypatch.setattr(report, "find_spec", lambda name: None)


def record(images: int, **more: float | int | str) -> dict[str, float | int | str]:
    return {"images": images, "stage": "global", "epoch": 1, "images_per_second": 10.0, **more}


def picture(value: int, height: int = 8, width: int = 12) -> np.ndarray:
    return np.full((height, width, 3), value, dtype=np.uint8)


def read(path: Path) -> np.ndarray:
    stored = cv2.imread(str(path), cv2.IMREAD_COLOR_RGB)
    assert stored is not None
    return stored


def lines(folder: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_records_become_lines_of_strict_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    reporter = Reporter(tmp_path, "title", 0, 1000)
    reporter.log(record(100, **{"generator/adversarial": 0.5, "discriminator/real": float("nan")}))
    reporter.log(record(200, **{"generator/adversarial": np.float32(0.25)}))  # type: ignore[arg-type]
    assert lines(tmp_path)[0]["discriminator/real"] is None
    assert lines(tmp_path)[1] == record(200, **{"generator/adversarial": 0.25})
    shown = capsys.readouterr().err
    assert "100/1,000 images (10.0%)  stage global  epoch 1  10 images/s, 0:01:30 left" in shown
    assert "generator/adversarial 0.25" in shown
    assert "nan" in shown


def test_a_resumed_run_removes_records_after_its_checkpoint(tmp_path: Path) -> None:
    first = Reporter(tmp_path, "title", 0, 1000)
    for images in (100, 200, 300):
        first.log(record(images, **{"generator/adversarial": float("inf") if images == 100 else images}))
        first.samples(images, "global", ["a"], {"x": [picture(images % 256)]})
    first.close()
    with open(tmp_path / "metrics.jsonl", "a") as file:
        file.write('{"images": 150, "stag')
    second = Reporter(tmp_path, "title", 200, 1000)
    assert [line["images"] for line in lines(tmp_path)] == [100, 200]
    assert sorted(path.name for path in (tmp_path / "samples").glob("*.png")) == [
        "000000100_global.png",
        "000000200_global.png",
    ]
    assert sorted(os.listdir(tmp_path / "samples" / "thumbnails")) == ["000000100_global.jpg", "000000200_global.jpg"]
    second.log(record(300))
    assert (tmp_path / "metrics.jsonl").read_text().endswith("\n")
    assert [line["images"] for line in lines(tmp_path)] == [100, 200, 300]
    second.page()
    text = (tmp_path / "index.html").read_text()
    assert "200 images, stage global" in text
    assert "300 images, stage global" not in text
    assert "(1 not finite)" in text


def test_an_untouched_history_is_not_rewritten(tmp_path: Path) -> None:
    Reporter(tmp_path, "title", 0, 1000).log(record(100))
    before = (tmp_path / "metrics.jsonl").stat()
    Reporter(tmp_path, "title", 100, 1000)
    assert (tmp_path / "metrics.jsonl").stat().st_ino == before.st_ino


def test_a_folder_that_cannot_be_used_is_a_user_error(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("a file")
    with pytest.raises(UserError, match="run"):
        Reporter(tmp_path / "run", "title", 0, 10)


def test_samples_are_stored_without_loss(tmp_path: Path) -> None:
    reporter = Reporter(tmp_path, "title", 0, 1000)
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (20, 30, 3), dtype=np.uint8)
    reporter.samples(1200, "joint/two", ["a"], {"label": [picture(9)], "generated": [noise]})
    (path,) = (tmp_path / "samples").glob("*.png")
    assert path.name == "000001200_joint-two.png"
    stored = read(path)
    found = [
        (top, left)
        for top in range(stored.shape[0] - 19)
        for left in range(stored.shape[1] - 29)
        if (stored[top : top + 20, left : left + 30] == noise).all()
    ]
    assert len(found) == 1


def test_large_grids_are_jpeg_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "_PNG_PIXELS", 100)
    reporter = Reporter(tmp_path, "title", 0, 1000)
    reporter.samples(5, "global", ["a"], {"x": [picture(100, 64, 64)]})
    stored = read(tmp_path / "samples" / "000000005_global.jpg")
    assert abs(int(stored[60, 40, 0]) - 100) < 4
    assert len(Reporter(tmp_path, "title", 5, 1000)._samples) == 1


def test_grids_keep_every_pixel_of_every_size() -> None:
    pictures = {"a": [picture(1, 4, 5), picture(2, 9, 5)], "b": [picture(3, 6, 20), picture(4, 2, 3)]}
    grid = sample_grid(["first", "second"], pictures)
    for value, count in ((1, 20), (2, 45), (3, 120), (4, 6)):
        assert (grid == value).all(-1).sum() == count
    rows, columns = np.nonzero((grid == 1).all(-1))
    other_rows, other_columns = np.nonzero((grid == 3).all(-1))
    assert rows.min() == other_rows.min(), "a row starts at one height"
    assert columns.max() < other_columns.min(), "columns stand in their order"
    with pytest.raises(ValueError, match="a: 2 pictures for 1 names"):
        sample_grid(["first"], pictures)
    with pytest.raises(ValueError, match="uint8"):
        sample_grid(["first"], {"a": [np.zeros((4, 4, 3))]})  # type: ignore[list-item]


def test_the_page_has_newest_samples_first_and_one_chart_a_phase(tmp_path: Path) -> None:
    title = '"><script>alert(1)</script>'
    reporter = Reporter(tmp_path, title, 0, 1000)
    reporter.page()  # before anything is known
    for images in (100, 200, 900):
        reporter.log(
            record(images, data_waiting=0.1, learning_rate=2e-4)
            | {"generator/adversarial": 0.5, "generator/<b>": 0.1, "discriminator/real": 0.5}
            | {"stage": "joint" if images == 900 else "global"}
        )
        reporter.samples(images, "global", ["a"], {"x": [picture(5)]})
    reporter.page()
    text = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert "<script" not in text
    assert "generator/&lt;b&gt;" in text
    assert [int(found) for found in re.findall(r"<h3>(\d+) images, stage", text)] == [900, 200, 100]
    headings = re.findall(r'aria-label="([^"]*)"', text)
    assert headings == [
        "Generator", "Discriminator", "Learning rate", "Images per second", "Share of the time waiting for data",
    ]  # fmt: skip
    assert ">joint</text>" in text, "the start of a stage is marked"
    for source in re.findall(r'src="([^"]*)"', text):
        assert (tmp_path / source).is_file()


def test_figures_of_validation_have_charts_and_the_best_is_reported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    reporter = Reporter(tmp_path, "title", 0, 1000)
    reporter.log(record(100, **{"generator/l1": 0.5}))
    reporter.validated(100, "global", {"l1": 0.5, "psnr": 20.0}, "l1")
    reporter.validated(200, "global", {"l1": 0.75, "psnr": 21.0, "psnr_real": 30.0})
    reporter.page()
    assert lines(tmp_path)[1:] == [
        {"images": 100, "stage": "global", "validation/l1": 0.5, "validation/psnr": 20.0, "best": "l1"},
        {"images": 200, "stage": "global", "validation/l1": 0.75, "validation/psnr": 21.0}
        | {"validation/psnr_real": 30.0},
    ]
    page = (tmp_path / "index.html").read_text()
    validation, curves = page.index("<h2>Validation</h2>"), page.index("<h2>Curves</h2>")
    assert validation < page.index(">psnr<") < curves < page.index(">Generator<")
    assert re.findall(r'aria-label="([^"]*)"', page)[:3] == ["l1", "psnr", "Generator"]
    assert "best l1 0.5, after 100 images of stage global" in page
    assert "10 images/s" in page, "which the last record of training says"
    shown = capsys.readouterr().err
    assert "validation/l1 0.5  validation/psnr 20  (best l1 yet)" in shown and shown.count("yet)") == 1


DISK = pytest.mark.bar("B1.4", "a disk that is full, broken or read-only leaves the old files, with a message")


@DISK
def test_mutant_that_ends_when_its_log_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, figure: Figure
) -> None:
    monkeypatch.setattr(Reporter, "_attempt", lambda self, what, action: action())
    reporter = Reporter(tmp_path, "title", 0, 1000)
    (tmp_path / "metrics.jsonl").mkdir()
    with pytest.raises((OSError, UserError)):
        reporter.log(record(100))
    reporter.close()
    figure("mutant that catches no failed log: ends the run")


@DISK
def test_failed_writes_warn_once_and_training_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    reporter = Reporter(tmp_path, "title", 0, 1000)
    for name in ("metrics.jsonl", "index.html"):
        (tmp_path / name).mkdir()
    (tmp_path / "samples").rmdir()
    (tmp_path / "samples").write_text("in the way")
    for images in (100, 200):
        reporter.log(record(images))
        reporter.samples(images, "global", ["a"], {"x": [picture(5)]})
        reporter.page()
    shown = capsys.readouterr().err
    assert len(re.findall("^warning: ", shown, re.MULTILINE)) == 3
    for name in ("metrics.jsonl", "index.html", "samples"):
        assert f"warning: {name} could not be written, training goes on" in shown
    (tmp_path / "metrics.jsonl").rmdir()
    reporter.log(record(300))
    assert [line["images"] for line in lines(tmp_path)] == [300]
    reporter.close()


def test_the_bar_shows_speed_and_waiting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(report, "_BAR_SECONDS", 0.0)
    reporter = Reporter(tmp_path, "title", 400, 1000)
    reporter.advance(500, waiting_share=0.25)
    reporter.advance(1004, waiting_share=0.25)
    reporter.log(record(1004))
    reporter.message("a word")
    reporter.close()
    reporter.close()
    shown = terminal.getvalue()
    assert "400/1000 images" in shown
    assert "500/1000 images" in shown
    assert "1000/1000 images" in shown
    assert "25% waiting for data" in shown
    assert "images/s" in shown
    assert "a word\n" in shown
    assert "stage global" not in shown, "no plain lines beside a bar"


def test_a_terminal_without_a_size_gets_plain_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setattr(os, "get_terminal_size", lambda descriptor: os.terminal_size((0, 0)))
    monkeypatch.setattr(sys.stderr, "fileno", lambda: 2, raising=False)
    Reporter(tmp_path, "title", 0, 1000).log(record(100))
    assert capsys.readouterr().err.startswith("100/1,000 images")


def test_steps_that_are_not_due_leave_the_bar_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    reporter = Reporter(tmp_path, "title", 0, 1_000_000)
    reporter.advance(1)
    before = len(terminal.getvalue())
    for images in range(2, 200):
        reporter.advance(images)
    assert len(terminal.getvalue()) == before
    reporter.close()


def test_a_closed_terminal_does_not_stop_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(report, "_BAR_SECONDS", 0.0)
    reporter = Reporter(tmp_path, "title", 0, 1000)
    terminal.close()
    reporter.advance(10)
    reporter.message("nobody hears")
    reporter.log(record(10))
    reporter.close()
    assert [line["images"] for line in lines(tmp_path)] == [10]


def test_tensorboard_steps_are_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("tensorboard")
    pytest.importorskip("torch")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator  # type: ignore[import-untyped]
    from tensorboard.summary.writer.event_file_writer import AtomicCounter  # type: ignore[import-untyped]

    monkeypatch.setattr(report, "find_spec", importlib.util.find_spec)
    # Files of one second are read in the order of their names, in which the tenth of a process comes before the ninth.
    monkeypatch.setattr("tensorboard.summary.writer.event_file_writer._global_uid", AtomicCounter(0))

    for start, points in ((0, (100, 200, 300)), (200, (400,))):
        reporter = Reporter(tmp_path, "title", start, 1000)
        for images in points:
            reporter.log(record(images, **{"generator/adversarial": images / 100}))
            reporter.validated(images, "global", {"l1": images / 200}, "l1")
            reporter.samples(images, "global", ["a"], {"x": [picture(7)]})
        reporter.close()
    events = EventAccumulator(str(tmp_path / "tensorboard"), purge_orphaned_data=True)
    events.Reload()
    scalars = events.Scalars("generator/adversarial")
    assert [(event.step, event.value) for event in scalars] == [(100, 1), (200, 2), (400, 4)]
    assert [(event.step, event.value) for event in events.Scalars("validation/l1")] == [(100, 0.5), (200, 1), (400, 2)]
    assert [event.step for event in events.Images("samples/global")] == [100, 200, 400]
    assert "run/epoch" in events.Tags()["scalars"]
