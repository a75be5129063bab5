"""Prepacked convolutions: weights in the type and layout in which a device computes, converted once."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from hdtrans.networks.blocks import ConvBlock
from hdtrans.networks.compat import can_prepack, prepacked_convolution, prepacked_weight
from hdtrans.networks.condition import Condition
from hdtrans.networks.kernels.fast_io_convs import Compute, LabelConvolution, NarrowConvolution
from hdtrans.networks.padding import Pad
from hdtrans.networks.spectral_norm import fold_spectral_norm


class PrepackedConv(nn.Module):
    """A convolution for inference on a CPU, plain or transposed, whose weights are in oneDNN's layout.

    It computes what torch's own does, but for the order of its sums; the input is converted to the type of the weights.
    Dilations and groups are 1. In bfloat16 one layout suits all inputs. In float32 each shape has its own, and with
    that of another a convolution takes up to ten times as long: weights are packed anew where the shape changes.

    Args:
        convolution: plain or transposed, with float32 weights.
        dtype: type to compute in.
        by_shape: pack float32 weights for each shape that comes, taking three times their memory meanwhile; else once.
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
        # Not a buffer: torch cannot copy or save packed weights.
        self.weight = weight if self.by_shape else prepacked_weight(weight, self.transposed, self.how)

    def forward(self, x: Tensor) -> Tensor:
        if self.by_shape and x.shape != self.shape:
            self.weight = prepacked_weight(self.weight.to_dense(), False, self.how, x.shape)
            self.shape = x.shape
        return prepacked_convolution(x.to(self.dtype), self.weight, self.bias, self.transposed, self.how)

    def extra_repr(self) -> str:
        return f"{tuple(self.weight.shape)}, {self.dtype}, transposed={self.transposed}"


def prepack(module: nn.Module, dtype: torch.dtype, by_shape: bool = True) -> None:
    """Convert the float32 weights of a module's convolutions to `dtype`, in which it then computes without autocast.

    On a CPU with oneDNN's operators, convolutions are replaced by prepacked ones, those of labels and to few channels
    by `fast_io_convs`. Elsewhere their weights get the type. Norms keep theirs. Without `by_shape`, float32 weights are
    packed once and never take more memory; see `PrepackedConv`.
    """
    fold_spectral_norm(module)
    if next(module.parameters()).device.type != "cpu" or not can_prepack(dtype):
        for child in module.modules():
            if isinstance(child, nn.Conv2d | nn.ConvTranspose2d):
                child.to(dtype)
        return

    def compute(convolution: nn.Conv2d) -> nn.Module:
        return PrepackedConv(convolution, dtype, by_shape)

    conditions = [child for child in module.modules() if isinstance(child, Condition)]
    for block in [child for child in module.modules() if isinstance(child, ConvBlock)]:
        _replace_io_convs(block, conditions, compute)
    for parent in list(module.modules()):
        for name, child in parent.named_children():
            if isinstance(child, nn.Conv2d | nn.ConvTranspose2d) and _is_plain(child):
                setattr(parent, name, PrepackedConv(child, dtype, by_shape))


def _replace_io_convs(block: ConvBlock, conditions: Sequence[Condition], compute: Compute) -> None:
    """Replace the convolution of a block that reads labels, or makes few channels."""
    convolution = block.convolution
    if not isinstance(convolution, nn.Conv2d) or not _is_plain(convolution) or convolution.padding != (0, 0):
        return
    height, width = convolution.kernel_size
    if convolution.stride != (1, 1) or height != width or width < 5 or block.pad.size != width // 2:
        return
    seen = [condition for condition in conditions if LabelConvolution.takes(convolution, condition)]
    if seen:
        block.convolution = LabelConvolution(convolution, seen[0], compute)
    elif NarrowConvolution.pixels * convolution.out_channels <= 16:
        block.convolution = NarrowConvolution(convolution, block.pad, compute)
        block.pad = Pad(0, "zero")


def _is_plain(convolution: nn.Conv2d | nn.ConvTranspose2d) -> bool:
    ones = all(number == 1 for number in (*convolution.dilation, convolution.groups))
    return ones and convolution.padding_mode == "zeros" and not isinstance(convolution.padding, str)


def _how(convolution: nn.Conv2d | nn.ConvTranspose2d) -> list[Any]:
    """Return paddings, strides and dilations, in the order that oneDNN's operators take."""
    if isinstance(convolution, nn.ConvTranspose2d):
        padding = [convolution.padding, convolution.output_padding]
    else:
        padding = [convolution.padding]
    return [*padding, convolution.stride, convolution.dilation]
