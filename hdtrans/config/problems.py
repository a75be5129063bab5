"""Messages for the problems of a recipe: key, value, allowed values, nearest name."""

import difflib
from typing import Any, NamedTuple, get_args

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from hdtrans.common.errors import UnknownName, nearest

_WANTED = {  # where pydantic's own words are Python's
    "dict_type": "is a section, with keys of its own",
    "model_type": "is a section, with keys of its own",
    "model_attributes_type": "is a section, with keys of its own",
    "path_type": "is a path; put a number in quotes",
    "string_pattern_mismatch": "is made of letters, digits, _ and -, the first a letter or digit",
    "string_type": "is a word; put a number in quotes",
    "too_short": "is empty; at least one is required",
    "tuple_type": "is a list, as in [a, b]",
}


class Problem(NamedTuple):
    """One problem of a recipe; the key is '' where it concerns several sections."""

    key: str
    finding: str


def describe(error: ValidationError, model: type[BaseModel], prefix: tuple[str, ...] = ()) -> list[Problem]:
    """Turn pydantic's errors into problems, each with what was given, what is allowed and the nearest name.

    Args:
        error: error of pydantic.
        model: section that was checked.
        prefix: keys above that section.
    """
    found = []
    for problem in error.errors(include_url=False):
        place, kind, given = problem["loc"], problem["type"], problem["input"]
        models, parts = _walk(model, place)
        key = ".".join((*prefix, *parts))
        if kind == "extra_forbidden":
            allowed = _keys_at(model, place)
            guess = nearest(str(place[-1]), allowed) or _deeper(str(place[-1]), model, place)
            found.append(Problem(key, f"there is no such key; allowed here: {', '.join(allowed)}.{guess}"))
        elif kind == "missing":
            found.append(Problem(key, "is missing and has no default"))
        elif kind == "union_tag_not_found":
            found.append(Problem(key, f"starts with kind: one of {', '.join(kinds_of(models))}"))
        elif kind == "union_tag_invalid":
            tag = problem["ctx"]["tag"]
            found.append(Problem(f"{key}.kind", UnknownName("kind", tag, kinds_of(models)).finding))
        elif kind == "value_error":
            found += [Problem(key, line) for line in str(problem["ctx"]["error"]).splitlines()]
        elif kind == "too_short" and given:
            continue  # its items are wrong, and each has a line
        elif given is None:
            found.append(Problem(key, "needs a value, and has none (null)"))
        else:
            found.append(Problem(key, f"{_WANTED.get(kind, problem['msg'])}; given: {given!r}"))
    return found


def _keys_at(model: type[BaseModel], place: tuple[int | str, ...]) -> list[str]:
    return sorted({name for m in _models_at(model, place) for name in fields_of(m)})


def _deeper(word: str, model: type[BaseModel], place: tuple[int | str, ...]) -> str:
    """Look for the nearest key one section further down: `learning_rate` where `optimizer.learning_rate` is meant."""
    below = {
        key: f"{name}.{key}"
        for parent in _models_at(model, place)
        for name, field in fields_of(parent).items()
        for inner in models_in(field.annotation)
        for key in fields_of(inner)
    }
    close = difflib.get_close_matches(word, below, n=1, cutoff=0.8)
    return f" Did you mean {below[close[0]]!r}?" if close else ""


def fields_of(model: type[BaseModel]) -> dict[str, FieldInfo]:
    """Return the fields of a model by the keys of a recipe."""
    return {field.alias or name: field for name, field in model.model_fields.items()}


def _models_at(model: type[BaseModel], place: tuple[int | str, ...]) -> list[type[BaseModel]]:
    return _walk(model, place[:-1])[0]


def _walk(model: type[BaseModel], place: tuple[int | str, ...]) -> tuple[list[type[BaseModel]], list[str]]:
    """Follow a place; return the models there, and the place without the kinds that pydantic adds behind a section."""
    models, parts = [model], []
    for part in place:
        of_kind = [m for m in models if part in kinds_of([m])]
        if of_kind and len(models) > 1:
            models = of_kind
            continue
        parts.append(str(part))
        fields = [fields_of(m)[part] for m in models if isinstance(part, str) and part in fields_of(m)]
        models = [m for field in fields for m in models_in(field.annotation)] or models
    return models, parts


def kinds_of(models: list[type[BaseModel]]) -> list[str]:
    """Return the values of the key `kind` that choose between these sections."""
    return [k for m in models if "kind" in m.model_fields for k in get_args(m.model_fields["kind"].annotation)]


def models_in(annotation: Any) -> list[type[BaseModel]]:
    """Return the sections that a field's type allows, in their order."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [m for argument in get_args(annotation) for m in models_in(argument)]
