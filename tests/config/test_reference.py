"""The page, the text and the JSON schema of a recipe's keys are made from the schema, and say all of it."""

import json
import re
from collections.abc import Callable
from copy import deepcopy
from operator import ge, gt, le, lt
from pathlib import Path
from typing import Any

import pytest
import yaml

from hdtrans.cli import main
from hdtrans.common.errors import RecipeError
from hdtrans.config.loading import load_recipe, packaged_recipes
from hdtrans.config.recipe import check_recipe
from hdtrans.config.reference import key_list, page, recipe_keys, recipe_schema

ROOT = Path(__file__).resolve().parents[2]
SCHEMA = recipe_schema()
TYPES: dict[str, Callable[[Any], bool]] = {
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "string": lambda value: isinstance(value, str),
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    "boolean": lambda value: isinstance(value, bool),
    "null": lambda value: value is None,
}
UNCHECKED = {"default", "description", "examples", "format", "title", "$schema", "$defs"}


def faults(value: Any, schema: dict[str, Any], place: str = "") -> list[str]:
    """Return the places of a value that do not conform to a JSON schema, as far as ours uses its words."""
    found: list[str] = []
    for word, given in schema.items():
        if word in UNCHECKED:
            continue
        match word:
            case "$ref":
                bad = faults(value, SCHEMA["$defs"][given.removeprefix("#/$defs/")], place)
            case "anyOf":
                tries = [faults(value, one, place) for one in given]
                bad = [] if [] in tries else [f"{place}: fits none of {len(given)}"]
            case "type":
                bad = [] if TYPES[given](value) else [f"{place}: is no {given}"]
            case "enum":
                bad = [] if value in given else [f"{place}: is not in {given}"]
            case "const":
                bad = [] if value == given else [f"{place}: is not {given}"]
            case "properties":
                there = value if isinstance(value, dict) else {}
                bad = [
                    f for key, one in given.items() if key in there for f in faults(there[key], one, f"{place}.{key}")
                ]
            case "additionalProperties":
                assert given is False
                unknown = value.keys() - schema.get("properties", {}).keys() if isinstance(value, dict) else []
                bad = [f"{place}.{key}: is unknown" for key in unknown]
            case "required":
                bad = [f"{place}.{key}: is missing" for key in given if isinstance(value, dict) and key not in value]
            case "items":
                bad = [f for item in value if isinstance(value, list) for f in faults(item, given, f"{place}[]")]
            case "prefixItems":
                pairs = zip(value, given, strict=False) if isinstance(value, list) else []
                bad = [f for item, one in pairs for f in faults(item, one, f"{place}[]")]
            case "minItems" | "maxItems":
                least = word == "minItems"
                bad = (
                    []
                    if (len(value) >= given if least else len(value) <= given)
                    else [f"{place}: has {len(value)} items"]
                )
            case "minimum" | "maximum" | "exclusiveMinimum" | "exclusiveMaximum":
                judges = {"minimum": ge, "maximum": le, "exclusiveMinimum": gt, "exclusiveMaximum": lt}
                bad = [] if judges[word](value, given) else [f"{place}: {word} {given}"]
            case "pattern":
                bad = [] if re.search(given, str(value)) else [f"{place}: does not match {given}"]
            case _:
                raise AssertionError(f"the test does not know the word {word!r}")
        found += bad
        if word == "type" and bad:
            break
    return found


def plain(name: str) -> dict[str, Any]:
    values: dict[str, Any] = yaml.safe_load(packaged_recipes()[name].read_text(encoding="utf-8"))
    return values


def ordered(schema: Any) -> Any:
    """Return a schema whose types come first, so that limits are checked on values of the right type."""
    if isinstance(schema, list):
        return [ordered(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    return {key: ordered(schema[key]) for key in sorted(schema, key=lambda key: key != "type")}


SCHEMA = ordered(SCHEMA)


def test_the_page_is_the_schema() -> None:
    assert (ROOT / "docs/recipes.md").read_text(encoding="utf-8") == page(), "make docs"


def test_every_key_has_a_description() -> None:
    keys = [key for _, keys in recipe_keys() for key in keys]
    assert len(keys) > 100
    for key in keys:
        assert re.fullmatch(r"[A-Z`].*\.", key.description), key
        assert key.values and "value" not in key.values.split(), key
        assert max(map(len, re.split(r"[.;:] ", key.description))) < 200, key


@pytest.mark.parametrize("name", sorted(packaged_recipes()))
def test_the_schema_takes_every_recipe(name: str) -> None:
    assert faults(plain(name), SCHEMA) == []
    whole = load_recipe(name).model_dump(mode="json")
    assert faults(whole, SCHEMA) == []


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("training.seed", -1),
        ("training.seed", "lucky"),
        ("training.precision", "fp8"),
        ("training.optimizer.betas", [0.5]),
        ("training.optimizer.betas", [0.5, 1]),
        ("training.optimizer.eps", 0),
        ("training.keep", 1),
        ("training.sed", 1),
        ("data.labels", 65536),
        ("data.labels", 5.5),
        ("data.kind", "labelmaps"),
        ("method.kind", "pix2pix_hd"),
        ("method.generator.widht", 5),
        ("method.generator.blocks", None),
        ("method.features", {"count": 0}),
        ("stages", []),
        ("stages", [{"size": "1024"}]),
        ("stages", [{"size": "64x64", "epocs": 1}]),
        ("validate", {"metrics": ["l2"]}),
        ("validate", {"lpips": "resnet"}),
        ("name", "../up"),
        ("more", 1),
    ],
)
def test_the_schema_refuses_what_loading_refuses(place: str, value: Any) -> None:
    values = deepcopy(plain("pix2pixhd_toycity"))
    *above, last = place.split(".")
    section = values
    for part in above:
        section = section.setdefault(part, {})
    section[last] = value
    assert faults(values, SCHEMA)
    with pytest.raises(RecipeError):
        check_recipe({"name": "x", **values}, "here")


@pytest.mark.parametrize("missing", ["data", "method", "stages"])
def test_the_schema_wants_the_sections(missing: str) -> None:
    values = plain("pix2pixhd_toycity")
    del values[missing]
    assert faults(values, SCHEMA) == [f".{missing}: is missing"]


def test_the_keys_of_a_recipe_have_its_values() -> None:
    text = key_list(load_recipe("pix2pixhd_toycity", ["training.seed=5", "validate={}"]))
    lines = text.splitlines()
    for line in (
        "training.seed: 5",
        "training.ema",
        "training.ema.half_life: 500",
        "stages.joint.epochs: 3",
        "stages.joint.size: 256x128",
        "data.labels: 19",
        "method.features: unset",
        "validate.best: l1",
    ):
        assert line in lines
    assert "Default: 0." in lines[lines.index("training.seed: 5") + 1]
    assert "cycle" not in text and "direction" not in text


def test_the_command_prints_keys_and_schema(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--keys"]) == 0
    assert "method.cycle.weight_a: 10" in capsys.readouterr().out.splitlines()
    assert main(["train", "cyclegan", "--keys", "training.seed=7"]) == 0
    assert "training.seed: 7" in capsys.readouterr().out.splitlines()
    assert main(["train", "--schema"]) == 0
    assert json.loads(capsys.readouterr().out) == recipe_schema()
