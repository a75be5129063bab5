"""The first and the last convolution, computed otherwise, against torch's own in double precision."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hdtrans.networks.condition import Condition
from hdtrans.networks.generators import halve
from hdtrans.networks.kernels.fast_io_convs import LabelConvolution, NarrowConvolution
from hdtrans.networks.padding import Pad

TOLERANCES = {torch.float32: 1e-5, torch.bfloat16: 1e-2}  # of the largest feature


class Counted(nn.Module):
    """A convolution that counts its calls."""

    def __init__(self, convolution: nn.Conv2d) -> None:
        super().__init__()
        self.convolution, self.calls = convolution, 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return F.conv2d(x.float(), self.convolution.weight, self.convolution.bias).to(x.dtype)


def maps(height: int, width: int) -> tuple[Tensor, Tensor]:
    """Return label and instance maps with wide areas, thin lines, and a corner of noise; id 9 is no class."""
    generator = torch.Generator().manual_seed(1)
    label = torch.zeros(2, height, width, dtype=torch.int32)
    label[:, height // 2 :] = 3
    label[0, :, width // 3] = 4
    label[1, height // 4, :] = 9
    label[:, -5:, -5:] = torch.randint(0, 5, (2, 5, 5), generator=generator, dtype=torch.int32)
    instance = label.clone()
    instance[:, height // 2 :, width // 2 :] += 100
    return label, instance


def error(found: Tensor, convolution: nn.Conv2d, seen: Tensor) -> float:
    """Return the largest difference from torch's own, as a part of the largest feature."""
    weight, bias = convolution.weight.double(), convolution.bias
    wanted = F.conv2d(seen.double(), weight, None if bias is None else bias.double())
    assert found.shape == wanted.shape
    return float((found.double() - wanted).abs().max() / wanted.abs().max())


@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize("boundary", ["instance", "none"])
@pytest.mark.parametrize("ignored", ["zeros", "channel"])
@pytest.mark.parametrize(("kernel", "bias"), [(7, True), (5, False)])
@torch.inference_mode()
def test_labels(dtype: torch.dtype, boundary: Any, ignored: Any, kernel: int, bias: bool) -> None:
    torch.manual_seed(0)
    condition = Condition(5, 0, 9, ignored, boundary)
    convolution = nn.Conv2d(condition.channels, 12, kernel, bias=bias)
    assert LabelConvolution.takes(convolution, condition)
    quick = LabelConvolution(convolution, condition, Counted)
    for size in ((40, 56), (kernel, 30), (5, 6)):
        label, instance = maps(*size)
        seen = Pad(kernel // 2, "reflect")(condition(label, instance, dtype=dtype))
        found = quick(seen)
        assert found.dtype == dtype
        assert error(found, convolution, seen) < TOLERANCES[dtype]
    assert isinstance(quick.plain, Counted) and quick.plain.calls == 0


@torch.inference_mode()
def test_what_is_no_single_label_goes_through_the_convolution() -> None:
    condition = Condition(5, 0, 9, "zeros", "instance")
    convolution = nn.Conv2d(condition.channels, 4, 7)
    quick = LabelConvolution(convolution, condition, Counted)
    label, instance = maps(40, 56)
    seen = condition(label, instance)
    two_labels = seen.clone()
    two_labels[0, :5, 3, 3] = torch.tensor([0.5, 0, 0.5, 0, 0])  # the mean of labels 0 and 2 is 1
    many = seen.clone()
    many[1, :5, 5, 5] = 1
    faint = seen * 0.5
    others = [halve(seen), two_labels, many, faint]
    for calls, other in enumerate(others, start=1):
        assert error(quick(other), convolution, other) < 1e-5
        assert isinstance(quick.plain, Counted) and quick.plain.calls == calls


def test_only_what_sees_labels_alone_is_taken() -> None:
    condition = Condition(5, 0, None, "zeros", "instance")
    assert not LabelConvolution.takes(nn.Conv2d(8, 4, 7), condition)
    assert not LabelConvolution.takes(nn.Conv2d(8, 4, 7), Condition(5, 0, None, "zeros", "instance", features=2))
    assert not LabelConvolution.takes(nn.Conv2d(3, 4, 7), Condition(0, 3, None, "zeros", "none"))
    assert not LabelConvolution.takes(nn.Conv2d(257, 4, 7), Condition(257, 0, None, "zeros", "none"))


@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize(("kernel", "channels", "kind"), [(7, 3, "reflect"), (5, 4, "zero"), (7, 1, "reflect")])
@pytest.mark.parametrize("bias", [True, False])
@torch.inference_mode()
def test_few_channels(dtype: torch.dtype, kernel: int, channels: int, kind: Any, bias: bool) -> None:
    torch.manual_seed(0)
    convolution, pad = nn.Conv2d(6, channels, kernel, bias=bias), Pad(kernel // 2, kind)
    quick = NarrowConvolution(convolution, pad, Counted)
    for size in ((9, 32), (8, 33), (12, 18), (6, 7), (5, 4)):
        x = torch.randn(2, 6, *size).to(dtype).to(memory_format=torch.channels_last)
        assert error(quick(x), convolution, pad(x)) < TOLERANCES[dtype]
