"""Load a recipe: find its file, apply overrides, check it whole."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hdtrans.common.errors import UserError, nearest
from hdtrans.common.yaml_text import read_yaml
from hdtrans.config.recipe import Recipe, check_recipe


def load_recipe(name: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read, override and check a recipe.

    Args:
        name: a YAML file, or the name of a recipe that comes with the package (`pix2pixhd_toycity`).
        overrides: `section.key=value`, values written as in YAML; a stage is named (`stages.joint.epochs=2`) or
            numbered from 0.

    Raises:
        UserError: listing everything that is wrong at once, each with file, key, value and what is allowed.
    """
    file = find_recipe(name)
    try:
        values = read_yaml(file.read_text(encoding="utf-8"), str(file))
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{file}: cannot be read as a recipe, a YAML file in UTF-8: {error}") from None
    if not isinstance(values, dict):
        raise UserError(f"{file}: a recipe is a mapping with data, method, training and stages; see options/")
    for override in overrides:
        set_value(values, override)
    values.setdefault("name", file.stem)
    return check_recipe(values, str(file))


def find_recipe(name: str | Path) -> Path:
    """Return the file of a recipe given by path or by the name of one that comes with the package."""
    path = Path(name)
    if path.is_file():
        return path
    known = packaged_recipes()
    if str(name) in known:
        return known[str(name)]
    if path.is_dir():
        raise UserError(f"{name}: is a folder; a recipe is a YAML file or one of: {', '.join(sorted(known))}")
    raise UserError(
        f"{name}: no such file, and no recipe of that name; there are {', '.join(sorted(known))}."
        f"{nearest(path.stem, sorted(known))}"
    )


def packaged_recipes() -> dict[str, Path]:
    """Return name and file of the recipes that come with the package (in a checkout: the files of `options/`)."""
    package = Path(__file__).parent.parent
    folders = [package / "recipes", package.parent / "options"]
    folder = next((f for f in folders if f.is_dir()), None)
    return {file.stem: file for file in sorted(folder.glob("*.yaml"))} if folder else {}


def set_value(values: dict[str, Any], override: str) -> None:
    """Set one `section.key=value` in the nested plain values; raise UserError where it has no place."""
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


def _stage_index(stages: list[Any], part: str, override: str) -> int:
    names = [str(s.get("name", "train")) if isinstance(s, dict) else str(n) for n, s in enumerate(stages)]
    if part in names:
        return names.index(part)
    if part.isdecimal() and int(part) < len(stages):
        return int(part)
    there = f"there are {', '.join(names)} (or 0 to {len(stages) - 1})" if names else "the list is empty"
    raise UserError(f"{override!r}: there is no {part!r}; {there}.{nearest(part, names)}")
