"""Open a run folder: a new one, or one whose run the recipe may continue."""

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hdtrans.common.errors import UserError, shown
from hdtrans.common.files import write_text
from hdtrans.common.folder_lock import holds_files
from hdtrans.common.yaml_text import read_yaml, yaml_text
from hdtrans.config.recipe import Recipe, check_recipe
from hdtrans.engine.checkpoint import Checkpoints, load

# Keys that may change when a run continues, besides a longer last stage and the section validate. A batch_size may
# change with the number of processes: the trainer requires an equal product.
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
    "training.check_content",
    "training.timeouts.step",
    "training.timeouts.pause",
}


_MOST_SHOWN = 5  # names of files in one message


class NoRunFolder(UserError):
    """Refusal of a folder that is not empty and holds no run.

    Args:
        folder: folder given for the run.
    """

    def __init__(self, folder: Path) -> None:
        advice = ["choose another folder (out=FOLDER)"]
        finding = "is not empty and holds no run (no recipe.yaml, no whole checkpoint)"
        super().__init__(finding, path=folder, advice=advice)


class RecipeChanged(UserError):
    """Refusal to continue the run of another recipe.

    Args:
        folder: run folder.
        changes: one line for each key that may not change.
    """

    def __init__(self, folder: Path, changes: Sequence[str]) -> None:
        self.changes = tuple(changes)
        super().__init__(
            "holds a run of another recipe, which this one cannot continue:\n  "
            + "\n  ".join(changes)
            + "\nChoose another folder (out=FOLDER), or go back to the recipe it was started with (its recipe.yaml)",
            path=folder,
        )


class NothingToResume(UserError):
    """Refusal to start anew in a folder whose checkpoints have other names.

    Args:
        others: files that may hold the state of a run, at least one.
    """

    def __init__(self, others: Sequence[Path]) -> None:
        self.others = tuple(others)
        names = ", ".join(shown(file.name) for file in others[:_MOST_SHOWN]) + (", ..." if others[_MOST_SHOWN:] else "")
        advice = [
            f"rename {shown(others[0].name)} to images_<images seen, 9 digits>.pt to go on from it",
            f"start a new run from its weights in another folder (init_from={shown(others[0])} out=FOLDER)",
        ]
        finding = f"has no checkpoint to go on from (images_<images seen>.pt), but others: {names}"
        super().__init__(finding, path=others[0].parent, advice=advice)


def open_run_dir(recipe: Recipe) -> Path:
    """Make the run folder with its `recipe.yaml`, or check that this recipe may continue the run in it.

    A run that stopped before its first checkpoint starts anew, with any recipe. A `recipe.yaml` that is lost, empty or
    damaged is written again, after a comparison with the recipe in the latest whole checkpoint.

    Raises:
        NoRunFolder: the folder holds other files, and no run.
        NothingToResume: its checkpoints have other names than those of a run.
        RecipeChanged: the folder holds a run of another recipe; the message lists the differences.
        UserError: neither its recipe nor a checkpoint can be read.
    """
    folder, file = recipe.folder, recipe.folder / "recipe.yaml"
    values = recipe.model_dump(mode="json")
    checkpoints = Checkpoints(folder, recipe.training.keep)
    was = _recipe_of(file, checkpoints)
    if was is not None:
        if changes := differences(_resolved(was, str(file)), values):
            raise RecipeChanged(folder, changes)
    elif file.is_file() and checkpoints.files():
        advice = ["bring one of them back", "choose another folder (out=FOLDER)"]
        raise UserError("holds no recipe, and none of the run's checkpoints is whole", path=file, advice=advice)
    elif file.is_file() and (others := checkpoints.others()):
        raise NothingToResume(others)
    elif folder.exists() and not file.is_file() and (not folder.is_dir() or holds_files(folder)):
        raise NoRunFolder(folder)
    write_text(file, yaml_text(values))
    return folder


def _recipe_of(file: Path, checkpoints: Checkpoints) -> Mapping[str, Any] | None:
    """Return the recipe of a run that has checkpoints, from its file or else from the latest whole one; else None."""
    if not (files := checkpoints.files()):
        return None
    with contextlib.suppress(OSError, UnicodeDecodeError, UserError):
        values = read_yaml(file.read_text(encoding="utf-8"), str(file))
        if isinstance(values, Mapping):
            return values
    for checkpoint in files:
        with contextlib.suppress(UserError):
            recipe: Mapping[str, Any] = load(checkpoint)["recipe"]
            return recipe
    return None


def _resolved(values: Any, where: str) -> Any:
    """Return a recipe's values, completed by the defaults of keys that the schema gained since."""
    try:
        return check_recipe(values, where).model_dump(mode="json")
    except UserError:
        return values


def differences(was: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return one line for each key that differs between two resolved recipes and may not change."""
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
