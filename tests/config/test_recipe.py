"""The recipe: what it accepts, what it refuses, and in which words."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from hdtrans.common.errors import UserError
from hdtrans.config.loading import find_recipe, load_recipe
from hdtrans.config.recipe import MethodSection, Recipe, check_recipe
from hdtrans.config.registry import method_kinds, method_module
from hdtrans.config.stage import Size, Stage
from hdtrans.data.kinds.label_maps import Section as LabelMaps
from hdtrans.data.kinds.picture_pairs import Section as PicturePairs

SMALL = """
data: {kind: label_maps, root: pictures, labels: 5}
method: {kind: pix2pixhd, generator: {enhancers: 1}}
stages:
  - {name: global, size: 64x32, output: head, epochs: 3}
  - {name: joint, size: 128x64, epochs: 2, batch_size: 2}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "small.yaml"
    file.write_text(SMALL, encoding="utf-8")
    return file


def problems(file: Path, *overrides: str) -> list[str]:
    """Return the lines of the message about a recipe, without the first, which counts them."""
    with pytest.raises(UserError) as caught:
        load_recipe(file, overrides)
    first, *lines = str(caught.value).splitlines()
    assert first == f"{file}: {len(lines)} problem(s) in this recipe:"
    return [line.strip() for line in lines]


# Sizes


@pytest.mark.parametrize("text", ["2048x1024", "2048X1024", " 2048 x 1024 "])
def test_a_size_is_width_by_height(text: str) -> None:
    size = Size.model_validate(text)
    assert (size.height, size.width) == (1024, 2048)
    assert str(size) == "2048x1024"


def test_a_size_of_a_section() -> None:
    assert Size.model_validate({"height": 2, "width": 3}) == Size(height=2, width=3)


@pytest.mark.parametrize(
    "value", ["1024", "x", "10x", "-1x2", "1.5x2", "1x2x3", "", "1e3x5", 1024, 0, None, True, [2, 3]]
)
def test_no_size(value: Any) -> None:
    with pytest.raises(ValidationError, match="a size is written WIDTHxHEIGHT in pixels, for instance 1024x512; given"):
        Size.model_validate(value)


@pytest.mark.parametrize("text", ["0x5", "5x0"])
def test_a_size_is_positive(text: str) -> None:
    with pytest.raises(ValidationError, match="greater than 0"):
        Size.model_validate(text)


# Stages


@pytest.mark.parametrize(
    "given",
    [
        {"size": "64x32"},
        {"size": "64x32", "geometry": "scale_width"},
        {"size": "64x32", "geometry": "crop"},
        {"size": "64x32", "geometry": "resize_and_crop", "load": "64x32"},
        {"size": "64x32", "geometry": "scale_width_and_crop", "load": "70x1"},
        {"geometry": "none"},
        {"size": "64x32", "epochs": 0, "decay_epochs": 0.5},
        {"size": "64x32", "learning_rate": 1e-5},
    ],
)
def test_stage(given: dict[str, Any]) -> None:
    stage = Stage.model_validate(given)
    assert Stage.model_validate(stage.model_dump(mode="json")) == stage


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "geometry: resize needs a size"),
        ({"geometry": "crop"}, "geometry: crop needs a size"),
        ({"geometry": "none", "size": "64x32"}, "leave out size"),
        ({"geometry": "none", "load": "64x32"}, "load is not used by geometry: none"),
        ({"size": "64x32", "load": "64x32"}, "load is not used by geometry: resize"),
        ({"size": "64x32", "geometry": "crop", "load": "64x32"}, "load is not used by geometry: crop"),
        ({"size": "64x32", "geometry": "resize_and_crop"}, "give load: WIDTHxHEIGHT"),
        ({"size": "64x32", "geometry": "scale_width_and_crop"}, "give load: WIDTHxHEIGHT"),
        (
            {"size": "64x32", "geometry": "resize_and_crop", "load": "63x32"},
            "63x32 is narrower than the crop size 64x32",
        ),
        ({"size": "64x32", "geometry": "resize_and_crop", "load": "64x31"}, "64x31 is lower than the crop size 64x32"),
        ({"size": "64x32", "geometry": "scale_width_and_crop", "load": "63x99"}, "is narrower than"),
        ({"size": "64x32", "geometry": "zoom"}, "'resize', 'scale_width', 'crop'"),
        ({"size": "64x32", "epochs": 0}, "a stage trains for some epochs"),
        ({"size": "64x32", "epochs": -1}, "greater than or equal to 0"),
        ({"size": "64x32", "epochs": float("nan")}, "finite"),
        ({"size": "64x32", "epochs": float("inf")}, "finite"),
        ({"size": "64x32", "batch_size": 0}, "greater than 0"),
        ({"size": "64x32", "learning_rate": 0}, "greater than 0"),
        ({"size": "64x32", "name": "../up"}, "pattern"),
        ({"size": "64x32", "name": ""}, "pattern"),
        ({"size": "64x32", "train": []}, "at least 1"),
    ],
)
def test_no_stage(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Stage.model_validate(given)
    assert message in str(caught.value)


def test_a_stage_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Stage(geometry="none").epochs = 3  # type: ignore[misc]


# A whole recipe


def test_recipe(file: Path) -> None:
    recipe = load_recipe(file)
    assert recipe.name == "small"
    assert isinstance(recipe.data, LabelMaps) and recipe.data.labels == 5
    assert recipe.method.kind == "pix2pixhd"
    assert [stage.name for stage in recipe.stages] == ["global", "joint"]
    assert recipe.stages[0].output == "head"
    assert recipe.stages[1].output == "enhancer1", "the method fills in what a stage leaves out"
    assert recipe.stages[1].train and "enhancer1" in recipe.stages[1].train
    assert check_recipe(recipe.model_dump(mode="json"), "again") == recipe


def test_the_kind_of_data_chooses_its_keys(file: Path) -> None:
    recipe = load_recipe(file, ["data={kind: picture_pairs, root: pairs, source_channels: 1}"])
    assert isinstance(recipe.data, PicturePairs) and recipe.data.source_channels == 1


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        # keys that there are not, with the nearest that there is, of the very section
        (["trainin.seed=3"], "trainin: there is no such key; allowed here: data, init_from, method, name, out, stages"),
        (
            ["training.sed=3"],
            "training.sed: there is no such key; allowed here: bad_files, check_content, deterministic, device, ema",
        ),
        (
            ["training.optimizer.lr=3"],
            "training.optimizer.lr: there is no such key; allowed here: betas, eps, learning",
        ),
        (
            ["method.generator.widht=3"],
            "method.generator.widht: there is no such key; allowed here: blocks, downsamples",
        ),
        (
            ["data.source_channels=3"],
            "data.source_channels: there is no such key; allowed here: flip, ignore, instances, kind, labels",
        ),
        (
            ["data.kind=picture_pairs"],
            "data.labels: there is no such key; allowed here: direction, flip, ignore, kind, photo",
        ),
        (
            ["stages.joint.epocs=3"],
            "stages.1.epocs: there is no such key; allowed here: batch_size, decay, decay_epochs, decay_every",
        ),
        # kinds
        (
            ["data.kind=labelmaps"],
            "data.kind: there is no kind 'labelmaps'; there are label_maps, photos, photos_to_maps, picture_pairs, ",
        ),
        (
            ["data={kind: photos, root: x, input: {kind: edge}}"],
            "data.input.kind: there is no kind 'edge'; there are edges, grey, lab, low_resolution. Did you mean",
        ),
        (
            ["data={kind: photos, root: x, input: {low: 3}}"],
            "data.input: starts with kind: one of edges, grey, lab, low_resolution",
        ),
        (
            ["data={kind: photos, root: x, input: {kind: edges, hihg: 3}}"],
            "data.input.hihg: there is no such key; allowed here: blur, high, kind, low. Did you mean 'high'?",
        ),
        (["data={kind: photos, root: x, input: {kind: edges, low: -3}}"], "data.input.low: Input should be greater"),
        (["data={kind: photos, root: x}"], "data.input: is missing"),
        (["data={kind: unpaired, root: x}"], "data.kind: unpaired has no true picture for an input"),
        (["data.validation=2"], "data.validation: is a share of the training files, as 0.1, or the name of a folder"),
        (
            ["data={kind: side_by_side, root: x}", "method.condition.boundary=instance"],
            "data.kind: side_by_side has photo, source, but the method also reads instance",
        ),
        (
            ["data={root: x}"],
            "data: starts with kind: one of label_maps, photos, photos_to_maps, picture_pairs, side_by_side",
        ),
        (["method.kind=pix2pix_hd"], "method.kind: there is no method 'pix2pix_hd'; there are"),
        (["method.kind=base"], "method.kind: there is no method 'base'; there are"),
        (["method.kind=../x"], "method.kind: there is no method '../x'; there are"),
        (["method.kind="], "method.kind: there is no method 'None'; there are"),
        (["method={}"], "method: starts with kind: one of"),
        (["method=pix2pixhd"], "method: starts with kind: one of"),
        # values
        (["training.seed=-1"], "training.seed: Input should be greater than or equal to 0; given: -1"),
        (["training.seed=lucky"], "training.seed: Input should be a valid integer"),
        (["training.seed.x=1"], "training.seed: Input should be a valid integer"),
        (
            ["training.precision=fp8"],
            "training.precision: Input should be 'auto', 'fp32', 'bf16', 'fp16' or 'fp64'; given",
        ),
        (["training.optimizer.betas=[0.5]"], "training.optimizer.betas.1: is missing"),
        (["training.optimizer.betas=[0.5, 1]"], "training.optimizer.betas.1: Input should be less than 1; given: 1"),
        (["training.keep=1"], "training.keep: Input should be greater than or equal to 2; given: 1"),
        (["data.labels=5.5"], "data.labels: Input should be a valid integer"),
        (["data.labels=65536"], "data.labels: Input should be less than or equal to 65535; given: 65536"),
        (["data.root="], "data.root: needs a value, and has none"),
        (["data="], "data: starts with kind: one of label_maps"),
        (["training=5"], "training: is a section"),
        (["method.generator=5"], "method.generator: is a section"),
        (
            ["stages.0.size=1024"],
            "stages.0.size: a size is written WIDTHxHEIGHT in pixels, for instance 1024x512; given: 1024",
        ),
        (["stages.0.load=64x32"], "stages.0: load is not used by geometry: resize"),
        (["stages.0.name=a b"], "stages.0.name: is made of letters, digits, _ and -"),
        (["stages.0={name: 1, size: 8x8}"], "stages.0.name: is a word; put a number in quotes; given: 1"),
        (["stages=[]"], "stages: is empty; at least one is required"),
        (["stages={a: 1}"], "stages: is a list"),
        (["stages.0=3"], "stages.0: is a section"),
        (["name=../up"], "name: is made of letters, digits"),
        # what only the sections together show
        (["stages.1.name=global"], "stages need different names, these are: global, global"),
        (["stages.0.output=enhancer2"], "stage global: output: there is no enhancer2; there are head, enhancer1"),
        (
            ["stages.0.train=[trunk, heat]"],
            "stage global: train (output head): there is no heat; there are trunk, head",
        ),
        (["method.generator.width=3"], "method.generator: width 3 must be a multiple of 2"),
    ],
)
def test_one_problem(file: Path, overrides: list[str], message: str) -> None:
    found = problems(file, *overrides)
    assert len(found) == 1 and found[0].startswith(message), found


def test_all_problems_at_once(file: Path) -> None:
    found = problems(
        file,
        "data.rot=x",
        "method.generator.widht=3",
        "method.discriminator.scales=-1",
        "training.seed=lucky",
        "training.optimizer.eps=0",
        "stages.global.epochs=-1",
        "stages.joint.geometry=none",
    )
    assert [line.split(":")[0] for line in found] == [
        "data.rot",
        "method.generator.widht",
        "method.discriminator.scales",
        "training.seed",
        "training.optimizer.eps",
        "stages.0.epochs",
        "stages.1",
    ]


def test_all_stages_that_do_not_fit_the_method(file: Path) -> None:
    assert [line.split(":")[0] for line in problems(file, "stages.0.output=tail", "stages.1.train=[trunk]")] == [
        "stage global",
        "stage joint",
    ]


def test_missing_sections(tmp_path: Path) -> None:
    file = tmp_path / "empty.yaml"
    file.write_text("training: {}", encoding="utf-8")
    assert [line.split(":")[0] for line in problems(file)] == ["data", "method", "stages"]


@pytest.mark.parametrize("text", ["", "- 1", "5", "text"])
def test_no_recipe_at_all(tmp_path: Path, text: str) -> None:
    file = tmp_path / "other.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=r"other\.yaml: a recipe is a mapping"):
        load_recipe(file)


def test_not_text(tmp_path: Path) -> None:
    file = tmp_path / "picture.yaml"
    file.write_bytes(b"\xff\xd8\xff\xe0")
    with pytest.raises(UserError, match=r"picture\.yaml: cannot be read as a recipe, a YAML file in UTF-8"):
        load_recipe(file)


def test_the_line_of_a_duplicate_key(tmp_path: Path) -> None:
    file = tmp_path / "twice.yaml"
    file.write_text(SMALL + "data: {}\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"twice\.yaml: line 7: the key 'data' stands twice"):
        load_recipe(file)


def test_a_folder_is_no_recipe(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is a folder; a recipe is a YAML file or one of"):
        find_recipe(tmp_path)


# Overrides


@pytest.mark.parametrize(
    ("override", "read"),
    [
        ("training.seed=3", lambda recipe: recipe.training.seed == 3),
        ("training.optimizer.learning_rate=2e-5", lambda recipe: recipe.training.optimizer.learning_rate == 2e-5),
        ("training.ema.half_life=3", lambda recipe: recipe.training.ema.half_life == 3),
        ("training.ema=", lambda recipe: recipe.training.ema is None),
        ("stages.0.epochs=2", lambda recipe: recipe.stages[0].epochs == 2),
        ("stages.joint.epochs=9", lambda recipe: recipe.stages[1].epochs == 9),
        ("stages.joint={name: only, size: 16x16}", lambda recipe: recipe.stages[1].name == "only"),
        ("stages=[{size: 16x16}]", lambda recipe: [stage.name for stage in recipe.stages] == ["train"]),
        ("data.flip=no", lambda recipe: recipe.data.flip is False),
        ("data.ignore=null", lambda recipe: recipe.data.ignore is None),
        ("data.root=a=b", lambda recipe: recipe.data.root == Path("a=b")),
        ("out=runs/a b", lambda recipe: recipe.folder == Path("runs/a b")),
        ("name=other", lambda recipe: recipe.folder == Path("runs/other")),
        (" training.seed =3", lambda recipe: recipe.training.seed == 3),
    ],
)
def test_override(file: Path, override: str, read: Any) -> None:
    assert read(load_recipe(file, [override]))


def test_an_override_of_one_item_of_a_list(file: Path) -> None:
    betas = load_recipe(
        file, ["training.optimizer.betas=[0, 0]", "training.optimizer.betas.0=0.9"]
    ).training.optimizer.betas
    assert betas == (0.9, 0)


def test_the_last_override_counts(file: Path) -> None:
    assert load_recipe(file, ["training.seed=1", "training.seed=2"]).training.seed == 2


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("training.seed", "'training.seed': an override is written section.key=value"),
        ("=3", "'=3': an override is written section.key=value"),
        ("training..seed=3", "'training..seed=3': an override is written section.key=value"),
        ("stages.2.epochs=1", "'stages.2.epochs=1': there is no '2'; there are global, joint (or 0 to 1)"),
        ("stages.-1.epochs=1", "'stages.-1.epochs=1': there is no '-1'; there are global, joint (or 0 to 1)"),
        (
            "stages.jont.epochs=1",
            "'stages.jont.epochs=1': there is no 'jont'; there are global, joint (or 0 to 1). Did you",
        ),
        ("data.labels.x=1", "'data.labels.x=1': data.labels is a value, not a section; it has no 'x'"),
        ("training.seed=[", "training.seed=[: this is not YAML"),
        ("training.seed={a: 1, a: 2}", "training.seed={a: 1, a: 2}: line 1: the key 'a' stands twice"),
    ],
)
def test_no_override(file: Path, override: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        load_recipe(file, [override])
    assert str(caught.value).startswith(message), caught.value


# Methods


@pytest.mark.parametrize("kind", method_kinds())
def test_every_method_brings_its_section(kind: str) -> None:
    config = method_module(kind).Config
    assert issubclass(config, MethodSection)
    assert config().kind == kind


@pytest.mark.parametrize("kind", ["base", "__init__", "", "pix2pixHD", "os", "../config"])
def test_no_method(kind: str) -> None:
    with pytest.raises(ValueError, match="there is no method"):
        method_module(kind)


def test_a_recipe_cannot_be_changed(file: Path) -> None:
    recipe = load_recipe(file)
    with pytest.raises(ValidationError, match="frozen"):
        recipe.name = "other"  # type: ignore[misc]
    assert isinstance(recipe, Recipe)


def test_config_is_imported_without_torch() -> None:
    """Until a recipe names its method, so that mistakes in the command line are reported at once."""
    code = "import sys, hdtrans.config.recipe; sys.exit('torch' in sys.modules)"
    root = str(Path(__file__).resolve().parents[2])
    subprocess.run([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": root}, check=True)


def test_with_256_classes_255_is_one_of_them_unless_it_is_said_to_be_none() -> None:
    assert LabelMaps(kind="label_maps", root=Path("d"), labels=255).ignore == 255
    assert LabelMaps(kind="label_maps", root=Path("d"), labels=256).ignore is None
    assert LabelMaps(kind="label_maps", root=Path("d"), labels=256, ignore=255).ignore == 255
    assert LabelMaps(kind="label_maps", root=Path("d"), labels=35, ignore=0).ignore == 0
