"""The subjects of `hdtrans benchmark` with what a comparison needs besides: parts, memory, training in two ways."""

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import nn

from hdtrans.benchmark.plan import Plan
from hdtrans.benchmark.subjects import Inference, Scene, Training
from hdtrans.engine.distributed import Processes
from hdtrans.engine.estimate import count_step


class InferenceInParts(Inference):
    """Inference whose time can be divided among the segments of its networks."""

    optimizers: tuple[torch.optim.Optimizer, ...] = ()
    frozen: tuple[str, ...] = ()

    @property
    def parts(self) -> Sequence[tuple[str, nn.Module]]:
        """Segments by network and number; read after the first call, which prepares the weights."""
        return list(_named_parts(self.translator.module))


class TrainingInParts(Training):
    """Training step whose time can be divided among its networks, with or without exchange of gradients.

    Args:
        plan: settings of the benchmark.
        processes: processes that train together.
    """

    def __init__(self, plan: Plan, processes: Processes) -> None:
        super().__init__(plan, processes)
        self.alone = self.work
        if processes.world > 1:
            self.alone = self.stage_training(Processes(device=self.device))
            self.alone.phase_optimizers = self.work.phase_optimizers  # shares the moments
        frozen = self.method.frozen_networks
        layers = [(name, layer) for name, network in frozen.items() for layer in network.modules()]
        self.parts = [*self.networks.items(), *(part for part in layers if not list(part[1].children()))]
        self.frozen = tuple(frozen)

    def make(self, scene: Scene, batch: int, alone: bool = False) -> Callable[[], object]:
        """Return a call that takes one step on `batch` copies of a scene; `alone` exchanges nothing."""
        return self.step_on(self.alone if alone else self.work, scene, batch)

    def memory(self) -> tuple[int, int]:
        """Return bytes of weights and moments, and the bytes that `--dry-run` estimates, both without averages."""
        _, cost = count_step(self.recipe, self.recipe.stages[-1], self.precision)
        moments = cost.optimizers * 2 // 3  # the last third is gradients
        return cost.weights + moments, cost.total - cost.averages


def _named_parts(module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Yield the segments of each network by name and number; all residual blocks of a network share one name."""
    for name, part in module.named_modules():
        kind, network = type(part).__name__, name.split(".")[1:2]
        if kind == "ResidualBlock":
            yield f"{network[0]} blocks", part
        elif kind == "ConvBlock" and not name.endswith((".first", ".second")):
            yield name.removeprefix("networks.").replace(".segments.", " "), part
