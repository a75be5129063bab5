"""The choice of padding for every block, and each kind's own gradient from slices."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hdtrans.networks.blocks import ResidualBlock, ResizeConvolution, down, same, up
from hdtrans.networks.discriminators import PatchDiscriminator
from hdtrans.networks.padding import Pad, PaddingKind

KINDS: tuple[PaddingKind, ...] = ("reflect", "zero", "replicate")
MODES = {"reflect": "reflect", "zero": "constant", "replicate": "replicate"}


@pytest.mark.parametrize("size", [1, 3])
def test_replication_from_slices_is_replication(size: int) -> None:
    x = torch.rand(2, 3, 5, 4, dtype=torch.float64, requires_grad=True)
    pad = Pad(size, "replicate")
    direct, sliced = pad(x), pad._from_slices(pad._from_slices(x, -1), -2)
    assert torch.equal(direct, F.pad(x, (size,) * 4, mode="replicate")) and torch.equal(direct, sliced)
    weight = torch.rand_like(direct)
    gradients = [torch.autograd.grad((padded * weight).sum(), x)[0] for padded in (direct, sliced)]
    assert torch.allclose(*gradients, rtol=0, atol=1e-12)


def padded(x: Tensor, size: int, kind: str) -> Tensor:
    return F.pad(x, (size,) * 4, mode=MODES[kind])


@pytest.mark.parametrize("kind", KINDS)
def test_every_block_pads_as_it_is_told(kind: PaddingKind) -> None:
    x = torch.rand(1, 2, 8, 10)
    seven, halving = same(2, 3, 7, "none", "none", padding=kind), down(2, 3, "none", padding=kind)
    doubling, resize = up(2, 3, "none", "resize", padding=kind), ResizeConvolution(2, 3, padding=kind, kernel=5)
    block = ResidualBlock(2, "none", padding=kind)

    def convolved(x: Tensor, layer: Any, stride: int = 1) -> Tensor:
        return F.conv2d(padded(x, layer.kernel_size[0] // 2, kind), layer.weight, layer.bias, stride)

    twice = F.interpolate(x, scale_factor=2, mode="nearest")
    inner = F.relu(convolved(x, block.first.convolution))
    for found, wanted in (
        (seven(x), convolved(x, seven.convolution)),
        (halving(x), F.relu(convolved(x, halving.convolution, 2))),
        (doubling(x), F.relu(convolved(twice, doubling.convolution.convolution))),
        (resize(x), convolved(twice, resize.convolution)),
        (block(x), x + convolved(inner, block.second.convolution)),
    ):
        assert found.shape == wanted.shape and torch.allclose(found, wanted, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_a_discriminator_pads_as_it_is_told(kind: PaddingKind) -> None:
    network, x = PatchDiscriminator(3, 4, 2, padding=1, padding_kind=kind), torch.rand(1, 3, 20, 24)
    first = network.segments[0].convolution
    assert isinstance(first, nn.Conv2d)
    wanted = F.leaky_relu(F.conv2d(padded(x, 1, kind), first.weight, first.bias, 2), 0.2)
    assert torch.allclose(network(x)[0], wanted, atol=1e-6)
    assert {k for k, _ in network.named_parameters()} == {
        k for k, _ in PatchDiscriminator(3, 4, 2, padding=1).named_parameters()
    }
