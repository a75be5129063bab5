"""`hdtrans train RECIPE [key=value ...]`: train a recipe, or continue its run."""

import argparse
import os
from collections.abc import Sequence

from hdtrans.config.loading import load_recipe, packaged_recipes


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line and train; exit codes: see `hdtrans.cli.run_tool`."""
    parser = argparse.ArgumentParser(
        prog="hdtrans train",
        description="Train a recipe. The same command continues a run that was stopped, as if it never had been. "
        "Start it with torchrun for several GPUs or nodes.",
        epilog=f"Recipes that come with the package: {', '.join(sorted(packaged_recipes()))}.",
    )
    parser.add_argument("recipe", nargs="?", help="a YAML file, or the name of a recipe that comes with the package")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="for instance data.root=my/folder out=runs/a")
    parser.add_argument(
        "--dry-run", action="store_true", help="print what would be trained and what it costs; touch nothing"
    )
    given = parser.parse_intermixed_args(arguments)
    if given.recipe is None:
        parser.error(f"which recipe? A YAML file, or one of: {', '.join(sorted(packaged_recipes()))}")
    recipe = load_recipe(given.recipe, given.overrides)
    if given.dry_run:
        from hdtrans.engine.estimate import describe

        print(describe(recipe))
        return 0
    from hdtrans.api import train

    run = train(recipe)
    if os.environ.get("RANK", "0") == "0":
        print(f"done: {run.page}")
    return 0
