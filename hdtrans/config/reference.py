"""Reference of a recipe's keys, made from the schema: a page of tables, a text for a terminal, and a JSON schema.

`python -m hdtrans.config.reference docs/recipes.md` writes the page (`make docs`).
"""

import json
import sys
import types
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic.json_schema import models_json_schema

from hdtrans.common.files import write_text
from hdtrans.config.problems import fields_of, kinds_of, models_in
from hdtrans.config.recipe import Recipe
from hdtrans.config.registry import (
    KINDS_PACKAGE,
    METHODS,
    data_kinds,
    data_module,
    method_kinds,
    method_module,
    package_kinds,
)
from hdtrans.config.section import Section
from hdtrans.config.stage import Stage
from hdtrans.config.training import Training
from hdtrans.config.validation import Validate

_NAMES: Mapping[type, str] = {int: "integer", float: "number", str: "text", Path: "path"}
_PAGE = """# Recipes

A recipe is one YAML file: one experiment. It names only keys that differ from their defaults, and has the sections
`data`, `method`, `training`, `stages` and, where pictures are measured during training, `validate`. The recipes of the
package lie in [`options/`](../options); a recipe is given by its name there or as a file.

```
hdtrans train pix2pixhd_labels data.root=my/folder data.labels=20 out=runs/mine
hdtrans train pix2pixhd_labels --keys       every key of that recipe, with value and meaning
hdtrans train --schema > recipe.schema.json a JSON schema, for editors that complete and check YAML
```

`section.key=value` changes a key; a stage is named (`stages.joint.epochs=2`) or numbered from 0. The type of the key
decides how the value is read. Text and paths stand as they are: `data.root=my data #2`, quoted for the shell. Quotes
around the whole value are taken off. `[a, b]` is a list, `{half_life: 3}` a section. `none`, `null`, `~` or nothing
unsets a key that may be unset; a folder of that name is `./none`.

In Python, `hdtrans.train("pix2pixhd_labels", data={"root": "my/folder", "labels": 20})` does the same. All problems of
a recipe are reported at once, each with its key, its value and the allowed ones.

The tables below are made from the schema by `make docs`. A key that is *required* has no default; one that is *unset*
has no value until it is given one.
"""


@dataclass(frozen=True)
class Key:
    """One key of a recipe.

    Attributes:
        name: key with the sections above it, as `training.optimizer.eps`.
        values: allowed values, in words.
        default: default value as in YAML, `required`, `unset`, or `` for a section with defaults of its own.
        description: meaning, with its unit.
        value: value in a recipe, as in YAML; '' without one.
    """

    name: str
    values: str
    default: str
    description: str
    value: str = ""


def keys_of(model: type[BaseModel], prefix: str = "", section: BaseModel | None = None) -> Iterator[Key]:
    """Yield the keys of a section and of the sections in it.

    Args:
        model: the section's model.
        prefix: start of the keys' names, as `training.`.
        section: section of a recipe; its values are given with the keys, and its kinds alone.
    """
    for name, field in fields_of(model).items():
        value = None if section is None else getattr(section, _attribute(model, name))
        models = [one for one in models_in(field.annotation) if not getattr(one, "written", "")]
        place = f"{prefix}{name}"
        if not models:
            yield _key(place, field, value, section is not None)
            continue
        if field.description:
            absent = field.default is None if section is None else value is None
            yield Key(place, "section", "unset" if absent else "", field.description)
        if isinstance(value, tuple):
            for part in value:
                yield from keys_of(type(part), f"{place}.{part.name}.", part)
        elif section is not None:
            yield from keys_of(type(value), f"{place}.", value) if isinstance(value, BaseModel) else ()
        elif get_origin(field.annotation) is tuple:
            yield from keys_of(models[0], f"{place}.NAME.")
        elif len(models) == 1:
            yield from keys_of(models[0], f"{place}.")
        else:
            default = getattr(field.default, "kind", "required")
            yield from _merged({kinds_of([one])[0]: one for one in models}, f"{place}.", default)


def _merged(models: Mapping[str, type[BaseModel]], prefix: str, default: str) -> Iterator[Key]:
    """Yield the keys of sections that `kind` chooses between: one key where several sections have the same."""
    about = "; ".join(f"`{kind}`: {_summary(model)}" for kind, model in models.items())
    yield Key(f"{prefix}kind", ", ".join(f"`{kind}`" for kind in models), default, f"{about}.")
    found: dict[tuple[str, str, str], dict[str, str]] = {}
    for kind, model in models.items():
        for key in keys_of(model, prefix):
            if key.name != f"{prefix}kind":
                found.setdefault((key.name, key.values, key.description), {})[kind] = key.default
    for (name, values, description), defaults in found.items():
        shared = len(set(defaults.values())) == 1
        texts = [text if shared else f"{text} ({kind})" for kind, text in defaults.items()]
        of_kinds = "" if len(defaults) == len(models) else f"Of {', '.join(f'`{kind}`' for kind in defaults)}. "
        yield Key(name, values, ", ".join(dict.fromkeys(texts)), f"{of_kinds}{description}")


def _key(name: str, field: FieldInfo, value: Any, has_value: bool) -> Key:
    description = field.description or ""
    default = "unset" if "Unset:" in description else "required"
    if not field.is_required():
        default = _yaml(field.default)
    if name == "method.kind":
        description = "Name of the method."
    values = _values(field.annotation, field.metadata)
    return Key(name, values, default, description, _yaml(value) if has_value else "")


def _attribute(model: type[BaseModel], key: str) -> str:
    """Return the attribute of a model that holds a key, whose alias it may be."""
    return next(name for name, field in model.model_fields.items() if (field.alias or name) == key)


def _summary(model: type[BaseModel]) -> str:
    """Return the first sentence of a section's docstring, without its full stop."""
    first = (model.__doc__ or "").strip().splitlines()[0].removesuffix(".")
    return first[:1].lower() + first[1:] if first[1:2].islower() else first


def _yaml(value: Any) -> str:
    """Return a value as in YAML, on one line."""
    if value is None:
        return "unset"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, tuple):
        return f"[{', '.join(_yaml(inner) for inner in value)}]"
    return json.dumps(value) if isinstance(value, bool) else str(value)


def _values(annotation: Any, metadata: Sequence[Any] = ()) -> str:
    """Return the values that a type allows, in words."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        more = [inner for one in arguments[1:] for inner in (one.metadata if isinstance(one, FieldInfo) else [one])]
        return _values(arguments[0], [*metadata, *more])
    if origin is Literal:
        return ", ".join(f"`{value}`" for value in arguments)
    if origin in (Union, types.UnionType):
        words = [_values(one, metadata) for one in arguments if one is not type(None)]
        return " or ".join([*words, *(["null"] if len(words) < len(arguments) else [])])
    if origin is tuple:
        if arguments[-1] is Ellipsis:
            return f"list of {_values(arguments[0])}"
        return f"list of {len(arguments)}: {_values(arguments[0])}"
    if annotation is bool:
        return "`true`, `false`"
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return annotation.written
    return f"{_NAMES.get(annotation, 'value')}{_range(annotation, metadata)}"


def _range(annotation: Any, metadata: Sequence[Any]) -> str:
    """Return the limits of a number: ` 1 to 8`, ` >= 0`."""
    least, most, above, below = (
        next((getattr(one, name) for one in metadata if getattr(one, name, None) is not None), None)
        for name in ("ge", "le", "gt", "lt")
    )
    if annotation is int:
        least, above = (above + 1, None) if above is not None else (least, above)
        most, below = (below - 1, None) if below is not None else (most, below)
    if least is not None and most is not None:
        return f" {least:g} to {most:g}" if most < 10**6 else f" {least} to {most}"
    limits = ((">=", least), (">", above), ("<=", most), ("<", below))
    return "".join(f" {sign} {limit}" for sign, limit in limits if limit is not None)


def data_models(kinds: Iterable[str]) -> dict[str, type[BaseModel]]:
    """Return the sections `data` by kind."""
    return {kind: data_module(kind).Section for kind in kinds}


def method_models(kinds: Iterable[str]) -> dict[str, type[BaseModel]]:
    """Return the sections `method` by kind."""
    return {kind: method_module(kind).Config for kind in kinds}


def recipe_keys(installed: bool = True) -> list[tuple[str, list[Key]]]:
    """Return the keys of all recipes: heading and keys of each section.

    Args:
        installed: describe the data kinds and methods of other installed packages as well.
    """
    top = [_key(name, Recipe.model_fields[name], None, False) for name in ("name", "out", "init_from")]
    data = data_models(data_kinds() if installed else package_kinds(KINDS_PACKAGE))
    methods = method_models(method_kinds() if installed else package_kinds(METHODS))
    return [
        ("The run", top),
        ("data", list(_merged(data, "data.", "required"))),
        *((f"method, kind: {kind}", list(keys_of(model, "method."))) for kind, model in methods.items()),
        ("training", list(keys_of(Training, "training."))),
        ("stages", list(keys_of(Stage, "stages.NAME."))),
        ("validate", list(keys_of(Validate, "validate."))),
    ]


def page() -> str:
    """Return the page of all keys, in Markdown; kinds and methods of other packages are left out."""
    parts = [_PAGE]
    for heading, keys in recipe_keys(installed=False):
        section = heading.split(",")[0]
        rows = [_row(replace(key, name=key.name.removeprefix(f"{section}.").removeprefix("NAME."))) for key in keys]
        table = ["| key | values | default | meaning |", "|---|---|---|---|", *rows]
        parts.append("\n".join([f"## {heading}", "", *table]))
    return "\n\n".join(part.strip() for part in parts) + "\n"


def _row(key: Key) -> str:
    default = key.default if key.default in ("", "required", "unset") else f"`{key.default}`"
    cells = (f"`{key.name}`", key.values, default, key.description)
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def key_list(recipe: Recipe | None = None) -> str:
    """Return every key with its meaning, for a terminal; of a recipe, its own kinds and values."""
    sections = recipe_keys() if recipe is None else [("", list(keys_of(Recipe, section=recipe)))]
    lines = []
    for heading, keys in sections:
        lines += [heading, ""] if heading else []
        for key in keys:
            value = key.value or key.default
            lines.append(f"{key.name}: {value}" if value else key.name)
            default = f" Default: {key.default}." if key.value and key.value != key.default else ""
            values = "" if key.values == "section" else f" Values: {key.values.replace('`', '')}."
            lines.append(f"    {key.description.replace('`', '')}{values}{default}")
        lines.append("")
    return "\n".join(lines)


def recipe_schema() -> dict[str, Any]:
    """Return a JSON schema (draft 2020-12) of recipes, with all data kinds and methods."""
    data, methods = data_models(data_kinds()), method_models(method_kinds())
    models: list[type[BaseModel]] = [Recipe, *data.values(), *methods.values()]
    references, schema = models_json_schema([(model, "validation") for model in models])
    definitions = schema["$defs"]
    for name, by_kind in (("data", data), ("method", methods)):
        places = [references[model, "validation"] for model in by_kind.values()]
        for place in places:
            definition = definitions[place["$ref"].rsplit("/", 1)[1]]
            definition["required"] = sorted({*definition.get("required", []), "kind"})
        _definition(definitions, references, Recipe)["properties"][name] = {"anyOf": places}
    recipe = definitions.pop(references[Recipe, "validation"]["$ref"].rsplit("/", 1)[1])
    recipe["required"].remove("name")  # that of the file
    recipe |= {"$schema": "https://json-schema.org/draft/2020-12/schema", "$defs": definitions}
    whole: dict[str, Any] = _plain(recipe)
    return {"title": "hdtrans recipe", **whole}


def _definition(definitions: dict[str, Any], references: Mapping[Any, Any], model: type[BaseModel]) -> Any:
    return definitions[references[model, "validation"]["$ref"].rsplit("/", 1)[1]]


def _plain(schema: Any) -> Any:
    """Return a schema without generated titles; a section may leave out its kind, so that one of several fits."""
    if isinstance(schema, list):
        return [_plain(inner) for inner in schema]
    if not isinstance(schema, dict):
        return schema
    kept = {key: value for key, value in schema.items() if not _is_extra(key, value)}
    return {"anyOf" if key == "oneOf" else key: _plain(value) for key, value in kept.items()}


def _is_extra(word: str, value: Any) -> bool:
    """Return whether this is a generated title or OpenAPI's discriminator, and no key of a recipe of that name."""
    return (word == "title" and isinstance(value, str)) or (word == "discriminator" and "propertyName" in value)


if __name__ == "__main__":
    write_text(Path(sys.argv[1]), page())
