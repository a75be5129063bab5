"""Runs with an injected non-finite value, and their state before each phase of that step."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from hdtrans.data.batch import Batch, Sample
from hdtrans.engine.distributed import Processes
from hdtrans.engine.stage import StageTraining
from hdtrans.engine.trainer import Trainer
from hdtrans.methods.base import Losses, Nets, Phase, StepContext
from tests.engine.runs import COUNT, Notes, Subject, fingerprint, make_trainer, section
from tests.engine.toys import ToySamples, TwoRoutes, toy_networks, toy_stages

PLACES = ("picture", "generators", "discriminators", "gradient")
BAD_IMAGES = 4  # images seen before the bad step, of 2 a step: history pools are full by then
PICTURE, FIRST, SECOND = "generators", "generators", "discriminators"
FAILS = {"picture": FIRST, "generators": FIRST, "discriminators": SECOND, "gradient": SECOND}


class Pictures(ToySamples):
    """Float pictures with a non-finite value in one step."""

    def __init__(self, value: float | None) -> None:
        super().__init__(COUNT)
        self.value = value

    def __getitem__(self, counter: int) -> Sample:
        sample = super().__getitem__(counter)
        assert sample["photo"] is not None
        photo = sample["photo"].float() / 127.5 - 1
        if self.value is not None and counter == BAD_IMAGES + 1:  # on rank 1, if there are two processes
            photo[0, 2, 3] = self.value
        return Sample(sample.name, counter, {"source": sample["source"], "photo": photo}, files=(f"{sample.name}.npy",))


class Spoiled(TwoRoutes):
    """Two directions with pools and spectral norm; one step on the last process is not finite.

    Args:
        place: place of the value: a loss of either phase, or a gradient of the second.
        value: NaN or infinity.
        last: True on the process that gets the value.
        when: returns True at the images seen before the bad step.
    """

    def __init__(
        self,
        networks: nn.ModuleDict,
        place: str = "",
        value: float = 0.0,
        last: bool = True,
        when: Callable[[int], bool] = lambda images: images == BAD_IMAGES,
    ) -> None:
        super().__init__(networks)
        self.place, self.value, self.last, self.when = place, value, last, when
        self.bad = False
        self.watch: Callable[[str], None] = lambda phase: None
        self.phases = tuple(Phase(p.name, p.trains, self._spoiled(p)) for p in self.phases)
        networks["critic_b"].get_parameter("last.bias").register_hook(self._gradient)

    def forward_shared(self, nets: Nets, batch: Batch, context: StepContext) -> Any:
        self.bad = self.when(context.images_seen)
        if self.bad:
            self.watch(FIRST)
        return super().forward_shared(nets, batch, context)

    def _spoiled(self, phase: Phase) -> Any:
        def losses(nets: Nets, batch: Batch, shared: Any, context: StepContext) -> Losses:
            if self.bad and phase.name != FIRST:
                self.watch(phase.name)
            terms = phase.losses(nets, batch, shared, context)
            if self.bad and self.last and self.place == phase.name:
                terms["b"] = terms["b"] + self.value  # its gradient stays finite
            return terms

        return losses

    def _gradient(self, gradient: Tensor) -> Tensor:
        if self.bad and self.last and self.place == "gradient":
            return torch.full_like(gradient, self.value)
        return gradient


def spoiled(place: str, value: float, last: bool = True, **given: Any) -> tuple[Subject, Spoiled]:
    """Return a subject with one stage, and its method."""
    networks = toy_networks("two_routes")
    torch.manual_seed(0)  # spectral norm draws its vectors u and v
    for network in networks.values():
        network.last = spectral_norm(network.last)
    method = Spoiled(networks, place, value, last, **given)
    pictures = Pictures(value if place == "picture" else None)
    return Subject(networks, lambda stage: method, lambda number: pictures, toy_stages(3.2)), method


def state(trainer: Trainer, work: StageTraining) -> dict[str, str]:
    """Return a fingerprint of everything that training changes, part by part."""
    training = work.state_dict()
    for optimizer in training["optimizers"].values():
        optimizer["param_groups"] = []  # its learning rate is a function of the images seen
    assert trainer.ema is not None
    parameters = {name: p.detach() for name, p in trainer.networks.named_parameters()}
    parts = {
        "networks": parameters,
        "buffers": dict(trainer.networks.named_buffers()),
        "ema": trainer.ema.networks.state_dict(),
        "optimizers": training["optimizers"],
        "scalers": training["scalers"],
        "pools": work.memory(),
        "images": [trainer.images, trainer.images_seen],
    }
    return {name: fingerprint(part) for name, part in parts.items()}


@contextmanager
def works() -> Iterator[list[StageTraining]]:
    """Collect the stages in training that a trainer makes."""
    made: list[StageTraining] = []
    prepare = StageTraining.__init__

    def noted(self: StageTraining, *arguments: Any) -> None:
        prepare(self, *arguments)
        made.append(self)
        for worker in self.phase_optimizers:
            if worker.scaler is not None:
                worker.scaler.scale.fill_(256)  # so that nothing overflows by itself

    StageTraining.__init__ = noted  # type: ignore[method-assign]
    try:
        yield made
    finally:
        StageTraining.__init__ = prepare  # type: ignore[method-assign]


def run_spoiled(
    place: str, value: float, folder: Path, processes: Processes | None = None, **changes: Any
) -> dict[str, Any]:
    """Run a spoiled subject; return its exit code, and its state before each phase of the bad step and at the end."""
    processes = processes or Processes()
    what, method = spoiled(place, value, processes.rank == processes.world - 1)
    what.stages = toy_stages(3.2, batch_size=2 // processes.world)
    training = section(save_every=1000, log_every=1000, **changes)
    before: dict[str, dict[str, str]] = {}
    notes = Notes()
    with works() as made:
        trainer = make_trainer(what, training, folder, notes if processes.first else None, processes)
        method.watch = lambda phase: before.update({phase: state(trainer, made[0])})
        try:
            trainer.run()
            end, code = "done", 0
        except Exception as error:
            end, code = f"{type(error).__name__}: {error}", getattr(error, "exit_code", 1)
    after = state(trainer, made[0])
    return {"end": end, "code": code, "before": before, "after": after, "messages": notes.messages}
