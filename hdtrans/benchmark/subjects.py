"""What hdtrans computes while it is measured: inference, and a training step. Each lives in a process of its own."""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

import hdtrans
from hdtrans.benchmark.plan import LABELS, Plan
from hdtrans.benchmark.timing import Work
from hdtrans.common.classes import ClassTable
from hdtrans.config.recipe import Recipe
from hdtrans.config.registry import method_module
from hdtrans.data.batch import Batch, Sample, collate
from hdtrans.engine import checkpoint
from hdtrans.engine.distributed import Processes
from hdtrans.engine.ema import Ema
from hdtrans.engine.estimate import count_step, count_translation
from hdtrans.engine.precision import choose_precision, set_up_backend
from hdtrans.engine.stage import StageTraining
from hdtrans.inference.translator import Translator

Scene = Mapping[str, npt.NDArray[Any]]
"""`label` (H, W) uint8, `instance` (H, W) int32 and `photo` (3, H, W) uint8."""


class Inference:
    """Maps on the host to a picture on the host, with random weights through a checkpoint file.

    Args:
        plan: of the benchmark.
        device: to compute on.
    """

    optimizers: tuple[torch.optim.Optimizer, ...] = ()
    fixed: tuple[str, ...] = ()

    def __init__(self, plan: Plan, device: torch.device) -> None:
        self.recipe, self.size = plan.recipe, plan.size
        with tempfile.TemporaryDirectory() as folder:
            self.translator = Translator.load(_checkpoint(self.recipe, Path(folder)), str(device), plan.dtype)

    def make(self, scene: Scene, batch: int) -> Work:
        """Return what translates the maps of a scene, so many times at once."""
        return lambda: self.translator.translate([self.translator.check(scene["label"], scene["instance"])] * batch)

    @property
    def parts(self) -> Sequence[tuple[str, nn.Module]]:
        """Return the blocks as they are by now: their weights are prepacked at the first call."""
        return list(_named_parts(self.translator.module))

    def facts(self) -> dict[str, Any]:
        """Return the operations of one call at the size of the plan; bytes are not counted."""
        return {"flops": count_translation(self.recipe, self.size), "held": 0, "estimate": 0}


class Training:
    """A step with all losses; the perceptual network has random weights, which no training ever has.

    Args:
        plan: of the benchmark.
        processes: that train together.
    """

    def __init__(self, plan: Plan, processes: Processes) -> None:
        self.recipe, self.device = plan.recipe, processes.device
        recipe, stage = self.recipe, self.recipe.stages[-1]
        self.precision = choose_precision(recipe.training.precision, self.device)
        set_up_backend(recipe.training.deterministic, equal_sizes=True)
        module = method_module(recipe.method.kind)
        self.networks = module.build_networks(recipe.method, recipe.data, 0)
        self.method = module.build(recipe.method, recipe.data, stage, self.networks)
        self.method.load_frozen_networks(weights=False)
        self.precision.prepare(self.networks, self.device)
        self.precision.prepare(self.method.frozen_networks, self.device, fixed=True)
        self.work = self.alone = StageTraining(self.method, stage, 1, recipe.training, self.precision, processes)
        if processes.world > 1:
            single = Processes(device=self.device)
            self.alone = StageTraining(self.method, stage, 1, recipe.training, self.precision, single)
            self.alone.phase_optimizers = self.work.phase_optimizers  # one set of moments
        self.ema = Ema(self.networks, self.method.averaged, 1000)
        layers = [(name, layer) for name, fixed in self.method.frozen_networks.items() for layer in fixed.modules()]
        self.parts = [*self.networks.items(), *(part for part in layers if not list(part[1].children()))]
        self.fixed = tuple(self.method.frozen_networks)
        self.optimizers = tuple(each.optimizer for each in self.work.phase_optimizers)

    def make(self, scene: Scene, batch: int, alone: bool = False) -> Work:
        """Return what takes one step on so many copies of a scene; `alone` exchanges nothing with other processes."""
        pictures, work = _batch(scene, batch).to(self.device), self.alone if alone else self.work

        def step() -> None:
            work.step(pictures, 0, 0)
            work.taken.send()
            self.ema.update(work.trained, batch, batch, work.guard.frozen)
            work.taken.read()
            for optimizer in self.optimizers:  # as the next step does; what is freed from before a call is not counted
                optimizer.zero_grad(set_to_none=True)

        return step

    def facts(self) -> dict[str, Any]:
        """Return the operations of a step at the size of the plan, and bytes as counted.

        `held` are those of weights and moments, averages left out; `estimate` are those of one process, as `--dry-run`
        tells them.
        """
        _, cost = count_step(self.recipe, self.recipe.stages[-1], self.precision)
        moments = cost.optimizers * 2 // 3  # the others are gradients
        return {"flops": cost.flops, "held": cost.weights + moments, "estimate": cost.total - cost.averages}


def _checkpoint(recipe: Recipe, folder: Path) -> Path:
    """Write a checkpoint of random weights, as the trainer does."""
    networks = method_module(recipe.method.kind).build_networks(recipe.method, recipe.data, 0)
    used = [name for name in networks if not name.startswith("scale")]
    weights = nn.ModuleDict({name: networks[name] for name in used}).state_dict()
    state = {
        "version": hdtrans.__version__,
        "recipe": recipe.model_dump(mode="json"),
        "classes": ClassTable.generic(LABELS).to_dict(),
        "images_seen": 0,
        "stage": len(recipe.stages) - 1,
        "networks": weights,
        "ema": None,
    }
    checkpoint.save(folder / "random.pt", state)
    return folder / "random.pt"


def _named_parts(module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Yield the blocks of every network by name and number, its residual blocks under one name."""
    for name, part in module.named_modules():
        kind, network = type(part).__name__, name.split(".")[1:2]
        if kind == "ResidualBlock":
            yield f"{network[0]} blocks", part
        elif kind == "ConvBlock" and not name.endswith((".first", ".second")):
            yield name.removeprefix("networks.").replace(".segments.", " "), part


def _batch(scene: Scene, count: int) -> Batch:
    fields: dict[str, Any] = {name: torch.from_numpy(np.array(array)) for name, array in scene.items()}
    return collate([Sample("scene", 0, fields)] * count)
