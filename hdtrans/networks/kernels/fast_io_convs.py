"""Fast first and last convolutions of a generator, for inference on a CPU.

Both equal `nn.Conv2d` but for the order of their sums. The first one reads labels, mostly wide areas of one label; the
last one makes three channels where a processor computes sixteen at a time.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hdtrans.networks.condition import Condition
from hdtrans.networks.padding import Pad

Compute = Callable[[nn.Conv2d], nn.Module]


class LabelConvolution(nn.Module):
    """Convolution of one-hot labels and boundaries by tables, stride 1, no padding: (B, C, H, W) -> (B, C', H', W').

    Each pixel has one of a few values: a label or none, on a boundary or not. A table holds, for each value and place
    in the window, its contribution to the features; a window is the sum of its rows. Where a window holds a single
    value, that sum is precomputed.

    Args:
        convolution: plain, with float32 weights.
        condition: module that makes its input. Other inputs, as its mean at a coarser size, go through `compute`.
        compute: returns the module that computes a convolution.
    """

    most_labels = 256  # whole numbers in bfloat16
    codes: Tensor
    table: Tensor
    rows: Tensor
    sums: Tensor

    def __init__(self, convolution: nn.Conv2d, condition: Condition, compute: Compute) -> None:
        super().__init__()
        self.plain = compute(convolution)
        self.kernel = convolution.kernel_size
        self.labels = condition.label_channels
        weight = convolution.weight.detach().permute(2, 3, 1, 0).flatten(0, 1)  # place in the window, channel, feature
        table = F.pad(weight[:, : self.labels], (0, 0, 0, 1))  # the last row: no label
        if condition.boundary != "none":
            table = torch.cat([table, table + weight[:, self.labels :]], 1)
        places, self.values, _ = table.shape
        if convolution.bias is not None:
            table[places // 2] += convolution.bias.detach()
        codes = torch.zeros(weight.shape[1], 3)  # of a pixel's channels: the label, how many labels, how many edges
        codes[: self.labels, 0] = torch.arange(self.labels)
        codes[: self.labels, 1] = 1
        codes[self.labels :, 2] = 1
        self.register_buffer("codes", codes, persistent=False)
        self.register_buffer("table", table.flatten(0, 1), persistent=False)
        self.register_buffer("rows", torch.arange(places, dtype=torch.int32) * self.values, persistent=False)
        self.register_buffer("sums", table.sum(0), persistent=False)

    @classmethod
    def takes(cls, convolution: nn.Conv2d, condition: Condition) -> bool:
        """Return whether the input of a convolution is this condition, made of labels."""
        labels = condition.labels > 0 and condition.label_channels <= cls.most_labels and not condition.features
        return labels and convolution.in_channels == condition.channels

    def forward(self, x: Tensor) -> Tensor:
        values = self._values(x)
        if values is None:
            made: Tensor = self.plain(x)
            return made
        return torch.cat([self._of_picture(each, x.dtype) for each in values])

    def _values(self, x: Tensor) -> Tensor | None:
        """Return the value of each pixel, (B, H, W) int32; None where some pixel has another."""
        pixels = x.permute(0, 2, 3, 1).contiguous().view(-1, x.shape[1])
        label, count, edge = (pixels @ self.codes.to(x.dtype)).unbind(1)
        label = label.to(torch.int32).clamp_(0, self.labels - 1)
        first = torch.arange(0, pixels.numel(), x.shape[1], dtype=torch.int32, device=x.device)
        own = pixels.view(-1).index_select(0, first.add_(label))
        whole = (own == count) & ((count == 0) | (count == 1)) & ((edge == 0) | (edge == 1))
        if not whole.all():
            return None
        values = torch.where(count == 0, self.labels, label) + (self.labels + 1) * edge.to(torch.int32)
        return values.view(x.shape[0], *x.shape[2:])

    def _of_picture(self, values: Tensor, dtype: torch.dtype) -> Tensor:
        """Return the features (1, C', H', W') of values (H, W)."""
        kernel_height, kernel_width = self.kernel
        height, width = values.shape[0] - kernel_height + 1, values.shape[1] - kernel_width + 1
        top, left = kernel_height // 2, kernel_width // 2
        centres = values[top : top + height, left : left + width]
        features = F.embedding(centres.flatten(), self.sums.to(dtype))
        mixed = self._mixed(values).flatten().nonzero().view(-1)
        start = mixed + torch.div(mixed, width, rounding_mode="floor") * (kernel_width - 1)
        lines = values.as_strided((values.numel() - kernel_width + 1, kernel_width), (1, 1))
        below = torch.arange(kernel_height, device=values.device) * values.shape[1]
        windows = lines.index_select(0, (start.unsqueeze(1) + below).flatten()).view(-1, len(self.rows)) + self.rows
        features.index_copy_(0, mixed, F.embedding_bag(windows, self.table, mode="sum").to(dtype))
        return features.view(1, height, width, -1).permute(0, 3, 1, 2)

    def _mixed(self, values: Tensor) -> Tensor:
        """Return a mask of the windows that hold several values: (H, W) -> (H', W') bool."""
        height, width = self.kernel
        across = _any(_any(values[:, 1:] != values[:, :-1], width - 1, 1), height, 0)
        return across | _any(_any(values[1:] != values[:-1], width, 1), height - 1, 0)


def _any(x: Tensor, length: int, dim: int) -> Tensor:
    """Return the logical or of `length` values in a row, along one dimension."""
    count = x.shape[dim] - length + 1
    found = x.narrow(dim, 0, count).clone()
    for start in range(1, length):
        found |= x.narrow(dim, start, count)
    return found


class NarrowConvolution(nn.Module):
    """Convolution to few channels with its padding, stride 1: (B, C, H, W) -> (B, C', H, W).

    Four pixels of a row are read as one of four times as many channels, which costs nothing channels-last. The weights
    are those of each of the four, and zeros.

    Args:
        convolution: plain, without padding of its own, with an odd kernel.
        pad: padding before it, half of the kernel.
        compute: returns the module that computes a convolution.
    """

    pixels = 4

    def __init__(self, convolution: nn.Conv2d, pad: Pad, compute: Compute) -> None:
        super().__init__()
        self.mode = {"zero": "constant"}.get(pad.kind, pad.kind)
        self.size = pad.size
        self.channels = convolution.out_channels
        (height, width), pixels = convolution.kernel_size, self.pixels
        self.columns = -(-(pixels + width - 1) // pixels)
        weight = torch.zeros(pixels, self.channels, convolution.in_channels, height, self.columns * pixels)
        for pixel in range(pixels):
            weight[pixel, ..., pixel : pixel + width] = convolution.weight.detach()
        wide = nn.Conv2d(
            pixels * convolution.in_channels,
            pixels * self.channels,
            (height, self.columns),
            bias=convolution.bias is not None,
        )
        by_pixel = weight.unflatten(-1, (self.columns, pixels)).permute(0, 1, 5, 2, 3, 4)
        wide.weight.data = by_pixel.reshape(wide.weight.shape).contiguous()
        if convolution.bias is not None:
            wide.bias.data = convolution.bias.detach().repeat(pixels)  # type: ignore[union-attr]
        self.wide = compute(wide)

    def forward(self, x: Tensor) -> Tensor:
        batch, channels, height, width = x.shape
        size, pixels = self.size, self.pixels
        blocks = -(-width // pixels)
        beyond = (blocks + self.columns - 1) * pixels - width - size
        reached = min(beyond, width - 1) if self.mode == "reflect" else beyond  # what lies beyond `size` counts nothing
        x = F.pad(x, (size, reached, size, size), mode=self.mode)
        x = F.pad(x, (0, beyond - reached)) if reached < beyond else x
        x = x.permute(0, 2, 3, 1).reshape(batch, height + 2 * size, blocks + self.columns - 1, pixels * channels)
        x = self.wide(x.permute(0, 3, 1, 2))
        x = x.permute(0, 2, 3, 1).reshape(batch, height, blocks * pixels, self.channels)
        return x[:, :, :width].permute(0, 3, 1, 2)
