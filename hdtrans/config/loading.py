"""Load a recipe: find its file, apply changes, check it whole."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hdtrans.common.errors import UnknownName, UnreadableFile, UserError
from hdtrans.common.yaml_text import read_yaml
from hdtrans.config.overrides import set_value, stage_index
from hdtrans.config.recipe import Recipe, check_recipe


def load_recipe(recipe: str | Path | Recipe, /, overrides: Sequence[str] = (), **sections: Any) -> Recipe:
    """Load a recipe, change it, and check it.

    Example: `load_recipe("pix2pixhd_labels", data={"root": "my/folder", "labels": 20}, training={"seed": 1})`.

    Args:
        recipe: YAML file, name of a recipe that comes with the package (`pix2pixhd_toycity`), or a recipe.
        overrides: texts `section.key=value`; a stage is named (`stages.joint.epochs=2`) or numbered from 0. A key of
            text or of a path takes the text as it stands, lists and sections are YAML; `none` unsets an optional key.
        sections: the same as nested values; they are merged into the recipe's before `overrides`. A list replaces a
            list, except that stages may be a mapping by name or number; a section of another `kind` replaces a section.

    Raises:
        UserError: there is no such recipe, or a change has no place in it.
        RecipeError: every problem at once, each with key, value and what is allowed.
    """
    values, where = _read(recipe)
    _merge(values, sections, "")
    for override in overrides:
        set_value(values, override)
    return check_recipe(values, where)


def find_recipe(name: str | Path) -> Path:
    """Return the file of a recipe given by path or by the name of one that comes with the package."""
    path = Path(name)
    if path.is_file():
        return path
    known = packaged_recipes()
    if str(name) in known:
        return known[str(name)]
    if path.is_dir():
        listed = ", ".join(sorted(known))
        raise UserError(f"is a folder; a recipe is a YAML file or one of: {listed}", path=path)
    raise UnknownName("file or recipe", str(name), sorted(known), near=path.stem)


def packaged_recipes() -> dict[str, Path]:
    """Return name and file of each recipe that comes with the package; in a checkout: the files of `options/`."""
    package = Path(__file__).parent.parent
    folders = [package / "recipes", package.parent / "options"]
    folder = next((f for f in folders if f.is_dir()), None)
    return {file.stem: file for file in sorted(folder.glob("*.yaml"))} if folder else {}


def _read(name: str | Path | Recipe) -> tuple[dict[str, Any], str]:
    """Return the plain values of a recipe, with its name, and the place that messages name."""
    if isinstance(name, Recipe):
        return name.model_dump(mode="json"), name.name
    file = find_recipe(name)
    try:
        values = read_yaml(file.read_text(encoding="utf-8"), str(file))
    except (OSError, UnicodeDecodeError) as error:
        raise UnreadableFile(file, str(error), "a recipe, a YAML file in UTF-8") from None
    if not isinstance(values, dict):
        raise UserError("a recipe is a mapping with data, method, training and stages; see options/", path=file)
    return {"name": _name_of(file), **values}, str(file)


def _name_of(file: Path) -> str:
    """Return the name of a run by its recipe's file: what a folder on any system can be named, else `_`."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", file.stem).lstrip("_.-") or "recipe"


def _merge(values: Any, changes: Mapping[Any, Any], key: str) -> None:
    """Merge nested changes into plain values; `key` is their place in the recipe, '' at its top."""
    for name, change in changes.items():
        inside = f"{key}.{name}" if key else str(name)
        place = stage_index(values, str(name), inside) if isinstance(values, list) else name
        there = values[place] if isinstance(values, list) else values.get(name)
        if isinstance(change, Mapping) and isinstance(there, dict | list) and not _of_another_kind(there, change):
            _merge(there, change, inside)
        else:
            values[place] = _copied(change)


def _of_another_kind(there: Any, change: Mapping[Any, Any]) -> bool:
    return isinstance(there, dict) and "kind" in there and change.get("kind", there["kind"]) != there["kind"]


def _copied(value: Any) -> Any:
    """Return nested values as dictionaries and lists of our own, so that a later override changes no caller's."""
    if isinstance(value, Mapping):
        return {name: _copied(inner) for name, inner in value.items()}
    return [_copied(inner) for inner in value] if isinstance(value, list | tuple) else value
