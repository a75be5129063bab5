"""A stage whose pictures are too small for a network is refused by the recipe; at the bound it trains."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from hdtrans.cli import run_tool
from hdtrans.common.errors import RecipeError
from hdtrans.config.recipe import check_recipe
from hdtrans.config.registry import method_module
from hdtrans.data.batch import Batch
from hdtrans.data.fields import kind_of
from hdtrans.engine.distributed import Processes
from hdtrans.engine.precision import choose_precision
from hdtrans.engine.stage import StageTraining
from tests.small_runs import small_recipe, write_recipe

UNET = {"kind": "unet", "width": 2, "downsamples": 2}
RESNET = {"kind": "resnet", "width": 2, "downsamples": 1, "blocks": 1}
TRUNK = {"width": 4, "downsamples": 2, "blocks": 1, "enhancers": 1, "enhancer_blocks": 1}


def values(method: dict[str, Any], size: str, **stage: Any) -> dict[str, Any]:
    kind = "unpaired" if method["kind"] == "cyclegan" else "picture_pairs"
    data = {"kind": kind, "root": "pairs"}
    return small_recipe(Path("d"), Path("r"), data=data, method=method, stages=[{"size": size, "epochs": 1, **stage}])


def problems(plain: dict[str, Any]) -> list[str]:
    try:
        check_recipe(plain, "test")
    except RecipeError as error:
        return [finding for _, finding in error.problems]
    return []


def train_a_step(plain: dict[str, Any]) -> dict[str, torch.Tensor]:
    """Train the first stage of a recipe for a step on one picture; return the losses."""
    recipe = check_recipe(plain, "test")
    module, stage, known = method_module(recipe.method.kind), recipe.stages[0], recipe.data.fields
    networks = module.build_networks(recipe.method, recipe.data, 0)
    method = module.build(recipe.method, recipe.data, stage, networks)
    method.load_frozen_networks(weights=False)
    precision = choose_precision("fp32", torch.device("cpu"))
    work = StageTraining(method, stage, 1, recipe.training, precision, Processes())
    assert stage.size is not None
    size = stage.size.height, stage.size.width
    read = recipe.method.reads(recipe.data)
    return work.step(Batch(("",), (0,), {n: kind_of(known[n]).placeholder(known[n], 1, *size) for n in read}), 0, 0)


def patches(layers: int) -> dict[str, int]:
    return {"width": 2, "layers": layers}


PIX2PIXHD = {
    "kind": "pix2pixhd",
    "generator": TRUNK,
    "features": {"count": 2, "width": 2, "downsamples": 1},
    "discriminator": {"width": 2, "layers": 3, "scales": 2},
    "perceptual": {"kind": "none"},
}


@pytest.mark.parametrize(
    ("method", "least", "words"),
    [
        ({"kind": "pix2pix", "generator": UNET, "discriminator": patches(4)}, 48, "of 4 layers needs 48"),
        ({"kind": "pix2pix", "generator": RESNET, "discriminator": patches(1)}, 6, "of 1 layers needs 6"),
        ({"kind": "pix2pix", "generator": UNET, "discriminator": {"kind": "pixel"}}, 2, "of single pixels needs 2"),
        ({"kind": "cyclegan", "generator": RESNET, "discriminator": patches(3)}, 24, "of 3 layers needs 24"),
        (PIX2PIXHD, 3, "discriminator0 sees 1x1, and needs 2"),
        (PIX2PIXHD | {"perceptual": {"kind": "squeezenet"}}, 21, "squeezenet needs 21"),
    ],
)
def test_it_trains_at_the_bound_and_is_refused_below(method: dict[str, Any], least: int, words: str) -> None:
    assert train_a_step(values(method, f"{least}x{least}"))
    small = f"{least - 1}x{least - 1}"
    found = problems(values(method, small, name="first"))
    assert found and all(line.startswith(f"stages.first.size: {small}: ") for line in found)
    assert any(words in line for line in found), found


def test_every_stage_and_every_network_is_named_at_once() -> None:
    method = {"kind": "pix2pixhd", "generator": TRUNK, "discriminator": {"width": 2, "scales": 3}}
    plain = values(method, "2x2", name="a")
    plain["stages"].append({"name": "b", "geometry": "crop", "size": "64x8"})
    assert [line.split(":")[0] for line in problems(plain)] == ["stages.a.size"] * 3 + ["stages.b.size"]


def test_files_of_their_own_size_are_checked_before_the_first_step(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, side in (("a", 24), ("b", 12)):
        for folder in ("train_A", "train_B"):
            (tmp_path / folder).mkdir(exist_ok=True)
            cv2.imwrite(str(tmp_path / folder / f"{name}.png"), np.zeros((side, 24, 3), np.uint8))
    plain = values({"kind": "pix2pix", "generator": UNET, "discriminator": {"width": 2}}, "24x24")
    plain |= {"data": {"kind": "picture_pairs", "root": str(tmp_path)}, "out": str(tmp_path / "run")}
    plain["stages"] = [{"geometry": "none", "epochs": 1}]
    assert run_tool("train", [str(write_recipe(tmp_path / "r.yaml", plain))]) == 2
    message = capsys.readouterr().err
    assert "b.png: stages.train: 24x12: a discriminator of 3 layers needs 24 pixels" in message
    assert "a.png" not in message and not (tmp_path / "run").exists()
