"""Inputs that a caller gives as arrays, checked as files are when they are read."""

from collections.abc import Mapping
from typing import Any

import numpy.typing as npt
import torch

from hdtrans.common.errors import UserError
from hdtrans.config.inputs import Input, Inputs, lead, translated
from hdtrans.data.fields import kind_of
from hdtrans.data.kinds.base import DataKind

Array = npt.NDArray[Any]


def given_inputs(data: DataKind, table: Inputs) -> dict[str, Input]:
    """Return the inputs that a user gives, by name, the lead first: read from data, not made from another input."""
    read = [each for each in translated(table) if each.from_data]
    needed = data.needed({each.field for each in read})
    first = lead(table).name
    return {each.name: each for each in sorted(read, key=lambda each: each.name != first) if each.field in needed}


def check_inputs(data: DataKind, table: Inputs, given: Mapping[str, object]) -> dict[str, Array]:
    """Return checked inputs by name, with those that are made from others: (H, W) maps, (H, W, C) images, and so on.

    Args:
        data: section of the model's recipe.
        table: the inputs of the model in its direction.
        given: arrays by the name of the input; None counts as missing.

    Raises:
        UserError: an input is missing or unknown, no numpy array, of another shape, type, size or range, or holds ids
            that are no class.
    """
    allowed, there = given_inputs(data, table), {name: x for name, x in given.items() if x is not None}
    made = {each.name for each in translated(table) if each.from_data} - allowed.keys()
    for name in there:
        if name in made:
            raise UserError(f"{name}: this model makes it from {lead(table).name}; leave it out")
        if name not in allowed:
            raise UserError(f"{name}: this model does not read it; leave it out. It reads {', '.join(allowed)}")
    for name, spec in allowed.items():
        if name not in there and not spec.optional:
            raise UserError(f"{name}: this model needs it, and it was not given")
    inputs = {name: data.check_input(spec, name, there[name]) for name, spec in allowed.items() if name in there}
    first = lead(table).name
    for name, array in inputs.items():
        if allowed[name].spatial and array.shape[:2] != inputs[first].shape[:2]:
            sizes = ", ".join(f"{n} {inputs[n].shape[1]}x{inputs[n].shape[0]}" for n in (first, name))
            raise UserError(f"the inputs have different sizes: {sizes}")
    return {**inputs, **data.make(inputs, made, None)} if made else inputs


def batch_of_one(spec: Input, array: Array) -> torch.Tensor:
    """Return an input as a batch of one, its integers in a type that torch computes with."""
    return kind_of(spec).tensor(array).unsqueeze(0)
