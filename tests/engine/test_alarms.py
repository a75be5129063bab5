"""Training that fails with finite numbers gives a warning, once; healthy training gives none."""

import math
from collections.abc import Mapping

import pytest
import torch

from hdtrans.engine.alarms import Alarms
from hdtrans.engine.guard import PhaseReport
from hdtrans.engine.stage import variation
from tests.bars import Figure
from tests.engine.runs import Notes, make_trainer, section, subject
from tests.engine.toys import TOYS

FLAT = "pictures that are of one colour for 20 steps alarm, those that vary do not"


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def warnings(factor: float, name: str, steps: int) -> list[str]:
    """Train a toy with a multiple of its learning rate; return the warnings."""
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


def flat_warnings(name: str, steps: int, factor: float = 0.0) -> list[str]:
    """Train a toy, its last layers scaled by a factor; return the warnings about its pictures."""
    what, notes = subject(name, epochs=steps * 2 / 5), Notes()
    what.stages = [what.stages[0].model_copy(update={"learning_rate": 1e-7})]
    for part in ("generator", "forth", "back"):
        if part in what.networks:
            what.networks[part].get_parameter("last.weight").data *= factor
    make_trainer(what, section(save_every=10_000, log_every=10_000), None, notes).run()
    return [message for message in notes.messages if "of one colour" in message]


@pytest.mark.bar("B3.4", FLAT)
@pytest.mark.parametrize("name", ["adversarial", "two_routes", "penalised"])
def test_a_generator_whose_pictures_do_not_vary_alarms_within_fifty_steps(name: str, figure: Figure) -> None:
    given = flat_warnings(name, 50)
    assert len(given) == (2 if name == "two_routes" else 1) and all(
        text.startswith("warning: after ") for text in given
    )
    figure("no variation: alarms in 50 steps")


@pytest.mark.bar("B3.4", FLAT)
def test_mutants_that_ignore_variation_or_expect_too_much(monkeypatch: pytest.MonkeyPatch, figure: Figure) -> None:
    assert flat_warnings("adversarial", 50, 1.0) == []
    monkeypatch.setattr("hdtrans.engine.alarms._FLAT", 10.0)
    assert flat_warnings("adversarial", 50, 1.0)
    figure("mutant with a limit of 10: pictures that vary alarm")
    monkeypatch.setattr("hdtrans.engine.alarms._FLAT", 0.0)
    assert flat_warnings("adversarial", 50) == []
    figure("mutant without a limit: nothing alarms")


def report(name: str, loss: float, gradient: float = 1.0) -> list[PhaseReport]:
    return [PhaseReport(name, {"real": loss / 2, "fake": loss / 2}, gradient, None, False, False)]


@pytest.mark.parametrize(("loss", "words"), [(5e-4, "under 0.001"), (-2e3, "over 1000")])
def test_a_discriminator_that_stays_out_of_range_is_reported_once(loss: float, words: str) -> None:
    alarms = Alarms({"generator"})
    for _ in range(3):
        assert not any(alarms.watch(report("discriminator", loss), {}) for _ in range(19))
        assert alarms.watch(report("discriminator", 1.0), {}) == []
    given = [warning for _ in range(60) for warning in alarms.watch(report("discriminator", loss), {})]
    assert len(given) == 1 and words in given[0]
    assert Alarms({"generator"}).watch(report("generator", loss), {}) == []


def test_a_gradient_that_jumps_is_reported_once() -> None:
    alarms = Alarms({"generator"})
    assert not any(alarms.watch(report("generator", 1.0, 2.0 + n % 2), {}) for n in range(10))
    assert alarms.watch(report("generator", 1.0, 199.0), {}) == []
    assert "grew to 301," in alarms.watch(report("generator", 1.0, 301.0), {})[0]
    assert alarms.watch(report("generator", 1.0, 302.0), {}) == []


def test_pictures_that_stay_of_one_colour_are_reported_once_for_each_direction() -> None:
    alarms = Alarms({"generator"})
    for _ in range(3):
        assert not any(alarms.watch([], {"AtoB": 9e-4, "BtoA": 1.1e-3}) for _ in range(19))
        assert alarms.watch([], {"AtoB": 1.1e-3, "BtoA": 1.1e-3}) == []
    given = [warning for _ in range(60) for warning in alarms.watch([], {"AtoB": 9e-4, "BtoA": 1.1e-3})]
    assert len(given) == 1 and "AtoB: the generated pictures have been of one colour" in given[0]
    given = [warning for _ in range(60) for warning in alarms.watch([], {"AtoB": 9e-4, "BtoA": 9e-4})]
    assert len(given) == 1 and "BtoA: " in given[0]


@pytest.mark.parametrize("name", [*TOYS, "pix2pix", "cyclegan", "pix2pixhd"])
def test_the_pictures_of_every_method_and_direction_are_checked(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Mapping[str, float]] = []
    monkeypatch.setattr(Alarms, "watch", lambda self, reports, variations: seen.append(variations) or [])
    what = subject(name)
    make_trainer(what, section(save_every=10_000), None, Notes()).run()
    routes = set(what.make_method(what.stages[0]).directions)
    assert seen and all(set(variations) == routes and min(variations.values()) > 0 for variations in seen)


def test_variation_is_over_pixels_not_over_channels_or_pictures() -> None:
    colours = torch.tensor([[-1.0, 0.0, 1.0], [0.5, -0.5, 0.25]])[:, :, None, None].expand(2, 3, 8, 6)
    assert variation(colours) == 0
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        assert variation(colours.to(dtype)).dtype == torch.float32
    noise = torch.randn(2, 3, 64, 64, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    assert float(variation(0.1 * noise)) == pytest.approx(0.1, rel=0.02)
    assert not variation(noise).requires_grad
