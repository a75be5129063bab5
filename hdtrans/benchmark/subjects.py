"""Inference and training step of pix2pixHD with random weights, ready to be called."""

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

import hdtrans
from hdtrans.benchmark.plan import LABELS, Plan
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
    """Translation of label and instance maps to a picture, all on the host, with weights from a checkpoint file.

    Args:
        plan: settings of the benchmark.
        device: device to compute on.
    """

    def __init__(self, plan: Plan, device: torch.device) -> None:
        self.recipe, self.size = plan.recipe, plan.size
        with tempfile.TemporaryDirectory() as folder:
            self.translator = Translator.load(_checkpoint(self.recipe, Path(folder)), str(device), plan.dtype)

    def make(self, scene: Scene, batch: int) -> Callable[[], object]:
        """Return a call that translates `batch` copies of a scene at once."""
        return lambda: self.translator.translate([self.translator.check(scene["label"], scene["instance"])] * batch)

    def flops(self) -> int:
        """Return the operations of one translation at the plan's size, counted as the networks are written."""
        return count_translation(self.recipe, self.size)


class Training:
    """Training step with all losses; the perceptual network has random weights too.

    Args:
        plan: settings of the benchmark.
        processes: processes that train together.
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
        self.work = self.stage_training(processes)
        self.ema = Ema(self.networks, self.method.averaged, 1000)
        self.optimizers = tuple(each.optimizer for each in self.work.phase_optimizers)

    def stage_training(self, processes: Processes) -> StageTraining:
        """Return the recipe's last stage, ready to step in the given processes."""
        return StageTraining(self.method, self.recipe.stages[-1], 1, self.recipe.training, self.precision, processes)

    def make(self, scene: Scene, batch: int) -> Callable[[], object]:
        """Return a call that takes one step on `batch` copies of a scene."""
        return self.step_on(self.work, scene, batch)

    def step_on(self, work: StageTraining, scene: Scene, batch: int) -> Callable[[], object]:
        """Return a call that takes one step of `work` on `batch` copies of a scene."""
        pictures = _batch(scene, batch).to(self.device)

        def step() -> None:
            work.step(pictures, 0, 0)
            work.taken.send()
            self.ema.update(work.trained, batch, batch, work.guard.frozen)
            work.taken.read()
            for optimizer in self.optimizers:  # done here so that no call frees gradients of the one before it
                optimizer.zero_grad(set_to_none=True)

        return step

    def flops(self) -> int:
        """Return the operations of one step at the plan's size, counted as the networks are written."""
        return count_step(self.recipe, self.recipe.stages[-1], self.precision)[1].flops


def _checkpoint(recipe: Recipe, folder: Path) -> Path:
    """Write a checkpoint with random weights, in the trainer's format."""
    networks = method_module(recipe.method.kind).build_networks(recipe.method, recipe.data, 0)
    used = [name for name in networks if not name.startswith("discriminator")]
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


def _batch(scene: Scene, count: int) -> Batch:
    fields = {name: torch.from_numpy(np.array(array)) for name, array in scene.items()}
    return collate([Sample("scene", 0, fields)] * count)
