"""Load a recipe: find its file, apply changes, check it whole."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hdtrans.common.errors import UnknownName, UnreadableFile, UserError, nearest
from hdtrans.common.yaml_text import read_yaml
from hdtrans.config.recipe import Recipe, check_recipe


def load_recipe(recipe: str | Path | Recipe, /, overrides: Sequence[str] = (), **sections: Any) -> Recipe:
    """Load a recipe, change it, and check it.

    Example: `load_recipe("pix2pixhd_labels", data={"root": "my/folder", "labels": 20}, training={"seed": 1})`.

    Args:
        recipe: YAML file, name of a recipe that comes with the package (`pix2pixhd_toycity`), or a recipe.
        overrides: texts `section.key=value`, values written as in YAML; a stage is named (`stages.joint.epochs=2`) or
            numbered from 0.
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


def set_value(values: dict[str, Any], override: str) -> None:
    """Set one `section.key=value` in nested plain values; raise UserError if it has no place there."""
    key, sign, text = override.partition("=")
    parts = key.strip().split(".")
    if not sign or not all(parts):
        raise UserError(f"{override!r}: an override is written section.key=value, for instance training.seed=1")
    section: Any = values
    for depth, part in enumerate(parts):
        place: Any = _stage_index(section, part, override) if isinstance(section, list) else part
        if not isinstance(section, dict | list):
            raise UserError(f"{override!r}: {'.'.join(parts[:depth])} is a value, not a section; it has no {part!r}")
        if depth == len(parts) - 1:
            section[place] = read_yaml(text, override)
        elif isinstance(section, dict) and section.get(place) is None:
            section[place] = {}
        section = section[place]


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
    return {"name": file.stem, **values}, str(file)


def _merge(values: Any, changes: Mapping[Any, Any], key: str) -> None:
    """Merge nested changes into plain values; `key` is their place in the recipe, '' at its top."""
    for name, change in changes.items():
        inside = f"{key}.{name}" if key else str(name)
        place = _stage_index(values, str(name), inside) if isinstance(values, list) else name
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


def _stage_index(stages: list[Any], part: str, override: str) -> int:
    names = [str(s.get("name", "train")) if isinstance(s, dict) else str(n) for n, s in enumerate(stages)]
    if part in names:
        return names.index(part)
    if part.isdecimal() and int(part) < len(stages):
        return int(part)
    there = f"there are {', '.join(names)} (or 0 to {len(stages) - 1})" if names else "the list is empty"
    raise UserError(f"{override!r}: there is no {part!r}; {there}.{nearest(part, names)}")
