"""Recipe lines that fit the data."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hdtrans.common.classes import ClassTable
from hdtrans.common.errors import UserError
from hdtrans.common.yaml_text import yaml_text
from hdtrans.config.recipe import Recipe
from hdtrans.config.section import Section
from hdtrans.config.stage import Stage
from hdtrans.data.kinds.base import PAPER_STAGE
from hdtrans.data.preflight import geometry_problems
from hdtrans.prepare.check.facts import Facts
from hdtrans.prepare.check.samples import SampleFacts

LARGEST_WIDTH = 1024  # of pictures in a first training on label maps
MULTIPLE = 32  # of sizes: the stride of pix2pixHD with one enhancer

_FILLED = ("output", "train")  # filled in by the method
_SAME_ASPECT = 0.03


def class_file(root: Path) -> ClassTable | None:
    """Return the classes in dataset.json, or None if it is missing or invalid."""
    try:
        return ClassTable.read(root / "dataset.json")
    except UserError:
        return None


def fitting_recipe(facts: Facts) -> str:
    """Return YAML of data, method and stages that fit the data.

    Number of classes, size, crop and the use of instance maps follow from the data; all fitting keys of a given recipe
    stay.
    """
    sizes = sorted({sample.size for sample in facts.of(facts.data.train) if sample.size})
    method = _method(facts)
    return yaml_text({"data": _data(facts, method), "method": method, "stages": _stages(facts, sizes)})


def _given(section: Section) -> dict[str, Any]:
    """Return the keys that were given, `kind` first."""
    values = _without_nothing(section.model_dump(mode="json", exclude_unset=True))
    kind = getattr(section, "kind", None)
    return values if kind is None else {"kind": kind, **values}


def _without_nothing(values: dict[str, Any]) -> dict[str, Any]:
    """Leave out keys without a value, except `ignore`, where none has a meaning."""
    kept = {key: value for key, value in values.items() if value is not None or key == "ignore"}
    return {key: _without_nothing(value) if isinstance(value, dict) else value for key, value in kept.items()}


def _data(facts: Facts, method: dict[str, Any]) -> dict[str, Any]:
    """Return the section `data` for the fields that `method` reads."""
    data = facts.data
    values = _given(data)
    values["root"] = os.fspath(data.root)
    if data.classes is not None:
        ids = {number for sample in facts.samples for number in sample.pixels} - {data.ignore}
        table = class_file(data.root)
        known = len(facts.classes) if facts.classes else 0
        labels = len(table) if table else min(65535, max([known, *(number + 1 for number in ids)]))
        values |= data.proposed(labels)
        values = {key: value for key, value in values.items() if key not in data.follow}
    if facts.recipe and not _have_instances(facts.of(data.train)):
        reads = type(facts.recipe.method).model_validate(method).reads(data)
        values |= data.proposed_without_instances if facts.role("instances") in reads else {}
    return values


def _method(facts: Facts) -> dict[str, Any]:
    recipe = facts.recipe
    values: dict[str, Any] = _given(recipe.method) if recipe else dict(facts.data.usual_method)
    has_condition = recipe is None or "condition" in type(recipe.method).model_fields
    if facts.data.results == "pictures" and facts.data.classes is not None and has_condition:
        boundary = "instance" if _instances_help(facts.of(facts.data.train)) else "labels"
        values["condition"] = values.get("condition", {}) | {"boundary": boundary}
    return values


def _instances_help(samples: Sequence[SampleFacts]) -> bool:
    """Return True if most samples have an instance map, and some maps have more ids than their label map."""
    tell_more = any(sample.instances > len(sample.pixels) for sample in samples if sample.pixels)
    return _have_instances(samples) and tell_more


def _have_instances(samples: Sequence[SampleFacts]) -> bool:
    """Return True if most samples have an instance map."""
    return 2 * sum(bool(sample.instances and sample.pixels) for sample in samples) > len(samples)


def _stages(facts: Facts, sizes: Sequence[tuple[int, int]]) -> list[dict[str, Any]]:
    usual = facts.data.usual_stage
    fitting = _geometry(sizes) if sizes and usual is None else dict(usual or PAPER_STAGE)
    if facts.recipe is None:
        return [{**fitting, "epochs": 100, "decay_epochs": 100}]
    return [_stage(facts.recipe, stage, fitting, sizes) for stage in facts.recipe.stages]


def _stage(recipe: Recipe, stage: Stage, fitting: dict[str, Any], sizes: Sequence[tuple[int, int]]) -> dict[str, Any]:
    """Return a stage as given, with a fitting size in place of one that does not fit."""
    usual = recipe.method.complete(stage.model_copy(update={"output": None, "train": None}))
    filled = {key for key in _FILLED if getattr(stage, key) == getattr(usual, key)}
    values = {key: value for key, value in _given(stage).items() if key not in filled}
    wrong = any(True for size in sizes for _ in geometry_problems([stage], *size))
    return {k: v for k, v in values.items() if k not in ("size", "geometry", "load")} | fitting if wrong else values


def _geometry(sizes: Sequence[tuple[int, int]]) -> dict[str, Any]:
    """Return size and geometry for files of these (height, width); without a crop if they have one aspect."""
    widths = sorted(width for _, width in sizes)
    width = _multiple(min(LARGEST_WIDTH, widths[len(widths) // 2]))
    heights = [round(height * width / w) for height, w in sizes]
    height = _multiple(min(heights))
    if all(abs(height / scaled - 1) <= _SAME_ASPECT for scaled in heights):
        return {"size": f"{width}x{height}"}
    return {"size": f"{width}x{height}", "geometry": "scale_width_and_crop", "load": f"{width}x{height}"}


def _multiple(side: int) -> int:
    """Round down to a multiple of `MULTIPLE`, unless the side is short."""
    return side // MULTIPLE * MULTIPLE if side >= 8 * MULTIPLE else side
