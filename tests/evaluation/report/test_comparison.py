"""`hdtrans compare`: one self-contained page."""

import json
import re
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from hdtrans.cli import run_tool


def _run(folder: Path, learning_rate: float, figures: dict[str, float], change: int, **more: Any) -> Path:
    """Write the files of a run and its evaluation."""
    pictures = folder / "evaluation" / "images_000000100"
    pictures.mkdir(parents=True)
    for name in ("a", "b<i>"):
        cv2.imwrite(str(pictures / f"{name}.png"), np.full((8, 8, 3), change, np.uint8))
    stage = {"name": "train", "epochs": 1}
    recipe = {"name": "r", "training": {"optimizer": {"learning_rate": learning_rate}}, "stages": [stage]}
    (folder / "recipe.yaml").write_text(json.dumps(recipe), encoding="utf-8")
    lines = [json.dumps({"images": x, "stage": "train", "generator/l1": 1 / (x + 1)}) for x in (100, 200)]
    lines += [json.dumps({"images": x, "stage": "train", "validation/ssim": x / 1000}) for x in (100, 200)]
    (folder / "metrics.jsonl").write_text("\n".join([*lines, '{"images": 30']), encoding="utf-8")
    truth = folder.parent / "truth"
    truth.mkdir(exist_ok=True)
    cv2.imwrite(str(truth / "a_leftImg8bit.png"), np.zeros((8, 8, 3), np.uint8))
    shown = {"folder": str(pictures), "truth": str(truth), "paired": True, "results": "pictures", "count": 2}
    values = {"hdtrans_evaluation": 1, "figures": figures, "pictures": {**shown, **more}, "metrics": {"l1": {}}}
    (folder / "evaluation" / "images_000000100.json").write_text(json.dumps(values), encoding="utf-8")
    return folder


def test_a_page(tmp_path: Path) -> None:
    one = _run(tmp_path / "one", 2e-4, {"l1": 0.1, "psnr": 20.0}, 10)
    other = _run(tmp_path / "other", 1e-4, {"l1": 0.2, "psnr": 25.0}, 200)
    page = tmp_path / "page.html"
    assert run_tool("compare", [str(one), str(other), "--out", str(page)]) == 0
    text = page.read_text(encoding="utf-8")
    assert "0.1000 (best)" in text and "25.0000 (best)" in text and "0.2000<" in text
    assert "training.optimizer.learning_rate" in text and "stages.train.epochs" not in text
    assert text.count("data:image/jpeg;base64,") == 5  # two of each run, and one true picture
    assert "b&lt;i&gt;" in text and "<i>" not in text
    validation, losses = text.index("<h2>Validation during training</h2>"), text.index("<h2>Losses</h2>")
    assert validation < text.index(">ssim<") < losses < text.index(">generator/l1<") and text.count(">ssim<") == 1
    assert "measured differently" not in text
    assert not re.search(r'(src|href)="(?!data:)', text)


def test_different_measurements_are_reported(tmp_path: Path) -> None:
    one = _run(tmp_path / "one", 1e-4, {"l1": 0.1}, 10)
    other = _run(tmp_path / "other", 1e-4, {"l1": 0.2}, 200, count=3)
    evaluation = next((other / "evaluation").glob("*.json"))
    page = tmp_path / "page.html"
    assert run_tool("compare", [str(one), str(evaluation), "--out", str(page)]) == 0
    assert "measured differently: count: 2, 3" in page.read_text(encoding="utf-8")


def test_mistakes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = _run(tmp_path / "one", 1e-4, {}, 10)
    page = tmp_path / "page.html"
    assert run_tool("compare", [str(one), str(tmp_path / "nothing"), "--out", str(page)]) == 2
    assert "nothing: neither a run folder" in capsys.readouterr().err
    (one / "index.html").write_text("curves")
    assert run_tool("compare", [str(one), str(one), "--out", str(one / "index.html")]) == 2
    assert "index.html: is the page of a run" in capsys.readouterr().err
    assert (one / "index.html").read_text() == "curves"
    (tmp_path / "x.json").write_text("{}", encoding="utf-8")
    assert run_tool("compare", [str(one), str(tmp_path / "x.json"), "--out", str(page)]) == 2
    assert "not a report of hdtrans evaluate" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        run_tool("compare", [str(one), "--out", str(page)])
    assert not page.exists()
