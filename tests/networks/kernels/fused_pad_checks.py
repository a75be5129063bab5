"""Checks of the fused padding, and of networks with it, where Triton computes; run by test_fused_norm.py."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from hdtrans.common.planned import as_on_gpu
from hdtrans.networks import norm, padding
from hdtrans.networks.generators import Trunk
from hdtrans.networks.kernels import fused, fused_pad_kernels
from hdtrans.networks.kernels.fused_pad import _Fold, fused_reflection_pad
from hdtrans.networks.padding import Pad
from tests.networks.kernels.fused_norm_checks import DEVICE, ROUNDING, TYPES, layouts, pictures


@pytest.mark.parametrize(
    ("shape", "size", "dtype"),
    [
        *(((2, 5, 4, 6), 3, dtype) for dtype in TYPES),
        ((1, 70, 7, 9), 1, torch.bfloat16),
        ((1, 3, 2, 2), 1, torch.float32),
        ((2, 1, 4, 4), 3, torch.float32),
        ((1, 2, 3, 3), 0, torch.float32),
        ((1, 4, 3, 8), 2, torch.float32),
    ],
)
def test_it_is_reflection(shape: tuple[int, ...], size: int, dtype: torch.dtype) -> None:
    """Forth to the bit; back, each sum is rounded once."""
    x = pictures(shape, dtype)
    exact = x.detach().double().contiguous().requires_grad_()
    found, wanted = fused_reflection_pad(x, size), F.pad(exact, (size,) * 4, mode="reflect")
    assert torch.equal(found.double(), wanted)
    assert found.is_contiguous(memory_format=torch.channels_last)
    weight = torch.randn_like(found)
    (of_found,), (of_wanted,) = (
        torch.autograd.grad(found, x, weight),
        torch.autograd.grad(wanted, exact, weight.double()),
    )
    torch.testing.assert_close(of_found.double(), of_wanted, rtol=ROUNDING.get(dtype, 0.0), atol=1e-6)


def test_any_layout_and_every_value() -> None:
    x = pictures((2, 6, 5, 4), torch.float32).detach()
    wanted = F.pad(x, (2,) * 4, mode="reflect")
    torch.use_deterministic_algorithms(True)  # fills new memory with NaN
    try:
        for each in layouts(x):
            assert torch.equal(fused_reflection_pad(each, 2), wanted)
            assert not _Fold.apply(fused_reflection_pad(each, 2), 2).isnan().any()
    finally:
        torch.use_deterministic_algorithms(False)


def test_second_gradients() -> None:
    x = pictures((1, 2, 3, 4), torch.float64)
    assert torch.autograd.gradgradcheck(lambda x: fused_reflection_pad(x, 2).pow(3), x, fast_mode=True)


def test_shapes_alone_come_out_as_the_kernels_make_them() -> None:
    def results() -> list[Any]:
        x = torch.zeros(2, 3, 4, 5, device=DEVICE, requires_grad=True)
        y = fused_reflection_pad(x, 3)
        return [(t.shape, t.stride(), t.dtype) for t in (y, *torch.autograd.grad(y.sum(), x))]

    with FakeTensorMode(), as_on_gpu(True):
        planned = results()
    assert planned == results()


def test_what_cannot_be_padded_is_refused() -> None:
    x = pictures((1, 2, 3, 4), torch.float32)
    for given, words in [((x, 3), "padding of 3 pixels"), ((x[0], 1), "padding takes"), ((x.int(), 1), "torch.int32")]:
        with pytest.raises(ValueError, match=words):
            fused_reflection_pad(*given)


def test_the_module_takes_it_where_it_suits(monkeypatch: pytest.MonkeyPatch) -> None:
    calls, run = [], fused_pad_kernels.pad
    monkeypatch.setattr(fused_pad_kernels, "pad", lambda *given: (calls.append(1), run(*given))[1])
    x = pictures((1, 2, 16, 16), torch.float32).detach()
    wanted = F.pad(x, (3,) * 4, mode="reflect")
    for given, times in [(x, 1), (x.contiguous(), 1), (x[:, :, :15], 1), (x.contiguous().half(), 2)]:
        found = Pad(3, "reflect")(given)
        assert len(calls) == times
        if given.shape == x.shape:
            assert torch.equal(found, wanted.to(found.dtype))


def test_convolutions_get_channels_last_in_half_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures forth and gradients back, all of them; and the picture is about the same."""
    monkeypatch.setattr(fused, "_FEWEST_PIXELS", 16)
    torch.manual_seed(0)
    network = Trunk(3, 4, 1, 1).to(DEVICE)
    lie: list[bool] = []

    def note(*tensors: Tensor) -> None:
        lie.extend(t.is_contiguous(memory_format=torch.channels_last) for t in tensors)

    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            module.register_forward_pre_hook(lambda _, given: note(*given))
            module.register_full_backward_pre_hook(lambda _, given: note(*given))
    x = torch.randn(1, 3, 8, 8, device=DEVICE)
    with torch.autocast(DEVICE, torch.bfloat16):
        found = network(x.bfloat16())
        found.float().square().sum().backward()
        assert len(lie) == 2 * 5
        assert all(lie)
        for part in (norm, padding):
            monkeypatch.setattr(part, "suits", lambda x: False)
        assert (found - network(x.bfloat16())).abs().max() < 0.1
