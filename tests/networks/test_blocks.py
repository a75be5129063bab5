"""Padding, normalisation and the pieces made of them, against torch's own and by hand."""

from fractions import Fraction

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from hdtrans.networks.blocks import ConvBlock, ResidualBlock, down, same, up
from hdtrans.networks.condition import boundaries, pad_to_stride
from hdtrans.networks.context import ForwardContext
from hdtrans.networks.discriminators import PatchDiscriminator, multiscale
from hdtrans.networks.generators import Head, Trunk, halve, networks_for
from hdtrans.networks.norm import Norm, NormKind
from hdtrans.networks.padding import Pad


@pytest.mark.parametrize("size", [1, 2, 3])
@pytest.mark.parametrize("shape", [(1, 2, 4, 4), (2, 3, 5, 9), (2, 1, 7, 4)])
def test_padding_from_slices_is_reflection(size: int, shape: tuple[int, ...]) -> None:
    x = torch.rand(shape, dtype=torch.float64, requires_grad=True)
    pad = Pad(size, "reflect")
    direct, sliced = F.pad(x, (size,) * 4, mode="reflect"), pad._from_slices(pad._from_slices(x, -1), -2)
    assert torch.equal(pad(x), direct)
    assert torch.equal(sliced, direct)
    weight = torch.rand_like(direct)
    gradients = [torch.autograd.grad((padded * weight).sum(), x)[0] for padded in (direct, sliced)]
    assert torch.allclose(*gradients, rtol=0, atol=1e-12)


def test_padding_with_zeros_and_with_nothing() -> None:
    x = torch.ones(1, 1, 2, 3)
    assert Pad(1, "zero")(x).sum() == 6
    assert Pad(1, "zero")(x).shape == (1, 1, 4, 5)
    assert Pad(0, "reflect")(x) is x


ACTIVATIONS = {
    "relu": F.relu,
    "leaky_relu": lambda x: F.leaky_relu(x, 0.2),
    "tanh": torch.tanh,
    "none": lambda x: x,
}


@pytest.mark.parametrize("activation", list(ACTIVATIONS))
@pytest.mark.parametrize("kind", ["instance", "batch", "none"])
def test_norm_by_hand(kind: NormKind, activation: str) -> None:
    x = torch.rand(3, 2, 5, 4, dtype=torch.float64) * 5 - 2
    norm = Norm(2, kind, activation).double()  # type: ignore[arg-type]
    dims = {"instance": (2, 3), "batch": (0, 2, 3), "none": ()}[kind]
    wanted = x
    if kind != "none":
        wanted = (x - x.mean(dims, keepdim=True)) / (x.var(dims, keepdim=True, correction=0) + 1e-5).sqrt()
    assert torch.allclose(norm(x.clone()), ACTIVATIONS[activation](wanted), atol=1e-12)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float32, 2e-6), (torch.bfloat16, 0.017), (torch.float16, 0.0021)]
)
@pytest.mark.parametrize("batch", [1, 3])
def test_the_fast_instance_norms_are_instance_norm(
    dtype: torch.dtype, tolerance: float, batch: int, layout: torch.memory_format
) -> None:
    """Against a formula in double precision, forth and back, at a mean three times the deviation.

    Half precision may round the result (by half a unit in the last place of 4), but neither mean nor variance. torch's
    own instance norm is no judge of gradients: see `Norm`.
    """
    torch.manual_seed(0)
    x = (torch.randn(batch, 8, 24, 40) + 3).to(dtype).to(memory_format=layout).requires_grad_()
    weight = torch.randn(batch, 8, 24, 40).to(dtype).to(memory_format=layout)
    exact = x.detach().double().contiguous().requires_grad_()
    mean, variance = exact.mean((2, 3), keepdim=True), exact.var((2, 3), keepdim=True, correction=0)
    found, wanted = Norm(8, "instance", "none")(x), (exact - mean) / (variance + 1e-5).sqrt()
    assert found.dtype == dtype
    assert dtype == torch.float32 or found.is_contiguous(memory_format=layout)
    assert (found - wanted).abs().max() < tolerance
    assert (found - wanted).mean((2, 3)).abs().max() < tolerance / 3
    found.backward(weight)
    wanted.backward(weight.double().contiguous())
    assert x.grad is not None and exact.grad is not None
    assert (x.grad - exact.grad).abs().max() < tolerance * exact.grad.abs().max()


@pytest.mark.parametrize("kind", ["instance", "batch"])
def test_norm_with_statistics_handed_in_equals_its_own(kind: NormKind) -> None:
    x = torch.rand(3, 2, 5, 4, dtype=torch.float64) * 5 - 2
    norm = Norm(2, kind, "leaky_relu").double()
    if norm.batch is not None:
        torch.nn.init.uniform_(norm.batch.weight)
        torch.nn.init.uniform_(norm.batch.bias)
    dims = (2, 3) if kind == "instance" else (0, 2, 3)
    mean, variance = x.mean(dims, keepdim=True), x.var(dims, keepdim=True, correction=0)
    assert torch.allclose(norm(x, ForwardContext((mean, variance))), norm(x), atol=1e-12)
    half = norm(x[:, :, :3], ForwardContext((mean, variance)))
    assert torch.allclose(half, norm(x)[:, :, :3], atol=1e-12), "a tile by the statistics of the whole"


@pytest.mark.parametrize(
    ("segment", "scale"),
    [
        (same(2, 3, 7, "instance", "relu"), Fraction(1)),
        (same(2, 3, 3, "none", "tanh"), Fraction(1)),
        (down(2, 3, "instance"), Fraction(1, 2)),
        (up(2, 3, "instance", "deconv"), Fraction(2)),
        (up(2, 3, "instance", "resize"), Fraction(2)),
    ],
)
def test_segments_say_how_far_they_see_and_scale(segment: ConvBlock, scale: Fraction) -> None:
    """Outside the halo of a pixel nothing changes it, but for the norm, which is left out here."""
    segment.norm.kind = "none"
    x = torch.rand(1, 2, 24, 24)
    y = segment(x.clone())
    assert segment.scale == scale
    assert y.shape == (1, 3, 24 * scale, 24 * scale)
    for place in (8, 11, 12):
        other = x.clone()
        other[:, :, place, :] += 1
        rows = (segment(other) != y).any(dim=(0, 1, 3)).nonzero()[:, 0]
        reached = rows.to(torch.float64) / float(scale)
        assert float((reached - place).abs().max()) <= segment.halo + 0.5
        if segment.halo == 3:
            assert rows.tolist() == list(range(place - 3, place + 4))


def test_residual_blocks_add_to_what_comes_in() -> None:
    block = ResidualBlock(4, "instance")
    x = torch.rand(2, 4, 8, 8)
    kept = x.clone()
    assert torch.equal(block(x), kept + block.second(block.first(kept)))
    assert torch.equal(x, kept), "the activations in place do not reach the input"
    assert block(x).min() < 0 or block(x - 5).min() < 0, "no activation after the sum"


@pytest.mark.parametrize("recompute", [False, True])
def test_the_input_of_a_network_is_left_as_it_is(recompute: bool) -> None:
    x = torch.rand(1, 3, 16, 16)
    kept = x.clone()
    Head(4)(Trunk(3, 4, 2, 1, recompute=recompute)(x)).sum().backward()
    PatchDiscriminator(3, 4, 2)(x)
    PatchDiscriminator(3, 4, 2, "none")(x)
    assert torch.equal(x, kept)


def test_discriminator_features_are_not_changed_by_the_next_layer() -> None:
    network = PatchDiscriminator(3, 4, 2)
    features = network(torch.rand(2, 3, 32, 32))
    assert [tuple(f.shape[1:]) for f in features] == [(4, 17, 17), (8, 9, 9), (16, 10, 10), (1, 11, 11)]
    for x, segment, y in zip(features, list(network.segments)[1:], features[1:], strict=False):
        assert torch.equal(segment(x), y)


def test_scales_see_halves() -> None:
    networks = {f"discriminator{n}": PatchDiscriminator(3, 4, 1) for n in range(3)}
    x = torch.rand(1, 3, 37, 50)
    outputs = multiscale(networks, range(3), x)
    for features, name, picture in zip(
        outputs, ("discriminator2", "discriminator1", "discriminator0"), (x, halve(x), halve(halve(x))), strict=True
    ):
        assert all(torch.equal(a, b) for a, b in zip(features, networks[name](picture), strict=True))
    skipped = multiscale(networks, (0, 2), x)
    assert torch.equal(skipped[1][-1], outputs[2][-1])
    assert len(skipped) == 2
    finest_alone = multiscale(networks, (1,), x)
    assert torch.equal(finest_alone[0][-1], networks["discriminator1"](x)[-1]), (
        "the finest of the stage sees the full size"
    )


def test_halving_leaves_the_padding_out_of_the_mean() -> None:
    x = torch.arange(9.0).view(1, 1, 3, 3)
    assert halve(x).flatten().tolist() == [2.0, 3.0, 5.0, 6.0]
    assert halve(torch.ones(1, 1, 5, 5)).eq(1).all()


def test_names_of_the_networks_of_a_picture() -> None:
    assert networks_for("head", 2) == ["trunk", "head"]
    assert networks_for("enhancer1", 1) == ["trunk", "enhancer1"]
    assert networks_for("enhancer1", 2) == ["trunk", "enhancer1", "enhancer1_head"]
    assert networks_for("enhancer2", 2) == ["trunk", "enhancer1", "enhancer2"]


def test_boundaries_mark_both_sides() -> None:
    ids = torch.tensor([[[1, 1, 2], [1, 1, 2], [3, 3, 3]]], dtype=torch.int32)
    wanted = [[False, True, True], [True, True, True], [True, True, True]]
    assert boundaries(ids)[0].tolist() == wanted
    assert not boundaries(torch.full((2, 4, 4), 2**31 - 1, dtype=torch.int32)).any()


@pytest.mark.parametrize(
    ("size", "stride", "padded"),
    [((16, 16), 8, (16, 16)), ((17, 8), 8, (24, 16)), ((1, 1), 4, (8, 8)), ((70, 131), 32, (96, 160))],
)
def test_padding_to_the_stride_repeats_the_edge(size: tuple[int, int], stride: int, padded: tuple[int, int]) -> None:
    x = torch.randint(0, 2**31 - 1, (1, *size), dtype=torch.int32)
    y: Tensor = pad_to_stride(x, stride)
    assert y.shape[1:] == padded
    assert y.dtype == torch.int32
    assert torch.equal(y[:, : size[0], : size[1]], x)
    assert (y[:, size[0] :, : size[1]] == x[:, -1:, :]).all()
    assert (y[:, :, size[1] :] == y[:, :, size[1] - 1 : size[1]]).all()


def test_exported_statistics_are_exact_enough_row_by_row() -> None:
    """An exported graph computes instance norm in other steps."""
    x = torch.rand(2, 3, 40, 50) * 1e-2 + 3
    norm = Norm(3, "instance", "none")
    program = torch.export.export(norm, (x,))
    assert not any("instance_norm" in str(node.target) for node in program.graph.nodes)
    wanted = F.instance_norm(x.double())
    assert float((program.module()(x) - wanted).abs().max()) < 1e-3
