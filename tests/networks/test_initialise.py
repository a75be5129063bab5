"""Initial weights: from seed and name alone, with the deviations of their papers."""

import hashlib
import math

import pytest
import torch
from torch import nn

from hdtrans.networks.blocks import ResidualBlock
from hdtrans.networks.compat import fans
from hdtrans.networks.initialise import Weights, initialise
from hdtrans.networks.modulation import ClassModulation, SpadeModulation
from hdtrans.networks.norm import Norm


def test_the_default_is_what_it_was() -> None:
    """Recorded before there was a choice."""
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ConvTranspose2d(4, 2, 3), nn.Conv2d(2, 2, 1))
    found = []
    for zero_biases in (False, True):
        initialise(network, "recorded", 7, zero_biases)
        digest = hashlib.sha256()
        for parameter in network.parameters():
            digest.update(parameter.detach().numpy().tobytes())
        found.append(digest.hexdigest()[:16])
    assert found == RECORDED


RECORDED = ["ef8392c4a688d207", "2691d3e4b103b28a"]


@pytest.mark.parametrize("weights", ["normal", "kaiming", "xavier"])
@pytest.mark.parametrize("layer", [nn.Conv2d(64, 96, 3), nn.ConvTranspose2d(48, 80, 4), nn.Linear(300, 200)])
def test_weights_have_the_deviation_asked_for(layer: nn.Module, weights: Weights) -> None:
    initialise(layer, "layer", 0, zero_biases=True, weights=weights)
    weight = layer.get_parameter("weight")
    fan_in, fan_out = fans(weight)
    wanted = {"normal": 0.02, "kaiming": math.sqrt(2 / fan_in), "xavier": 0.02 * math.sqrt(2 / (fan_in + fan_out))}
    assert abs(float(weight.detach().std()) / wanted[weights] - 1) < 0.02
    assert abs(float(weight.detach().mean())) < 0.05 * wanted[weights]
    assert not layer.get_parameter("bias").any()
    initialise(layer, "layer", 0, weights=weights, gain=2 * wanted["normal"])
    bias = layer.get_parameter("bias").detach()
    assert 0.9 < float(bias.abs().max()) * math.sqrt(fan_in) <= 1, "uniform in +-1/sqrt(fan in)"
    wider = float(weight.detach().std())
    initialise(layer, "layer", 0, weights=weights, gain=wanted["normal"])
    assert abs(wider / float(weight.detach().std()) - 2) < 0.01


def test_two_layers_computed_as_one_are_drawn_as_two() -> None:
    modulation = SpadeModulation(64, 5, 32)
    initialise(modulation, "spade", 0, weights="xavier", gain=1.0)
    found = float(modulation.affine.weight.detach().std())
    assert abs(found / math.sqrt(2 / (9 * 32 + 9 * 64)) - 1) < 0.03


def test_tables_and_scales_of_norms_follow_from_the_seed() -> None:
    def made() -> nn.Module:
        return nn.Sequential(ClassModulation(40, 30), Norm(500, "layer_deviation", "none"), Norm(4, "layer", "none"))

    one, other = made(), made()
    initialise(one, "norms", 3)
    initialise(other, "norms", 3)
    for a, b in zip(one.parameters(), other.parameters(), strict=True):
        assert torch.equal(a, b)
    table, bias, scale, shift, plain, _ = (p.detach() for p in one.parameters())
    assert 0 <= float(table.min()) < 0.01 and 0.99 < float(table.max()) < 1 and not bias.any()
    assert 0 <= float(scale.min()) < 0.02 and 0.98 < float(scale.max()) < 1 and not shift.any()
    assert plain.eq(1).all()


def test_another_name_or_seed_gives_other_weights() -> None:
    def drawn(name: str, seed: int) -> torch.Tensor:
        block = ResidualBlock(3, "instance")
        initialise(block, name, seed)
        return torch.cat([p.detach().flatten() for p in block.parameters()])

    assert torch.equal(drawn("a", 1), drawn("a", 1))
    assert not torch.equal(drawn("a", 1), drawn("b", 1)) and not torch.equal(drawn("a", 1), drawn("a", 2))
