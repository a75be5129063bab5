"""Skipped batches and halved loss scales, and the limits of both."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch

from hdtrans.common.errors import NonFiniteError
from hdtrans.engine.checkpoint import Checkpoints
from hdtrans.engine.guard import PhaseReport, Skips
from tests.bars import Figure
from tests.engine.non_finite import BAD_IMAGES, spoiled, works
from tests.engine.runs import Notes, make_trainer, section
from tests.engine.toys import toy_stages
from tests.mutants.guards import hearing_of_no_overflow

NAN, INF = math.nan, math.inf

bar = pytest.mark.bar("B3.2", "fp16 halves its scale, batches are left out, both within limits")


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def leave_out_the_rest(folder: Path) -> None:
    """Train with non-finite batches from one on, all skipped."""
    what, _ = spoiled("generators", NAN, when=lambda images: images >= BAD_IMAGES)
    make_trainer(what, section(save_every=2, non_finite="skip"), folder).run()


@bar
def test_mutant_without_limits_goes_on(tmp_path: Path, figure: Figure, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hdtrans.engine.guard._IN_A_ROW", 1000)
    leave_out_the_rest(tmp_path)
    assert len(list((tmp_path / "non_finite").iterdir())) == 6
    figure("mutant without limits: leaves out 6 in a row and goes on")


@bar
def test_no_more_than_five_batches_in_a_row_are_left_out(tmp_path: Path) -> None:
    with pytest.raises(NonFiniteError, match="6 steps in a row were not finite"):
        leave_out_the_rest(tmp_path)
    assert Checkpoints(tmp_path, 2).files(), "what was saved stays"
    assert len(list((tmp_path / "non_finite").iterdir())) == 6


def scales_about_an_overflow(folder: Path) -> tuple[list[float], list[float]]:
    """Return the scales of both phases before a step in which gradients of the second overflow, and after it."""
    what, _ = spoiled("gradient", INF)
    scales: dict[int, list[float]] = {}
    with works() as made:
        trainer = make_trainer(
            what,
            section(precision="fp16", save_every=1000, log_every=1000),
            folder,
            Notes(on_step=lambda n: scales.update({n: [float(w.scaler.scale) for w in made[0].phase_optimizers]})),  # type: ignore[union-attr]
        )
        trainer.run()
    return scales[BAD_IMAGES // 2], scales[BAD_IMAGES // 2 + 1]


@bar
def test_an_overflow_halves_the_scale_of_its_phase(tmp_path: Path) -> None:
    before, after = scales_about_an_overflow(tmp_path)
    assert after == [before[0], before[1] / 2], (before, after)
    assert not (tmp_path / "non_finite").exists()


@bar
def test_mutant_that_hears_of_no_overflow(tmp_path: Path, figure: Figure, monkeypatch: pytest.MonkeyPatch) -> None:
    hearing_of_no_overflow(monkeypatch)
    before, after = scales_about_an_overflow(tmp_path)
    assert after == before
    figure("mutant that hears of no overflow: the same scale")


def overflow_always(folder: Path) -> float:
    """Train 40 steps in fp16 with gradients that overflow whatever their scale; return the last scale."""
    what, _ = spoiled("gradient", INF, when=lambda images: True)
    what.stages = toy_stages(16)
    with works() as made:
        make_trainer(what, section(precision="fp16", save_every=1000), folder).run()
    scaler = made[0].phase_optimizers[-1].scaler
    assert scaler is not None
    return float(scaler.scale)


FP16_LIMITS = {
    "_LEAST_SCALE": "gradients overflow in fp16 even when losses are not scaled up",
    "_OVERFLOWS_IN_A_ROW": "26 steps in a row were not finite",
}


@bar
@pytest.mark.parametrize("removed", [0, 1, 2])
def test_each_limit_of_fp16_ends_a_run(
    removed: int, tmp_path: Path, figure: Figure, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The scale's limit ends the run; without it, the row of overflows; without both, nothing."""
    for limit in list(FP16_LIMITS)[:removed]:
        monkeypatch.setattr(f"hdtrans.engine.guard.{limit}", -INF if limit == "_LEAST_SCALE" else INF)
    if removed == len(FP16_LIMITS):
        scale = overflow_always(tmp_path)
        assert scale < 1e-6
        figure(f"mutant without limits of fp16: trains on to the end, at a scale of {scale:.0e}")
        return
    with pytest.raises(NonFiniteError, match=list(FP16_LIMITS.values())[removed]) as raised:
        overflow_always(tmp_path)
    assert raised.value.exit_code == 3
    if removed:
        figure("mutant without the limit of the scale: ended by the row of overflows alone")


def leave_out_every_other(folder: Path) -> None:
    """Train 120 steps, every other one non-finite and skipped."""
    what, _ = spoiled("generators", NAN, when=lambda images: images % 4 == 0)
    what.stages = toy_stages(48)
    make_trainer(what, section(save_every=1000, log_every=1, non_finite="skip"), folder).run()


@bar
def test_a_run_ends_where_too_many_are_left_out(
    tmp_path: Path, figure: Figure, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(NonFiniteError, match="51 of the last 1000 steps were not finite"):
        leave_out_every_other(tmp_path / "ours")
    assert len(list((tmp_path / "ours" / "non_finite").iterdir())) == 51
    with monkeypatch.context() as patch:
        patch.setattr("hdtrans.engine.guard._IN_WINDOW", INF)
        leave_out_every_other(tmp_path / "mutant")
    assert len(list((tmp_path / "mutant" / "non_finite").iterdir())) == 60
    figure("mutant without the limit of 5 %: a run leaves out 60 of 120")
    monkeypatch.setattr(Skips, "good", lambda self: None)
    with pytest.raises(NonFiniteError, match="6 steps in a row"):
        leave_out_every_other(tmp_path / "deaf")
    figure("mutant that counts no good step: stops after 6")


def _report(bad_losses: bool = False, bad_gradients: bool = False, scale: float | None = None) -> list[PhaseReport]:
    return [PhaseReport("generator", {"a": 1.0}, 1.0, scale, bad_losses, bad_gradients)]


def in_a_row(reports: list[PhaseReport], count: int) -> list[str]:
    """Return the reasons to stop after each of some bad steps in a row; '' for none."""
    skips = Skips()
    return [skips.bad(reports) for _ in range(count)]


def one_in(every: int, steps: int) -> list[str]:
    """Return the reasons to stop after bad steps among good ones; the count is saved and loaded in between."""
    skips, reasons = Skips(), []
    for number in range(steps):
        if number % every:
            skips.good()
        else:
            reasons.append(skips.bad(_report(True)))
            again = Skips()
            again.load_state_dict(skips.state_dict())
            skips = again
    return reasons


LIMITS: dict[str, tuple[Any, list[str]]] = {
    "_IN_A_ROW": (
        lambda: in_a_row(_report(True, scale=1024), 6),
        [""] * 5 + ["6 steps in a row were not finite"],
    ),
    "_OVERFLOWS_IN_A_ROW": (
        lambda: in_a_row(_report(bad_gradients=True, scale=1024), 26),
        [""] * 25 + ["26 steps in a row were not finite"],
    ),
    "_IN_WINDOW": (lambda: one_in(19, 951), [""] * 50 + ["51 of the last 1000 steps were not finite"]),
    "_LEAST_SCALE": (
        lambda: in_a_row(_report(bad_gradients=True, scale=2), 1) + in_a_row(_report(bad_gradients=True, scale=1), 1),
        ["", "gradients overflow in fp16 even when losses are not scaled up"],
    ),
}


@bar
@pytest.mark.parametrize("limit", LIMITS)
def test_the_limits_of_skipped_steps(limit: str, figure: Figure, monkeypatch: pytest.MonkeyPatch) -> None:
    count, reasons = LIMITS[limit]
    assert count() == reasons
    monkeypatch.setattr(f"hdtrans.engine.guard.{limit}", -INF if limit == "_LEAST_SCALE" else INF)
    assert count() == [""] * len(reasons)
    figure(f"mutant without {limit}: not stopped")


@bar
def test_one_batch_in_twenty_may_be_skipped_for_ever(figure: Figure, monkeypatch: pytest.MonkeyPatch) -> None:
    assert set(one_in(20, 3000)) == {""}
    monkeypatch.setattr("hdtrans.engine.guard._WINDOW", 3000)
    assert set(one_in(20, 3000)) != {""}
    figure("mutant that counts over 3000 steps: stops at one in twenty")
