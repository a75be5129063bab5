"""The run folder: whose it is, and whether a recipe may continue what is in it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hdtrans.common.errors import UserError
from hdtrans.common.files import write_text
from hdtrans.common.yaml_text import read_yaml, yaml_text
from hdtrans.config.recipe import Recipe, check_recipe

# What may change when a run is continued, besides a longer last stage and what is validated. A batch_size may change
# with the number of processes: the trainer holds their product.
_MAY_CHANGE = {
    "name",
    "out",
    "data.root",
    "data.test",
    "method.perceptual.weights",
    *(
        f"training.{key}"
        for key in ("non_finite", "bad_files", "workers", "device", "log_every", "sample_every", "save_every", "keep")
    ),
    "training.sample_count",
    "training.timeouts.step",
    "training.timeouts.pause",
}


def claim(recipe: Recipe) -> Path:
    """Make the run folder with its `recipe.yaml`, or check that the run in it may be continued by this recipe.

    A run that stopped before its first checkpoint is begun anew, by any recipe.

    Raises:
        UserError: the folder holds something else, or a run of another recipe; the message lists the differences.
    """
    folder, file = recipe.folder, recipe.folder / "recipe.yaml"
    values = recipe.model_dump(mode="json")
    if any((folder / "checkpoints").glob("images_*.pt")) and file.is_file():
        was = read_yaml(file.read_text(encoding="utf-8"), str(file))
        changes = differences(_resolved(was, str(file)), values)
        if changes:
            raise UserError(
                f"{folder}: holds a run of another recipe, which this one cannot continue:\n  "
                + "\n  ".join(changes)
                + "\nChoose another folder (out=FOLDER), or go back to the recipe it was started with (its recipe.yaml)"
            )
    elif folder.exists() and not file.is_file() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder}: is not empty and holds no run (no recipe.yaml); choose another folder (out=FOLDER)")
    write_text(file, yaml_text(values))
    return folder


def _resolved(values: Any, where: str) -> Any:
    """Return the values of a recipe with those keys, at their defaults, that there were none of when it was written."""
    try:
        return check_recipe(values, where).model_dump(mode="json")
    except UserError:
        return values


def differences(was: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return a line for each key in which `now` differs from `was` and may not."""
    before, after = _flat(was), _flat(now)
    last = len(now["stages"]) - 1
    lines = []
    for key in sorted({*before, *after}):
        old, new = before.get(key, "(not there)"), after.get(key, "(not there)")
        longer = key in (f"stages.{last}.epochs", f"stages.{last}.decay_epochs") and _at_least(new, old)
        may_change = key in _MAY_CHANGE or key.endswith(".batch_size") or key.split(".")[0] == "validate" or longer
        if old != new and not may_change:
            lines.append(f"{key}: was {old!r}, is {new!r}")
    return lines


def _at_least(new: Any, old: Any) -> bool:
    return isinstance(new, int | float) and isinstance(old, int | float) and new >= old


def _flat(values: Any, prefix: str = "") -> dict[str, Any]:
    if isinstance(values, Mapping):
        items = list(values.items())
    elif isinstance(values, list) and any(isinstance(value, Mapping) for value in values):
        items = [(str(place), value) for place, value in enumerate(values)]
    else:
        return {prefix: values}
    flat: dict[str, Any] = {}
    for key, value in items:
        flat |= _flat(value, f"{prefix}.{key}" if prefix else str(key))
    return flat
