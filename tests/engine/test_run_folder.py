"""Recipes that may continue a run in a folder, and those refused."""

from pathlib import Path
from typing import Any

import pytest

from hdtrans.common.errors import UserError
from hdtrans.config.recipe import Recipe, check_recipe
from hdtrans.engine.checkpoint import save
from hdtrans.engine.run_folder import NothingToResume, differences, open_run_dir
from tests.small_runs import small_recipe


def values(out: Path) -> dict[str, Any]:
    """Return a recipe of two stages with every section filled in."""
    plain = small_recipe(
        out.parent,
        out,
        stages=[
            {"name": "one", "size": "64x32", "epochs": 4, "batch_size": 2},
            {"name": "two", "size": "64x32", "epochs": 2, "decay_epochs": 3},
        ],
    )
    return check_recipe(plain, "test").model_dump(mode="json")


def changed(plain: dict[str, Any], key: str, value: Any) -> Recipe:
    """Return the recipe with one key changed."""
    section: Any = plain
    *path, last = key.split(".")
    for part in path:
        section = section[int(part)] if isinstance(section, list) else section[part]
    section[last] = value
    return check_recipe(plain, "test")


def begun(out: Path) -> None:
    """Open a run folder and put a checkpoint there."""
    open_run_dir(check_recipe(values(out), "test"))
    (out / "checkpoints").mkdir()
    (out / "checkpoints" / "images_000000010.pt").write_bytes(b"")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("name", "other"),
        ("training.workers", 7),
        ("training.device", "auto"),
        ("training.log_every", 5),
        ("training.sample_every", 5),
        ("training.save_every", 5),
        ("training.keep", 9),
        ("training.sample_count", 2),
        ("stages.0.batch_size", 1),
        ("stages.1.batch_size", 8),
        ("stages.1.epochs", 5),
        ("stages.1.decay_epochs", 4),
        ("data.root", "elsewhere"),
        ("data.test", "val"),
    ],
)
def test_keys_that_may_change(key: str, value: Any, tmp_path: Path) -> None:
    out = tmp_path / "run"
    begun(out)
    recipe = changed(values(out), key, value)
    assert open_run_dir(recipe) == out
    assert open_run_dir(recipe) == out


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("training.seed", 1, "training.seed: was 0, is 1"),
        ("training.precision", "bf16", "training.precision: was 'auto', is 'bf16'"),
        ("training.deterministic", True, "training.deterministic: was False, is True"),
        ("training.optimizer.learning_rate", 0.1, "training.optimizer.learning_rate: was 0.0002, is 0.1"),
        ("training.ema.half_life", 11, r"training.ema.half_life: was 10.0, is 11.0"),
        ("method.generator.width", 8, "method.generator.width: was 4, is 8"),
        ("data.flip", False, "data.flip: was True, is False"),
        ("data.train", "other", "data.train: was 'train', is 'other'"),
        ("stages.0.epochs", 5, r"stages.0.epochs: was 4.0, is 5.0"),
        ("stages.1.epochs", 1, r"stages.1.epochs: was 2.0, is 1.0"),
        ("stages.1.size", "32x32", "stages.1.size: was '64x32', is '32x32'"),
        ("stages.1.name", "three", "stages.1.name: was 'two', is 'three'"),
        ("training.ema", None, "training.ema"),
    ],
)
def test_keys_that_may_not_change_are_named(key: str, value: Any, words: str, tmp_path: Path) -> None:
    out = tmp_path / "run"
    begun(out)
    kept = (out / "recipe.yaml").read_bytes()
    with pytest.raises(UserError, match=words) as raised:
        open_run_dir(changed(values(out), key, value))
    assert str(raised.value).startswith(f"{out}: ")
    assert "out=FOLDER" in str(raised.value)
    assert (out / "recipe.yaml").read_bytes() == kept


def test_all_differences_are_reported_at_once(tmp_path: Path) -> None:
    before, after = values(tmp_path), values(tmp_path)
    after["training"]["seed"] = 3
    after["data"]["labels"] = 2
    after["stages"].append({**after["stages"][1], "name": "more"})
    lines = differences(before, after)
    assert {line.split(":")[0] for line in lines} >= {"training.seed", "data.labels", "stages.2.name"}
    assert differences(before, before) == []


def test_a_longer_stage_is_the_last_one(tmp_path: Path) -> None:
    before, after = values(tmp_path), values(tmp_path)
    after["stages"][1]["decay_epochs"] = 100.0
    assert differences(before, after) == []
    assert differences(after, before) == ["stages.1.decay_epochs: was 100.0, is 3.0"]


@pytest.mark.parametrize("kind", ["a file in it", "a file", "checkpoints without a recipe"])
def test_a_foreign_folder_is_refused_and_left_as_it_is(kind: str, tmp_path: Path) -> None:
    out = tmp_path / "run"
    if kind == "a file":
        out.write_text("mine")
    else:
        (out / "checkpoints").mkdir(parents=True)
        (out / "checkpoints" / "images_000000010.pt").write_text("mine")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UserError, match="is not empty and holds no run"):
        open_run_dir(check_recipe(values(out), "test"))
    assert sorted(tmp_path.rglob("*")) == before


def test_an_empty_or_a_new_folder_is_taken(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for out in (tmp_path / "empty", tmp_path / "new" / "deep"):
        recipe = check_recipe(values(out), "test")
        assert open_run_dir(recipe) == out
        assert (out / "recipe.yaml").is_file()


def test_a_run_that_never_saved_is_begun_anew_by_any_recipe(tmp_path: Path) -> None:
    out = tmp_path / "run"
    open_run_dir(check_recipe(values(out), "test"))
    open_run_dir(changed(values(out), "training.seed", 8))
    assert "seed: 8" in (out / "recipe.yaml").read_text()


@pytest.mark.parametrize("content", [None, "", "[1, 2", "- a\n", "\xe4".encode("latin1")])
def test_a_recipe_that_is_lost_is_that_of_the_checkpoints(content: str | bytes | None, tmp_path: Path) -> None:
    out, recipe = tmp_path / "run", check_recipe(values(tmp_path / "run"), "test")
    begun(out)
    file = out / "recipe.yaml"
    good = file.read_text()
    if content is None:
        file.unlink()
    else:
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
    lost = file.read_bytes() if file.is_file() else None
    with pytest.raises(UserError, match="none of the run's checkpoints is whole|no whole checkpoint"):
        open_run_dir(recipe)
    assert (file.read_bytes() if file.is_file() else None) == lost
    save(out / "checkpoints" / "images_000000008.pt", {"networks": {}, "recipe": recipe.model_dump(mode="json")})
    with pytest.raises(UserError, match="training.seed: was 0, is 8"):
        open_run_dir(changed(values(out), "training.seed", 8))
    assert open_run_dir(recipe) == out and file.read_text() == good


@pytest.mark.parametrize("name", ["best_000000004.pt", "last.pt", "images_12.pt"])
def test_a_run_with_checkpoints_of_other_names_is_not_begun_anew(name: str, tmp_path: Path) -> None:
    """Its log would be cut to nothing, and its best checkpoint replaced."""
    out = tmp_path / "run"
    begun(out)
    (out / "checkpoints" / "images_000000010.pt").rename(out / "checkpoints" / name)
    kept = {file: file.read_bytes() for file in out.rglob("*") if file.is_file()}
    with pytest.raises(NothingToResume, match=rf"but others: {name}; rename {name} to images_.* or start a new run"):
        open_run_dir(changed(values(out), "training.workers", 5))
    assert {file: file.read_bytes() for file in out.rglob("*") if file.is_file()} == kept
