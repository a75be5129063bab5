"""`hdtrans train RECIPE [key=value ...]`: train a recipe, or continue its run."""

import argparse
import json
import os
from collections.abc import Sequence

from hdtrans.common.errors import as_argument
from hdtrans.config.loading import load_recipe, packaged_recipes
from hdtrans.config.recipe import Recipe

SPELLING = as_argument  # a recipe's keys are written as in Python: out=FOLDER


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line and train; exit codes: see `hdtrans.cli.run_tool`."""
    parser = argparse.ArgumentParser(
        prog="hdtrans train",
        description="Train a recipe. The same command continues a run that was stopped, as if it never had been. "
        "Start it with torchrun for several GPUs or nodes.",
        epilog=f"Recipes that come with the package: {', '.join(sorted(packaged_recipes()))}. "
        "`hdtrans train RECIPE --keys` explains every key of a recipe; docs/recipes.md has them all.",
    )
    add = parser.add_argument
    add("recipe", nargs="?", help="YAML file, or name of a recipe that comes with the package")
    add("overrides", nargs="*", metavar="key=value", help="for instance data.root=my/folder out=runs/a")
    instead = parser.add_mutually_exclusive_group()
    instead.add_argument(
        "--dry-run", action="store_true", help="print the networks to train and their cost; write nothing"
    )
    instead.add_argument(
        "--keys",
        action="store_true",
        help="print every key of the recipe with its value, meaning and default; without a recipe, all keys there are",
    )
    instead.add_argument("--schema", action="store_true", help="print a JSON schema of recipes, for editors")
    given = parser.parse_intermixed_args(arguments)
    if given.schema or (given.keys and given.recipe is None):
        print(_reference(given.schema))
        return 0
    if given.recipe is None:
        parser.error(f"which recipe? A YAML file, or one of: {', '.join(sorted(packaged_recipes()))}")
    recipe = load_recipe(given.recipe, given.overrides)
    if given.keys:
        print(_reference(False, recipe))
        return 0
    if given.dry_run:
        from hdtrans.engine.estimate import describe

        print(describe(recipe))
        return 0
    from hdtrans.api import train

    run = train(recipe)
    if os.environ.get("RANK", "0") == "0":
        print(f"done: {run.page}")
    return 0


def _reference(schema: bool, recipe: Recipe | None = None) -> str:
    from hdtrans.config.reference import key_list, recipe_schema

    return json.dumps(recipe_schema(), indent=2) if schema else key_list(recipe).strip()
