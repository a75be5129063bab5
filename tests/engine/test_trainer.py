"""The training loop, by toy methods: phases, averages, learning rate, order of samples, ends of a run."""

import math
import os
import signal
import time
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from hdtrans.common.errors import NonFiniteError, Stopped
from hdtrans.config.stage import Stage
from hdtrans.config.training import Ema
from hdtrans.data.batch import Batch, Sample, collate
from hdtrans.data.fields import as_bytes, as_floats
from hdtrans.engine.checkpoint import Checkpoints
from hdtrans.engine.distributed import Processes
from hdtrans.engine.ema import Ema as Averages
from hdtrans.engine.optim import decay, stage_images
from hdtrans.engine.precision import Precision
from hdtrans.engine.stage import StageTraining
from hdtrans.methods.base import Losses, Nets, Phase, StepContext
from tests.bars import Figure
from tests.engine.runs import (
    COUNT,
    PICTURE_METHODS,
    PIX2PIXHD,
    Notes,
    Subject,
    final_state,
    make_trainer,
    section,
    subject,
)
from tests.engine.toys import CLIP, TOYS, Adversarial, Penalised, ToySamples, toy_networks, toy_stages
from tests.forked import Forked, end_as_command
from tests.mutants.guards import saving_at_any_stop
from tests.small_runs import small_recipe, toy_data, write_recipe

pytestmark = pytest.mark.usefixtures("in_fp32")


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


class Scripted(Adversarial):
    """Adversarial toy that records the events of its phases."""

    def __init__(self, networks: nn.ModuleDict, every: int = 1) -> None:
        super().__init__(networks)
        self.events: list[Any] = []
        self.every = every
        self.phases = tuple(
            Phase(
                phase.name, phase.trains, self._watched(phase), every if phase.name == "generator" else 1, self._after
            )
            for phase in self.phases
        )

    def _watched(self, phase: Phase) -> Any:
        def losses(nets: Nets, batch: Batch, shared: Any, context: StepContext) -> Losses:
            needing = {name for name, n in self.networks.items() if all(p.requires_grad for p in n.parameters())}
            some = {name for name, n in self.networks.items() if any(p.requires_grad for p in n.parameters())}
            self.events.append((phase.name, needing, some, snapshot(self.networks), context))
            return phase.losses(nets, batch, shared, context)

        return losses

    def _after(self, networks: nn.ModuleDict) -> None:
        grads = {name for name, n in networks.items() if any(p.grad is not None for p in n.parameters())}
        self.events.append(("after", grads, snapshot(networks)))


def snapshot(networks: nn.ModuleDict) -> dict[str, Tensor]:
    return {name: torch.cat([p.detach().flatten() for p in n.parameters()]) for name, n in networks.items()}


def trained(before: dict[str, Tensor], after: dict[str, Tensor]) -> set[str]:
    return {name for name in before if not torch.equal(before[name], after[name])}


def scripted(every: int = 1, epochs: float = 1.2) -> tuple[Subject, Scripted]:
    networks = toy_networks("adversarial")
    method = Scripted(networks, every)
    return Subject(networks, lambda stage: method, lambda n: ToySamples(COUNT, n), toy_stages(epochs)), method


# Phases


def test_phases_run_in_order_and_move_their_networks_alone() -> None:
    what, method = scripted()
    make_trainer(what, section(ema=None)).run()
    assert [event[0] for event in method.events] == ["discriminator", "after", "generator", "after"] * 3
    for losses, after in zip(method.events[::2], method.events[1::2], strict=True):
        name, needing, some, before, _ = losses
        assert needing == some == {name}, "gradients of the phase's networks, and of no other"
        assert trained(before, after[2]) == {name}
    first_discriminator, first_generator = method.events[0], method.events[2]
    assert trained(first_discriminator[3], first_generator[3]) == {"discriminator"}, (
        "the generator meets the updated one"
    )


def test_a_phase_leaves_no_gradient_elsewhere() -> None:
    what, method = scripted()
    make_trainer(what, section(ema=None)).run()
    # The discriminator's phase comes first: the generator has no gradient then, not even a zero.
    assert method.events[1][1] == {"discriminator"}
    gradients = []
    networks = method.networks

    def keep(_: nn.ModuleDict) -> None:
        gradients.append([p.grad.clone() for p in networks["discriminator"].parameters() if p.grad is not None])

    method.phases = tuple(Phase(p.name, p.trains, p.losses, 1, keep) for p in method.phases)
    make_trainer(what, section(ema=None)).run()
    for first, second in zip(gradients[::2], gradients[1::2], strict=True):
        assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True)), "the generator's phase added to it"


def test_phases_that_do_not_come_every_time() -> None:
    what, method = scripted(every=2, epochs=2)
    notes = Notes()
    make_trainer(what, section(log_every=1), notes=notes).run()
    names = [event[0] for event in method.events if event[0] != "after"]
    assert names == ["discriminator", "generator", "discriminator"] * 2 + ["discriminator", "generator"]
    logged = ["generator/adversarial" in record for record in notes.records]
    assert logged == [True, False, True, False, True]


def test_the_critic_is_clipped_after_its_penalty_alone() -> None:
    what = subject("penalised", epochs=2)
    seen = []
    notes = Notes(on_step=lambda n: seen.append(float(what.networks["critic"].first.weight.abs().max())))
    make_trainer(what, section(), notes=notes).run()
    inside = [value <= CLIP + 1e-7 for value in seen]
    assert inside == [True, False, True, False, True] * 2


@pytest.mark.parametrize("name", [*TOYS, *PICTURE_METHODS, *PIX2PIXHD])
def test_losses_fall_or_stay_sound(name: str) -> None:
    notes = Notes()
    make_trainer(subject(name, epochs=6), section(log_every=1), notes=notes).run()
    for record in notes.records:
        assert all(math.isfinite(value) for key, value in record.items() if "/" in key)
    for key in ("generator/l1", "generators/cycle"):
        curve = [record[key] for record in notes.records if key in record and record["stage"] in ("stage0", "global")]
        assert not curve or curve[-1] < curve[0]


def test_the_random_numbers_of_a_step() -> None:
    what, method = scripted()
    make_trainer(what, section(seed=5)).run()
    draws = [event[4] for event in method.events if event[0] == "discriminator"]
    assert [context.images_seen for context in draws] == [0, 2, 4]
    assert [context.sample_indices for context in draws] == [(0, 1), (2, 3), (4, 5)]
    assert {context.global_indices for context in draws} == {range(2)}
    numbers = [[float(torch.rand((), generator=g)) for g in context.generators(p)] for context in draws for p in (0, 1)]
    assert len({number for pair in numbers for number in pair}) == 12, "by sample and by purpose"
    same = StepContext(2, 5, global_indices=range(1, 2)).generators(1)[0]
    assert float(torch.rand((), generator=same)) == numbers[3][1], "whatever slots are asked for beside it"
    other = StepContext(2, 6, global_indices=range(1, 2)).generators(1)[0]
    assert float(torch.rand((), generator=other)) != numbers[3][1], "by seed"


# Averages


def test_averages_follow_the_formula() -> None:
    what = subject("adversarial", epochs=4)
    half_life = 3.0
    expected = {key: value.clone() for key, value in what.networks["generator"].state_dict().items()}
    images_seen, trainer_holder = 0, []

    def check(_: int) -> None:
        nonlocal images_seen
        images_seen += 2
        weight = 1 - 0.5 ** (2 / min(half_life, max(1.0, 0.05 * images_seen)))
        averages = trainer_holder[0].ema.networks
        assert set(averages) == {"generator"}
        for key, value in what.networks["generator"].state_dict().items():
            expected[key] = expected[key] + weight * (value - expected[key])
            assert torch.allclose(averages["generator"].state_dict()[key], expected[key], rtol=0, atol=1e-6)

    notes = Notes(on_step=check)
    trainer_holder.append(make_trainer(what, section(ema=Ema(half_life=half_life)), notes=notes))
    trainer_holder[0].run()
    assert notes.steps == 20
    assert not torch.allclose(expected["last.bias"], what.networks["generator"].last.bias, atol=1e-4)


def test_the_length_of_an_average() -> None:
    networks = nn.ModuleDict({"a": nn.Linear(1, 1, bias=False)})
    nn.init.ones_(networks["a"].weight)
    averages = Averages(networks, ["a"], half_life=100)
    nn.init.zeros_(networks["a"].weight)
    for images_seen in range(10_000, 10_100, 10):
        averages.update(["a"], 10, images_seen, torch.zeros(()))
    assert float(averages.networks["a"].weight) == pytest.approx(0.5, rel=1e-5)


def test_averages_of_frozen_networks_are_their_weights() -> None:
    what = subject("pix2pixhd_features", epochs=2)
    seen: list[tuple[str, tuple[bool, ...]]] = []
    holder: list[Any] = []

    def equal(name: str) -> bool:
        trainer = holder[0]
        pairs = zip(what.networks[name].parameters(), trainer.ema.networks[name].parameters(), strict=True)
        return all(torch.equal(weight, average) for weight, average in pairs)

    notes = Notes(
        on_step=lambda n: seen.append(
            (what.stages[holder[0].stage_number].name, tuple(map(equal, ("trunk", "enhancer1", "encoder"))))
        )
    )
    holder.append(make_trainer(what, section(ema=Ema(half_life=30)), notes=notes))
    holder[0].run()
    assert {equals for stage, equals in seen if stage == "global"} == {(False, True, False)}
    assert {equals for stage, equals in seen if stage == "enhancer"} == {(True, False, False)}
    assert {equals for stage, equals in seen if stage == "joint"} == {(False, False, True)}


def test_served_pictures_are_made_by_the_averages() -> None:
    what = subject("adversarial")
    still = collate([ToySamples(COUNT)[0]])
    notes = Notes()
    trainer = make_trainer(what, section(sample_every=2), notes=notes, preview_batches=[still])
    trainer.run()
    assert [images for images, _ in notes.grids] == [2, 4, 6, 8, 10, 12]
    assert trainer.ema is not None and still["source"] is not None
    with torch.no_grad():
        averaged, raw = (
            as_bytes(network(as_floats(still["source"], torch.float32)))[0].permute(1, 2, 0).numpy()
            for network in (trainer.ema.networks["generator"], what.networks["generator"])
        )
    shown = notes.grids[-1][1]["result"][0]
    assert np.array_equal(shown, averaged)
    assert not np.array_equal(shown, raw)


@pytest.mark.parametrize("ema", [None, Ema(half_life=8)])
def test_sample_grids_change_nothing_in_training(ema: Ema | None) -> None:
    with_grids, without = (subject("penalised") for _ in range(2))
    still = collate([ToySamples(COUNT)[0]])
    modes: list[bool] = []
    served: set[bool] = set()

    class Watching(Penalised):
        def previews(self, nets: nn.ModuleDict, batch: Batch, context: StepContext) -> dict[str, Tensor]:
            served.update(network.training for network in nets.values())
            return super().previews(nets, batch, context)

    with_grids.make_method = lambda stage: Watching(with_grids.networks)
    notes = Notes(on_step=lambda n: modes.extend(network.training for network in with_grids.networks.values()))
    make_trainer(with_grids, section(sample_every=2, ema=ema), notes=notes, preview_batches=[still]).run()
    make_trainer(without, section(ema=ema)).run()
    assert len(notes.grids) == 6
    assert served == {False}, "pictures are made in evaluation mode"
    assert not trained(snapshot(with_grids.networks), snapshot(without.networks))
    assert all(modes), "the next step trains again"


# The learning rate


def test_the_learning_rate_is_constant_then_falls_to_nothing() -> None:
    stage = Stage(size=None, geometry="none", epochs=2, decay_epochs=4)
    factors = [decay(stage, 10, images) for images in (0, 5, 20, 30, 40, 50, 59, 60, 80)]
    assert factors == pytest.approx([1, 1, 1, 0.75, 0.5, 0.25, 0.025, 0, 0])
    assert decay(Stage(geometry="none", epochs=2), 10, 100) == 1
    assert decay(Stage(geometry="none", epochs=0, decay_epochs=1), 10, 5) == 0.5
    assert stage_images(stage, 10) == 60
    assert stage_images(Stage(geometry="none", epochs=0.01), 10) == 1


@pytest.mark.parametrize("batch_size", [1, 2, 4])
def test_the_learning_rate_follows_from_the_images_before_the_batch(batch_size: int) -> None:
    what = subject("adversarial", batch_size=batch_size)
    stage = what.stages[0].model_copy(update={"epochs": 1.6, "decay_epochs": 1.6, "learning_rate": 0.5})
    what.stages = [stage]
    notes = Notes()
    make_trainer(what, section(log_every=1), notes=notes).run()
    rates = {record["images"] - batch_size: record["learning_rate"] for record in notes.records}
    assert rates == {images: pytest.approx(0.5 * decay(stage, COUNT, images)) for images in range(0, 16, batch_size)}
    state = {images: 0.5 * min(1, (16 - images) / 8) for images in range(0, 16, batch_size)}
    assert rates == {images: pytest.approx(rate) for images, rate in state.items()}


def test_the_optimizers_step_with_that_learning_rate(tmp_path: Path) -> None:
    what = subject("adversarial")
    what.stages = [what.stages[0].model_copy(update={"epochs": 0.4, "decay_epochs": 0.8})]
    make_trainer(what, section(), tmp_path).run()
    for optimizer in final_state(tmp_path)["training"]["optimizers"].values():
        assert optimizer["param_groups"][0]["lr"] == pytest.approx(0.01 * 0.5)


# The order of samples


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("batch_size", [1, 2, 3])
def test_batches_run_across_the_edges_of_epochs(batch_size: int, workers: int) -> None:
    what = subject("adversarial", batch_size=batch_size, epochs=3)
    names: list[list[str]] = [[], []]
    networks = what.networks

    class Watching(Adversarial):
        def forward_shared(self, nets: Nets, batch: Batch, context: StepContext) -> Any:
            names[trainer.stage_number].extend(batch.names)
            return super().forward_shared(nets, batch, context)

    what.make_method = lambda stage: Watching(networks)
    trainer = make_trainer(what, section(workers=workers))
    trainer.run()
    for stage_names in names:
        assert len(stage_names) == -(-15 // batch_size) * batch_size
        epochs = [stage_names[start : start + COUNT] for start in range(0, 15, COUNT)]
        for epoch in epochs:
            assert Counter(epoch) == Counter(f"scene{n}" for n in range(COUNT))
        assert len({tuple(epoch) for epoch in epochs}) == 3, "every epoch has an order of its own"
    assert names[0] != names[1], "and every stage"


def test_a_last_batch_is_filled_from_the_next_epoch() -> None:
    what = subject("adversarial", batch_size=4, epochs=1)
    trainer = make_trainer(what, section())
    trainer.run()
    assert trainer.images_seen == 16, "two stages of 5 images, each two batches of 4"


# Ends


class Poisoned(ToySamples):
    """Pictures, one of them not finite."""

    def __getitem__(self, counter: int) -> Sample:
        sample = super().__getitem__(counter)
        assert sample["photo"] is not None
        photo = sample["photo"].float() / 128 - 1
        if counter == 9:
            photo[0, 0, 0] = float("nan")
        return Sample(sample.name, counter, {"source": sample["source"], "photo": photo})


@pytest.mark.parametrize("log_every", [1, 1000])
def test_a_loss_that_is_not_finite_ends_the_run_and_spares_the_checkpoint(log_every: int, tmp_path: Path) -> None:
    what = subject("adversarial", epochs=4)
    what.make_samples = lambda number: Poisoned(COUNT, number)
    notes = Notes()
    with pytest.raises(NonFiniteError, match=r"stage stage0, \d+ images: .*is not finite.*last checkpoint") as raised:
        make_trainer(what, section(save_every=4, log_every=log_every, workers=0), tmp_path, notes).run()
    assert raised.value.exit_code == 3
    assert "discriminator/real nan" in str(raised.value)
    files = Checkpoints(tmp_path, 2).files()
    assert [file.name for file in files] == ["images_000000008.pt", "images_000000004.pt"]
    assert all(torch.isfinite(x).all() for x in final_state(tmp_path)["networks"].values())
    assert (tmp_path / "non_finite" / "images_000000008.json").is_file()


def stopped_by_a_bad_loss(folder: Path) -> tuple[dict[Path, bytes], dict[Path, bytes]]:
    """Return the checkpoints before and after a run that a bad loss stops."""
    good = subject("adversarial", epochs=4)
    with pytest.raises(Stopped):
        make_trainer(good, section(save_every=1000), folder, Notes(signal_after=2)).run()
    before = {file: file.read_bytes() for file in (folder / "checkpoints").iterdir()}
    bad = subject("adversarial", epochs=4)
    bad.make_samples = lambda number: Poisoned(COUNT, number)
    with pytest.raises(NonFiniteError):
        make_trainer(bad, section(save_every=1000, log_every=1), folder, Notes()).run()
    return before, {file: file.read_bytes() for file in (folder / "checkpoints").iterdir()}


@pytest.mark.bar("B3.3", "a stop leaves the last checkpoint, saves no bad weights, and names the non-finite value")
def test_a_stop_by_a_bad_loss_leaves_the_bytes_of_the_last_checkpoint(tmp_path: Path) -> None:
    before, after = stopped_by_a_bad_loss(tmp_path)
    assert after == before


@pytest.mark.bar("B3.3", "a stop leaves the last checkpoint, saves no bad weights, and names the non-finite value")
def test_mutant_that_saves_at_any_stop(tmp_path: Path, figure: Figure, monkeypatch: pytest.MonkeyPatch) -> None:
    saving_at_any_stop(monkeypatch)
    before, after = stopped_by_a_bad_loss(tmp_path)
    assert after != before
    figure("mutant that saves at any stop: other checkpoints")


class Exploding(Adversarial):
    """Losses stay finite, weights do not: the discriminator is spoiled after its step."""

    def __init__(self, networks: nn.ModuleDict) -> None:
        super().__init__(networks)
        first, second = self.phases
        self.phases = (second, Phase(first.name, first.trains, first.losses, 1, self.spoil))

    @staticmethod
    @torch.no_grad()
    def spoil(networks: nn.ModuleDict) -> None:
        networks["discriminator"].get_parameter("last.bias").fill_(float("inf"))


def explode(folder: Path, reported: str) -> list[Path]:
    """Train until a non-finite value is reported; return the checkpoints."""
    what = subject("adversarial")
    what.make_method = lambda stage: Exploding(what.networks)
    with pytest.raises(NonFiniteError, match=reported):
        make_trainer(what, section(save_every=2), folder, Notes()).run()
    return Checkpoints(folder, 2).files()


@pytest.mark.bar("B3.3", "a stop leaves the last checkpoint, saves no bad weights, and names the non-finite value")
def test_weights_that_are_not_finite_are_not_saved(tmp_path: Path) -> None:
    assert explode(tmp_path, "weights of discriminator") == []


@pytest.mark.bar("B3.3", "a stop leaves the last checkpoint, saves no bad weights, and names the non-finite value")
def test_mutant_that_does_not_check_weights_saves_them(
    tmp_path: Path, figure: Figure, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hdtrans.engine.hooks.torch", SimpleNamespace(isfinite=torch.ones_like))
    assert explode(tmp_path, "is not finite")
    assert not all(torch.isfinite(x).all() for x in final_state(tmp_path)["networks"].values())
    figure("mutant that does not look at weights: saves infinite ones")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP, signal.SIGINT])
def test_handlers_of_signals_are_put_back(number: signal.Signals, tmp_path: Path) -> None:
    before = signal.getsignal(number)
    with pytest.raises(Stopped) as stopped:
        make_trainer(subject("adversarial"), section(), tmp_path, Notes(signal_after=1, signal_number=number)).run()
    assert stopped.value.exit_code == 128 + number
    assert signal.getsignal(number) is before


def test_a_hangup_that_nohup_keeps_away_stops_nothing(tmp_path: Path) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        notes = Notes(signal_after=1, signal_number=signal.SIGHUP)
        make_trainer(subject("adversarial"), section(), tmp_path, notes).run()
    finally:
        signal.signal(signal.SIGHUP, before)
    assert notes.steps > 1


def reports_of_slow_saving(folder: Path, pause: float) -> int:
    """Train with saves that take `pause` seconds longer; return the number of warnings."""
    trainer = make_trainer(subject("adversarial"), section(save_every=1000), folder, notes := Notes())
    save = trainer.save.checkpoints.save  # type: ignore[union-attr]
    trainer.save.checkpoints.save = lambda *a: (time.sleep(pause), save(*a))  # type: ignore
    trainer.stages = trainer.stages[:1]
    trainer.run()
    return len([message for message in notes.messages if "TORCH_ELASTIC_SHUTDOWN_TIMEOUT=120" in message])


@pytest.mark.bar("B2.5", "slow saving is reported, with the time to set for torchrun")
def test_slow_saving_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_ELASTIC_SHUTDOWN_TIMEOUT", "2")
    for pause, count in ((0.0, 0), (1.1, 1)):
        assert reports_of_slow_saving(tmp_path / str(pause), pause) == count


@pytest.mark.bar("B2.5", "slow saving is reported, with the time to set for torchrun")
def test_mutant_that_ignores_the_timeout_of_torchrun(
    tmp_path: Path, figure: Figure, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_ELASTIC_SHUTDOWN_TIMEOUT", "2")
    monkeypatch.setattr("hdtrans.engine.hooks.os", SimpleNamespace(environ={}))
    assert reports_of_slow_saving(tmp_path, 1.1) == 0
    figure("mutant that always assumes 30 s: 1.1 s of 2 s not reported")


# Precisions


@pytest.mark.parametrize("name", [*TOYS, *PICTURE_METHODS, *PIX2PIXHD])
@pytest.mark.parametrize(
    ("precision", "computes"), [("fp16", torch.float16), ("bf16", torch.bfloat16), ("fp64", torch.float64)]
)
def test_precisions_train(name: str, precision: str, computes: torch.dtype, tmp_path: Path) -> None:
    what = subject(name, epochs=3)  # fp16 begins with gradients that overflow
    seen: set[torch.dtype] = set()
    for network in what.networks.modules():
        if isinstance(network, nn.Conv2d):
            network.register_forward_hook(lambda module, inputs, output: seen.add(output.dtype))
    before = snapshot(what.networks)
    make_trainer(what, section(precision=precision, log_every=1), tmp_path, notes := Notes()).run()
    wanted = torch.float64 if precision == "fp64" else torch.float32
    assert {p.dtype for p in what.networks.parameters()} == {wanted}
    assert seen == (
        {computes, torch.float32} if name in ("penalised", "pix2pix") and precision != "fp64" else {computes}
    )
    assert all(math.isfinite(value) for record in notes.records for key, value in record.items() if "/" in key)
    if precision != "fp64":
        assert trained(before, snapshot(what.networks)) == set(what.networks)
    scalers = final_state(tmp_path)["training"]["scalers"]
    assert all(("scale" in scaler) == (precision == "fp16") for scaler in scalers.values())
    assert len(scalers) == len(what.make_method(what.stages[0]).phases)


def test_every_phase_scales_its_gradients_by_itself() -> None:
    what = subject("adversarial")
    method = what.make_method(what.stages[0])
    work = StageTraining(method, what.stages[0], COUNT, section(), Precision("fp16", "cpu"), Processes())
    scalers = [worker.scaler for worker in work.phase_optimizers]
    assert len({id(scaler) for scaler in scalers}) == 2
    assert None not in scalers


# The table


def test_the_table_lists_trained_networks() -> None:
    what = subject("pix2pixhd")
    notes = Notes()
    make_trainer(what, section(), notes=notes).run()
    tables = [message for message in notes.messages if message.startswith("stage ")]
    assert len(tables) == 3
    roles = [{line.split()[0]: line.split("parameters")[1].strip() for line in t.splitlines()[1:]} for t in tables]
    assert roles[1] == {
        "trunk": "frozen",
        "head": "not in this stage",
        "enhancer1": "trained (generator)",
        "discriminator0": "trained (discriminator)",
        "discriminator1": "trained (discriminator)",
    }
    count = sum(p.numel() for p in what.networks["trunk"].parameters())
    assert f"trunk            {count:>12,} parameters" in tables[0]


@pytest.mark.parametrize("name", PIX2PIXHD)
def test_frozen_networks_are_in_evaluation_mode(name: str) -> None:
    what = subject(name)
    modes: dict[str, set[tuple[str, bool]]] = {}

    def note(_: int) -> None:
        stage = what.stages[trainer.stage_number].name
        modes.setdefault(stage, set()).update((name, network.training) for name, network in what.networks.items())

    trainer = make_trainer(what, section(), notes=Notes(on_step=note))
    trainer.run()
    trained = {stage: {name for name, mode in found if mode} for stage, found in modes.items()}
    assert trained == {stage.name: set(stage.train or ()) for stage in what.stages}
    assert all(len(found) == len(what.networks) for found in modes.values())


# The command


def test_sigterm_saves_and_exits_143(tmp_path: Path) -> None:
    values = small_recipe(
        toy_data(tmp_path / "city", 2, 0),
        tmp_path / "run",
        stages=[{"size": "64x32", "epochs": 100_000}],
        training={"workers": 1, "device": "cpu", "log_every": 1, "sample_count": 0},
    )
    recipe = write_recipe(tmp_path / "r.yaml", values)
    process = Forked(end_as_command, "train", [str(recipe)], folder=tmp_path)
    metrics, deadline = tmp_path / "run" / "metrics.jsonl", time.monotonic() + 180
    while not metrics.exists() or len(metrics.read_text()) < 200:
        assert process.process.is_alive() and time.monotonic() < deadline, process.said
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGTERM)  # as a cluster does: to the workers as well
    ended = process.wait(180)
    assert ended.code == 143, ended.said
    assert "run the same command again to go on" in ended.said
    assert "Traceback" not in ended.said
    saved = final_state(tmp_path / "run")
    assert f"SIGTERM after {saved['images_seen']} images" in ended.said
