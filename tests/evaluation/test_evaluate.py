"""`hdtrans evaluate`: folders and runs, refusals, and the JSON report."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

import hdtrans
from hdtrans.cli import run_tool
from hdtrans.common.classes import ClassTable
from hdtrans.common.errors import UserError
from hdtrans.evaluation.metrics import set_distances
from hdtrans.evaluation.pairs import Places
from hdtrans.evaluation.report.scores import read_report
from hdtrans.evaluation.scoring import score
from tests.small_runs import small_recipe, toy_data, train_values, write_recipe

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"


def _write(folder: Path, names: str, change: int = 0, size: tuple[int, int] = (24, 32)) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for place, name in enumerate(names.split()):
        picture = np.random.default_rng(place).integers(20, 200, (*size, 3), dtype=np.uint8)
        cv2.imwrite(str(folder / f"{name}.png"), picture + np.uint8(change))
    return folder


def _evaluate(*given: object, out: Path) -> dict[str, Any]:
    assert run_tool("evaluate", [*map(str, given), "--out", str(out)]) == 0
    values: dict[str, Any] = json.loads(out.read_text(encoding="utf-8"))
    return values


def test_a_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    truth, found = _write(tmp_path / "truth", "a_A b_A"), _write(tmp_path / "found", "a b", 51)
    values = _evaluate(found, "--truth", truth, out=tmp_path / "e.json")
    assert values["figures"]["l1"] == pytest.approx(0.2)
    assert values["figures"]["psnr"] == pytest.approx(-20 * np.log10(0.2))
    assert values["figures"]["ms_ssim"] is None and "below 176 pixels" in values["left_out"]["figures"]["ms_ssim"]
    assert values["pictures"]["count"] == 2 and values["pictures"]["sizes"] == {"32x24": 2}
    assert values["each"]["b"]["l1"] == pytest.approx(0.2)
    assert values["seconds_per_picture"]["ssim"] > 0
    assert "ms_ssim           -" in capsys.readouterr().out


def test_sizes_differ(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    truth, found = _write(tmp_path / "truth", "a"), _write(tmp_path / "found", "a", size=(12, 16))
    assert run_tool("evaluate", [str(found), "--truth", str(truth)]) == 2
    message = capsys.readouterr().err
    assert "found 16x12" in message and "truth 32x24" in message and "--resize WIDTHxHEIGHT" in message
    values = _evaluate(found, "--truth", truth, "--resize", "16x12", out=tmp_path / "e.json")
    assert values["pictures"]["resize"] == {"to": "16x12", "pictures": "bicubic, antialiased", "maps": "nearest"}


def test_a_damaged_picture_stops_no_other(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    truth, found = _write(tmp_path / "truth", "a b"), _write(tmp_path / "found", "a b", 51)
    whole = (found / "b.png").read_bytes()
    (found / "b.png").write_bytes(whole[: len(whole) // 2])
    assert run_tool("evaluate", [str(found), "--truth", str(truth)]) == 1
    values = json.loads((found / "evaluation.json").read_text(encoding="utf-8"))
    assert values["pictures"]["count"] == 1 and "is cut off" in values["left_out"]["pictures"]["b"]
    assert "not scored: b: " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (["found", "--truth", "more"], "true pictures: no picture belongs to 1 file(s): c.png"),
        (["more", "--truth", "truth"], "true pictures: nothing belongs to 1 file(s): c"),
        (["fond", "--truth", "truth"], "there is no such folder. Did you mean 'found'?"),
        (["found", "--truth", "truht"], "--truth truht: there is no such folder. Did you mean 'truth'?"),
        (["found"], "there is nothing to measure yet; give --truth DIR"),
        (["found", "--truth", "truth", "--data", "x"], "--data x: is for a run, and this is a folder of pictures"),
        (["found", "--truth", "truth", "--metrics", "psrn"], "there are l1, psnr"),
        (["found", "--truth", "truth", "--metrics", "labels"], "scores labels, but these results are pictures"),
        (["found", "--truth", "truth", "--metrics", "segmentation"], "--labels DIR"),
        (["found", "--truth", "truth", "--metrics", "ssim", "--unpaired"], "leave out --unpaired"),
        (["found", "--truth", "truth", "--resize", "8"], "--resize 8: write WIDTHxHEIGHT"),
        (["found", "--truth", "truth", "--results", "labels"], "labels: the number of classes is unknown"),
        (
            ["found", "--labels", "truth", "--metrics", "segmentation"],
            "segmentation: needs a segmentation network, of hdtrans train_segmenter or another; give --segmenter",
        ),
        (["found", "--labels", "truth", "--metrics", "l1"], "l1: needs the true pictures; give --truth DIR"),
        (["found", "--truth", "truth", "--metrics", "fid"], "or give --weights FILE, or --download"),
    ],
)
def test_mistakes(
    given: list[str], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    _write(Path("truth"), "a b"), _write(Path("found"), "a b"), _write(Path("more"), "a b c")
    assert run_tool("evaluate", given) == 2
    assert words in capsys.readouterr().err
    assert not list(tmp_path.rglob("*.json"))


def test_label_maps_and_boundaries(tmp_path: Path) -> None:
    for name, column in {"truth_label": 4, "found": 5}.items():
        label = np.zeros((8, 8), np.uint8)
        label[:, column:] = 1
        (tmp_path / name).mkdir()
        cv2.imwrite(str(tmp_path / name / "a.png"), label)
        (tmp_path / f"{name}_lines").mkdir()
        cv2.imwrite(
            str(tmp_path / f"{name}_lines" / "a.png"),
            np.uint8(255) * (np.abs(np.arange(8) - column) < 1) * np.ones((8, 1), np.uint8),
        )
    ClassTable.generic(2).write(tmp_path / "dataset.json")
    given = ["--results", "labels", "--truth", tmp_path / "truth_label"]
    values = _evaluate(tmp_path / "found", *given, out=tmp_path / "e.json")
    assert values["figures"]["pixel_accuracy"] == 7 / 8
    assert values["classes"]["labels"]["class 1"]["iou"] == 3 / 4
    given = ["--results", "boundaries", "--truth", tmp_path / "truth_label_lines", "--tolerance"]
    assert _evaluate(tmp_path / "found_lines", *given, 1, out=tmp_path / "f.json")["figures"]["boundary_f_measure"] == 1
    assert _evaluate(tmp_path / "found_lines", *given, 0, out=tmp_path / "f.json")["figures"]["boundary_f_measure"] == 0


def test_label_maps_of_unequal_size_are_no_crash(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, height in {"truth": 8, "found": 6}.items():
        (tmp_path / name).mkdir()
        cv2.imwrite(str(tmp_path / name / "a.png"), np.zeros((height, 8), np.uint8))
    ClassTable.generic(2).write(tmp_path / "dataset.json")
    given = [str(tmp_path / "found"), "--results", "labels", "--truth", str(tmp_path / "truth")]
    assert run_tool("evaluate", given) == 2
    assert "found 8x6" in (message := capsys.readouterr().err) and "--resize WIDTHxHEIGHT" in message


def test_sets_without_pairs_keep_their_real_features(tmp_path: Path) -> None:
    """Distance of two sets with a replaced extractor; the second time, real features come from the cache."""
    import torch

    truth, found = _write(tmp_path / "truth", "x y z u v"), _write(tmp_path / "found", "a b c d", 20)
    files = sorted(str(file) for file in truth.iterdir())
    seen = []

    def extract(pictures: torch.Tensor) -> torch.Tensor:
        seen.append(len(pictures))
        return pictures.float().mean((2, 3))

    def distance() -> dict[str, Any]:
        real = set_distances.RealFeatures(tmp_path / "cache", files, "mean")
        metric = set_distances.SetDistance(["fid", "kid"], extract, 3, {}, torch.device("cpu"), real)
        return score(Places(found, truth, paired=False, any_size=True), [metric]).summary.figures

    first, pictures = distance(), sum(seen)
    assert distance() == first and pictures == 9 and sum(seen) == pictures + 4
    assert first["fid"] > 500 and first["kid_deviation"] is not None
    (truth / "x.png").write_bytes((truth / "y.png").read_bytes())  # other content is another set
    assert distance() != first


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    return train_values(small_recipe(toy_data(folder / "city"), folder / "run"))


def test_a_run(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A run's test files are translated and scored against their photos; the second time, no file is translated."""
    network = tmp_path / "network.pt"
    given = [str(run.parent / "city"), "--out", str(network), "--steps", "2", "--workers", "0"]
    assert run_tool("train_segmenter", given) == 0
    assert run_tool("evaluate", [str(run), "--segmenter", str(network)]) == 0
    assert "3 made" in capsys.readouterr().out
    (file,) = (run / "evaluation").glob("*.json")
    values = json.loads(file.read_text(encoding="utf-8"))
    assert values["model"]["split"] == "test" and values["model"]["images_seen"] == 4
    assert values["pictures"]["count"] == 3 and values["figures"]["l1"] > 0
    assert {"segmentation_mean_iou", "segmentation_mean_iou_real"} <= set(values["figures"])
    assert values["metrics"]["segmentation"]["network"]["sha256"]
    assert run_tool("evaluate", [str(run), "--metrics", "l1", "--split", "train"]) == 0
    assert run_tool("evaluate", [str(run), "--metrics", "l1"]) == 0
    assert "0 made, 3 there already" in capsys.readouterr().out
    assert run_tool("evaluate", [str(run), "--metrics", "fid"]) == 2
    assert run_tool("evaluate", [str(run), "--split", "tets"]) == 2
    assert "test" in capsys.readouterr().err


def test_names_that_are_not_utf8(tmp_path: Path) -> None:
    """Names of old archives are trained on with validation, translated, scored and prepared, and read back."""
    city = toy_data(tmp_path / "city", 2, 1)
    name = os.fsdecode(b"caf\xe9")
    for folder in city.iterdir():
        if folder.is_dir():
            (folder / "00000.png").rename(folder / f"{name}.png")
    values = small_recipe(city, tmp_path / "run", validate={"every": 2, "metrics": ["l1"], "best": "l1"})
    assert run_tool("train", [str(write_recipe(tmp_path / "r.yaml", values))]) == 0
    file = tmp_path / "e.json"
    assert name in _evaluate(tmp_path / "run", "--metrics", "l1", out=file)["each"]
    assert r"caf\udce9" in file.read_text(encoding="utf-8")
    assert f"{name}.png" in os.listdir(tmp_path / "e")
    given = ["folder", "--in", str(city), "--label-dir", "train_label", "--photo-dir", "train_img", "--workers", "1"]
    for _ in range(2):  # the second time, all items are done
        assert run_tool("prepare", [*given, "--classes", "19", "--out", str(tmp_path / "out")]) == 0
    lines = (tmp_path / "out" / "prepare.jsonl").read_text(encoding="utf-8").split("\n")[:-1]
    assert len(lines) == 2 and any(json.loads(line)["name"] == name for line in lines)


@pytest.fixture
def moved(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a run whose recipe has relative paths, `runs/mine` and `city`."""
    values = small_recipe(Path("city"), Path("runs/mine"))
    values["method"]["condition"] = {"boundary": "none"}
    shutil.copytree(run.parent / "city", tmp_path / "there" / "city")
    monkeypatch.chdir(tmp_path / "there")
    train_values(values)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "there"


def test_data_that_have_moved(moved: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A relative data.root is looked up from where training was started; --data names any other place."""
    assert run_tool("evaluate", ["there/runs/mine", "--metrics", "l1"]) == 0
    assert f"data: {moved}/city\n3 made" in capsys.readouterr().out
    (moved / "city").rename(moved.parent / "elsewhere")
    assert run_tool("evaluate", ["there/runs/mine", "--metrics", "l1"]) == 2
    looked = f"(looked for {moved.parent}/city and {moved}/city); give --data DIR"
    assert f"data.root=city: there is no such folder {looked}" in capsys.readouterr().err
    assert run_tool("evaluate", ["there/runs/mine", "--metrics", "l1", "--data", "elsewere"]) == 2
    assert "--data elsewere: there is no such folder. Did you mean 'elsewhere'?" in capsys.readouterr().err
    assert run_tool("evaluate", ["there/runs/mine", "--metrics", "l1", "--data", "elsewhere"]) == 0
    assert "0 made, 3 there already" in capsys.readouterr().out, "the same inputs"
    with pytest.raises(UserError, match=r"; give data=DIR$"):
        hdtrans.evaluate("there/runs/mine", metrics=["l1"])
    assert hdtrans.evaluate("there/runs/mine", metrics=["l1"], data="elsewhere")["figures"]["l1"] > 0
    # A folder of that name here goes first, as it always has.
    shutil.copytree(moved.parent / "elsewhere", moved.parent / "city")
    assert run_tool("evaluate", ["there/runs/mine", "--metrics", "l1"]) == 0
    assert "data: " not in capsys.readouterr().out


def test_a_report_that_moves_with_its_folders(moved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Paths in a report are relative to it; `hdtrans compare` finds the pictures."""
    assert run_tool("evaluate", ["there/runs/mine", "--metrics", "l1"]) == 0
    (report,) = (moved / "runs/mine/evaluation").glob("*.json")
    values = json.loads(report.read_text(encoding="utf-8"))
    assert values["pictures"]["folder"] == report.stem and values["pictures"]["truth"] == "../../../city/test_img"
    assert values["model"]["checkpoint"] == "../checkpoints/images_000000004_train.pt"
    moved.rename(moved.parent / "later")
    monkeypatch.chdir("/")
    later = moved.parent / "later"
    assert read_report(later / report.relative_to(moved))["pictures"]["truth"] == str(later / "city/test_img")
    page = moved.parent / "page.html"
    assert run_tool("compare", [str(later / "runs/mine")] * 2 + ["--out", str(page)]) == 0
    assert page.read_text(encoding="utf-8").count("data:image/jpeg;base64,") == 9
    shutil.rmtree(later / "city")
    assert run_tool("compare", [str(later / "runs/mine")] * 2 + ["--out", str(page)]) == 0
    assert f"not shown, as there is no folder {later}/city/test_img" in page.read_text(encoding="utf-8")


def test_real_facades(tmp_path: Path) -> None:
    if not (SHARED / "facades").is_dir():
        pytest.skip("needs ../shared/data/facades")
    folders = SHARED / "facades"
    given = ["--truth", folders / "testA", "--metrics", "l1", "--resize", "32x32"]
    figures = _evaluate(folders / "testB", *given, out=tmp_path / "e.json")["figures"]
    assert 0.2 < figures["l1"] < 0.6
