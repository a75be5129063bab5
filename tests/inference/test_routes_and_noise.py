"""pix2pix and CycleGAN from recipe to picture: directions and seeds, in checkpoints too."""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from hdtrans.cli import run_tool
from hdtrans.common.errors import UserError
from hdtrans.engine.checkpoint import find_checkpoint, load
from hdtrans.inference.translator import Translator
from tests.small_runs import small_recipe, train_values

RESNET = {"kind": "resnet", "width": 2, "downsamples": 1, "blocks": 2}
METHODS: dict[str, dict[str, Any]] = {
    "pix2pix": {"kind": "pix2pix", "generator": RESNET, "discriminator": {"width": 2, "layers": 1}},
    "cyclegan": {
        "kind": "cyclegan",
        "generator": RESNET,
        "discriminator": {"width": 2, "layers": 1},
        "pool": {"size": 2},
    },
}


def recipe(place: Path, name: str, epochs: int = 1) -> dict[str, Any]:
    """Return a recipe of a few weights on the pictures in `place`, paired for pix2pix and unpaired for CycleGAN."""
    data = {"kind": "unpaired" if name == "cyclegan" else "picture_pairs", "root": str(place / name)}
    values = small_recipe(place, place / f"run_{name}", data=data, method=METHODS[name])
    stage = {"size": "16x8", "geometry": "resize_and_crop", "load": "20x12", "epochs": epochs}
    return {**values, "name": name, "stages": [stage]}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with pictures and a run of each method, `run_pix2pix` and `run_cyclegan`."""
    folder = tmp_path_factory.mktemp("routes")
    noise = np.random.default_rng(0)
    for name in METHODS:
        for side, count in (("A", 3), ("B", 3 if name == "pix2pix" else 4)):
            for split in ("train", "test"):
                target = folder / name / f"{split}{side}"
                target.mkdir(parents=True)
                for k in range(count if split == "train" else 1):
                    cv2.imwrite(str(target / f"{k}.png"), noise.integers(0, 256, (24, 30, 3), dtype=np.uint8))
        train_values(recipe(folder, name))
    return folder


def infer(*arguments: object) -> int:
    return run_tool("infer", [str(a) for a in arguments])


def source() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (9, 13, 3), dtype=np.uint8)


@pytest.mark.parametrize("name", METHODS)
def test_more_epochs_continue_the_run(place: Path, name: str, tmp_path: Path) -> None:
    values = recipe(place, name)
    values["out"] = str(tmp_path / "whole")
    values["stages"][0]["epochs"] = 3
    whole = load(find_checkpoint(train_values(values)))
    values["out"] = str(tmp_path / "parts")
    values["stages"][0]["epochs"] = 1
    train_values(values)
    values["stages"][0]["epochs"] = 3
    parts = load(find_checkpoint(train_values(values)))
    assert whole["images_seen"] == parts["images_seen"]
    assert all((whole["networks"][key] == parts["networks"][key]).all() for key in whole["networks"])
    for pool, slots in whole["training"]["memory"].items():
        for slot, kept in slots.items():
            assert all((a == b).all() for a, b in zip(kept, parts["training"]["memory"][pool][slot], strict=True))


def test_both_directions(place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, x = place / "run_cyclegan", source()
    made = {route: Translator.load(run, route=route)(x) for route in ("", "AtoB", "BtoA")}
    assert all(picture.shape == (9, 13, 3) for picture in made.values())
    assert np.array_equal(made[""], made["AtoB"]) and not np.array_equal(made["AtoB"], made["BtoA"])
    given, out = place / "cyclegan" / "testB", tmp_path / "out"
    assert infer(run, "--input", given, "--out", out, "--direction", "BtoA") == 0
    assert json.loads((out / "inference.json").read_text())["direction"] == "BtoA"
    capsys.readouterr()
    assert infer(run, "--input", given, "--out", out) == 2
    assert "pictures of another model, direction" in capsys.readouterr().err
    assert infer(run, "--input", given, "--out", tmp_path / "c", "--direction", "BtoC") == 2
    assert "there is no direction 'BtoC'; there are AtoB, BtoA" in capsys.readouterr().err
    assert not (tmp_path / "c").exists()


def test_a_model_with_one_direction_refuses_another(place: Path) -> None:
    with pytest.raises(UserError, match="direction=AtoB: this model translates in one direction alone"):
        Translator.load(place / "run_pix2pix", route="AtoB")


def test_the_same_seed_gives_the_same_picture(place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, given = place / "run_pix2pix", place / "pix2pix" / "testA"
    translator = Translator.load(run)
    assert translator.noisy
    x = source()
    assert np.array_equal(translator(x), translator(x, seed=0))
    assert np.array_equal(translator(x, seed=2**63 - 1), translator(x, seed=2**63 - 1))
    frames = translator.translate([translator.check(x)] * 2, seed=7)
    assert np.array_equal(frames[0], frames[1]), "each frame of a video has the noise of the others"
    files = []
    for place_of, seed in enumerate((5, 5, 6)):
        out = tmp_path / str(place_of)
        assert infer(run, "--input", given, "--out", out, "--seed", seed) == 0
        files.append((out / "0.png").read_bytes())
    assert files[0] == files[1]
    assert infer(run, "--input", given, "--out", tmp_path / "0", "--seed", 6) == 2
    assert infer(run, "--input", given, "--out", tmp_path / "n", "--seed", -1) == 2
    assert "--seed -1: a seed is a number from 0" in capsys.readouterr().err


def test_translation_options_come_from_the_checkpoint(place: Path) -> None:
    state = load(find_checkpoint(place / "run_pix2pix"))
    assert state["recipe"]["method"]["translate"] == {"dropout": True, "norm": "image"}
    assert not Translator.load(place / "run_cyclegan").noisy, "CycleGAN drops nothing by default"
