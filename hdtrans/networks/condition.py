"""Condition of generators and discriminators: one-hot labels, boundaries, or an image; and any size made to fit."""

from typing import Any

import torch
from torch import Tensor, nn

from hdtrans.config.networks import Boundary, Ignored
from hdtrans.networks.parts import Features


def boundaries(ids: Tensor) -> Tensor:
    """Return the boundary map, (B, H, W) integer ids -> (B, H, W) bool: pixels unlike one of their four neighbours.

    Both pixels of an unequal pair are marked, as in pix2pixHD (Wang et al., 2018, section 3.3).
    """
    across = ids[:, :, 1:] != ids[:, :, :-1]
    below = ids[:, 1:] != ids[:, :-1]
    column, row = (torch.zeros_like(part, dtype=torch.bool) for part in (ids[:, :, :1], ids[:, :1]))
    left_or_right = torch.cat([column, across], 2) | torch.cat([across, column], 2)
    return left_or_right | torch.cat([row, below], 1) | torch.cat([below, row], 1)


def _layout(dtype: torch.dtype) -> torch.memory_format:
    """Return the fastest layout of a convolution's input: channels-last in half precision."""
    return torch.channels_last if dtype in (torch.bfloat16, torch.float16) else torch.contiguous_format


def _in_layout(x: Tensor) -> Tensor:
    if torch.compiler.is_exporting():  # `contiguous` would ask whether a slice of one image is contiguous already
        return x.clone(memory_format=_layout(x.dtype))
    return x.contiguous(memory_format=_layout(x.dtype))


class Condition(nn.Module):
    """Turn integer maps, or an image, into input channels of networks: on the device, the only place.

    Args:
        labels: number of classes, ids 0 to labels-1; 0 where an image is the input.
        source_channels: channels of the input image; 0 where labels are the input.
        ignore: id that is no class, or None.
        ignored: encoding of that id: `zeros`, no channel set; `channel`, one of its own.
        boundary: one more channel with the boundaries of the `instance` map or of the `labels`, or `none`.
        features: number of encoder features, channels after all others; only generators see them.

    Attributes:
        channels: number of channels without the features.
    """

    def __init__(
        self,
        labels: int,
        source_channels: int,
        ignore: int | None,
        ignored: Ignored,
        boundary: Boundary,
        features: int = 0,
    ) -> None:
        super().__init__()
        self.labels = labels
        self.ignore = ignore
        self.boundary = boundary
        self.features = features
        self.label_channels = labels + (1 if labels and ignore is not None and ignored == "channel" else 0)
        self.channels = self.label_channels + source_channels + (boundary != "none")

    def forward(
        self,
        label: Tensor | None = None,
        instance: Tensor | None = None,
        source: Tensor | None = None,
        dtype: torch.dtype = torch.float32,
        features: Tensor | None = None,
    ) -> Tensor:
        """Return (B, channels + features, H, W).

        Args:
            label: (B, H, W) integer ids, each below `labels` or the ignored one (checked where files are read).
            instance: (B, H, W) integer ids, compared and never interpreted.
            source: (B, C, H, W) in [-1, 1].
            dtype: type of the result.
            features: (B, features, H, W) in [-1, 1]; 0, the middle, where they are left out.
        """
        if source is not None:
            seen = self._of_picture(source, instance, dtype)
        else:
            assert label is not None
            seen = self._of_labels(label, instance, dtype)
        if not self.features:
            return _in_layout(seen)
        if features is None:
            features = seen.new_zeros(seen.shape[0], self.features, *seen.shape[2:])
        return _in_layout(torch.cat([seen, features.to(dtype)], 1))

    def _of_picture(self, source: Tensor, instance: Tensor | None, dtype: torch.dtype) -> Tensor:
        if self.boundary != "instance":
            return source.to(dtype)
        assert instance is not None
        return torch.cat([source.to(dtype), boundaries(instance).unsqueeze(1).to(dtype)], 1)

    def _of_labels(self, label: Tensor, instance: Tensor | None, dtype: torch.dtype) -> Tensor:
        batch, height, width = label.shape
        channel = label.long()
        if self.ignore is not None:
            channel = torch.where(channel == self.ignore, self.labels, channel)
        columns = max(self.channels, self.labels + (self.ignore is not None))
        edge = None
        if self.boundary != "none":
            ids = instance if self.boundary == "instance" else label
            assert ids is not None
            edge = boundaries(ids)
        if _layout(dtype) == torch.channels_last:  # several times as fast as a scatter, which copies all on the CPU
            x = torch.zeros(batch, height, width, columns, dtype=dtype, device=label.device)
            first = torch.arange(0, x.numel(), columns, device=label.device)
            x.view(-1).index_fill_(0, first.add_(channel.flatten()), 1.0)
            if edge is not None:
                x[..., self.label_channels] = edge.to(dtype)
            return x.permute(0, 3, 1, 2)[:, : self.channels]
        x = torch.zeros(batch, columns, height, width, dtype=dtype, device=label.device)
        x.scatter_(1, channel.unsqueeze(1), 1.0)
        if edge is not None:
            edge = edge.unsqueeze(1).to(dtype)
            x.scatter_(1, torch.full_like(channel.unsqueeze(1), self.label_channels), edge)
        return x[:, : self.channels]

    def extra_repr(self) -> str:
        seen = f"channels={self.channels}, features={self.features}"
        return f"labels={self.labels}, {seen}, ignore={self.ignore}, boundary={self.boundary}"


def pad_to_stride(x: Features, stride: int, least: int = 2) -> Features:
    """Repeat the last row and column of (..., H, W) until both are multiples of `stride`, and `least` strides."""
    height, width = x.shape[-2:]
    padded_height, padded_width = (
        torch.sym_max(least * stride, (length + stride - 1) // stride * stride) for length in (height, width)
    )
    if not isinstance(x, Tensor):
        return x.resized(int(padded_height), int(padded_width))
    # In an exported graph any size may come, so nothing is asked of it there.
    if torch.compiler.is_exporting() or padded_height > height:
        x = x.index_select(-2, torch.arange(padded_height, device=x.device).clamp(max=height - 1))
    if torch.compiler.is_exporting() or padded_width > width:
        x = x.index_select(-1, torch.arange(padded_width, device=x.device).clamp(max=width - 1))
    return x


def crop(x: Features, height: int, width: int) -> Features:
    """Cut (..., H, W) to this size, at the bottom and to the right: undo `pad_to_stride`."""
    if not isinstance(x, Tensor):
        return x.resized(height, width)
    if torch.compiler.is_exporting():  # a slice would ask whether anything is cut
        rows, columns = (torch.arange(length, device=x.device) for length in (height, width))
        return x.index_select(-2, rows).index_select(-1, columns)
    return x[..., :height, :width]


def any_size(network: nn.Module, x: Features, stride: tuple[int, int], *arguments: Any) -> Features:
    """Run a network at a size it can work at, and return its image at the size of `x`.

    Args:
        network: (B, C, H, W) and `arguments` -> (B, C', H, W).
        x: (B, C, H, W) of any size.
        stride: multiple of height and width inside, and the least number of them.
        arguments: further arguments of the network, such as the forward context.
    """
    height, width = x.shape[-2:]
    return crop(network(pad_to_stride(x, *stride), *arguments), height, width)
