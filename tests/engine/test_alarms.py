"""Training that goes wrong without becoming infinite is warned of, once; training that goes well is not."""

import math

import pytest
import torch

from hdtrans.engine.alarms import Alarms
from hdtrans.engine.guard import PhaseReport
from tests.bars import Figure
from tests.engine.runs import Notes, make_trainer, section, subject


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def warnings(factor: float, name: str, steps: int) -> list[str]:
    """Train a toy with a multiple of its learning rate; return what was warned of."""
    what, notes = subject(name, epochs=steps * 2 / 5), Notes()
    what.stages = [what.stages[0].model_copy(update={"learning_rate": 0.01 * factor})]
    make_trainer(what, section(save_every=10_000, log_every=10_000), None, notes).run()
    assert notes.steps == steps
    return [message for message in notes.messages if message.startswith("warning: ")]


@pytest.mark.bar("B3.4", "a learning rate x 1000 alarms within 50 steps, a healthy run of 500 does not")
@pytest.mark.parametrize("name", ["adversarial", "two_routes", "penalised"])
def test_a_thousandfold_learning_rate_alarms_within_fifty_steps(name: str, figure: Figure) -> None:
    assert any("may be diverging" in warning for warning in warnings(1000, name, 50))
    figure("a learning rate x 1000: alarms in 50 steps")


SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in ("two_routes", "penalised")]


@pytest.mark.bar("B3.4", "a learning rate x 1000 alarms within 50 steps, a healthy run of 500 does not")
@pytest.mark.parametrize("name", ["adversarial", *SLOW])
def test_a_healthy_run_of_500_steps_does_not(name: str) -> None:
    assert warnings(1, name, 500) == []


@pytest.mark.bar("B3.4", "a learning rate x 1000 alarms within 50 steps, a healthy run of 500 does not")
@pytest.mark.parametrize(("growth", "factor", "alarms"), [(math.inf, 1000, False), (1.0, 1, True)])
def test_mutants_with_other_limits(
    growth: float, factor: float, alarms: bool, monkeypatch: pytest.MonkeyPatch, figure: Figure
) -> None:
    monkeypatch.setattr("hdtrans.engine.alarms._GROWTH", growth)
    monkeypatch.setattr("hdtrans.engine.alarms._HIGH", math.inf)
    assert any("may be diverging" in warning for warning in warnings(factor, "adversarial", 50)) == alarms
    figure("mutant with tight limits: a healthy run alarms" if alarms else "mutant without limits: nothing alarms")


def report(name: str, loss: float, gradient: float = 1.0) -> list[PhaseReport]:
    return [PhaseReport(name, {"real": loss / 2, "fake": loss / 2}, gradient, None, False, False)]


@pytest.mark.parametrize(("loss", "words"), [(5e-4, "under 0.001"), (-2e3, "over 1000")])
def test_a_discriminator_that_stays_out_of_range_is_told_once(loss: float, words: str) -> None:
    alarms = Alarms({"generator"})
    for _ in range(3):
        assert not any(alarms.watch(report("discriminator", loss)) for _ in range(19))
        assert alarms.watch(report("discriminator", 1.0)) == []
    told = [warning for _ in range(60) for warning in alarms.watch(report("discriminator", loss))]
    assert len(told) == 1 and words in told[0]
    assert Alarms({"generator"}).watch(report("generator", loss)) == []


def test_a_gradient_that_jumps_is_told_once() -> None:
    alarms = Alarms({"generator"})
    assert not any(alarms.watch(report("generator", 1.0, 2.0 + n % 2)) for n in range(10))
    assert alarms.watch(report("generator", 1.0, 199.0)) == []
    assert "grew to 301," in alarms.watch(report("generator", 1.0, 301.0))[0]
    assert alarms.watch(report("generator", 1.0, 302.0)) == []
