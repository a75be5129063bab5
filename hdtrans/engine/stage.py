"""Stage in training: its method, its wrapped networks, and an optimizer and a loss scaler for each phase."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from hdtrans.config.stage import Stage
from hdtrans.config.training import Training
from hdtrans.data.batch import Batch
from hdtrans.engine.distributed import Processes
from hdtrans.engine.guard import Guard, PhaseFigures, Snapshot, Step
from hdtrans.engine.optim import clip_gradients, decay, load_adam, make_adam, step_adam
from hdtrans.engine.precision import Precision, Scaler
from hdtrans.methods.base import Method, Phase, StepContext


@dataclass
class PhaseOptimizer:
    """Phase with its parameters by name, its optimizer, and its loss scaler (fp16 alone)."""

    phase: Phase
    parameters: dict[str, nn.Parameter]
    optimizer: torch.optim.Adam
    scaler: Scaler | None


class StageTraining:
    """Stage in training: `step` takes a batch through the phases.

    While `guard.frozen` is up, weights and optimizers stay as they are; `undo` restores the other state.

    Args:
        method: method, built for this stage.
        stage: stage of the recipe, completed.
        count: number of training files.
        training: section `training` of the recipe.
        precision: number types.
        processes: processes of the run.

    Attributes:
        trained: names of the networks that this stage trains.
        global_batch: images of a batch of all processes.
        taken: figures of the last step.
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
        # Listed once: walking through networks at every step takes milliseconds.
        self._weights = {name: list(network.parameters()) for name, network in method.networks.items()}
        self._buffers = list(method.networks.buffers())
        self.set_trainable(self.trained)
        self.train_mode()
        self.nets: dict[str, nn.Module] = {
            name: processes.wrap(network) if name in self.trained else network
            for name, network in method.networks.items()
        }
        self.phase_optimizers = [self._phase_optimizer(phase) for phase in method.phases if phase.trains]
        self.guard = Guard(processes)

    def _phase_optimizer(self, phase: Phase) -> PhaseOptimizer:
        networks = self.method.networks
        parameters = {f"{name}.{key}": p for name in phase.trains for key, p in networks[name].named_parameters()}
        optimizer = make_adam(parameters.values(), self.training.optimizer, self.learning_rate)
        return PhaseOptimizer(phase, parameters, optimizer, self.precision.scaler(self.processes.device))

    def set_trainable(self, trained: Iterable[str]) -> None:
        """Turn gradients on for the networks named `trained` and off for all others."""
        trained = set(trained)
        for name, weights in self._weights.items():
            for weight in weights:
                weight.requires_grad_(name in trained)

    def train_mode(self) -> None:
        """Put the networks that this stage trains in training mode, and all others in evaluation mode."""
        for name, network in self.method.networks.items():
            network.train(name in self.trained)

    def current_learning_rate(self, images: int) -> float:
        """Return the learning rate after `images` of this stage."""
        return self.learning_rate * decay(self.stage, self.count, images)

    def step(self, batch: Batch, images: int, images_seen: int) -> dict[str, Tensor]:
        """Take one batch through all phases; return all losses as `phase/name`, without a host-device sync.

        Args:
            batch: this process's part of the global batch, on the device.
            images: images drawn by this stage before the batch.
            images_seen: images drawn by the whole run before the batch.
        """
        running = [each for each in self.phase_optimizers if (images // self.global_batch) % each.phase.every == 0]
        trained = {name for each in running for name in each.phase.trains}
        context = self._context(batch, images_seen, trained)
        self.taken = Step(Batch(batch.names, batch.sample_indices, files=batch.files), images, images_seen)
        before: Snapshot | None = self.snapshot()
        if self.precision.channels_last:
            batch = batch.channels_last()
        for each in self.phase_optimizers:  # freed now: memory peaks at the end of the forward pass
            each.optimizer.zero_grad(set_to_none=True)
        self.set_trainable(trained)
        with self.precision.autocast():
            shared = self.method.forward_shared(self._nets(trained), batch, context)
        for each in running:
            learning_rate = self.current_learning_rate(images) * each.phase.rate
            self._run(each, batch, shared, context, learning_rate, before or self.snapshot())
            before = None
        generated = self.method.generated(shared)
        self.taken.variations = {direction: variation(x) for direction, x in generated.items()}
        return self.taken.losses

    def _context(self, batch: Batch, images_seen: int, trained: Iterable[str]) -> StepContext:
        """Return the context of a step that trains the networks named."""
        first = self.processes.rank * self.stage.batch_size

        def shared(make: Callable[[], Any]) -> Any:
            # The phase that reads a `Lazy` has turned off the gradients of all networks but its own.
            before = [name for name, weights in self._weights.items() if any(w.requires_grad for w in weights)]
            self.set_trainable(trained)
            try:
                with torch.enable_grad(), self.precision.autocast():
                    return make()
            finally:
                self.set_trainable(before)

        sums = {} if self.processes.world == 1 else {"total": self.processes.total}
        return StepContext(
            images_seen,
            self.training.seed,
            batch.sample_indices,
            range(first, first + len(batch)),
            self.precision.compute,
            self.precision.full,
            shared=shared,
            **sums,
        )

    def _nets(self, trained: Iterable[str]) -> dict[str, nn.Module]:
        """Return the networks by name: `trained` ones in DDP, others bare, for they have no gradients to average."""
        return {name: self.nets[name] if name in trained else network for name, network in self.method.networks.items()}

    def _run(
        self,
        each: PhaseOptimizer,
        batch: Batch,
        shared: Any,
        context: StepContext,
        learning_rate: float,
        before: Snapshot,
    ) -> None:
        """Run one phase: losses, backward pass, optimizer step."""
        phase, optimizer, scaler = each.phase, each.optimizer, each.scaler
        self.set_trainable(phase.trains)
        with self.precision.autocast():
            losses = phase.losses(self._nets(phase.trains), batch, shared, context)
        total = torch.stack(list(losses.values())).sum()  # ()
        for group in optimizer.param_groups:
            group["lr"] = learning_rate
        optimizer.zero_grad(set_to_none=True)
        scale = None if scaler is None else scaler.scale
        (total if scale is None else total * scale).backward()
        gradients = {name: p.grad for name, p in each.parameters.items() if p.grad is not None}
        norms = torch.stack(torch._foreach_norm(list(gradients.values())))  # (parameters,)
        frozen_before = self.guard.frozen > 0
        non_finite = self.guard.check_finite(total.detach(), norms)
        if phase.clip is not None:
            clip_gradients(list(gradients.values()), norms, scale, phase.clip)
        step_adam(optimizer, scale, self.guard.frozen)
        if scaler is not None:
            scaler.update(overflow=non_finite[1], frozen=frozen_before | non_finite[0])
        if phase.after is not None:
            self._after(phase)
        losses = {name: loss.detach() for name, loss in losses.items()}
        figures = PhaseFigures(phase.name, losses, list(gradients), norms, non_finite, scale, learning_rate, before)
        self.taken.phases.append(figures)

    @torch.no_grad()
    def _after(self, phase: Phase) -> None:
        """Call a phase's `after` on the weights it stepped; a frozen step undoes it on the device."""
        assert phase.after is not None
        weights = [p for name in phase.trains for p in self._weights[name]]
        before = [p.clone() for p in weights]
        phase.after(self.method.networks)
        for weight, value in zip(weights, before, strict=True):
            torch.where(self.guard.frozen > 0, value, weight, out=weight)

    def snapshot(self) -> Snapshot:
        """Return the state besides weights that phases may change."""
        return Snapshot([b.clone() for b in self._buffers], self._memory())

    @torch.no_grad()
    def undo(self, step: Step, phase: int) -> None:
        """Restore the state before one of a step's phases, and lower the flag, so that the next step trains again.

        Args:
            step: non-finite step.
            phase: index of its first non-finite phase.
        """
        before = step.phases[phase].before
        for buffer, value in zip(self._buffers, before.buffers, strict=True):
            buffer.copy_(value)
        for name, kept in self.method.state.items():
            kept.load_state_dict(before.memory[name])
        self.guard.clear()

    def memory(self) -> dict[str, dict[str, Any]]:
        """Return the method's extra state for this process's part of the global batch, on the CPU."""
        return _on_cpu(self._memory())

    def _memory(self) -> dict[str, dict[str, Any]]:
        first = self.processes.rank * self.stage.batch_size
        indices = range(first, first + self.stage.batch_size)
        return {name: kept.state_dict(indices) for name, kept in self.method.state.items()}

    def state_dict(self) -> dict[str, Any]:
        """Return the optimizers and scalers, by phase; a checkpoint adds the extra state of all processes."""
        return {
            "optimizers": {each.phase.name: each.optimizer.state_dict() for each in self.phase_optimizers},
            "scalers": {
                each.phase.name: each.scaler.state_dict() if each.scaler else {} for each in self.phase_optimizers
            },
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from the result of `state_dict`, with the extra state of all processes under `memory`."""
        for each in self.phase_optimizers:
            load_adam(each.optimizer, state["optimizers"][each.phase.name])
            if each.scaler is not None:
                each.scaler.load_state_dict(state["scalers"][each.phase.name])
        for name, kept in self.method.state.items():
            kept.load_state_dict(state["memory"].get(name, {}))

    def table(self) -> str:
        """Return a table of the networks: number of parameters, and phase, `frozen` or `not in this stage`."""
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
    """Return the standard deviation of pictures over their pixels, a scalar on their device.

    It is taken for each channel of each picture and averaged. Differences between channels or pictures do not count: at
    0, every picture is of one colour.

    Args:
        pictures: (B, C, H, W).
    """
    # Half precision is widened first; (B, C, H, W) -> (B, C) -> ().
    return pictures.to(torch.promote_types(pictures.dtype, torch.float32)).std((2, 3), correction=0).mean()


def _on_cpu(value: Any) -> Any:
    """Return nested dicts and lists with every tensor on the CPU."""
    if isinstance(value, dict):
        return {key: _on_cpu(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_on_cpu(each) for each in value]
    return value.cpu() if isinstance(value, Tensor) else value
