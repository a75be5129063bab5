"""The public face: few names, imported at first use, and what the commands do as functions."""

import inspect
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hdtrans
from hdtrans import api
from hdtrans.cli import run_tool
from hdtrans.common.errors import UserError
from tests.small_runs import small_recipe, toy_data, write_recipe

FACE = [
    "PictureWarning",
    "Recipe",
    "Run",
    "Translator",
    "UserError",
    "__version__",
    "evaluate",
    "load_recipe",
    "train",
]
LAZY = """
import sys
import hdtrans
heavy = {"torch", "numpy", "cv2", "pydantic", "yaml", "hdtrans.cli", "hdtrans.config"}
sys.exit(", ".join(heavy & sys.modules.keys()) or 0)
"""


def test_the_names_are_these() -> None:
    assert hdtrans.__all__ == FACE
    assert set(FACE) <= set(dir(hdtrans))
    for name in FACE:
        assert getattr(hdtrans, name) is not None
    assert hdtrans.UserError is UserError
    with pytest.raises(AttributeError, match="has no attribute 'trian'"):
        hdtrans.trian  # noqa: B018


def test_importing_the_package_imports_nothing_else() -> None:
    done = subprocess.run([sys.executable, "-c", LAZY], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_package_says_that_it_is_typed() -> None:
    assert (Path(hdtrans.__file__).parent / "py.typed").is_file()


def test_the_arguments_of_evaluate_are_the_options_of_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[dict[str, Any]] = []

    def keep(given: Any, say: Any = None) -> dict[str, Any]:
        found.append(vars(given).copy())
        raise UserError("enough")

    monkeypatch.setattr(api, "evaluate_given", keep)
    assert run_tool("evaluate", ["x"]) == 2
    with pytest.raises(UserError, match="enough"):
        api.evaluate("x")
    of_command, of_function = found
    assert of_function == of_command
    assert list(inspect.signature(api.evaluate).parameters) == list(of_function)


@pytest.mark.filterwarnings("ignore::hdtrans.PictureWarning")
def test_a_run_from_a_recipe_to_its_figures(tmp_path: Path) -> None:
    city = toy_data(tmp_path / "city")
    file = write_recipe(tmp_path / "small.yaml", small_recipe("elsewhere", tmp_path / "elsewhere"))
    sections: dict[str, Any] = {"data": {"root": city}, "out": tmp_path / "run"}
    run = hdtrans.train(file, validate={"every": 4, "metrics": ["l1"], "pictures": 1}, **sections)
    assert run.folder == tmp_path / "run" and run.page.is_file()
    assert run.images_seen == 4
    assert run.best is not None and run.checkpoint.parent == run.best.parent
    assert run.recipe == hdtrans.load_recipe(run.folder / "recipe.yaml")
    assert hdtrans.train(run.recipe, ["stages.0.epochs=2"]).images_seen == 8

    label = np.zeros((32, 64), np.uint8)
    for translator in (run.translator(), run.translator(run.best, device="cpu")):
        assert translator(label, label.astype(np.int32)).shape == (32, 64, 3)

    values = hdtrans.evaluate(run, metrics=["l1"], device="cpu")
    assert values["figures"]["l1"] > 0 and values["left_out"]["pictures"] == {}
    (written,) = (run.folder / "evaluation").glob("*.json")
    assert json.loads(written.read_text(encoding="utf-8"))["figures"] == values["figures"]
    assert (
        hdtrans.evaluate(written.with_suffix(""), truth=city / "test_img", metrics=["l1"])["figures"]
        == values["figures"]
    )


def test_a_run_that_has_saved_nothing(tmp_path: Path) -> None:
    run = hdtrans.Run(str(tmp_path))
    assert run.images_seen == 0 and run.best is None
    with pytest.raises(UserError, match="holds no checkpoint"):
        run.translator()
