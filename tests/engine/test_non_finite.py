"""A non-finite step changes no part of the state, and ends the run or is skipped."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from hdtrans.data.batch import collate
from hdtrans.engine.distributed import Processes
from hdtrans.engine.ema import Ema
from hdtrans.engine.precision import Precision
from hdtrans.engine.stage import StageTraining
from hdtrans.engine.trainer import Trainer
from tests.bars import Figure
from tests.engine.non_finite import BAD_IMAGES, FAILS, PLACES, run_spoiled, spoiled, state, works
from tests.engine.non_finite_jobs import run_jobs
from tests.engine.runs import PIX2PIXHD, Notes, final_state, fingerprint, make_trainer, section, subject
from tests.forked import values_of_two
from tests.mutants.guards import averaging, averaging_buffers, deaf, keeping
from tests.shared_folder import filled_once

NAN, INF = math.nan, math.inf
PRECISIONS = ("fp32", "bf16", "fp16")


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def changed(ran: dict[str, Any], place: str) -> set[str]:
    """Return the parts of the state that differ from those before the failing phase."""
    before, after = ran["before"][FAILS[place]], ran["after"]
    return {part for part in after if after[part] != before[part]}


# One process


@pytest.mark.bar("B3.1", "NaN and infinity change nothing on any process; without any of the guards they do")
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("place", PLACES)
def test_the_failing_phase_and_the_later_ones_change_nothing(place: str, precision: str, tmp_path: Path) -> None:
    ran = run_spoiled(place, NAN, tmp_path, precision=precision)
    if (place, precision) == ("gradient", "fp16"):
        assert ran["end"] == "done", "an overflow, which the scale cures"
        return
    assert ran["code"] == 3, ran["end"]
    assert changed(ran, place) == set()
    earlier = ran["before"]["discriminators"] if place in ("discriminators", "gradient") else None
    assert earlier is None or earlier["networks"] != ran["before"]["generators"]["networks"], "earlier phases stand"


@pytest.mark.bar("B3.1", "NaN and infinity change nothing on any process; without any of the guards they do")
@pytest.mark.parametrize(
    ("guard", "place", "parts"),
    [
        (deaf, "picture", {"networks", "ema", "optimizers"}),
        (deaf, "gradient", {"networks", "optimizers"}),
        (keeping, "generators", {"buffers", "pools"}),
        (keeping, "discriminators", {"buffers", "pools"}),
        (averaging, "discriminators", {"ema"}),
    ],
)
def test_every_guard_is_needed(
    guard: Any, place: str, parts: set[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, figure: Figure
) -> None:
    guard(monkeypatch)
    ran = run_spoiled(place, NAN, tmp_path)
    assert ran["code"] == 3
    assert parts <= changed(ran, place), "without the guard the test above would fail"
    figure(f"mutant {guard.__name__}, {place}: changes {', '.join(sorted(changed(ran, place)))}")


@pytest.mark.bar("B3.3", "a stop leaves the last checkpoint, saves no bad weights, and names the non-finite value")
def test_the_evidence_names_the_non_finite_loss(tmp_path: Path) -> None:
    ran = run_spoiled("discriminators", INF, tmp_path)
    file = tmp_path / "non_finite" / f"images_{BAD_IMAGES:09d}.json"
    content = json.loads(file.read_text(), parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))
    assert (content["stage"], content["seed"], content["precision"]) == ("stage0", 0, "fp32")
    assert (content["images_seen"], content["phase"], content["what"]) == (BAD_IMAGES, "discriminators", "a loss")
    (rank,) = content["ranks"]
    assert rank["counters"] == [BAD_IMAGES, BAD_IMAGES + 1]
    assert rank["files"] == [[f"{name}.npy"] for name in rank["samples"]]
    first, second = rank["phases"]
    assert first["first_bad_parameter"] is None and first["gradient_norm"] > 0
    assert second["losses"]["b"] == "inf" and math.isfinite(second["losses"]["a"])
    assert second["learning_rate"] == 0.01 and second["scale"] is None
    assert f"discriminators/b is not finite (discriminators/a {second['losses']['a']:.4g}" in ran["end"]
    assert str(file) in ran["end"]


@pytest.mark.bar("B3.3", "a stop leaves the last checkpoint, saves no bad weights, and names the non-finite value")
def test_the_evidence_names_the_first_parameter(tmp_path: Path) -> None:
    ran = run_spoiled("gradient", INF, tmp_path)
    content = json.loads((tmp_path / "non_finite" / f"images_{BAD_IMAGES:09d}.json").read_text())
    assert content["what"] == "a gradient"
    assert content["ranks"][0]["phases"][1]["first_bad_parameter"] == "critic_b.last.bias"
    assert "the gradient of critic_b.last.bias is not finite" in ran["end"]


@pytest.mark.parametrize("log_every", [1, 1000])  # checked at once, or a step late
def test_a_skipped_batch_leaves_no_trace(log_every: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    what, _ = spoiled("picture", NAN)
    training = section(save_every=1000, log_every=log_every, non_finite="skip")
    notes = Notes()
    make_trainer(what, training, tmp_path / "skip", notes).run()
    warnings = [message for message in notes.messages if message.startswith("warning: ")]
    assert len(warnings) == 1 and "The batch is skipped" in warnings[0]

    take = Trainer._step

    def without(self: Trainer, work: StageTraining, *given: Any) -> None:
        if self.images_seen == BAD_IMAGES:
            self._check_step(work, given[-1])
            self.images, self.images_seen = self.images + 2, self.images_seen + 2
        else:
            take(self, work, *given)

    monkeypatch.setattr(Trainer, "_step", without)
    what, _ = spoiled("", 0.0)
    make_trainer(what, training, tmp_path / "never").run()
    skipped, never = (final_state(tmp_path / name) for name in ("skip", "never"))
    assert skipped.pop("skips") == {"steps": 8, "skipped": [BAD_IMAGES // 2]}
    del never["skips"]
    assert {part: fingerprint(skipped[part]) for part in skipped} == {part: fingerprint(never[part]) for part in never}


# Two processes


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[dict[str, Any]]]:
    """Spoil one process of two, in every way; return the results of both by job."""
    _, ranks = filled_once(tmp_path_factory, "both", lambda folder: values_of_two(run_jobs, folder, folder=folder))
    return {job: [rank[job] for rank in ranks] for job in ranks[0]}


@pytest.mark.bar("B3.1", "NaN and infinity change nothing on any process; without any of the guards they do")
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("value", [NAN, INF])
@pytest.mark.parametrize("place", PLACES)
def test_a_value_on_one_process_changes_nothing_on_both(
    place: str, value: float, precision: str, both: dict[str, list[dict[str, Any]]]
) -> None:
    first, second = both[f"{place} {value} {precision}"]
    if (place, precision) == ("gradient", "fp16"):
        assert first["code"] == second["code"] == 0
    else:
        assert first["code"] == second["code"] == 3, (first["end"], second["end"])
        assert changed(first, place) == changed(second, place) == set()
        assert "not finite on process 1 (" in first["end"] or place in ("picture", "gradient")
    same = ("networks", "buffers", "ema", "optimizers", "scalers")
    assert {part: first["after"][part] for part in same} == {part: second["after"][part] for part in same}


@pytest.mark.bar("B3.1", "NaN and infinity change nothing on any process; without any of the guards they do")
def test_the_flag_of_both_processes_is_needed(both: dict[str, list[dict[str, Any]]], figure: Figure) -> None:
    heard, deaf = both["heard"], both["deaf"]
    assert heard[0]["networks"] == heard[1]["networks"]
    assert deaf[0]["networks"] != deaf[1]["networks"], "without it, one process steps and the other does not"
    figure("mutant whose processes do not tell each other: weights differ")


def test_one_small_reduction_for_each_phase(both: dict[str, list[dict[str, Any]]]) -> None:
    assert [rank["reductions"] for rank in both["counted"]] == [[2, 2, 2]] * 2  # two phases, three steps


def kept_in(precision: str, folder: Path) -> list[set[torch.dtype]]:
    """Return the types of weights, averages and moments after training."""
    what, _ = spoiled("", 0.0)
    with works() as made:
        trainer = make_trainer(what, section(precision=precision, save_every=1000), folder)
        trainer.run()
    assert trainer.ema is not None
    optimizers = [worker.optimizer for worker in made[0].phase_optimizers]
    moments = [x for optimizer in optimizers for kept in optimizer.state.values() for x in kept.values()]
    assert len(moments) == 3 * len(list(trainer.networks.parameters()))
    tensors = (trainer.networks.parameters(), trainer.ema.networks.parameters(), moments)
    return [{tensor.dtype for tensor in kept} for kept in tensors]


@pytest.mark.bar("B3.5", "averages, moments and weights are fp32 in every precision")
def test_averages_and_moments_are_not_in_half_precision(tmp_path: Path) -> None:
    for precision in PRECISIONS:
        assert kept_in(precision, tmp_path / precision) == [{torch.float32}] * 3


@pytest.mark.bar("B3.5", "averages, moments and weights are fp32 in every precision")
def test_mutant_with_weights_in_the_compute_type(
    tmp_path: Path, figure: Figure, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Precision, "weights", torch.bfloat16)
    assert all(torch.bfloat16 in types for types in kept_in("bf16", tmp_path))
    figure("mutant with weights in bf16: averages and moments too")


def buffers_apart(folder: Path) -> int:
    """Return the number of averaged spectral norm vectors that differ from the trained ones."""
    what, _ = spoiled("", 0.0)
    trainer = make_trainer(what, section(save_every=1000), folder)
    trainer.run()
    assert trainer.ema is not None
    served = dict(trainer.ema.networks.named_buffers())
    assert {name.rsplit(".", 1)[1] for name in served} == {"_u", "_v"}
    return sum(not torch.equal(value, trainer.networks.get_buffer(name)) for name, value in served.items())


@pytest.mark.bar("B3.5", "averages, moments and weights are fp32 in every precision")
def test_vectors_of_spectral_norm_are_copied(tmp_path: Path, figure: Figure, monkeypatch: pytest.MonkeyPatch) -> None:
    assert buffers_apart(tmp_path / "ours") == 0
    averaging_buffers(monkeypatch)
    apart = buffers_apart(tmp_path / "mutant")
    assert apart > 0
    figure(f"mutant that averages vectors of spectral norm: {apart} are others")


def test_a_step_is_checked_while_the_next_runs(tmp_path: Path) -> None:
    what, method = spoiled("discriminators", NAN)
    seen: list[int] = []
    share = method.forward_shared

    def noted(nets: Any, batch: Any, context: Any) -> Any:
        seen.append(context.images_seen)
        return share(nets, batch, context)

    method.forward_shared = noted  # type: ignore[method-assign]
    training = section(save_every=1000, log_every=1000, non_finite="skip")
    make_trainer(what, training, tmp_path).run()
    late = BAD_IMAGES + 2
    assert seen[: late // 2 + 3] == [*range(0, late + 2, 2), late, late + 2], "the step after it is taken twice"


class Looks(TorchDispatchMode):
    """Count the host-device syncs: reads of a number on the device."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += function in (torch.ops.aten._local_scalar_dense.default, torch.ops.aten.nonzero.default)
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("name", ["adversarial", *PIX2PIXHD])
def test_a_step_has_no_host_device_sync(name: str, precision: str) -> None:
    what = subject(name)
    method = what.make_method(what.stages[0])
    work = StageTraining(method, what.stages[0], 5, section(), Precision(precision, "cpu"), Processes())
    averages = Ema(what.networks, method.averaged, 10)
    batch = collate([what.make_samples(0)[counter] for counter in range(2)])  # type: ignore[index]
    with Looks() as looks:
        work.step(batch, 0, 0)
        averages.update(work.trained, 2, 2, work.guard.frozen)
        work.taken.send()
    assert looks.count == 0
    with looks:
        work.taken.losses.popitem()[1].item()
    assert looks.count == 1, "it can count"


@pytest.mark.parametrize("name", ["adversarial", *PIX2PIXHD])
def test_a_step_walks_through_no_network(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a GPU, the host's work bounds the duration of a small step."""
    what = subject(name)
    method = what.make_method(what.stages[0])
    work = StageTraining(method, what.stages[0], 5, section(), Precision("fp32", "cpu"), Processes())
    averages = Ema(what.networks, method.averaged, 10)
    batch = collate([what.make_samples(0)[counter] for counter in range(2)])  # type: ignore[index]
    walked: list[str] = []
    walk = nn.Module.named_modules

    def counted(self: nn.Module, *given: Any, **more: Any) -> Any:
        walked.append(type(self).__name__)
        return walk(self, *given, **more)

    monkeypatch.setattr(nn.Module, "named_modules", counted)
    work.step(batch, 0, 0)
    averages.update(work.trained, 2, 2, work.guard.frozen)
    assert not walked
    list(what.networks.parameters())
    assert walked, "it can count"


def test_one_process_reduces_nothing() -> None:
    flags = torch.tensor([True, False])
    assert torch.equal(Processes().any(flags), flags)


def test_the_toy_is_compared_part_by_part(tmp_path: Path) -> None:
    what, _ = spoiled("", 0.0)
    with works() as made:
        trainer = make_trainer(what, section(), tmp_path)
        trainer.run()
    parts = state(trainer, made[0])
    for pool in what.make_method(what.stages[0]).histories.values():  # type: ignore[attr-defined]
        assert pool.pictures
    assert len(set(parts.values())) == len(parts)
