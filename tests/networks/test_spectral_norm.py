"""Spectral norm: against the original pass by pass, under autocast, with activation checkpointing, folded."""

import copy
from fractions import Fraction
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hdtrans.networks.blocks import ConvBlock, ConvStack
from hdtrans.networks.initialise import initialise
from hdtrans.networks.kernels.prepacked import prepack
from hdtrans.networks.norm import Norm
from hdtrans.networks.padding import Pad
from hdtrans.networks.spectral_norm import SpectralConv2d, fold_spectral_norm
from tests.golden_files import Golden


def small(seed: int = 0, **changes: Any) -> SpectralConv2d:
    made = SpectralConv2d(**{"channels": 3, "out_channels": 5, "kernel": 3, "padding": 1, **changes})
    initialise(made, "small", seed, gain=1.0)
    return made


def stack(recompute: bool) -> ConvStack:
    """Return three blocks whose convolutions have spectral norm."""
    blocks = [
        ConvBlock(Pad(0, "zero"), SpectralConv2d(4, 4, 3, padding=1), Norm(4, "instance", "leaky_relu"), 1, Fraction(1))
        for _ in range(3)
    ]
    network = ConvStack(blocks, recompute)
    initialise(network, "stack", 0, gain=1.0)
    return network.double()


def test_every_pass_is_the_original_s() -> None:
    golden = Golden("spade", "spectral_norm.npz")
    weight = golden["input/weight_orig"]
    network = SpectralConv2d(weight.shape[1], weight.shape[0], weight.shape[2], padding=1)
    network.load_state_dict(
        {"weight": weight, "bias": golden["input/bias"], "u": golden["input/weight_u"], "v": golden["input/weight_v"]}
    )
    x, worst = golden["input/x"], 0.0
    for number in range(3):
        y = network(x).detach()
        found = {"y": y, "weight": network.divided(network.u, network.v).detach(), "u": network.u, "v": network.v}
        worst = max(worst, *(float((found[k] - golden[f"output/pass{number}_{k}"]).abs().max()) for k in found))
    network(x).square().sum().backward()
    assert network.weight.grad is not None
    gradient = golden["output/gradient_weight_orig"]
    apart = float((network.weight.grad - gradient).abs().max() / gradient.abs().max())
    assert torch.allclose(network.u, golden["output/gradient_u"], atol=1e-6)
    evaluated = network.eval()(x).detach()
    assert float((evaluated - golden["output/eval_y"]).abs().max()) < 1e-5
    assert worst < 1e-5 and apart < 1e-5, (worst, apart)


def test_it_is_the_one_of_torch() -> None:
    ours, plain = small().double(), nn.Conv2d(3, 5, 3, padding=1).double()
    plain.load_state_dict({"weight": ours.weight, "bias": ours.bias})
    theirs = torch.nn.utils.spectral_norm(plain)
    theirs.weight_u.copy_(ours.u)  # type: ignore[operator, union-attr]
    theirs.weight_v.copy_(ours.v)  # type: ignore[operator, union-attr]
    x = torch.randn(2, 3, 6, 7, dtype=torch.float64)
    for _ in range(4):
        a, b = ours(x), theirs(x)
        assert torch.allclose(a, b, rtol=0, atol=1e-12)
    a.square().sum().backward()
    b.square().sum().backward()
    assert torch.allclose(ours.weight.grad, theirs.weight_orig.grad, rtol=0, atol=1e-11)  # type: ignore[union-attr, arg-type]


def test_passes_before_one_backward_pass_each_keep_their_vectors() -> None:
    network, x = small().double(), torch.randn(1, 3, 5, 5, dtype=torch.float64)
    copies = [copy.deepcopy(network)]
    copies[0](x)
    copies.append(copy.deepcopy(copies[0]))
    sum(network(x).square().sum() for _ in range(2)).backward()  # type: ignore[union-attr]
    wanted = torch.zeros_like(network.weight)
    for start in (small().double(), copies[0]):
        start.zero_grad()
        start(x).square().sum().backward()
        assert start.weight.grad is not None
        wanted += start.weight.grad
    assert network.weight.grad is not None
    assert torch.allclose(network.weight.grad, wanted, rtol=0, atol=1e-12)


def test_half_precision_iterates_in_float32() -> None:
    exact, half, x = small(), small(), torch.randn(2, 3, 8, 8)
    for _ in range(3):
        a = exact(x)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            b = half(x)
    assert b.dtype == torch.bfloat16 and half.u.dtype == half.v.dtype == torch.float32
    assert torch.equal(exact.u, half.u) and torch.equal(exact.v, half.v)
    assert torch.allclose(a, b.float(), atol=0.05)


def results(network: ConvStack, passes: int) -> list[Tensor]:
    """Return outputs, gradients and vectors after some passes and one backward pass."""
    x = torch.linspace(-1, 1, 4 * 36, dtype=torch.float64).view(1, 4, 6, 6)
    outputs = [network(x + n) for n in range(passes)]
    sum(y.square().sin().sum() for y in outputs).backward()  # type: ignore[union-attr]
    gradients = [p.grad for p in network.parameters() if p.grad is not None]
    return [*outputs, *gradients, *network.buffers()]


@pytest.mark.parametrize("passes", [1, 2])
def test_recomputing_repeats_its_own_pass_and_iterates_nothing(passes: int) -> None:
    for kept, again in zip(results(stack(False), passes), results(stack(True), passes), strict=True):
        assert torch.equal(kept, again)


def test_recomputing_twice_is_the_same() -> None:
    network, x = stack(True), torch.randn(1, 4, 6, 6, dtype=torch.float64, requires_grad=True)
    y = network(x).sum()
    first, second = (torch.autograd.grad(y, x, retain_graph=True)[0] for _ in range(2))
    assert torch.equal(first, second)


def test_evaluation_iterates_nothing() -> None:
    network = small().eval()
    before = network.u.clone()
    network(torch.randn(1, 3, 4, 4))
    assert torch.equal(network.u, before)


def test_folding_leaves_plain_convolutions_of_the_same_output() -> None:
    network, x = stack(False), torch.randn(1, 4, 6, 6, dtype=torch.float64)
    network(x)
    wanted = network.eval()(x)
    keys = set(network.state_dict())
    folded = fold_spectral_norm(network)
    assert folded is network and not any(isinstance(m, SpectralConv2d) for m in network.modules())
    assert {key for key in keys if key[-2:] not in (".u", ".v")} == set(network.state_dict())
    assert torch.allclose(network(x), wanted, rtol=0, atol=1e-12)
    alone = small()
    plain = fold_spectral_norm(alone)
    assert type(plain) is nn.Conv2d
    assert torch.allclose(plain(x[:, :3].float()), alone.eval()(x[:, :3].float()), atol=1e-6)


def test_folding_may_iterate_to_the_largest_singular_value() -> None:
    plain = fold_spectral_norm(small(), iterations=200)
    assert isinstance(plain, nn.Conv2d)
    assert abs(float(torch.linalg.matrix_norm(plain.weight.detach().flatten(1), 2)) - 1) < 1e-4
    with torch.device("meta"):
        assert fold_spectral_norm(SpectralConv2d(3, 5, 3)).get_parameter("weight").is_meta


def test_initial_vectors_follow_from_seed_and_name() -> None:
    a, b, other = small(), small(), small(1)
    assert torch.equal(a.u, b.u) and torch.equal(a.v, b.v) and not torch.equal(a.u, other.u)
    assert abs(float(F.normalize(a.u, dim=0).norm()) - 1) < 1e-6 and abs(float(a.v.norm()) - 1) < 1e-6
    assert set(a.state_dict()) == {"weight", "bias", "u", "v"}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_prepacking_folds_first(dtype: torch.dtype) -> None:
    network, x = stack(False).float().eval(), torch.randn(1, 4, 6, 6)
    with torch.inference_mode():
        wanted = network(x)
        prepack(network, dtype)
        assert not any(isinstance(m, SpectralConv2d) for m in network.modules())
        assert torch.allclose(network(x.to(dtype)).float(), wanted, atol=1e-5 if dtype == torch.float32 else 0.1)
