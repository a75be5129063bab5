"""Options of a phase: rate, clip, lazily shared values; weight decay, and decay by steps."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from hdtrans.config.stage import Stage
from hdtrans.config.training import Adam, Training
from hdtrans.data.batch import Batch, collate
from hdtrans.engine.distributed import Processes
from hdtrans.engine.optim import clip_gradients, decay, make_adam
from hdtrans.engine.precision import Precision
from hdtrans.engine.stage import StageTraining
from hdtrans.methods.base import Lazy, Losses, Nets, Phase, StepContext
from tests.engine.toys import Adversarial, Shared, ToySamples, _photos, _sources, toy_networks, toy_stages


def batches(count: int) -> list[Batch]:
    samples = ToySamples(6)
    return [collate([samples[2 * n], samples[2 * n + 1]]) for n in range(count)]


def trained(method: Adversarial, steps: int = 1, precision: str = "fp64", **training: Any) -> StageTraining:
    """Return a stage after some steps."""
    stage = toy_stages(5)[0]
    chosen = Precision(precision, "cpu")
    chosen.prepare(method.networks, torch.device("cpu"))
    work = StageTraining(method, stage, 6, Training(**training), chosen, Processes())
    for n, batch in enumerate(batches(steps)):
        work.step(batch, 2 * n, 2 * n)
    return work


def with_phases(**changes: dict[str, Any]) -> Adversarial:
    """Return the adversarial toy, its phases changed by name."""
    method = Adversarial(toy_networks("adversarial"))
    method.phases = tuple(
        Phase(phase.name, phase.trains, phase.losses, **changes.get(phase.name, {})) for phase in method.phases
    )
    return method


def weights(work: StageTraining, name: str) -> Tensor:
    return torch.cat([p.detach().flatten() for p in work.method.networks[name].parameters()])


def test_a_rate_is_a_factor_of_the_learning_rate() -> None:
    """Adam's first step is the learning rate times the sign of the gradient."""
    start = trained(with_phases(), 0)
    plain, fast = trained(with_phases()), trained(with_phases(discriminator={"rate": 4.0}))
    first, moved, further = (weights(work, "discriminator") for work in (start, plain, fast))
    assert torch.allclose(further - first, 4 * (moved - first), rtol=1e-9, atol=1e-15)
    rates = [phase.learning_rate for phase in fast.taken.phases]
    assert rates == [pytest.approx(4 * 2e-4), pytest.approx(2e-4)]
    for name in ("discriminator", "generator"):
        one = trained(with_phases(**{name: {"rate": 1.0}}))
        assert torch.equal(weights(one, name), weights(plain, name))


@pytest.mark.parametrize("scaled", [None, 1024.0])
def test_gradients_are_clipped_as_torch_does(scaled: float | None) -> None:
    torch.manual_seed(0)
    given = [torch.randn(3, 4, dtype=torch.float64), torch.randn(5, dtype=torch.float64)]
    for largest in (0.1, 1.0, 1e6):
        parameters = [nn.Parameter(torch.zeros_like(x)) for x in given]
        for parameter, x in zip(parameters, given, strict=True):
            parameter.grad = x.clone()
        nn.utils.clip_grad_norm_(parameters, largest)
        ours = [x * (scaled or 1) for x in given]
        norms = torch.stack([x.norm() for x in ours])
        clip_gradients(ours, norms, None if scaled is None else torch.tensor(scaled), largest)
        for parameter, x in zip(parameters, ours, strict=True):
            assert parameter.grad is not None
            assert torch.allclose(x / (scaled or 1), parameter.grad, rtol=1e-9)


def test_a_clip_reaches_the_optimizer_and_no_other_phase() -> None:
    plain, clipped = trained(with_phases()), trained(with_phases(generator={"clip": 1e-3}))
    loose = trained(with_phases(generator={"clip": 1e9}))

    def moment(work: StageTraining, phase: int) -> Tensor:
        state = work.phase_optimizers[phase].optimizer.state.values()
        return torch.cat([moments["exp_avg"].flatten() for moments in state])

    assert torch.equal(moment(plain, 0), moment(clipped, 0))
    assert float(moment(clipped, 1).norm()) == pytest.approx(0.5 * 1e-3, rel=1e-2)  # beta1 is 0.5
    assert float(moment(plain, 1).norm()) > 1e-2
    assert torch.equal(moment(loose, 1), moment(plain, 1))
    reported = [torch.linalg.vector_norm(work.taken.phases[1].norms) for work in (plain, clipped)]
    assert torch.equal(*reported), "the norm that is reported is the one before clipping"


def test_weights_decay_as_in_torch() -> None:
    ours, theirs = (nn.Parameter(torch.linspace(-1, 1, 7)) for _ in range(2))
    adams = make_adam([ours], Adam(weight_decay=0.1), 1e-2), torch.optim.Adam([theirs], 1e-2, (0.5, 0.999), 1e-8, 0.1)
    for step in range(3):
        for weight, adam in zip((ours, theirs), adams, strict=True):
            weight.grad = torch.sin(weight.detach() + step)
            adam.step()
    assert torch.allclose(ours, theirs, atol=1e-7) and Adam().weight_decay == 0


def test_steps_halve_the_learning_rate() -> None:
    stage = Stage(geometry="none", epochs=10, decay="step", decay_every=2.5)
    found = [decay(stage, 4, images) for images in (0, 9, 10, 19, 20, 39)]
    assert found == [1, 1, 0.5, 0.5, 0.25, 0.125]
    tenth = stage.model_copy(update={"decay_factor": 0.1})
    assert decay(tenth, 4, 25) == pytest.approx(0.01)
    linear = Stage(geometry="none", epochs=1, decay_epochs=1)
    assert [decay(linear, 4, images) for images in (0, 4, 6, 8)] == [1, 1, 0.5, 0]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"decay": "step"}, "step needs decay_every"),
        ({"decay": "step", "decay_every": 1, "decay_epochs": 2}, "takes no decay_epochs"),
        ({"decay_every": 1}, "decay_every is not used by decay: linear"),
        ({"decay": "step", "decay_every": 0}, "greater than 0"),
    ],
)
def test_a_decay_that_makes_no_sense_is_refused(given: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Stage(geometry="none", **given)


class Reluctant(Adversarial):
    """Adversarial toy whose generated picture is computed when a phase first reads it.

    Its discriminator may look at true pictures alone.
    """

    def __init__(self, every: int, reads: bool) -> None:
        super().__init__(toy_networks("adversarial"))
        self.made: list[bool] = []
        self.reads_fake = reads
        first, second = self.phases
        self.phases = (first, Phase(second.name, second.trains, second.losses, every=every))

    def forward_shared(self, nets: Nets, batch: Batch, context: StepContext) -> Any:
        source = _sources(batch, context)

        def generate() -> Tensor:
            fake: Tensor = nets["generator"](source)
            self.made.append(fake.requires_grad)
            return fake

        return source, _photos(batch, context), Lazy(context, generate)

    def generated(self, shared: Any) -> dict[str, Tensor]:
        return {"": shared[2].get()} if shared[2].made else {}

    def discriminator_losses(self, nets: Nets, batch: Batch, shared: Any, context: StepContext) -> Losses:
        if self.reads_fake:
            return super().discriminator_losses(nets, batch, Shared(*shared[:2], shared[2].get()), context)
        real = nets["discriminator"](torch.cat([shared[0], shared[1]], 1))
        return {"real": (real - 1).square().mean()}

    def generator_losses(self, nets: Nets, batch: Batch, shared: Any, context: StepContext) -> Losses:
        return super().generator_losses(nets, batch, Shared(*shared[:2], shared[2].get()), context)


def test_a_generator_of_every_other_step_computes_no_graph_between() -> None:
    method = Reluctant(every=2, reads=True)
    work = trained(method, 4)
    assert method.made == [True, False, True, False], "once a step; with a graph only where the generator trains"
    assert set(work.taken.variations) == {""}


def test_a_value_that_no_phase_reads_is_not_computed() -> None:
    method = Reluctant(every=2, reads=False)
    work = trained(method, 4)
    assert method.made == [True, True], "no forward pass on the steps between"
    assert work.taken.variations == {} and [phase.name for phase in work.taken.phases] == ["discriminator"]


@pytest.mark.parametrize("precision", ["fp64", "bf16"])
def test_lazy_values_change_no_number(precision: str) -> None:
    """The discriminator's phase reads first, with the generator's gradients off; the generator's needs the graph."""
    lazy, plain = trained(Reluctant(1, True), 3, precision), trained(with_phases(), 3, precision)
    for name in ("generator", "discriminator"):
        assert torch.equal(weights(lazy, name), weights(plain, name))
    assert lazy.taken.losses.keys() == plain.taken.losses.keys()


def test_the_phase_that_reads_finds_its_gradients_as_they_were() -> None:
    method = Reluctant(1, True)
    seen: list[set[str]] = []
    losses = method.phases[0].losses

    def watched(nets: Nets, batch: Batch, shared: Any, context: StepContext) -> Losses:
        shared[2].get()
        seen.append({name for name, n in method.networks.items() if any(p.requires_grad for p in n.parameters())})
        return losses(nets, batch, shared, context)

    method.phases = (Phase("discriminator", ("discriminator",), watched), method.phases[1])
    trained(method)
    assert seen == [{"discriminator"}]
