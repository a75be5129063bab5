"""Every recipe in `options/` loads; all mistakes in a recipe are reported at once."""

import json
from pathlib import Path

import pytest

from hdtrans.cli import run_tool
from hdtrans.common.errors import UserError
from hdtrans.config.loading import load_recipe, packaged_recipes
from hdtrans.config.recipe import Recipe, check_recipe
from hdtrans.config.registry import method_kinds

OPTIONS = Path(__file__).resolve().parents[1] / "options"
FILES = sorted(OPTIONS.glob("*.yaml"))
FEATURES = sorted(OPTIONS.glob("*_features.yaml"))

every_recipe = pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)


def test_there_are_recipes() -> None:
    assert FILES and FEATURES, f"{OPTIONS} holds no recipe"
    assert not [p.name for p in OPTIONS.iterdir() if p.suffix != ".yaml"], "options/ holds recipes and nothing else"


def test_every_method_has_a_recipe() -> None:
    assert {load_recipe(file).method.kind for file in FILES} == set(method_kinds())


@every_recipe
def test_it_loads_by_file_and_by_name(file: Path) -> None:
    recipe = load_recipe(file)
    assert recipe.name == file.stem
    assert recipe.folder == Path("runs") / file.stem
    assert load_recipe(file.stem) == recipe
    assert packaged_recipes()[file.stem] == file


@every_recipe
def test_the_resolved_recipe_is_the_same_recipe(file: Path) -> None:
    """The plain values in a checkpoint describe the same experiment."""
    recipe = load_recipe(file)
    values = json.loads(json.dumps(recipe.model_dump(mode="json")))
    assert check_recipe(values, "the checkpoint") == recipe


@every_recipe
def test_it_starts_with_a_comment_that_says_what_it_is(file: Path) -> None:
    assert file.read_text(encoding="utf-8").startswith("# ")


@every_recipe
def test_overrides(file: Path) -> None:
    plain = load_recipe(file)
    last = plain.stages[-1].name
    given = load_recipe(
        file,
        [
            "training.seed=3",
            "training.optimizer.learning_rate=1e-4",
            "stages.0.epochs=2",
            f"stages.{last}.decay_epochs=7",
            "data.root=elsewhere",
            "data.flip=no",
            "out=runs/other",
        ],
    )
    assert (given.training.seed, given.training.optimizer.learning_rate) == (3, 1e-4)
    assert given.stages[-1].decay_epochs == 7
    assert given.stages[0].epochs == 2
    assert (given.data.root, given.data.flip) == (Path("elsewhere"), False)
    assert given.folder == Path("runs/other")
    assert given.method == plain.method


@every_recipe
def test_all_typos_at_once(file: Path) -> None:
    """Each line names the key, and the name that was probably meant."""
    typos = {
        "data.rot=x": "'root'",
        "training.sed=3": "'seed'",
        "training.optimizer.learning_rte=1": "'learning_rate'",
        "stages.0.epocs=2": "'epochs'",
        "inti_from=x": "'init_from'",
    }
    with pytest.raises(UserError) as caught:
        load_recipe(file, list(typos))
    lines = str(caught.value).splitlines()
    assert lines[0] == f"{file}: {len(typos)} problem(s) in this recipe:"
    for typo, meant in typos.items():
        key = typo.split("=")[0]
        (line,) = [line for line in lines if line.strip().startswith(f"{key}: ")]
        assert line.endswith(f"Did you mean {meant}?"), line


@pytest.mark.parametrize("file", FEATURES, ids=lambda file: file.stem)
def test_recipes_with_features_are_those_without_and_an_encoder(file: Path) -> None:
    plain = load_recipe(file.stem.removesuffix("_features")).model_dump(mode="json")
    given = load_recipe(file).model_dump(mode="json")
    assert given["method"].pop("features") and plain["method"].pop("features") is None
    for stage in given["stages"]:
        assert stage["train"].count("encoder") == 1, "it trains in every stage, as the original's does"
        stage["train"].remove("encoder")
    given["data"]["instances"] = given["name"] = None
    plain["data"]["instances"] = plain["name"] = None
    assert given == plain


def test_an_unknown_recipe_names_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    name = FILES[0].stem
    assert run_tool("train", [name[:-1], "--dry-run"]) == 2
    told = capsys.readouterr().err
    assert told.startswith(f"hdtrans train: there is no file or recipe {name[:-1]!r}; there are ")
    assert "Did you mean" in told and "Traceback" not in told


def test_a_recipe_of_ones_own_may_lie_anywhere(tmp_path: Path) -> None:
    file = tmp_path / "my-recipe_2.yaml"
    file.write_text(FILES[0].read_text(encoding="utf-8"), encoding="utf-8")
    recipe = load_recipe(file)
    assert isinstance(recipe, Recipe) and recipe.name == "my-recipe_2"
    assert load_recipe(file, ["name=other"]).name == "other"
