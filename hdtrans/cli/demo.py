"""`hdtrans demo`: render toy street scenes, train a small model on them, translate scenes it has not seen."""

import argparse
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path

from hdtrans.cli import run_tool


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="hdtrans demo",
        description="Render toy street scenes, train a small pix2pixHD on them in three stages, and translate the test "
        "scenes: about ten minutes on two CPU cores, without a GPU or downloads. Each step is a printed command; "
        "the same demo again continues where it stopped.",
    )
    add = parser.add_argument
    add("overrides", nargs="*", metavar="key=value", help="changes to the recipe, for instance training.seed=1")
    add("--out", type=Path, default=Path("demo"), metavar="DIR", help="scenes, run and pictures (default: %(default)s)")
    add("--train", type=int, default=240, metavar="N", help="training scenes (default: %(default)s)")
    add("--test", type=int, default=12, metavar="N", help="test scenes (default: %(default)s)")
    add("--size", default="256x128", metavar="WxH", help="size of the scenes in pixels (default: %(default)s)")
    add("--recipe", default="pix2pixhd_toycity", help="name or YAML file of the recipe (default: %(default)s)")
    add(
        "--epochs",
        type=float,
        metavar="N",
        help="epochs of all stages together, shared out as in the recipe (default: as in the recipe, 18.5)",
    )
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line and run the steps; return the exit code of the first that fails, else 0."""
    given = make_parser().parse_intermixed_args(arguments)
    for name, *words in _steps(given):
        print(f"$ hdtrans {name} {shlex.join(words)}", flush=True)
        if code := run_tool(name, words):
            return code
    print(f"\nThe training: {given.out / 'run' / 'index.html'}\nThe pictures: {given.out / 'pictures' / 'index.html'}")
    words = [given.out / "run", "--input", given.out / "toycity" / "test_label", "--out", given.out / "edit"]
    print(f"Paint scenes of your own: hdtrans edit {shlex.join(map(str, words))}")
    return 0


def _steps(given: argparse.Namespace) -> Iterator[list[str]]:
    """Yield the name and the words of each command."""
    city, run = given.out / "toycity", given.out / "run"
    counts = ["--train", str(given.train), "--test", str(given.test)]
    yield ["make_toycity", "--out", str(city), *counts, "--size", given.size]
    epochs = [] if given.epochs is None else _shared_out(given.recipe, given.epochs)
    yield ["train", given.recipe, f"data.root={city}", f"out={run}", *epochs, *given.overrides]
    maps = ["--input", str(city / "test_label"), "--truth", str(city / "test_img")]
    yield ["infer", str(run), *maps, "--out", str(given.out / "pictures")]


def _shared_out(recipe: str, epochs: float) -> list[str]:
    """Return overrides of the stages' epochs, whose sum is `epochs`."""
    from hdtrans.common.errors import UserError
    from hdtrans.config.loading import load_recipe

    if not epochs > 0:
        raise UserError("is a number above 0", argument="epochs", value=epochs)
    stages = load_recipe(recipe).stages
    share = epochs / sum(stage.epochs + stage.decay_epochs for stage in stages)
    return [
        f"stages.{stage.name}.{key}={round(share * length, 6):g}"
        for stage in stages
        for key, length in (("epochs", stage.epochs), ("decay_epochs", stage.decay_epochs))
    ]
