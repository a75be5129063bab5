"""The everyday tasks, each by its own recipe: made small, trained on a folder of the user's, continued, translated."""

import re
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

from hdtrans.cli import run_tool
from hdtrans.engine.checkpoint import find_checkpoint, load

pytestmark = pytest.mark.usefixtures("in_fp32")

OPTIONS = Path(__file__).resolve().parents[1] / "options"
SMALL = [
    "method.generator.width=4",
    "method.discriminator.width=4",
    "method.discriminator.layers=1",
    "stages.0.size=32x16",
    "stages.0.decay_epochs=0",
    "training.device=cpu",
    "training.workers=0",
    "training.sample_count=1",
]
UNET = [*SMALL, "method.generator.downsamples=3", "stages.0.load=36x20"]
RESNET = [*SMALL, "method.generator.blocks=1"]

TRUNK = [*SMALL, "method.generator.downsamples=2", "method.generator.blocks=1", "method.perceptual.kind=none"]
HD = [*TRUNK, "method.features.width=2", "method.features.downsamples=2"]
JUDGED = [*TRUNK, "method.segmenter.width=2", "method.segmenter.downsamples=3"]

# recipe: overrides, the folder of the inputs, options of infer, shape of a result of 40x24 pixels
TASKS = {
    "pix2pix_labels": (["data.labels=7", *UNET], "test_label", [], (24, 40, 3)),
    "pix2pixhd_labels_features": (["data.labels=7", *HD], "test_label", [], (24, 40, 3)),
    "pix2pixhd_labels_segmenter": (["data.labels=7", *JUDGED], "test_label", [], (24, 40, 3)),
    "pix2pix_facades": (UNET, "test", [], (24, 20, 3)),
    "pix2pix_photo_to_labels": (["data.labels=7", *UNET], "test_img", [], (24, 40)),
    "pix2pix_photo_to_boundaries": (UNET, "test_img", [], (24, 40)),
    "pix2pix_edges": (UNET, "test_img", [], (24, 40, 3)),
    "pix2pix_colourise": (UNET, "test_img", [], (24, 40, 3)),
    "pix2pix_super_resolution": (RESNET, "test_img", ["--ready"], (96, 160, 3)),
    "cyclegan": (["stages.0.load=36x20", *RESNET], "trainB", ["--direction", "BtoA"], (24, 40, 3)),
}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write noise and maps of it into the folders of all kinds of data."""
    root = tmp_path_factory.mktemp("tasks")
    random = np.random.default_rng(0)
    label = (np.add.outer(np.arange(24), np.arange(40)) // 9).astype(np.uint8)
    for folder in ("train", "test", "trainA", "trainB", "train_img", "test_img", "train_label", "test_label"):
        (root / folder).mkdir()
        for number in range(1 if folder.startswith("test") else 3):
            picture = label if folder.endswith("label") else random.integers(0, 256, (24, 40, 3), dtype=np.uint8)
            cv2.imwrite(str(root / folder / f"{number}.png"), picture)
    return root


@pytest.mark.parametrize("name", TASKS)
def test_a_task(name: str, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    overrides, inputs, options, shape = TASKS[name]
    given = [name, f"data.root={root}", f"out={tmp_path / 'run'}", *overrides]
    assert run_tool("train", [*given, "stages.0.epochs=1", "--dry-run"]) == 0
    assert run_tool("train", [*given, "stages.0.epochs=1"]) == 0
    first = load(find_checkpoint(tmp_path / "run"))["images_seen"]
    assert first == (2 if "validation" in (OPTIONS / f"{name}.yaml").read_text(encoding="utf-8") else 3)
    assert run_tool("train", [*given, "stages.0.epochs=2"]) == 0
    assert load(find_checkpoint(tmp_path / "run"))["images_seen"] == 2 * first
    if "features" in name:
        assert run_tool("encode_styles", [str(tmp_path / "run")]) == 0
    command = [str(tmp_path / "run"), "--input", str(root / inputs), "--out", str(tmp_path / "out"), *options]
    assert run_tool("infer", command) == 0
    result = cv2.imread(str(tmp_path / "out" / "0.png"), cv2.IMREAD_UNCHANGED)
    assert result.shape == shape and result.dtype == np.uint8

    strange = tmp_path / "strange"  # an odd size, and a file that is cut off
    strange.mkdir()
    given = cv2.imread(str(root / inputs / "0.png"), cv2.IMREAD_UNCHANGED)
    cv2.imwrite(str(strange / "odd.png"), given[:19, :38])
    (strange / "cut.png").write_bytes((strange / "odd.png").read_bytes()[:60])
    command = [command[0], "--input", str(strange), "--out", str(tmp_path / "odd"), *options]
    assert run_tool("infer", command) == 1
    assert re.search(r"cut\.png: .*is cut off", capsys.readouterr().out)
    result = cv2.imread(str(tmp_path / "odd" / "odd.png"), cv2.IMREAD_UNCHANGED)
    assert result.shape == (19 * shape[0] // 24, 38 * shape[1] // 40, *shape[2:])
    assert (tmp_path / "odd" / "index.html").read_text(encoding="utf-8").count("odd.png") >= 1


def test_a_run_of_before_a_key_was_there_goes_on(root: Path, tmp_path: Path) -> None:
    overrides, *_ = TASKS["pix2pix_labels"]
    given = ["pix2pix_labels", f"data.root={root}", f"out={tmp_path}", *overrides]
    assert run_tool("train", [*given, "stages.0.epochs=1"]) == 0
    values = yaml.safe_load((tmp_path / "recipe.yaml").read_text(encoding="utf-8"))
    del values["data"]["photo_channels"], values["data"]["validation"]
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
    assert run_tool("train", [*given, "stages.0.epochs=2", "data.flip=no"]) == 2
    assert run_tool("train", [*given, "stages.0.epochs=2"]) == 0
