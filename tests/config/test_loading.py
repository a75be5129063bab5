"""Recipes changed by nested values, as Python's callers give them."""

from pathlib import Path
from typing import Any

import pytest

from hdtrans.common.errors import RecipeError, UnknownName, UserError
from hdtrans.config.loading import load_recipe

TWO_STAGES = "pix2pixhd_toycity"


@pytest.mark.parametrize(
    ("sections", "overrides"),
    [
        ({"data": {"root": Path("city"), "labels": 20}}, ["data.root=city", "data.labels=20"]),
        ({"training": {"optimizer": {"betas": (0, 0.9)}}}, ["training.optimizer.betas=[0, 0.9]"]),
        ({"training": {"ema": {"half_life": 3}}}, ["training.ema.half_life=3"]),
        ({"stages": {"joint": {"epochs": 9}, 0: {"epochs": 8}}}, ["stages.joint.epochs=9", "stages.0.epochs=8"]),
        ({"out": Path("runs/a"), "name": "b"}, ["out=runs/a", "name=b"]),
        ({"validate": {"every": 7}}, ["validate.every=7"]),
    ],
)
def test_nested_values_are_overrides(sections: dict[str, Any], overrides: list[str]) -> None:
    assert load_recipe(TWO_STAGES, **sections) == load_recipe(TWO_STAGES, overrides)


def test_a_list_replaces_a_list() -> None:
    recipe = load_recipe(TWO_STAGES, stages=[{"size": "64x64"}])
    assert [stage.name for stage in recipe.stages] == ["train"]


def test_a_section_of_another_kind_replaces_it() -> None:
    recipe = load_recipe(
        "pix2pixhd_labels",
        data={"kind": "picture_pairs", "root": "pairs"},
        method={"condition": {"boundary": "none"}},
    )
    assert recipe.data.kind == "picture_pairs" and recipe.data.root == Path("pairs")


def test_values_of_the_caller_stay_as_they_are() -> None:
    data = {"root": "city", "labels": 20}
    method = {"generator": {"blocks": 2}}
    load_recipe("pix2pixhd_labels", ["data.labels=5", "method.generator.blocks=3"], data=data, method=method)
    assert data == {"root": "city", "labels": 20} and method == {"generator": {"blocks": 2}}


def test_a_recipe_is_changed_into_another() -> None:
    recipe = load_recipe(TWO_STAGES)
    assert load_recipe(recipe) == recipe
    assert load_recipe(recipe, training={"seed": 5}).training.seed == 5
    assert recipe.training.seed == 0


def test_every_problem_is_a_fact() -> None:
    with pytest.raises(RecipeError) as caught:
        load_recipe(TWO_STAGES, training={"seed": -1}, data={"labels": 0})
    assert [key for key, _ in caught.value.problems] == ["data.labels", "training.seed"]


def test_a_name_that_is_none() -> None:
    with pytest.raises(UnknownName) as caught:
        load_recipe("pix2pixhd_lables")
    assert caught.value.name == "pix2pixhd_lables" and "pix2pixhd_labels" in caught.value.allowed
    with pytest.raises(UserError, match=r"'stages.jont': there is no 'jont'; there are .* Did you mean 'joint'"):
        load_recipe(TWO_STAGES, stages={"jont": {"epochs": 1}})
