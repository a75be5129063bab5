"""The same weights and the same input give the same file, whichever way leads there."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from torch import Tensor

from hdtrans.cli import run_tool
from hdtrans.config.recipe import check_recipe
from hdtrans.data.batch import Batch
from hdtrans.data.io.read import read_instance, read_label
from hdtrans.engine.run import train
from hdtrans.inference.folder.results import write_result
from hdtrans.inference.translator import Translator
from tests.bars import Figure
from tests.mutants.translating import as_in_training, cut_off, in_bf16, not_averaged
from tests.small_runs import small_recipe, toy_data

bar = pytest.mark.bar("B7.4", "a batch gives the pictures that single inputs give")

METHODS: dict[str, dict[str, Any]] = {
    "pix2pixhd": {},
    "pix2pix": {
        "kind": "pix2pix",
        "generator": {"kind": "resnet", "width": 4, "downsamples": 1, "blocks": 1, "norm": "batch", "dropout": False},
        "discriminator": {"width": 4, "layers": 1},
        "translate": {"norm": "running"},
    },
}

Pngs = dict[str, bytes]


class Keeping:
    """A judge that keeps the newest picture of each sample as bytes, rounded here, not by the package."""

    def __init__(self) -> None:
        self.shown: dict[str, np.ndarray] = {}

    def measure(self, batch: Batch, picture: Tensor) -> float:
        levels = (picture[0].float().numpy().transpose(1, 2, 0) + 1) * np.float32(127.5)
        self.shown[batch.names[0]] = np.rint(levels).clip(0, 255).astype(np.uint8)
        return 0.0

    def figures(self, measured: Sequence[Any]) -> dict[str, float]:
        return {"l1": 0.0}


@pytest.fixture(scope="module", params=METHODS)
def trained(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """Train a method; return the folder of `city` and `run`, and the pictures of the validation after the last step."""
    folder = tmp_path_factory.mktemp(request.param)
    toy_data(folder / "city")
    values = small_recipe(folder / "city", folder / "run")
    values["method"] = METHODS[request.param] or values["method"]
    values["data"]["validation"] = "test"
    values["validate"] = {"metrics": ["l1"]}
    values["training"]["precision"] = "fp64"  # in which all ways agree to the last bit, on every processor
    values["stages"] = [{"size": "64x32", "epochs": 12, "learning_rate": 0.005}]
    judge = Keeping()
    train(check_recipe(values, "test recipe"), lambda *_: judge)
    return folder, judge.shown


def ways(folder: Path, out: Path, shown: dict[str, np.ndarray], dtype: str = "fp64") -> dict[str, Pngs]:
    """Return the files of all three inputs, by the way of making them."""
    made: dict[str, Pngs] = {"training": {}, "Translator": {}}
    translator = Translator.load(folder / "run", "cpu", dtype)
    for name, picture in shown.items():
        label = read_label(folder / "city" / "test_label" / f"{name}.png")
        instance = read_instance(folder / "city" / "test_inst" / f"{name}.png")
        call = translator(label, instance if "instance" in translator.reads else None)
        for way, result in (("training", picture), ("Translator", call)):
            write_result(out / way / f"{name}.png", result)
            made[way][name] = (out / way / f"{name}.png").read_bytes()
    inputs = ["--input", str(folder / "city" / "test_label"), "--device", "cpu", "--dtype", dtype]
    assert run_tool("infer", [str(folder / "run"), *inputs, "--out", str(out / "infer")]) == 0
    return made | {"infer": {file.stem: file.read_bytes() for file in (out / "infer").glob("*.png")}}


@bar
def test_training_translator_and_infer_give_the_same_bytes(
    trained: tuple[Path, dict[str, np.ndarray]], tmp_path: Path
) -> None:
    made = ways(trained[0], tmp_path, trained[1])
    assert len({*made["training"].values()}) == 3
    assert made["training"] == made["Translator"] == made["infer"]
    assert all(picture.std(axis=(0, 1)).min() > 5 for picture in trained[1].values()), "they show something"


@bar
def test_translator_and_infer_give_the_same_bytes_in_fp32(
    trained: tuple[Path, dict[str, np.ndarray]], tmp_path: Path
) -> None:
    """Previews of training are equal too, but for the rounding of fp32."""
    made = ways(trained[0], tmp_path, trained[1], "fp32")
    assert made["Translator"] == made["infer"]
    for name, shown in trained[1].items():
        picture = cv2.imread(str(tmp_path / "infer" / f"{name}.png"))[..., ::-1]
        assert np.abs(picture.astype(int) - shown).max() <= 1


@bar
@pytest.mark.parametrize(
    ("wrong", "methods"),
    [(not_averaged, {*METHODS}), (as_in_training, {"pix2pix"}), (cut_off, {*METHODS}), (in_bf16, {*METHODS})],
    ids=["takes weights that are not averaged", "stays in training mode", "cuts levels off", "computes in bf16"],
)
def test_mutant_that_translates_otherwise_is_seen(
    wrong: Any,
    methods: set[str],
    trained: tuple[Path, dict[str, np.ndarray]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
    figure: Figure,
) -> None:
    """Without batch norm, training mode makes the same pictures."""
    wrong(monkeypatch)
    made = ways(trained[0], tmp_path, trained[1])
    differs = trained[0].name.rstrip("0123456789") in methods
    assert (made["training"] != made["Translator"]) == differs
    assert made["Translator"] == made["infer"]
    if differs:
        figure(f"mutant that {request.node.callspec.id.split('-')[1]}: seen")
