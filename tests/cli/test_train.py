"""`hdtrans train` as a user runs it: dry run, again, longer, from another run, and with mistakes."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from hdtrans.cli import main, run_tool
from hdtrans.engine import checkpoint
from tests.small_runs import small_recipe, toy_data, write_recipe

pytestmark = pytest.mark.usefixtures("in_fp32")


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    """A recipe of one small stage on toy data, in its own folder."""
    values = small_recipe(toy_data(tmp_path / "city"), tmp_path / "run")
    return write_recipe(tmp_path / "small.yaml", values)


def train(*arguments: object) -> int:
    return run_tool("train", [str(a) for a in arguments])


def last(run: Path) -> dict[str, Any]:
    return checkpoint.load(checkpoint.find_checkpoint(run))


def everything_in(folder: Path) -> dict[str, int]:
    return {str(f): f.stat().st_mtime_ns for f in sorted(folder.rglob("*"))}


def test_a_dry_run_prints_and_touches_nothing(recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = everything_in(recipe.parent)
    assert train(recipe, "--dry-run", "data.root=does/not/exist") == 0
    said = capsys.readouterr().out
    assert everything_in(recipe.parent) == before
    for wanted in (
        "root: does/not/exist",
        "trunk",
        "trained (generator)",
        "GFLOP a step",
        "activations and their gradients",
    ):
        assert wanted in said


def test_a_finished_run_is_left_alone_and_a_longer_one_goes_on(recipe: Path, tmp_path: Path) -> None:
    assert train(recipe) == 0
    assert last(tmp_path / "run")["images_seen"] == 4
    files = everything_in(tmp_path / "run/checkpoints")
    assert train(recipe) == 0
    assert everything_in(tmp_path / "run/checkpoints") == files
    assert train(recipe, "stages.0.epochs=2") == 0
    assert last(tmp_path / "run")["images_seen"] == 8
    images = [json.loads(line)["images"] for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    assert images == [4, 8]


def test_another_recipe_cannot_continue_a_run(recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert train(recipe) == 0
    files = everything_in(tmp_path / "run")
    assert train(recipe, "method.generator.width=8", "training.seed=3", "training.workers=1") == 2
    said = capsys.readouterr().err
    assert "method.generator.width: was 4, is 8" in said and "training.seed: was 0, is 3" in said
    assert "workers" not in said and "out=FOLDER" in said
    assert everything_in(tmp_path / "run") == files


def test_starting_from_another_run(recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A run with an enhancer takes trunk and discriminators from one without, and leaves that one as it is."""
    assert train(recipe) == 0
    files = everything_in(tmp_path / "run")
    more = [f"init_from={tmp_path / 'run'}", f"out={tmp_path / 'finer'}", "method.generator.enhancers=1"]
    frozen = ["stages.0.train=[enhancer1, discriminator0]"]
    assert train(recipe, *more, *frozen) == 0
    assert everything_in(tmp_path / "run") == files
    said = capsys.readouterr().err
    assert "trunk" in said and "new: enhancer1" in said
    old, new = last(tmp_path / "run")["networks"], last(tmp_path / "finer")["networks"]
    trunk = [key for key in new if key.startswith("trunk.")]
    assert trunk and all(torch.equal(old[key], new[key]) for key in trunk)
    assert not all(torch.equal(old[key], new[key]) for key in new if key.startswith("discriminator0."))
    assert train(recipe, f"init_from={tmp_path / 'run'}", f"out={tmp_path / 'wider'}", "method.generator.width=8") == 2
    assert "trunk there has other weights" in capsys.readouterr().err


def test_a_run_that_never_saved_may_begin_anew(recipe: Path, tmp_path: Path) -> None:
    assert train(recipe, "method.perceptual={kind: squeezenet, weights: nothing.pth}") == 2
    assert (tmp_path / "run/recipe.yaml").is_file()
    assert train(recipe) == 0


@pytest.mark.parametrize(
    ("arguments", "messages"),
    [
        (["{recipe}", "data.labels=5"], ["data.labels", "19 classes"]),
        (["{recipe}", "data.root={tmp}/nothing"], ["there is no folder"]),
        (["{recipe}", "data.train=other"], ["other_label/", "There is test_img/"]),
        (["{recipe}", "out={tmp}/city"], ["is not empty and holds no run"]),
        (["{recipe}", "stages.0.size=256x128", "stages.0.geometry=crop"], ["256x128", "64x32"]),
        (["{recipe}", "init_from={tmp}/nothing"], ["no such run folder or checkpoint"]),
        (["nonsense"], ["no file or recipe 'nonsense'", "pix2pixhd_toycity"]),
    ],
)
def test_mistakes_are_reported_and_leave_nothing(
    recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], messages: list[str]
) -> None:
    assert train(*(a.format(recipe=recipe, tmp=tmp_path) for a in arguments)) == 2
    said = capsys.readouterr().err
    assert all(message in said for message in messages), said
    assert "Traceback" not in said
    assert not list(tmp_path.rglob("*.pt"))


def test_the_command_itself(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert main(["--help"]) == 0
    assert "make_toycity" in capsys.readouterr().out
    assert main(["trian"]) == 2
    assert "Did you mean 'train'?" in capsys.readouterr().err
    with pytest.raises(SystemExit) as stop:
        main(["train"])
    assert stop.value.code == 2 and "which recipe?" in capsys.readouterr().err


def test_files_that_came_or_went_stop_a_resume(
    recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The order of samples follows from their number, so a run in the middle of a stage needs the same files."""
    assert train(recipe) == 0
    for folder in ("train_label", "train_inst", "train_img"):
        (tmp_path / "city" / folder / "00003.png").unlink()
    assert train(recipe, "stages.0.epochs=3") == 2
    assert "4 training files" in capsys.readouterr().err


def test_broken_test_files_are_reported_and_training_files_shown(
    recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "city/test_label/00000.png").write_bytes(b"nonsense")
    assert train(recipe) == 0
    assert "sample grids show training files" in capsys.readouterr().err
    assert list((tmp_path / "run/samples").glob("*.png"))


@pytest.mark.parametrize("name", ["pix2pixhd_toycity", "pix2pixhd_toycity_features"])
def test_the_demo_recipes_train_their_stages_go_on_and_translate(name: str, tmp_path: Path) -> None:
    """The smoke recipes with their own networks and stages, two batches each."""
    city = toy_data(tmp_path / "city", train_count=4, test_count=1)
    short = ["stages.global.epochs=2", "stages.enhancer.epochs=1", "stages.joint.epochs=1"]
    given = [name, f"data.root={city}", f"out={tmp_path / 'run'}", *short, "training.workers=0"]
    assert train(*given, "stages.joint.decay_epochs=0") == 0
    assert last(tmp_path / "run")["images_seen"] == 16
    assert train(*given, "stages.joint.decay_epochs=1") == 0
    assert last(tmp_path / "run")["images_seen"] == 20
    out = tmp_path / "out"
    if "features" in name:
        assert run_tool("encode_styles", [str(tmp_path / "run")]) == 0
    assert run_tool("infer", [str(tmp_path / "run"), "--input", str(city / "test_label"), "--out", str(out)]) == 0
    assert [file.name for file in out.glob("*.png")] == ["00000.png"]
