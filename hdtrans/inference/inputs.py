"""Check inputs given as arrays, by the rules for files."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy.typing as npt
import torch

from hdtrans.common.errors import UserError
from hdtrans.config.inputs import Input, Inputs, lead, translated
from hdtrans.data.fields import kind_of
from hdtrans.data.kinds.base import DataKind

Array = npt.NDArray[Any]


def given_inputs(data: DataKind, table: Inputs) -> dict[str, Input]:
    """Return the inputs that a user gives, by name, the lead first; inputs made from others are left out."""
    read = [each for each in translated(table) if each.from_data]
    needed = data.needed({each.field for each in read})
    first = lead(table).name if read else ""
    return {each.name: each for each in sorted(read, key=lambda each: each.name != first) if each.field in needed}


def id_maps(table: Inputs, required: str) -> Inputs:
    """Return the maps of ids among the inputs; `required` names the map that separates objects."""
    maps = (each for each in translated(table) if each.kind == "ids")
    return tuple(replace(each, optional=each.optional and each.name != required) for each in maps)


def check_inputs(data: DataKind, table: Inputs, given: Mapping[str, object]) -> dict[str, Array]:
    """Return checked inputs by name, together with those made from others.

    Args:
        data: section `data` of the model's recipe.
        table: inputs of the model in its direction.
        given: arrays by name of the input: (H, W) maps, (H, W, C) images, (N,) vectors, (N, 2) points; None: missing.

    Raises:
        UserError: an input is missing or unknown, has another type, shape, range or size than required, or holds ids
            that are no class.
    """
    allowed, there = given_inputs(data, table), {name: x for name, x in given.items() if x is not None}
    made = {each.name for each in translated(table) if each.from_data} - allowed.keys()
    for name in there:
        if name in made:
            raise UserError(f"{name}: this model makes it from {lead(table).name}; leave it out")
        if name not in allowed:
            reads = ", ".join(allowed) or "nothing of this kind"
            raise UserError(f"{name}: this model does not read it; leave it out. It reads {reads}")
    for name, spec in allowed.items():
        if name not in there and not spec.optional:
            raise UserError(f"{name}: this model needs it, and it was not given")
    inputs = {name: data.check_input(spec, name, there[name]) for name, spec in allowed.items() if name in there}
    first = next(iter(allowed), "")
    for name, array in inputs.items():
        if allowed[name].spatial and array.shape[:2] != inputs[first].shape[:2]:
            sizes = ", ".join(f"{n} {inputs[n].shape[1]}x{inputs[n].shape[0]}" for n in (first, name))
            raise UserError(f"the inputs have different sizes: {sizes}")
    return {**inputs, **data.make(inputs, made, None)} if made else inputs


def batch_of_one(spec: Input, array: Array) -> torch.Tensor:
    """Return an input as a batch of one; integers get a type that torch computes with."""
    return kind_of(spec).tensor(array).unsqueeze(0)
