"""Checks of the fused instance norm where Triton computes; run by test_fused_norm.py.

In Triton's interpreter that is the CPU, else a GPU. The interpreter takes milliseconds for each program, so what goes
in is tiny.
"""

import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from hdtrans.common.planned import as_on_gpu
from hdtrans.losses.adversarial import gradient_penalty
from hdtrans.networks import norm, padding
from hdtrans.networks.blocks import ConvStack, ResidualBlock
from hdtrans.networks.context import ForwardContext
from hdtrans.networks.discriminators import PatchDiscriminator
from hdtrans.networks.dropout import Dropout
from hdtrans.networks.kernels import fused_norm_kernels
from hdtrans.networks.kernels.fused import suits, triton_works
from hdtrans.networks.kernels.fused_norm import fused_instance_norm
from hdtrans.networks.norm import Norm

DEVICE = "cpu" if os.environ.get("TRITON_INTERPRET") == "1" else "cuda"
TYPES = [torch.float64, torch.float32, torch.bfloat16, torch.float16]
EXACT = {torch.float64: 1e-12}  # else 4e-6, besides the rounding of what comes out
# Half a unit in the last place, relative; the interpreter cuts bfloat16 off, which is up to a whole one.
ROUNDING = {torch.bfloat16: (0.51 if DEVICE == "cuda" else 1.01) * 2**-7, torch.float16: 0.51 * 2**-10}


@pytest.fixture(autouse=True)
def _same_numbers() -> None:
    torch.manual_seed(0)


def exact_norm(x: Tensor, activation: str, residual: Tensor | None = None) -> Tensor:
    """Return the norm by its formula, in the type of x."""
    centred = x - x.mean((2, 3), keepdim=True)
    y = centred / (centred.square().mean((2, 3), keepdim=True) + 1e-5).sqrt()
    y = {"none": lambda y: y, "relu": F.relu, "leaky_relu": lambda y: F.leaky_relu(y, 0.2)}[activation](y)
    return y if residual is None else residual + y


def pictures(shape: tuple[int, ...], dtype: torch.dtype, shift: float = 3) -> Tensor:
    """Return random pictures, channels-last, that want a gradient."""
    x = (torch.randn(shape, dtype=torch.float64) * 2 + shift).to(DEVICE, dtype)
    return x.to(memory_format=torch.channels_last).requires_grad_()


def check(shape: tuple[int, ...], dtype: torch.dtype, activation: Any, adds: bool) -> None:
    """Compare with the formula in float64, forth and back."""
    x, residual = pictures(shape, dtype), pictures(shape, dtype, 0) if adds else None
    given = [x] if residual is None else [x, residual]
    exact = [t.detach().double().requires_grad_() for t in given]
    found, wanted = fused_instance_norm(x, activation, residual), exact_norm(exact[0], activation, *exact[1:])
    weight = torch.randn_like(found)
    of_found = torch.autograd.grad(found, given, weight)
    of_wanted = torch.autograd.grad(wanted, exact, weight.double())
    assert found.dtype == dtype
    assert found.is_contiguous(memory_format=torch.channels_last)
    for a, b in zip((found, *of_found), (wanted, *of_wanted), strict=True):
        torch.testing.assert_close(a.double(), b, rtol=ROUNDING.get(dtype, 0.0), atol=EXACT.get(dtype, 4e-6))


@pytest.mark.parametrize("activation", ["none", "relu", "leaky_relu"])
@pytest.mark.parametrize("dtype", TYPES)
def test_it_is_the_formula(dtype: torch.dtype, activation: str) -> None:
    check((2, 5, 7, 3), dtype, activation, activation == "none")


@pytest.mark.parametrize("shape", [(1, 1, 1, 2), (3, 3, 2, 1), (1, 70, 5, 9), (2, 64, 4, 8), (1, 16, 1, 5)])
def test_odd_sizes(shape: tuple[int, ...]) -> None:
    check(shape, torch.float32, "relu", True)


@pytest.mark.parametrize("programs", [1, 2, 3])
def test_a_program_goes_down_several_tiles(monkeypatch: pytest.MonkeyPatch, programs: int) -> None:
    """130 pixels of 64 channels are 5 tiles, the last of them of 2 pixels, in chunks of 5, 3 and 2 tiles."""
    monkeypatch.setattr(fused_norm_kernels, "PROGRAMS", programs)
    assert fused_norm_kernels.plan(1, 64, 130, programs).grid[0] == programs
    check((1, 64, 10, 13), torch.float32, "leaky_relu", False)
    check((1, 64, 10, 13), torch.float64, "relu", False)


def test_plans_cover_every_pixel_with_few_enough_programs() -> None:
    """From 32x16 pixels of 1024 channels to 2048x1024 of 32, and batches of many."""
    for batch, channels, pixels in [(1, 1024, 512), (1, 32, 2**21), (8, 64, 2**21), (64, 2048, 2**14), (1, 1, 2)]:
        at = fused_norm_kernels.plan(batch, channels, pixels, fused_norm_kernels.PROGRAMS)
        splits, blocks, _ = at.grid
        assert splits <= fused_norm_kernels.PROGRAMS
        assert at.chunk % at.rows == 0
        assert (splits - 1) * at.chunk < pixels <= splits * at.chunk
        assert channels <= blocks * at.columns
        assert splits * blocks >= min(fused_norm_kernels.PROGRAMS, channels * pixels // 2048) // 2


@pytest.mark.parametrize("kind", ["far from zero", "the first pixel apart", "a ramp"])
def test_statistics_survive_a_large_mean(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """In float32 the mean of the squares less the square of the mean is off by several percent here."""
    monkeypatch.setattr(fused_norm_kernels, "PROGRAMS", 3)
    x = torch.randn(1, 64, 16, 20) + 1000
    if kind == "the first pixel apart":
        x[:, :, 0, 0] = 0
    if kind == "a ramp":
        x += torch.linspace(0, 10, 320).view(16, 20)
    x = x.to(DEVICE)
    assert (fused_instance_norm(x).double() - exact_norm(x.double(), "none")).abs().max() < 2e-4


def test_the_half_types_compute_in_float32() -> None:
    """A spread of some units in the last place at 256 is normalised as if it were exact."""
    x = (torch.randint(0, 4, (1, 4, 8, 8)) * 2 + 256).to(DEVICE, torch.bfloat16)
    wanted = exact_norm(x.double(), "none")
    torch.testing.assert_close(fused_instance_norm(x).double(), wanted, rtol=ROUNDING[x.dtype], atol=4e-6)


def layouts(x: Tensor) -> Iterator[Tensor]:
    """Yield the same pictures, as they may lie."""
    yield x.contiguous()
    yield F.pad(x, (1, 1, 1, 1))[:, :, 1:-1, 1:-1]
    yield x.contiguous().transpose(2, 3).contiguous().transpose(2, 3)
    yield torch.cat([x, x], 1).to(memory_format=torch.channels_last)[:, : x.shape[1]]


def test_any_layout_gives_the_same_bits() -> None:
    x, residual = pictures((2, 6, 5, 4), torch.float32), pictures((2, 6, 5, 4), torch.float32)
    wanted = fused_instance_norm(x, "relu", residual)
    (slope,) = torch.autograd.grad(wanted.sum(), x)  # the gradient that comes in is one number, expanded
    for each, other in zip(layouts(x.detach()), layouts(residual.detach()), strict=True):
        each = each.requires_grad_()
        found = fused_instance_norm(each, "relu", other)
        assert torch.equal(found, wanted)
        assert found.stride() == wanted.stride()
        assert torch.equal(torch.autograd.grad(found.sum(), each)[0], slope)


def test_every_value_is_written_and_twice_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is left of the NaN with which torch fills new memory here."""
    monkeypatch.setattr(fused_norm_kernels, "PROGRAMS", 2)
    x = pictures((2, 67, 5, 9), torch.float32)
    y = fused_instance_norm(x, "relu")
    weight = torch.randn_like(y)
    first = [y, *torch.autograd.grad(y, x, weight)]
    torch.use_deterministic_algorithms(True)
    try:
        assert torch.empty(3, device=DEVICE).isnan().all()
        y = fused_instance_norm(x, "relu")
        second = [y, *torch.autograd.grad(y, x, weight)]
    finally:
        torch.use_deterministic_algorithms(False)
    for a, b in zip(first, second, strict=True):
        assert torch.equal(a, b)


def test_a_picture_is_the_same_alone_as_in_a_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fused_norm_kernels, "PROGRAMS", 3)
    x = pictures((3, 64, 10, 13), torch.float32)
    y = fused_instance_norm(x, "relu")
    weight = torch.randn_like(y)
    (slope,) = torch.autograd.grad(y, x, weight)
    alone = x.detach()[1:2].requires_grad_()
    found = fused_instance_norm(alone, "relu")
    assert torch.equal(found, y[1:2])
    assert torch.equal(torch.autograd.grad(found, alone, weight[1:2])[0], slope[1:2])


def test_nan_is_told_and_stays_in_its_channel() -> None:
    """The search for steps that are not finite relies on it."""
    x = torch.randn(2, 3, 4, 5, device=DEVICE)
    x[1, 2, 0, 0] = torch.nan
    for activation in ("none", "relu", "leaky_relu"):
        found = fused_instance_norm(x, activation).isnan().flatten(2)  # type: ignore[arg-type]
        assert torch.equal(found.all(2), found.any(2))
        assert found.any(2).nonzero().tolist() == [[1, 2]]


def test_only_what_wants_a_gradient_gets_one() -> None:
    x, residual = pictures((1, 4, 3, 3), torch.float32), pictures((1, 4, 3, 3), torch.float32)
    fused_instance_norm(x.detach(), "none", residual).sum().backward()
    assert residual.grad is not None
    assert residual.grad.eq(1).all()
    fused_instance_norm(x, "none", residual.detach()).square().sum().backward()
    assert x.grad is not None
    assert not fused_instance_norm(x.detach(), "none", residual.detach()).requires_grad


def test_a_residual_of_another_type_is_added_in_the_wider() -> None:
    x, residual = pictures((1, 4, 3, 3), torch.bfloat16), pictures((1, 4, 3, 3), torch.float32)
    y = fused_instance_norm(x, "none", residual)
    assert y.dtype == torch.float32
    assert torch.equal(y, residual + fused_instance_norm(x))


@pytest.mark.slow
@pytest.mark.parametrize("activation", ["none", "relu", "leaky_relu"])
def test_first_and_second_gradients_in_float64(activation: Any) -> None:
    x, residual = pictures((2, 2, 2, 3), torch.float64), pictures((2, 2, 2, 3), torch.float64)

    def function(x: Tensor, residual: Tensor) -> Tensor:
        return fused_instance_norm(x, activation, residual)

    assert torch.autograd.gradcheck(function, (x, residual), fast_mode=True)
    assert torch.autograd.gradgradcheck(function, (x, residual), fast_mode=True)


def test_third_gradients_are_those_of_the_formula() -> None:
    x = pictures((1, 2, 3, 3), torch.float64)
    weights = [torch.randn_like(x) for _ in range(3)]

    def third(function: Callable[..., Tensor]) -> Tensor:
        slope = function(x, "leaky_relu")
        for weight in weights:
            (slope,) = torch.autograd.grad((slope * weight).sum(), x, create_graph=True)
        return slope

    torch.testing.assert_close(third(fused_instance_norm), third(exact_norm), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_the_gradient_penalty_of_a_critic(monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype) -> None:
    """Against the formula in float64 in the place of every norm."""
    critic = PatchDiscriminator(3, 4, 2).to(DEVICE)
    pictures = [torch.randn(2, 3, 12, 12, device=DEVICE) for _ in range(2)]
    shares = torch.rand(2, device=DEVICE)
    for module in (norm, padding):
        monkeypatch.setattr(module, "suits", lambda x: True)

    def penalty(dtype: torch.dtype) -> list[Tensor]:
        network = critic.to(dtype)
        value = gradient_penalty(lambda x: network(x)[-1], *(p.to(dtype) for p in pictures), shares.to(dtype))
        return [value.detach(), *torch.autograd.grad(value, list(network.parameters()))]

    found, calls = counted(monkeypatch, lambda: penalty(dtype))
    assert calls == 2
    monkeypatch.setattr(norm, "fused_instance_norm", lambda x, activation, *_: exact_norm(x, activation))
    for a, b in zip(found, penalty(torch.float64), strict=True):
        assert (a - b).abs().max() < (1e-12 if dtype == torch.float64 else 1e-5) * (float(b.abs().max()) + 1e-2)


def blocks_with_dropout(recompute: bool) -> nn.Module:
    """Return a residual block, as networks have them."""
    torch.manual_seed(1)
    return ConvStack([ResidualBlock(4, "instance", dropout=Dropout(0))], recompute).to(DEVICE)


@pytest.mark.parametrize("recompute", [False, True])
def test_a_residual_block_is_the_same_with_it(monkeypatch: pytest.MonkeyPatch, recompute: bool) -> None:
    network = blocks_with_dropout(recompute)
    x, seeds = pictures((2, 4, 16, 16), torch.float32), torch.tensor([3, 4])
    assert suits(x)

    def results() -> list[Tensor]:
        y = network(x, ForwardContext(seeds=seeds))
        return [y, *torch.autograd.grad(y.sin().sum(), [x, *network.parameters()])]

    found, calls = counted(monkeypatch, results)
    assert calls == (4 if recompute else 2)
    for module in (norm, padding):
        monkeypatch.setattr(module, "suits", lambda x: False)
    for a, b in zip(found, results(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=2e-4)


def counted(monkeypatch: pytest.MonkeyPatch, results: Callable[[], list[Tensor]]) -> tuple[list[Tensor], int]:
    """Return the results, and how often the forward kernels ran meanwhile."""
    calls, run = [], fused_norm_kernels.normalise
    monkeypatch.setattr(fused_norm_kernels, "normalise", lambda *given: (calls.append(1), run(*given))[1])
    return results(), len(calls)


def test_under_autocast_it_computes_in_the_type_of_the_convolution() -> None:
    network = blocks_with_dropout(False)
    x = pictures((1, 4, 16, 16), torch.bfloat16)
    with torch.autocast(DEVICE, torch.bfloat16):
        y = network(x)
    assert y.dtype == torch.bfloat16
    assert y.is_contiguous(memory_format=torch.channels_last)
    y.sum().backward()
    assert x.grad is not None
    assert x.grad.dtype == torch.bfloat16


def test_small_pictures_and_full_precision_in_rows_are_left_to_torch() -> None:
    x = torch.randn(1, 4, 16, 16, device=DEVICE)
    last = x.to(memory_format=torch.channels_last)
    assert [suits(x), suits(x.half()), suits(last), suits(last[:, :, :15])] == [False, True, True, False]
    assert not suits(last.new_empty(0, 4, 16, 16))
    assert not suits(last.long())
    assert Norm(4, "instance", "tanh")(last).abs().max() <= 1


@pytest.mark.slow
def test_what_is_compiled_takes_torchs_operators(monkeypatch: pytest.MonkeyPatch) -> None:
    norm, x = Norm(4, "instance", "relu"), pictures((1, 4, 16, 16), torch.float32)
    residual = pictures((1, 4, 16, 16), torch.float32)
    compiled = torch.compile(norm, backend="aot_eager", fullgraph=True)
    assert suits(x)

    def results(call: nn.Module) -> list[Tensor]:
        y = call(x, residual=residual)
        return [y, *torch.autograd.grad(y.square().sum(), [x, residual])]

    found, calls = counted(monkeypatch, lambda: results(norm))
    others, calls_compiled = counted(monkeypatch, lambda: results(compiled))
    assert (calls, calls_compiled) == (1, 0)
    for a, b in zip(found, others, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("adds", [False, True])
def test_shapes_alone_come_out_as_the_kernels_make_them(dtype: torch.dtype, adds: bool) -> None:
    """A plan computes nothing; it keeps for the backward pass all that the real one keeps."""

    def results() -> list[Any]:
        x = torch.zeros(2, 3, 4, 5, dtype=dtype, device=DEVICE, requires_grad=True)
        y = fused_instance_norm(x, "relu", torch.zeros_like(x) if adds else None)
        assert y.grad_fn is not None
        kept = [*y.grad_fn.saved_tensors] if not adds else []
        return [(t.shape, t.stride(), t.dtype) for t in (y, *kept, *torch.autograd.grad(y.sum(), x))]

    with FakeTensorMode(), as_on_gpu(True):
        planned = results()
    assert planned == results()


@pytest.mark.skipif(DEVICE == "cpu", reason="more than 2^31 values take a GPU")
def test_more_values_than_32_bits_count() -> None:
    shape = (1, 64, 4100, 8200)
    if torch.cuda.mem_get_info()[0] < 30 * 2**30:
        pytest.skip("it takes 30 GB on the GPU")
    x = torch.empty(shape, dtype=torch.bfloat16, device=DEVICE, memory_format=torch.channels_last).normal_()
    assert x.numel() > 2**31
    y = fused_instance_norm(x, "relu")
    variance, mean = torch.var_mean(x[:, :3].float(), (2, 3), correction=0, keepdim=True)
    for rows in (slice(0, 10), slice(-10, None)):
        wanted = F.relu((x[:, :3, rows].float() - mean) * torch.rsqrt(variance + 1e-5))
        torch.testing.assert_close(y[:, :3, rows].float(), wanted, rtol=2**-7, atol=1e-4)


def test_triton_computes_here_and_nowhere_else() -> None:
    assert triton_works(DEVICE)
    assert not triton_works("meta")
