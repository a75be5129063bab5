"""Values of the command line: `section.key=value`, read by the type that the key has in the schema.

A key of text or of a path takes the text as it stands; lists and sections are YAML without comments; everything else is
one word.
"""

from __future__ import annotations

import types
from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePath
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel

from hdtrans.common.errors import UserError, nearest
from hdtrans.common.yaml_text import read_uncommented, read_word
from hdtrans.config.problems import fields_of, kinds_of
from hdtrans.config.recipe import Recipe, section_model
from hdtrans.config.section import Section

_NOTHING = ("", "~", "null", "none")
_BRACKETS, _QUOTES = ("[", "{"), ("'", '"')


def set_value(values: dict[str, Any], override: str) -> None:
    """Set one `section.key=value` in nested plain values; raise UserError if it has no place there."""
    key, sign, text = override.partition("=")
    parts = key.strip().split(".")
    if not sign or not all(parts):
        raise UserError(f"{override!r}: an override is written section.key=value, for instance training.seed=1")
    if key.endswith(" "):  # key = value
        text = text.strip()
    section: Any = values
    allowed: list[Any] = [Recipe]
    for depth, part in enumerate(parts):
        place: Any = stage_index(section, part, override) if isinstance(section, list) else part
        if not isinstance(section, dict | list):
            raise UserError(f"{override!r}: {'.'.join(parts[:depth])} is a value, not a section; it has no {part!r}")
        allowed = _inside(allowed, section, place, top=depth == 0)
        if depth == len(parts) - 1:
            section[place] = read_value(text, allowed, override)
        elif isinstance(section, dict) and section.get(place) is None:
            section[place] = {}
        section = section[place]


def stage_index(stages: Sequence[Any], part: str, override: str) -> int:
    """Return the index of a stage given by its name or number; raise UserError if there is none."""
    names = [str(s.get("name", "train")) if isinstance(s, dict) else str(n) for n, s in enumerate(stages)]
    if part in names:
        return names.index(part)
    if part.isdecimal() and int(part) < len(stages):
        return int(part)
    there = f"there are {', '.join(names)} (or 0 to {len(stages) - 1})" if names else "the list is empty"
    raise UserError(f"{override!r}: there is no {part!r}; {there}.{nearest(part, names)}")


def read_value(text: str, annotations: Iterable[Any], override: str) -> Any:
    """Return the value that a text is for a key of these types.

    Args:
        text: text after the `=`.
        annotations: types of the key; none for a key that does not exist, which the check of the recipe reports.
        override: whole override, the place in messages.

    Raises:
        UserError: the text is no YAML where a list or a section is needed.
    """
    allowed = [each for annotation in annotations for each in _members(annotation)]
    literals = [word for each in allowed if get_origin(each) is Literal for word in get_args(each)]
    word = text.strip()
    if word in literals:
        return word
    if type(None) in allowed and word.lower() in _NOTHING:
        return None
    if not word:
        return None  # the check of the recipe names a key that needs a value
    rest = [each for each in allowed if each is not type(None) and get_origin(each) is not Literal]
    texts = [each for each in rest if _is_text(each)]
    if texts and len(texts) == len(rest):
        return _unquoted(text, override)
    if texts:  # or a number
        value = read_word(word)
        return _unquoted(text, override) if value is None or isinstance(value, str) else value
    containers = [each for each in rest if not isinstance(each, type) or _is_section(each)]
    if word.startswith("[") and (items := _items_of_text(word, containers)) is not None:
        return items
    if word.startswith((*_BRACKETS, *_QUOTES)) or (containers and len(containers) == len(rest)):
        return read_uncommented(text, override)
    return read_word(word)


def _inside(annotations: Sequence[Any], section: Any, part: Any, top: bool) -> list[Any]:
    """Return the types of the key `part` of a section or list of such types, that has these values now."""
    found = []
    for each in (member for annotation in annotations for member in _members(annotation)):
        if isinstance(each, type) and issubclass(each, BaseModel) and isinstance(section, dict):
            kinds, kind = kinds_of([each]), section.get("kind")
            if part in fields_of(each) and (not kinds or kind is None or kind in kinds):
                found.append(section_model(part, section.get(part)) if top else fields_of(each)[part].annotation)
        elif get_origin(each) is tuple and isinstance(section, list):
            items = get_args(each)
            found.append(items[0] if ... in items or part >= len(items) else items[part])
    return found


def _members(annotation: Any) -> list[Any]:
    """Return the types of a union; those of a plain one are itself alone."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return _members(get_args(annotation)[0])
    if origin in (Union, types.UnionType):
        return [each for argument in get_args(annotation) for each in _members(argument)]
    return [annotation]


def _is_text(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, str | PurePath)


def _is_section(kind: Any) -> bool:
    """Return True for a section or mapping that is written in several lines or in braces."""
    return issubclass(kind, Mapping) or (issubclass(kind, Section) and not kind.written)


def _items_of_text(word: str, lists: Sequence[Any]) -> list[str] | None:
    """Return the items of `[a, b]` where all are texts without quotes or brackets; None for another list."""
    kinds = [each for kind in lists for item in get_args(kind) if item is not ... for each in _members(item)]
    inner = word[1:-1]
    if not word.endswith("]") or not kinds or not all(_is_text(kind) or get_origin(kind) is Literal for kind in kinds):
        return None
    if not inner.strip() or any(sign in inner for sign in (*_BRACKETS, *_QUOTES, "]", "}")):
        return None
    return [item.strip() for item in inner.removesuffix(",").split(",")]


def _unquoted(text: str, override: str) -> str:
    """Return a text without the quotes around it, if it has any."""
    word = text.strip()
    if len(word) < 2 or word[0] not in _QUOTES or word[0] != word[-1]:
        return text
    inner = word[1:-1]
    if word[0] not in inner:
        return inner
    try:
        value = read_uncommented(word, override)
    except UserError:
        return text
    return value if isinstance(value, str) else text
