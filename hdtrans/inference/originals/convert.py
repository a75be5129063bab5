"""Convert checkpoints of the original programs to ours, and ours to theirs, bit for bit."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import hdtrans
from hdtrans.common.errors import UserError
from hdtrans.common.files import whole_file, write_text
from hdtrans.common.yaml_text import yaml_text
from hdtrans.config.overrides import set_value
from hdtrans.config.recipe import Recipe, check_recipe
from hdtrans.config.registry import method_module
from hdtrans.data.preflight import class_table
from hdtrans.engine import checkpoint
from hdtrans.inference.originals import shapes as original_shapes
from hdtrans.inference.originals.checkpoint_files import (
    ENCODER,
    GENERATORS,
    OriginalFiles,
    find_originals,
    read_weights,
)
from hdtrans.inference.originals.keys import Keys, by_letter, rename, to_original
from hdtrans.inference.originals.recipe import Findings, original_options, recipe_values

WITHOUT_STYLES = "styles: none yet; hdtrans encode_styles makes them, clusters of features in the training set"
"""Line of the summary for a model whose features need clusters."""

_STAGE = "converted"
Weights = Mapping[str, Mapping[str, Tensor]]


def import_original(path: Path, out: Path, overrides: Sequence[str] = ()) -> list[str]:
    """Convert weights of an original program to a checkpoint of ours.

    Args:
        path: file of a generator (`latest_net_G.pth`, `latest_net_G_A.pth`), or the folder with it; discriminators, the
            other generator and the options file are found beside it.
        out: new checkpoint, if it ends in `.pt`, or new run folder.
        overrides: values of the recipe, `section.key=value`, that weights and options do not determine, or that shall
            differ from them.

    Returns:
        Lines of a summary: files and networks found, assumptions, files left out.

    Raises:
        UserError: a file cannot be used, a value of the recipe is required, or `out` exists.
    """
    target = out if out.suffix == ".pt" else out / "checkpoints" / f"images_{0:09d}_{_STAGE}.pt"
    if out.exists() and (out.is_file() or target is out or any(out.iterdir())):
        raise UserError("exists already; choose another name", argument="out", path=out)
    files = find_originals(path)
    weights = {letter: read_weights(file) for letter, file in files.weights.items()}
    recipe, lines = _recipe(files, weights, out.stem, overrides)
    networks, keys = _networks(recipe)
    ours = networks.state_dict()
    renamed: dict[str, Tensor] = {}
    for letter, file in files.weights.items():
        if letter == ENCODER and letter not in keys:
            lines.append(f"left out: {file.name}; the generator was trained without features of an encoder")
            continue
        if letter not in keys:
            there = ", ".join(keys)
            finding = f"{recipe.method.kind} has no network {letter}; it has {there}, so name the file after one"
            raise UserError(finding, path=file)
        renamed |= rename(ours, keys[letter], weights[letter], file)
    checkpoint.save(target, _state(recipe, renamed))
    if target is not out:
        write_text(out / "recipe.yaml", yaml_text(recipe.model_dump(mode="json")))
    lines += [f"left out: {name}, pickled Python objects; their clusters are made anew" for name in files.clusters]
    lines.append(f"written: {target}")
    if ENCODER in keys and ENCODER in files.weights:
        lines.append(WITHOUT_STYLES)
    elif ENCODER in keys:
        lines.append("left out: the encoder of features, which is not there; photos cannot be encoded without it")
    return lines


def export_original(model: Path, folder: Path, averaged: bool = True) -> list[str]:
    """Write a checkpoint of ours as the original program saves its own: a file for each network, and its options.

    Args:
        model: run folder (its latest checkpoint) or checkpoint.
        folder: folder for `latest_net_G.pth` and so on, none of which may exist.
        averaged: write averaged weights if the checkpoint has them.

    Returns:
        Lines of a summary: files written, and limits of the original programs.

    Raises:
        UserError: there is no such checkpoint, the original has no such networks, or a file exists.
    """
    file = checkpoint.find_checkpoint(model)
    state = checkpoint.load(file)
    recipe = check_recipe(state["recipe"], f"{file} (its recipe)")
    stage = recipe.stages[state["stage"]]
    weights = {**state["networks"], **((state["ema"] if averaged else None) or {})}
    networks, keys = _networks(recipe, stage.output, stage.train)
    unknown = [name for name, network in networks.items() if _has_spectral_norm(network)]
    values = recipe.model_dump(mode="json")
    scales = sum(name.startswith("discriminator") for name in networks)
    options, notes = original_options(values["data"], values["method"], _enhancers(recipe, stage.output), scales)
    if unknown:
        notes.append(f"left out: {', '.join(unknown)}; the original has no networks with spectral norm")
    texts = {"opt.txt" if recipe.method.kind == "pix2pixhd" else "train_opt.txt": _options_text(options)}
    parts: dict[str, dict[str, Tensor]] = {}
    for letter, names in keys.items():
        if any(name.split(".")[0] in unknown for name in names):
            continue
        if renamed := _whole(networks, weights, names):
            parts[f"latest_net_{letter}.pth"] = renamed
        else:
            notes.append(f"there are no weights of {letter}")
    there = [name for name in (*parts, *texts) if (folder / name).exists()]
    if there or (folder.exists() and not folder.is_dir()):
        found = ", ".join(there) or "a file"
        raise UserError(f"{found} exists already; choose another folder", argument="folder", path=folder)
    for name, state_dict in parts.items():
        with whole_file(folder / name) as out:
            torch.save({key: tensor.clone() for key, tensor in state_dict.items()}, out)
    for name, text in texts.items():
        write_text(folder / name, text)
    return [*(f"note: {note}" for note in notes), f"written to {folder}: {', '.join((*parts, *texts))}"]


def _recipe(files: OriginalFiles, weights: Weights, name: str, overrides: Sequence[str]) -> tuple[Recipe, list[str]]:
    """Return the recipe of an original model, and lines that describe it."""
    given: dict[str, Any] = {}
    for override in overrides:
        set_value(given, override)
    shapes = {letter: {key: tuple(x.shape) for key, x in state.items()} for letter, state in weights.items()}
    letter = next(letter for letter in GENERATORS if letter in shapes)
    generator = original_shapes.generator(shapes[letter])
    if generator is None:
        raise UserError(
            "these are no weights of a generator of pix2pixHD, pix2pix or CycleGAN; the keys begin with "
            f"{', '.join(list(shapes[letter])[:3])}",
            path=files.generator,
        )
    judges = [state for other, state in shapes.items() if other not in (*GENERATORS, ENCODER)]
    encoder = original_shapes.encoder(shapes[ENCODER]) if ENCODER in shapes else None
    found = Findings(
        str(files.generator),
        tuple(weights),
        generator,
        original_shapes.discriminator(judges[0]) if judges else None,
        encoder,
        original_shapes.has_bias_before_norm(shapes[letter]),
        files.options,
        given,
    )
    values, assumed = recipe_values(re.sub(r"[^A-Za-z0-9_.-]|^[^A-Za-z0-9]", "_", name) or "model", found)
    for override in overrides:
        set_value(values, override)
    recipe = check_recipe(values, f"{files.generator}")
    section = ", ".join(f"{key} {value}" for key, value in generator.section.items() if value and key != "kind")
    lines = [
        f"{recipe.method.kind}: {', '.join(file.name for file in files.weights.values())}",
        f"generator: {generator.channels} channels to {generator.out_channels}; {section}",
        f"reads: {', '.join(sorted(recipe.method.reads(recipe.data) - {'photo'}))} (data.kind={recipe.data.kind})",
    ]
    return recipe, lines + [f"assumed: {line}" for line in assumed]


def _networks(
    recipe: Recipe, output: str | None = None, train: Sequence[str] | None = None
) -> tuple[nn.ModuleDict, dict[str, Keys]]:
    """Return a recipe's networks, without weights, and the original's keys for the networks that `output` uses."""
    with torch.device("meta"):
        networks = method_module(recipe.method.kind).build_networks(recipe.method, recipe.data, 0)
    enhancers = _enhancers(recipe, output)
    method = recipe.method.model_dump(mode="json")
    for name in list(networks):
        if name.startswith("discriminator") and train is not None and name not in train:
            del networks[name]
    features = method.get("feature_matching", {}).get("weight") != 0
    return networks, by_letter(recipe.method.kind, networks, enhancers, features)


def _enhancers(recipe: Recipe, output: str | None) -> int:
    """Return the number of enhancers in use; raise UserError if the original cannot use that many."""
    enhancers = int(recipe.method.model_dump()["generator"].get("enhancers", 0))
    if output == "head":
        return 0
    if output is not None and output.startswith("enhancer") and output != f"enhancer{enhancers}":
        raise UserError(
            f"this stage makes {output}, and the recipe has {enhancers} enhancers; the original knows the finest alone"
        )
    return enhancers


def _whole(networks: nn.ModuleDict, weights: Mapping[str, Tensor], keys: Keys) -> dict[str, Tensor]:
    """Return the weights of one file of the original; empty if the checkpoint lacks some of them."""
    wanted = to_original(networks.state_dict(), keys)
    there = to_original(weights, keys)
    return {key: there[key] for key in wanted} if wanted.keys() <= there.keys() else {}


def _has_spectral_norm(network: nn.Module) -> bool:
    return any(key.endswith(".u") for key in network.state_dict())


def _state(recipe: Recipe, networks: dict[str, Tensor]) -> dict[str, Any]:
    """Return a checkpoint with 0 images seen: a new run can start from it, but no run continues it."""
    classes = class_table(recipe.data)
    return {
        "version": hdtrans.__version__,
        "recipe": recipe.model_dump(mode="json"),
        "files": 0,
        "classes": None if classes is None else classes.to_dict(),
        "stage": 0,
        "stage_name": recipe.stages[0].name,
        "images": 0,
        "images_seen": 0,
        "global_batches": [1] * len(recipe.stages),
        "networks": networks,
        "ema": None,
        "training": {},
    }


def _options_text(options: Mapping[str, str]) -> str:
    lines = ["------------ Options -------------", *(f"{key}: {options[key]}" for key in sorted(options))]
    return "\n".join([*lines, "-------------- End ----------------", ""])
