"""What one stage trains with: its method, its wrapped networks, and an optimizer and a scaler for each phase."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from hdtrans.config.stage import Stage
from hdtrans.config.training import Training
from hdtrans.data.batch import Batch
from hdtrans.engine.distributed import Processes
from hdtrans.engine.guard import Before, Guard, PhaseFigures, Step
from hdtrans.engine.optim import decay, load_adam, make_adam, step_adam
from hdtrans.engine.precision import Precision, Scaler
from hdtrans.methods.base import Draw, Method, Phase


@dataclass
class Worker:
    """A phase with what steps it."""

    phase: Phase
    parameters: dict[str, nn.Parameter]
    optimizer: torch.optim.Adam
    scaler: Scaler | None


class StageTraining:
    """One stage at work: `step` takes a batch through the phases.

    While `guard.frozen` is up, weights and optimizers stay as they are; `undo` puts back the rest.

    Args:
        method: as it is in this stage.
        stage: of the recipe, completed.
        count: how many training files there are.
        training: the recipe's section.
        precision: of the computation.
        processes: of the run.

    Attributes:
        taken: the last step.
    """

    taken: Step

    def __init__(
        self, method: Method, stage: Stage, count: int, training: Training, precision: Precision, processes: Processes
    ) -> None:
        self.method = method
        self.stage = stage
        self.count = count
        self.training = training
        self.precision = precision
        self.processes = processes
        self.learning_rate = stage.learning_rate or training.optimizer.learning_rate
        self.trained = [name for name in method.networks if any(name in phase.trains for phase in method.phases)]
        self.global_batch = stage.batch_size * processes.world
        # Walking through networks at every step takes milliseconds.
        self._weights = {name: list(network.parameters()) for name, network in method.networks.items()}
        self._buffers = list(method.networks.buffers())
        self.focus(self.trained)
        self.train_mode()
        self.nets: dict[str, nn.Module] = {
            name: processes.wrap(network) if name in self.trained else network
            for name, network in method.networks.items()
        }
        self.workers = [self._worker(phase) for phase in method.phases if phase.trains]
        self.guard = Guard(processes)

    def _worker(self, phase: Phase) -> Worker:
        networks = self.method.networks
        parameters = {f"{name}.{key}": p for name in phase.trains for key, p in networks[name].named_parameters()}
        optimizer = make_adam(parameters.values(), self.training.optimizer, self.learning_rate)
        return Worker(phase, parameters, optimizer, self.precision.scaler(self.processes.device))

    def focus(self, trained: Iterable[str]) -> None:
        """Turn gradients on for the networks named and off for all others."""
        trained = set(trained)
        for name, weights in self._weights.items():
            for weight in weights:
                weight.requires_grad_(name in trained)

    def train_mode(self) -> None:
        """Put the networks this stage trains in training mode, and those it freezes in evaluation mode."""
        for name, network in self.method.networks.items():
            network.train(name in self.trained)

    def current_learning_rate(self, images: int) -> float:
        """Return the learning rate after `images` of this stage."""
        return self.learning_rate * decay(self.stage, self.count, images)

    def step(self, batch: Batch, images: int, images_seen: int) -> dict[str, Tensor]:
        """Take one batch through all phases; return every loss as `phase/name`, on the device, not waited for.

        Args:
            batch: on the device.
            images: drawn by this stage before the batch.
            images_seen: by the whole run before the batch.
        """
        first_slot = self.processes.rank * self.stage.batch_size
        slots = range(first_slot, first_slot + len(batch))
        draw = Draw(images_seen, self.training.seed, batch.counters, slots, self.precision.compute, self.precision.full)
        self.taken = Step(Batch(batch.names, batch.counters, files=batch.files), images, images_seen)
        before: Before | None = self._now()
        if self.precision.channels_last:
            batch = batch.channels_last()
        for worker in self.workers:  # now, for memory is shortest at the end of the forward pass
            worker.optimizer.zero_grad(set_to_none=True)
        self.focus(self.trained)
        with self.precision.autocast():
            shared = self.method.share(self.nets, batch, draw)
        self.taken.variations = {route: variation(x) for route, x in self.method.generated(shared).items()}
        for worker in self.workers:
            if (images // self.global_batch) % worker.phase.every == 0:
                self._run(worker, batch, shared, draw, self.current_learning_rate(images), before or self._now())
                before = None
        return self.taken.losses

    def _run(self, worker: Worker, batch: Batch, shared: Any, draw: Draw, learning_rate: float, before: Before) -> None:
        """Run one phase. Networks it does not train are called bare: their gradients are off and not to be averaged."""
        phase, optimizer, scaler = worker.phase, worker.optimizer, worker.scaler
        self.focus(phase.trains)
        nets = {
            name: self.nets[name] if name in phase.trains else network for name, network in self.method.networks.items()
        }
        with self.precision.autocast():
            losses = phase.losses(nets, batch, shared, draw)
        total = torch.stack(list(losses.values())).sum()
        for group in optimizer.param_groups:
            group["lr"] = learning_rate
        optimizer.zero_grad(set_to_none=True)
        scale = None if scaler is None else scaler.scale
        (total if scale is None else total * scale).backward()
        gradients = {name: p.grad for name, p in worker.parameters.items() if p.grad is not None}
        norms = torch.stack(torch._foreach_norm(list(gradients.values())))
        frozen_before = self.guard.frozen > 0
        found = self.guard.look(total.detach(), norms)
        step_adam(optimizer, scale, self.guard.frozen)
        if scaler is not None:
            scaler.update(overflow=found[1], frozen=frozen_before | found[0])
        if phase.after is not None:
            self._after(phase)
        losses = {name: loss.detach() for name, loss in losses.items()}
        figures = PhaseFigures(phase.name, losses, list(gradients), norms, found, scale, learning_rate, before)
        self.taken.phases.append(figures)

    @torch.no_grad()
    def _after(self, phase: Phase) -> None:
        """Let a phase do what it does to weights after its step."""
        assert phase.after is not None
        weights = [p for name in phase.trains for p in self._weights[name]]
        before = [p.clone() for p in weights]
        phase.after(self.method.networks)
        for weight, value in zip(weights, before, strict=True):
            torch.where(self.guard.frozen > 0, value, weight, out=weight)

    def _now(self) -> Before:
        """Return what phases may change besides the weights."""
        return Before([b.clone() for b in self._buffers], self._memory())

    @torch.no_grad()
    def undo(self, step: Step, phase: int) -> None:
        """Put back what a step changed from one of its phases on, and let the next step train again."""
        before = step.phases[phase].before
        for buffer, value in zip(self._buffers, before.buffers, strict=True):
            buffer.copy_(value)
        for name, kept in self.method.state.items():
            kept.load_state_dict(before.memory[name])
        self.guard.clear()

    def memory(self) -> dict[str, dict[str, Any]]:
        """Return what the method remembers for this process's slots of the global batch, on the CPU."""
        return _on_cpu(self._memory())

    def _memory(self) -> dict[str, dict[str, Any]]:
        first = self.processes.rank * self.stage.batch_size
        slots = range(first, first + self.stage.batch_size)
        return {name: kept.state_dict(slots) for name, kept in self.method.state.items()}

    def state_dict(self) -> dict[str, Any]:
        """Return what continues this stage, but for the memories."""
        return {
            "optimizers": {worker.phase.name: worker.optimizer.state_dict() for worker in self.workers},
            "scalers": {
                worker.phase.name: worker.scaler.state_dict() if worker.scaler else {} for worker in self.workers
            },
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from what `state_dict` returned, with the memories of all processes put together."""
        for worker in self.workers:
            load_adam(worker.optimizer, state["optimizers"][worker.phase.name])
            if worker.scaler is not None:
                worker.scaler.load_state_dict(state["scalers"][worker.phase.name])
        for name, kept in self.method.state.items():
            kept.load_state_dict(state["memory"].get(name, {}))

    def table(self) -> str:
        """Return a table of the networks: parameters, trained in which phase, or frozen, or not used."""
        used = {*self.trained, *self.method.averaged}
        lines = [
            f"stage {self.stage.name}: {self.stage.size or 'sizes as the files'}, output {self.stage.output}, "
            f"{self.stage.epochs:g} + {self.stage.decay_epochs:g} epochs of {self.count} images, "
            f"{self.processes.world} x batch {self.stage.batch_size}, {self.precision.name}, "
            f"learning rate {self.learning_rate:g}"
        ]
        for name, network in self.method.networks.items():
            phases = [phase.name for phase in self.method.phases if name in phase.trains]
            role = f"trained ({', '.join(phases)})" if phases else "frozen" if name in used else "not in this stage"
            lines.append(f"  {name:<16} {sum(p.numel() for p in network.parameters()):>12,} parameters  {role}")
        return "\n".join(lines)


@torch.no_grad()
def variation(pictures: Tensor) -> Tensor:
    """Return how much pictures vary over their pixels, a scalar on their device.

    The standard deviation of every channel of every picture, (B, C, H, W), and the mean of these. Colours that differ
    between channels or pictures count for nothing: where it is 0, every picture is of one colour.
    """
    return pictures.to(torch.promote_types(pictures.dtype, torch.float32)).std((2, 3), correction=0).mean()


def _on_cpu(value: Any) -> Any:
    """Return nested dicts and lists with every tensor on the CPU."""
    if isinstance(value, dict):
        return {key: _on_cpu(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_on_cpu(each) for each in value]
    return value.cpu() if isinstance(value, Tensor) else value
