"""`hdtrans demo`: its three steps, shortened and lengthened, and its end at the first that fails."""

from pathlib import Path

import pytest

from hdtrans.cli import demo, run_tool
from hdtrans.config.loading import load_recipe
from tests.small_runs import small_recipe, write_recipe


def test_it_ends_with_pages(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = write_recipe(tmp_path / "small.yaml", small_recipe(tmp_path, tmp_path))
    out = tmp_path / "demo"
    words = [
        "--out",
        str(out),
        "--train",
        "2",
        "--test",
        "1",
        "--size",
        "64x32",
        "--recipe",
        str(recipe),
        "--epochs",
        "2",
    ]
    assert run_tool("demo", [*words, "training.seed=1"]) == 0
    *_, training, pictures, edit = capsys.readouterr().out.splitlines()
    last = [training, pictures]
    pages = [out / "run/index.html", out / "pictures/index.html"]
    assert [Path(line.split(": ")[1]) for line in last] == pages and all(page.is_file() for page in pages)
    assert edit == f"Paint scenes of your own: hdtrans edit {out}/run --input {out}/toycity/test_label --out {out}/edit"
    trained = load_recipe(out / "run/recipe.yaml")
    assert trained.training.seed == 1 and trained.stages[0].epochs == 2
    assert [file.name for file in out.glob("pictures/*.png")] == ["00000.png"]


def test_it_ends_with_the_step_that_fails(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    codes = {"make_toycity": 0, "train": 130, "infer": 0}
    monkeypatch.setattr(demo, "run_tool", lambda name, words: codes[name])
    assert run_tool("demo", ["--out", "a b"]) == 130
    steps = capsys.readouterr().out.splitlines()
    assert [line.split()[2] for line in steps] == ["make_toycity", "train"]
    assert steps[1] == "$ hdtrans train pix2pixhd_toycity 'data.root=a b/toycity' 'out=a b/run'"


@pytest.mark.parametrize("epochs", [1, 37])
def test_epochs_are_shared_out_as_in_the_recipe(epochs: float) -> None:
    whole = load_recipe("pix2pixhd_toycity").stages
    short = load_recipe("pix2pixhd_toycity", demo._shared_out("pix2pixhd_toycity", epochs)).stages
    assert sum(stage.epochs + stage.decay_epochs for stage in whole) == 18.5  # the help says so
    for before, after in zip(whole, short, strict=True):
        assert after.epochs == pytest.approx(before.epochs * epochs / 18.5, abs=1e-5)
        assert after.decay_epochs == pytest.approx(before.decay_epochs * epochs / 18.5, abs=1e-5)


def test_no_epochs_at_all(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "run_tool", lambda name, words: 0)
    assert run_tool("demo", ["--epochs", "0"]) == 2
    assert "hdtrans demo: --epochs 0.0: is a number above 0" in capsys.readouterr().err
