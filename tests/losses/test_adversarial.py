"""The adversarial losses against numbers worked out by hand."""

import math

import pytest
import torch

from hdtrans.losses.adversarial import (
    AdversarialKind,
    fake_loss,
    full_precision,
    generator_loss,
    gradient_penalty,
    real_loss,
)

# One discriminator sees four patches, another a single one.
PREDICTIONS = [torch.tensor([[[[0.0, 2.0], [-1.0, 0.5]]]]), torch.tensor([[[[3.0]]]])]


def softplus(x: float) -> float:
    return math.log(1 + math.exp(x))


@pytest.mark.parametrize(
    ("kind", "generator", "real", "fake"),
    [
        # (1 + 1 + 4 + 0.25) / 4 + 4; the generator wants what true pictures get; (0 + 4 + 1 + 0.25) / 4 + 9
        ("lsgan", 5.5625, 5.5625, 10.3125),
        # -(0 + 2 - 1 + 0.5) / 4 - 3; (1 + 0 + 2 + 0.5) / 4 + 0; (1 + 3 + 0 + 1.5) / 4 + 4
        ("hinge", -3.375, 0.875, 5.375),
        (
            "vanilla",
            (softplus(0) + softplus(-2) + softplus(1) + softplus(-0.5)) / 4 + softplus(-3),
            (softplus(0) + softplus(-2) + softplus(1) + softplus(-0.5)) / 4 + softplus(-3),
            (softplus(0) + softplus(2) + softplus(-1) + softplus(0.5)) / 4 + softplus(3),
        ),
    ],
)
def test_values(kind: AdversarialKind, generator: float, real: float, fake: float) -> None:
    assert float(generator_loss(kind, PREDICTIONS)) == pytest.approx(generator, abs=1e-6)
    assert float(real_loss(kind, PREDICTIONS)) == pytest.approx(real, abs=1e-6)
    assert float(fake_loss(kind, PREDICTIONS)) == pytest.approx(fake, abs=1e-6)


@pytest.mark.parametrize("kind", ["lsgan", "hinge", "vanilla"])
@pytest.mark.parametrize("loss", [generator_loss, real_loss, fake_loss])
def test_half_precision_is_summed_in_full(kind: AdversarialKind, loss: object) -> None:
    assert callable(loss)
    predictions = [torch.full((1, 1, 512, 512), 300.0, dtype=torch.float16)]  # squares overflow in fp16
    value = loss(kind, predictions)
    assert value.dtype == torch.float32
    assert torch.isfinite(value)


def test_double_precision_stays() -> None:
    assert full_precision(torch.zeros(1, dtype=torch.float64)).dtype == torch.float64
    assert full_precision(torch.zeros(1, dtype=torch.bfloat16)).dtype == torch.float32


@pytest.mark.parametrize("kind", ["lsgan", "hinge", "vanilla"])
def test_the_slopes_point_the_right_way(kind: AdversarialKind) -> None:
    prediction = torch.tensor([0.3], requires_grad=True)
    for loss, sign in ((generator_loss, -1), (real_loss, -1), (fake_loss, 1)):
        (slope,) = torch.autograd.grad(loss(kind, [prediction]), prediction)
        assert slope.sign().item() == sign


def test_a_critic_s_values_are_compared_as_they_are() -> None:
    """The Wasserstein loss: the critic's mean on generated pictures minus that on true ones."""
    assert float(generator_loss("wgangp", PREDICTIONS)) == pytest.approx(-0.375 - 3)
    assert float(real_loss("wgangp", PREDICTIONS)) == pytest.approx(-0.375 - 3)
    assert float(fake_loss("wgangp", PREDICTIONS)) == pytest.approx(0.375 + 3)


def test_the_penalty_of_a_linear_critic_is_known() -> None:
    """Four patches, each three times its pixel: their mean has the slope 3/4 at each pixel, and the norm 1.5."""
    real, fake = torch.zeros(2, 1, 2, 2), torch.ones(2, 1, 2, 2)
    penalty = gradient_penalty(lambda x: 3 * x, real, fake, torch.tensor([0.2, 0.9]))
    assert float(penalty.detach()) == pytest.approx(0.25)


def test_the_penalty_is_taken_between_the_pictures_and_moves_the_critic_alone() -> None:
    real = torch.full((2, 1, 1, 1), 2.0)
    fake = torch.full((2, 1, 1, 1), 6.0, requires_grad=True)
    seen = []
    weight, bias = torch.tensor(0.5, requires_grad=True), torch.tensor(0.0, requires_grad=True)

    def critic(x: torch.Tensor) -> torch.Tensor:
        seen.append(x.detach().flatten().tolist())
        return weight * x.square() / 2 + bias

    penalty = gradient_penalty(critic, real, fake, torch.tensor([0.0, 0.5]))
    assert seen == [[2.0, 4.0]]
    assert float(penalty.detach()) == pytest.approx((0.0 + 1.0) / 2)  # slopes 1 and 2
    penalty.backward()
    assert fake.grad is None
    assert weight.grad is not None and float(weight.grad) == pytest.approx((0 + 2 * 4) / 2)
    assert bias.grad is not None and float(bias.grad) == 0, "every parameter has a gradient"
