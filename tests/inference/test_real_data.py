"""Real Cityscapes maps through a small model: read as they are on disk, translated at their full size."""

from pathlib import Path

import cv2
import pytest

from hdtrans.cli import run_tool
from tests.golden_files import shared
from tests.small_runs import small_recipe, train_values


@pytest.mark.slow
def test_cityscapes_from_its_folders_to_pictures_of_full_size(tmp_path: Path) -> None:
    root = shared("data", "cityscapes")
    data = {"kind": "label_maps", "root": str(root), "labels": 35}
    values = small_recipe(root, tmp_path / "run", data=data)
    values["stages"] = [
        {"name": "global", "size": "256x128", "epochs": 0.5},
        {"name": "crops", "size": "128x128", "geometry": "crop", "epochs": 0.25},
    ]
    train_values(values)
    inputs = sorted((root / "test_label").iterdir())
    out = tmp_path / "pictures"
    assert run_tool("infer", [str(tmp_path / "run"), "--input", str(root / "test_label"), "--out", str(out)]) == 0
    pictures = sorted(out.glob("*.png"))
    assert [p.stem for p in pictures] == [f.stem for f in inputs] and len(inputs) == 15
    assert all(cv2.imread(str(picture)).shape == (1024, 2048, 3) for picture in pictures)
