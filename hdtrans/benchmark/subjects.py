"""What is measured: inference, a training step, reading and preparing, each with its rivals."""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import nn

import hdtrans
from hdtrans.benchmark.timing import Work
from hdtrans.common.classes import ClassTable
from hdtrans.config import LabelMaps, Recipe, Size, load_recipe, method_module
from hdtrans.data.batch import Batch, collate
from hdtrans.data.dataset import TrainingSamples
from hdtrans.data.folders import SampleFiles
from hdtrans.data.geometry import Geometry
from hdtrans.engine import checkpoint
from hdtrans.engine.distributed import Processes
from hdtrans.engine.ema import Ema
from hdtrans.engine.estimate import count_step, count_translation
from hdtrans.engine.precision import choose_precision
from hdtrans.engine.stage import StageTraining
from hdtrans.inference.translator import Translator
from hdtrans.prepare.folder import FolderSource
from hdtrans.prepare.making import MapsMaker
from hdtrans.prepare.options import Options

OURS, ORIGINAL, ALONE = "hdtrans", "original", "decoding alone"
_LABELS = 35
_RECIPES = (("pix2pixhd_cityscapes_512p", 0), ("pix2pixhd_cityscapes_1024p", 2))  # by enhancers; the last stage


@dataclass
class Subject:
    """Something to measure.

    Attributes:
        name: what it is.
        unit: what one call makes, so many of `each`.
        rivals: who takes turns, ours first.
        flops: operations of one call, 0 where they say nothing.
        dtype: what ours computes in.
        parts: the networks or segments whose share of a call is asked for; several may have one name.
        optimizers: whose share is asked for.
        held: bytes of weights, gradients and moments that are there between two steps; averages left out.
        estimate: bytes of one process, as `--dry-run` tells them.
    """

    name: str
    unit: str
    rivals: dict[str, Work]
    each: int = 1
    flops: int = 0
    dtype: torch.dtype = torch.float32
    parts: Sequence[tuple[str, nn.Module]] = ()
    optimizers: tuple[torch.optim.Optimizer, ...] = ()
    held: int = 0
    estimate: int = 0


@dataclass(frozen=True)
class Wanted:
    """What a user asked to measure.

    Attributes:
        size: of the pictures.
        enhancers: of the generator, 0 or 1.
        dtype: `auto`, `fp32`, `bf16`, ...
        device: to compute on.
        original: the module of the original's way, or None.
        width: of the trunk; the original's is 64.
    """

    size: Size
    enhancers: int
    dtype: str
    device: torch.device
    original: Any
    width: int = 64

    @property
    def recipe(self) -> Recipe:
        """Return the recipe whose last stage is measured."""
        name, last = _RECIPES[self.enhancers]
        width = f"method.generator.width={self.width}"
        return load_recipe(name, [f"training.precision={self.dtype}", f"stages.{last}.size={self.size}", width])


def inference(wanted: Wanted, scene: dict[str, Any]) -> Subject:
    """Return maps on the host to a picture on the host, with random weights through a checkpoint file."""
    recipe = wanted.recipe
    with tempfile.TemporaryDirectory() as folder:
        translator = Translator.load(_checkpoint(recipe, Path(folder)), str(wanted.device), wanted.dtype)
    label, instance = scene["label"], scene["instance"]
    rivals: dict[str, Work] = {OURS: lambda: translator.translate([translator.check(label, instance)])}
    if wanted.original is not None:
        original = wanted.original.Translation(_LABELS, wanted.enhancers, str(wanted.device))
        rivals[ORIGINAL] = lambda: original(label, instance)
    precision = choose_precision(wanted.dtype, wanted.device)
    parts = list(_named_parts(translator.module))
    flops = count_translation(recipe, wanted.size)
    return Subject("inference", "pictures", rivals, flops=flops, dtype=precision.compute, parts=parts)


def training(wanted: Wanted, scene: dict[str, Any]) -> Subject:
    """Return a step with all losses; the perceptual network has random weights, which no training ever has."""
    recipe = wanted.recipe
    stage, processes = recipe.stages[-1], Processes(device=wanted.device)
    precision = choose_precision(recipe.training.precision, wanted.device)
    module = method_module(recipe.method.kind)
    networks = module.build_networks(recipe.method, recipe.data, 0)
    method = module.build(recipe.method, recipe.data, stage, networks)
    method.load_helpers(weights=False)
    precision.prepare(networks, wanted.device)
    precision.prepare(method.helpers, wanted.device)
    work = StageTraining(method, stage, 1, recipe.training, precision, processes)
    ema = Ema(networks, method.averaged, 1000)
    batch = _batch(scene).to(wanted.device)

    def step() -> None:
        work.step(batch, 0, 0)
        work.taken.send()
        ema.update(networks, work.trained, 1, 1, work.guard.frozen)
        work.taken.read()

    rivals: dict[str, Work] = {OURS: step}
    if wanted.original is not None:
        scales = recipe.method.discriminator.scales  # type: ignore[attr-defined]
        original = wanted.original.Training(_LABELS, wanted.enhancers, scales, str(wanted.device))
        photo = np.ascontiguousarray(scene["photo"].transpose(1, 2, 0))
        rivals[ORIGINAL] = lambda: original.step(scene["label"], scene["instance"], photo)
    _, cost = count_step(recipe, stage, precision)
    parts = [*networks.items(), *method.helpers.items()]
    optimizers = tuple(worker.optimizer for worker in work.workers)
    held = cost.weights + cost.optimizers
    estimate = held + cost.activations
    return Subject("training", "steps", rivals, 1, cost.flops, precision.compute, parts, optimizers, held, estimate)


def reading(wanted: Wanted, files: list[SampleFiles], root: Path, resize: bool) -> Subject:
    """Return triples from the disk to the tensors of a batch, as they are or scaled, against decoding them alone."""
    data = LabelMaps(root=root, labels=255)
    geometry = Geometry("resize", wanted.size) if resize else Geometry()
    samples = TrainingSamples(files, sorted(files[0].paths), data, geometry, 0, 0)
    paths = [{k: Path(v) for k, v in f.paths.items()} for f in files]
    size = (wanted.size.width, wanted.size.height) if resize else None
    rivals: dict[str, Work] = {
        OURS: lambda: [samples[place] for place in range(len(files))],
        ALONE: lambda: [_decode(path) for each in paths for path in each.values()],
    }
    if wanted.original is not None:
        rivals[ORIGINAL] = lambda: [wanted.original.read(each, size) for each in paths]
    name = f"reading, to {wanted.size}" if resize else "reading"
    return Subject(name, "triples", rivals, len(files))


@contextmanager
def preparing(wanted: Wanted, files: list[SampleFiles], root: Path) -> Iterator[Subject]:
    """Yield triples from the disk to scaled files in memory, against decoding and encoding alone."""
    split, suffix = Path(files[0].paths["label"]).parent.name, ("label", "img", "inst")
    folders = [split.replace("label", part) for part in suffix]
    source = FolderSource(root, folders[0], folders[1], folders[2], ClassTable.generic(255))
    options = Options(size=(wanted.size.height, wanted.size.width))
    items, maker = source.items()[: len(files)], MapsMaker(source, root, options)
    paths = [{k: Path(v) for k, v in f.paths.items()} for f in files]
    made = [content for item in items for content in maker.make(item, "train").files.values()]
    small: list[Any] = [cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED) for content in made]

    def codecs() -> None:
        for each in paths:
            for path in each.values():
                _decode(path)
        for picture in small:
            cv2.imencode(".png", picture)

    rivals: dict[str, Work] = {
        OURS: lambda: [maker.make(item, "train") for item in items],
        "decoding and encoding alone": codecs,
    }
    with tempfile.TemporaryDirectory() as folder:
        if wanted.original is not None:
            size = (wanted.size.width, wanted.size.height)
            rivals[ORIGINAL] = lambda: [wanted.original.prepare(each, size, Path(folder)) for each in paths]
        yield Subject(f"preparing, to {wanted.size}", "triples", rivals, len(files))


def _checkpoint(recipe: Recipe, folder: Path) -> Path:
    """Write a checkpoint of random weights, as the trainer does."""
    networks = method_module(recipe.method.kind).build_networks(recipe.method, recipe.data, 0)
    used = [name for name in networks if not name.startswith("scale")]
    weights = nn.ModuleDict({name: networks[name] for name in used}).state_dict()
    state = {
        "version": hdtrans.__version__,
        "recipe": recipe.model_dump(mode="json"),
        "classes": ClassTable.generic(_LABELS).to_dict(),
        "images_seen": 0,
        "stage": len(recipe.stages) - 1,
        "networks": weights,
        "ema": None,
    }
    checkpoint.save(folder / "random.pt", state)
    return folder / "random.pt"


def _named_parts(module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Yield the segments of every network by name and number, its residual blocks under one name."""
    for name, part in module.named_modules():
        kind, network = type(part).__name__, name.split(".")[1:2]
        if kind == "ResidualBlock":
            yield f"{network[0]} blocks", part
        elif kind == "Segment" and not name.endswith((".first", ".second")):
            yield name.removeprefix("networks.").replace(".segments.", " "), part


def _batch(scene: dict[str, Any]) -> Batch:
    return collate([scene["sample"]])


def _decode(path: Path) -> object:
    return cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_UNCHANGED)
