"""Runs, checkpoints and recipes of an earlier version keep working; tests/fixtures/README.md says what they are."""

import hashlib
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from hdtrans.config.loading import load_recipe
from hdtrans.inference.translator import Translator
from tests.old_runs import (
    FIXTURES,
    IMAGES_SEEN,
    logged,
    losses,
    make_city,
    newest,
    pictures,
    pixels,
    train,
    weights,
)

LIMIT = 200_000  # bytes of each run
RECIPES = sorted((FIXTURES / "recipes").glob("*.yaml"))
# For losses and for weights, relative above 1. Measured between SSE4.1, AVX2 and AVX-512: 1e-15 and 7e-9 in fp64
# (biases before a norm have no gradient but noise, of which Adam makes a step), 2e-7 and 8e-7 in fp32.
TOLERANCE = {"fp64": (1e-8, 1e-6), "fp32": (1e-5, 1e-4)}

every_run = pytest.mark.parametrize("name", IMAGES_SEEN)


@pytest.fixture(scope="module")
def city(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Render the toy streets that the runs were trained on."""
    return make_city(tmp_path_factory.mktemp("old"))


def expected(name: str) -> dict[str, Any]:
    """Return what the earlier version did with a run."""
    values: dict[str, Any] = json.loads((FIXTURES / name / "expected.json").read_text(encoding="utf-8"))
    return values


def continued(name: str, city: Path, run: Path) -> Path:
    """Continue a copy of a run by the command that began it; return its folder."""
    shutil.copytree(FIXTURES / name / "run", run)
    train(FIXTURES / name / "recipe.yaml", run, city)
    return run


def tensors(value: Any) -> Iterator[Tensor]:
    """Yield every floating-point tensor of two dimensions or more, wherever it lies."""
    if isinstance(value, Tensor) and value.is_floating_point() and value.ndim > 1:
        yield value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ():
        yield from tensors(inner)


def worst(found: Any, recorded: Any) -> float:
    """Return the largest difference, relative where numbers are larger than 1."""
    a, b = (np.array(values, np.float64) for values in (found, recorded))
    assert a.shape == b.shape, "another number of values"
    return float((np.abs(a - b) / np.maximum(np.abs(b), 1)).max())


def test_they_are_all_there_and_small() -> None:
    assert {folder.name for folder in FIXTURES.iterdir() if folder.is_dir()} == {*IMAGES_SEEN, "recipes"}
    for name in IMAGES_SEEN:
        assert sum(file.stat().st_size for file in (FIXTURES / name).rglob("*") if file.is_file()) <= LIMIT


@every_run
def test_the_streets_are_those_of_then(name: str, city: Path) -> None:
    assert pixels(city) == expected(name)["city"]


@every_run
def test_an_old_run_makes_the_pictures_of_then(name: str, city: Path, tmp_path: Path) -> None:
    """In fp64, where a processor's order of sums does not reach the 8 bits of a picture, every pixel is equal."""
    run = shutil.copytree(FIXTURES / name / "run", tmp_path / "run")
    assert Translator.load(run, "cpu", "fp64").images_seen == IMAGES_SEEN[name]
    with np.load(FIXTURES / name / "pictures.npz") as recorded:
        precise = pictures(name, run, city, tmp_path, "fp64")
        single = pictures(name, run, city, tmp_path, "fp32")
        assert set(precise) == set(recorded.files)
        for picture, then in recorded.items():
            assert then.std() > 2, "a picture without contrast proves nothing"
            assert np.array_equal(precise[picture], then), picture
            apart = np.abs(single[picture].astype(int) - then)
            assert apart.max() <= 1 and (apart > 0).mean() < 0.01, picture


def apart(name: str, run: Path) -> dict[str, float]:
    """Return the differences between a continued run and that of the earlier version, as multiples of TOLERANCE."""
    then, steps, state = expected(name), logged(run, IMAGES_SEEN[name]), newest(run)
    assert [step["images"] for step in steps] == then["images"]
    for_losses, for_weights = TOLERANCE[state["recipe"]["training"]["precision"]]
    differences = {"losses": worst([losses(step) for step in steps], then["losses"]) / for_losses}
    for part, found in (("networks", weights(state["networks"])), ("average", weights(state["ema"]))):
        differences |= {f"{part} {k}": worst(found[k], x) / for_weights for k, x in then[part].items() if x}
    return differences


@every_run
def test_an_old_run_goes_on_as_it_would_have(name: str, city: Path, tmp_path: Path) -> None:
    run = continued(name, city, tmp_path / "run")
    differences = apart(name, run)
    print(differences)
    assert max(differences.values()) < 1, differences


@pytest.mark.parametrize(
    ("name", "part"),
    [("pix2pixhd", "optimizers"), ("pix2pixhd", "ema"), ("cyclegan", "memory"), ("pix2pix", "optimizers")],
)
def test_mutant_a_part_that_is_lost_is_seen(name: str, part: str, city: Path, tmp_path: Path) -> None:
    """All the tensors of one part are zeros: what comes of it is outside the tolerance."""
    run = shutil.copytree(FIXTURES / name / "run", tmp_path / "run")
    (file,) = (run / "checkpoints").glob("*.pt")
    state = torch.load(file, weights_only=True)
    for tensor in tensors(state["ema"] if part == "ema" else state["training"][part]):
        tensor.zero_()
    torch.save(state, file)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    file.with_name(f"{file.name}.sha256").write_text(f"{digest}  {file.name}\n", encoding="utf-8")
    train(FIXTURES / name / "recipe.yaml", run, city)
    assert max(apart(name, run).values()) > 10


def leaves(value: Any, key: str = "") -> dict[str, Any]:
    """Return the plain values of nested ones, by their dotted keys; `scale0` is another name of `discriminator0`."""
    if isinstance(value, dict | list):
        pairs = value.items() if isinstance(value, dict) else enumerate(value)
        return {k: v for inner, x in pairs for k, v in leaves(x, f"{key}.{inner}").items()}
    return {key[1:]: re.sub(r"^scale(\d)$", r"discriminator\1", value) if isinstance(value, str) else value}


@pytest.mark.parametrize("file", RECIPES, ids=lambda file: file.stem)
def test_an_old_recipe_is_the_same_experiment(file: Path) -> None:
    """Its values and every default of then are as they were; keys that are newer may stand beside them."""
    recipe = load_recipe(file)
    assert recipe.name == file.stem
    then = leaves(json.loads((file.parent / "resolved.json").read_text(encoding="utf-8"))[file.stem])
    now = leaves(recipe.model_dump(mode="json"))
    assert {key: now.get(key, "missing") for key in then} == then
