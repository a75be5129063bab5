"""A trained model from a checkpoint or a published file."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from hdtrans.common.classes import ClassTable
from hdtrans.common.errors import UnknownName, UserError
from hdtrans.common.hashing import file_digest
from hdtrans.config.inputs import Inputs
from hdtrans.config.recipe import Recipe, check_recipe
from hdtrans.config.registry import method_module
from hdtrans.engine.checkpoint import load
from hdtrans.inference.publish.published import FORMS, Graph, read_published
from hdtrans.inference.styles.clusters import Styles
from hdtrans.methods.base import Method


@dataclass
class Restored:
    """A model as read from a file, ready to be moved to its device.

    Attributes:
        recipe: recipe of the training.
        classes: names and colours of the classes; None for a model without label maps.
        images_seen, stage: progress of the training: images, and index of the stage.
        weights: SHA-256 of the file, with ` averaged` behind it if averaged weights are used.
        direction: direction of the translation, or empty.
        method: method over its networks; weights that the file lacks are on the meta device.
        inputs: inputs of the model in this direction.
        module: module that translates, in evaluation mode.
        is_graph: True for an exported graph, which runs as it is, and whole.
        styles: clusters of a published file, or None.
    """

    recipe: Recipe
    classes: ClassTable | None
    images_seen: int
    stage: int
    weights: str
    direction: str
    method: Method
    inputs: Inputs
    module: nn.Module
    is_graph: bool
    styles: Styles | None


def restore(checkpoint: Path, device: torch.device, averaged: bool, direction: str, trust: bool) -> Restored:
    """Read a checkpoint or a published file: see `Translator.load`.

    Raises:
        UserError: the file cannot be used, has no such direction, or lacks weights to translate with.
    """
    published = checkpoint.suffix in FORMS
    state = read_published(checkpoint, device, trust) if published else load(checkpoint)
    recipe = check_recipe(state["recipe"], f"{checkpoint} (its recipe)")
    networks, method = _networks(recipe, state, averaged)
    own = state.get("route", "")
    chosen = _direction(direction or own, method)
    if own not in ("", chosen):
        finding = f"{checkpoint} holds the direction {own} alone; leave it out"
        raise UserError(finding, argument="direction", value=direction)
    inputs = method.inputs(chosen)
    graph: Graph | None = state.get("graph")
    module = method.translator(networks, chosen) if graph is None else graph.module(inputs)
    module.eval().requires_grad_(False)
    if any(weight.is_meta for weight in module.parameters()):
        there = ", ".join(sorted({key.split(".")[0] for key in state["networks"]}))
        way = f" in the direction {chosen}" if chosen else ""
        raise UserError(f"lacks weights to translate with{way}; it has those of {there}", path=checkpoint)
    return Restored(
        recipe,
        None if state["classes"] is None else ClassTable.from_dict(state["classes"]),
        state["images_seen"],
        state["stage"],
        f"{file_digest(checkpoint)}{' averaged' if averaged and state['ema'] is not None else ''}",
        chosen,
        method,
        inputs,
        module,
        graph is not None,
        state.get("styles"),
    )


def _direction(wanted: str, method: Method) -> str:
    """Return the direction that is wanted, or the first of the method."""
    if wanted in method.directions or not wanted:
        return wanted or method.directions[0]
    if len(method.directions) == 1:
        finding = "this model translates in one direction alone; leave it out"
        raise UserError(finding, argument="direction", value=wanted)
    raise UnknownName("direction", wanted, method.directions, argument="direction", value=wanted)


def _networks(recipe: Recipe, state: Mapping[str, Any], averaged: bool) -> tuple[nn.ModuleDict, Method]:
    """Return networks and the method over them; networks that translate have the checkpoint's weights.

    No random weights are drawn: networks that the checkpoint lacks stay on the meta device.
    """
    module = method_module(recipe.method.kind)
    with torch.device("meta"):
        networks = module.build_networks(recipe.method, recipe.data, recipe.training.seed)
    weights = dict(state["networks"])
    if averaged and state["ema"] is not None:
        weights |= state["ema"]
    method: Method = module.build(recipe.method, recipe.data, recipe.stages[state["stage"]], networks)
    for name in method.averaged:
        own = {key.removeprefix(f"{name}."): value for key, value in weights.items() if key.startswith(f"{name}.")}
        if own:
            networks[name].load_state_dict(own, assign=True)
    return networks, method
