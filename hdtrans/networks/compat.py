"""Private torch API that networks use, in one place; each use has a test, which a new torch may fail."""

import torch
from torch import Tensor, nn

Numbers = list[list[int]]  # paddings, strides, dilations


def fans(weight: Tensor) -> tuple[int, int]:
    """Return fan in and fan out of a weight (out, in, ...), as `nn.init` computes them."""
    fan_in, fan_out = nn.init._calculate_fan_in_and_fan_out(weight)
    return fan_in, fan_out


def can_prepack(dtype: torch.dtype) -> bool:
    """Return True where this torch and this CPU have oneDNN's operators on prepacked weights of this type."""
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


def prepacked_weight(weight: Tensor, transposed: bool, how: Numbers, shape: torch.Size | None = None) -> Tensor:
    """Return a weight in oneDNN's layout.

    Args:
        weight: (out, in, k, k) for a convolution without groups, (in, out, k, k) for a transposed one.
        transposed: true for the latter.
        how: padding (of a transposed one output padding too), stride and dilation.
        shape: input shape, where one layout does not suit all.
    """
    packed: Tensor
    if transposed:
        packed = torch.ops.mkldnn._reorder_convolution_transpose_weight(weight, *how, 1, None)
    else:
        packed = torch.ops.aten.mkldnn_reorder_conv2d_weight(weight.to_mkldnn(), *how, 1, shape)
    return packed


def prepacked_convolution(x: Tensor, weight: Tensor, bias: Tensor | None, transposed: bool, how: Numbers) -> Tensor:
    """Return the convolution of x, (B, C, H, W), with a weight from `prepacked_weight`."""
    pointwise = "_convolution_transpose_pointwise" if transposed else "_convolution_pointwise"
    made: Tensor = getattr(torch.ops.mkldnn, pointwise)(x, weight, bias, *how, 1, "none", [], "")
    return made
