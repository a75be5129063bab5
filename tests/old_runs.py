"""Runs that an earlier version began, in tests/fixtures: their data, their pictures and how they go on.

`python tests/old_runs.py FOLDER`, with that version on PYTHONPATH, makes them: it uses the command line alone.
"""

import contextlib
import hashlib
import json
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from hdtrans.cli import run_tool

FIXTURES = Path(__file__).resolve().parent / "fixtures"
LABELS = 5  # the classes of the toy city, modulo this: few weights, small files
IMAGES_SEEN = {"pix2pixhd": 6, "pix2pix": 4, "cyclegan": 4}  # where the runs were cut off
INFER = {  # the pictures that are kept: folder of the inputs, options
    "pix2pixhd": {
        "sampled": ("label", ["--style", "sample", "--seed", "3"]),  # from the checkpoint's own file of styles
        "encoded": ("label", ["--style", "from={city}/test_img"]),
    },
    "pix2pix": {"picture": ("label", ["--seed", "3"])},
    "cyclegan": {"AtoB": ("img", []), "BtoA": ("img", ["--direction", "BtoA"])},
}


def call(tool: str, *arguments: object) -> None:
    """Run a command and insist that it succeeds."""
    code = run_tool(tool, [str(a) for a in arguments])
    assert code == 0, f"hdtrans {tool} ended with {code}"


def make_city(folder: Path) -> Path:
    """Render toy streets of 64x32 pixels, their classes modulo LABELS, and the two sides of unpaired pictures."""
    city = folder / "city"
    for seed in (0, 1):
        call(
            "make_toycity",
            "--out",
            folder / f"seed{seed}",
            "--train",
            4,
            "--test",
            1,
            "--size",
            "64x32",
            "--seed",
            seed,
        )
    for name in ("label", "inst", "img"):
        for split in ("train", "test"):
            shutil.copytree(folder / "seed0" / f"{split}_{name}", city / f"{split}_{name}")
    for file in [*city.glob("*_label/*.png")]:
        cv2.imwrite(str(file), cv2.imread(str(file), cv2.IMREAD_UNCHANGED) % LABELS)
    shutil.copytree(folder / "seed0" / "train_img", city / "trainA")
    shutil.copytree(folder / "seed1" / "train_img", city / "trainB")
    return city


def pixels(city: Path) -> str:
    """Return a digest of all pixels of the city."""
    digest = hashlib.sha256()
    for file in sorted(city.rglob("*.png")):
        digest.update(file.relative_to(city).as_posix().encode())
        digest.update(np.ascontiguousarray(cv2.imread(str(file), cv2.IMREAD_UNCHANGED)).tobytes())
    return digest.hexdigest()


def train(recipe: Path, run: Path, city: Path) -> None:
    """Begin a run, or go on with it."""
    call("train", recipe, f"out={run}", f"data.root={city}")


def pictures(name: str, run: Path, city: Path, out: Path, dtype: str) -> dict[str, np.ndarray]:
    """Return the pictures that a run makes, by their names in INFER."""
    made = {}
    for picture, (inputs, options) in INFER[name].items():
        more = [option.format(city=city) for option in options]
        where = ["--input", city / f"test_{inputs}", "--out", out / dtype / picture]
        call("infer", run, *where, "--device", "cpu", "--dtype", dtype, *more)
        (file,) = (out / dtype / picture).glob("*.png")
        made[picture] = cv2.imread(str(file), cv2.IMREAD_UNCHANGED)
    return made


def logged(run: Path, after: int = 0) -> list[dict[str, Any]]:
    """Return the logged steps of a run, those after so many images."""
    lines = (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return [step for step in map(json.loads, lines) if step["images"] > after]


def losses(step: Mapping[str, Any]) -> list[float]:
    """Return the losses of a logged step by size: under whatever names, and in whatever order."""
    return sorted(value for name, value in step.items() if "/" in name)


def newest(run: Path) -> dict[str, Any]:
    """Return the newest checkpoint of a run."""
    file = max((run / "checkpoints").glob("images_*.pt"))
    state: dict[str, Any] = torch.load(file, weights_only=True)
    return state


def weights(state: Mapping[str, Tensor] | None) -> dict[str, list[float]]:
    """Return two numbers of each tensor, sorted: keys may be renamed, and their order may change."""
    values = [x.double().flatten() for x in (state or {}).values()]
    weighted = [float(x @ torch.linspace(1, 2, len(x), dtype=torch.float64)) for x in values]
    return {
        "weighted sum": sorted(weighted),
        "norm": sorted(float(x.norm()) for x in values),
    }


def make(name: str, folder: Path, city: Path, out: Path) -> None:
    """Train a run to its end, cut it off in its middle, and keep what it does from there."""
    fixture = out / name
    run, going_on = folder / name, fixture / "run"
    train(fixture / "recipe.yaml", run, city)
    (file,) = (run / "checkpoints").glob(f"images_{IMAGES_SEEN[name]:09d}.pt")
    if name == "pix2pixhd":
        call("encode_styles", file, "--data", city, "--clusters", 2)
    shutil.rmtree(going_on, ignore_errors=True)
    (going_on / "checkpoints").mkdir(parents=True)
    for part in file.parent.glob(f"{file.name}*"):
        shutil.copy(part, going_on / "checkpoints")
    shutil.copy(run / "recipe.yaml", going_on)
    kept = [json.dumps(step) for step in logged(run) if step["images"] <= IMAGES_SEEN[name]]
    (going_on / "metrics.jsonl").write_text("\n".join([*kept, ""]), encoding="utf-8")
    made = pictures(name, going_on, city, folder / "pictures", "fp64")
    np.savez_compressed(fixture / "pictures.npz", **made)  # type: ignore[arg-type]
    resumed = folder / f"{name}_resumed"
    shutil.copytree(going_on, resumed)
    train(fixture / "recipe.yaml", resumed, city)
    state, steps = newest(resumed), logged(resumed, IMAGES_SEEN[name])
    assert [losses(step) for step in steps] == [losses(step) for step in logged(run, IMAGES_SEEN[name])]
    assert weights(state["networks"]) == weights(newest(run)["networks"])
    expected = {
        "version": state["version"],
        "torch": torch.__version__,
        "city": pixels(city),
        "images": [step["images"] for step in steps],
        "losses": [losses(step) for step in steps],
        "networks": weights(state["networks"]),
        "average": weights(state["ema"]),
    }
    (fixture / "expected.json").write_text(json.dumps(expected, indent=0) + "\n", encoding="utf-8")


def main(folder: Path) -> None:
    """Make all fixtures anew under `folder`, whose subfolders hold a recipe.yaml each."""
    scratch = folder / "scratch"
    scratch.mkdir()
    with contextlib.chdir(scratch):  # what is written then holds no path of this machine
        city = make_city(Path())
        for name in IMAGES_SEEN:
            make(name, Path(), city, Path(".."))
    shutil.rmtree(scratch)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
