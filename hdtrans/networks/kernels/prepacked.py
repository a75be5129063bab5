"""Weights in the type and the layout in which a device computes, brought there once instead of at every call."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from hdtrans.networks.blocks import Pad, Segment
from hdtrans.networks.condition import Condition
from hdtrans.networks.kernels.fast_io_convs import Compute, LabelConvolution, NarrowConvolution


class LaidOut(nn.Module):
    """A convolution for inference on a CPU, plain or transposed, whose weights oneDNN has laid out.

    It computes what torch's own does, but for the order of its sums; the input is converted to the type of the weights.
    Dilations and groups are 1. In bfloat16 one layout suits all inputs; in float32 each shape has its own, and with
    that of another a convolution takes up to ten times as long: weights are laid out anew where the shape changes.

    Args:
        convolution: with float32 weights.
        dtype: to compute in.
        by_shape: lay float32 weights out for each shape that comes, being there three times meanwhile; else once.
    """

    def __init__(self, convolution: nn.Conv2d | nn.ConvTranspose2d, dtype: torch.dtype, by_shape: bool = True) -> None:
        super().__init__()
        self.dtype = dtype
        weight, bias = convolution.weight.detach().to(dtype), convolution.bias
        # A parameter, as networks are asked for the type of their first one.
        self.bias = None if bias is None else nn.Parameter(bias.detach().to(dtype), requires_grad=False)
        self.transposed = isinstance(convolution, nn.ConvTranspose2d)
        self.how = [list(pair) for pair in _how(convolution)]
        self.by_shape = by_shape and dtype == torch.float32 and not self.transposed
        self.shape: torch.Size | None = None
        # Not a buffer: torch cannot copy or save what is laid out.
        self.weight = weight if self.by_shape else _lay_out(weight, self.transposed, self.how)

    def forward(self, x: Tensor) -> Tensor:
        compute = (
            torch.ops.mkldnn._convolution_transpose_pointwise
            if self.transposed
            else torch.ops.mkldnn._convolution_pointwise
        )
        if self.by_shape and x.shape != self.shape:
            self.weight, self.shape = _lay_out(self.weight.to_dense(), False, self.how, x.shape), x.shape
        made: Tensor = compute(x.to(self.dtype), self.weight, self.bias, *self.how, 1, "none", [], "")
        return made

    def extra_repr(self) -> str:
        return f"{tuple(self.weight.shape)}, {self.dtype}, transposed={self.transposed}"


def lay_out(module: nn.Module, dtype: torch.dtype, by_shape: bool = True) -> None:
    """Bring the float32 weights of a module's convolutions to where it computes in `dtype`, without autocast.

    On the CPU, where torch and the CPU have what it takes, the convolutions are replaced by such as oneDNN lays out,
    those of labels and to few channels by quicker ones. Elsewhere their weights get the type. Norms keep theirs.
    Without `by_shape`, float32 weights are laid out once and never take more memory; see `LaidOut`.
    """
    if next(module.parameters()).device.type != "cpu" or not _can(dtype):
        for child in module.modules():
            if isinstance(child, nn.Conv2d | nn.ConvTranspose2d):
                child.to(dtype)
        return

    def compute(convolution: nn.Conv2d) -> nn.Module:
        return LaidOut(convolution, dtype, by_shape)

    conditions = [child for child in module.modules() if isinstance(child, Condition)]
    for segment in [child for child in module.modules() if isinstance(child, Segment)]:
        _replace_ends(segment, conditions, compute)
    for parent in list(module.modules()):
        for name, child in parent.named_children():
            if isinstance(child, nn.Conv2d | nn.ConvTranspose2d) and _is_plain(child):
                setattr(parent, name, LaidOut(child, dtype, by_shape))


def _replace_ends(segment: Segment, conditions: Sequence[Condition], compute: Compute) -> None:
    """Replace the convolution of a segment that sees labels, or makes few channels."""
    convolution = segment.convolution
    if not isinstance(convolution, nn.Conv2d) or not _is_plain(convolution) or convolution.padding != (0, 0):
        return
    height, width = convolution.kernel_size
    if convolution.stride != (1, 1) or height != width or width < 5 or segment.pad.size != width // 2:
        return
    seen = [condition for condition in conditions if LabelConvolution.takes(convolution, condition)]
    if seen:
        segment.convolution = LabelConvolution(convolution, seen[0], compute)
    elif NarrowConvolution.pixels * convolution.out_channels <= 16:
        segment.convolution = NarrowConvolution(convolution, segment.pad, compute)
        segment.pad = Pad(0, "zero")


def _can(dtype: torch.dtype) -> bool:
    names = [
        "_convolution_pointwise",
        "_convolution_transpose_pointwise",
        "_reorder_convolution_transpose_weight",
        "_is_mkldnn_bf16_supported",
    ]
    known = all(hasattr(torch.ops.mkldnn, name) for name in names)
    if not (torch.backends.mkldnn.is_available() and known and hasattr(torch.ops.aten, "mkldnn_reorder_conv2d_weight")):
        return False
    return dtype != torch.bfloat16 or bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def _is_plain(convolution: nn.Conv2d | nn.ConvTranspose2d) -> bool:
    ones = all(number == 1 for number in (*convolution.dilation, convolution.groups))
    return ones and convolution.padding_mode == "zeros" and not isinstance(convolution.padding, str)


def _how(convolution: nn.Conv2d | nn.ConvTranspose2d) -> list[Any]:
    """Return paddings, strides and dilations, in the order of oneDNN's operators."""
    if isinstance(convolution, nn.ConvTranspose2d):
        padding = [convolution.padding, convolution.output_padding]
    else:
        padding = [convolution.padding]
    return [*padding, convolution.stride, convolution.dilation]


def _lay_out(weight: Tensor, transposed: bool, how: list[list[int]], shape: torch.Size | None = None) -> Tensor:
    laid_out: Tensor
    if transposed:
        laid_out = torch.ops.mkldnn._reorder_convolution_transpose_weight(weight, *how, 1, None)
    else:
        laid_out = torch.ops.aten.mkldnn_reorder_conv2d_weight(weight.to_mkldnn(), *how, 1, shape)
    return laid_out
