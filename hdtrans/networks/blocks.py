"""What every network is made of: padding, normalisation with its activation, segments, residual blocks."""

from collections.abc import Sequence
from fractions import Fraction
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from hdtrans.networks.kernels.fused import suits
from hdtrans.networks.kernels.fused_norm import fused_instance_norm
from hdtrans.networks.kernels.fused_pad import fused_reflection_pad
from hdtrans.networks.parts import Features, locally

NormKind = Literal["instance", "batch", "none"]
Activation = Literal["relu", "leaky_relu", "tanh", "none"]
Upsampling = Literal["deconv", "resize"]
Statistics = tuple[Tensor, Tensor] | Literal["image"]


class Pad(nn.Module):
    """Pad (B, C, H, W) by `size` pixels on every side, by reflection or with zeros.

    The only place where padding by reflection is computed. The gradient of torch's own adds in any order on CUDA; where
    deterministic algorithms are asked for, it is put together from slices, whose gradient does not.
    """

    def __init__(self, size: int, kind: Literal["reflect", "zero"]) -> None:
        super().__init__()
        self.size = size
        self.kind = kind

    def forward(self, x: Tensor) -> Tensor:
        if self.size == 0:
            return x
        if self.kind == "zero":
            return F.pad(x, (self.size,) * 4)
        if suits(x):
            return fused_reflection_pad(x, self.size)
        if x.is_cuda and torch.are_deterministic_algorithms_enabled():
            return self._from_slices(self._from_slices(x, -1), -2)
        return F.pad(x, (self.size,) * 4, mode="reflect")

    def _from_slices(self, x: Tensor, dim: int) -> Tensor:
        length = x.shape[dim]
        before = x.narrow(dim, 1, self.size).flip(dim)
        after = x.narrow(dim, length - 1 - self.size, self.size).flip(dim)
        return torch.cat([before, x, after], dim)

    def extra_repr(self) -> str:
        return f"{self.size}, {self.kind}"


class Norm(nn.Module):
    """Normalise (B, C, H, W), then activate: the only place where either is computed.

    Args:
        channels: C.
        kind: `instance` (each picture and channel by its own mean and variance, no parameters), `batch`, or `none`.
        activation: what follows; `leaky_relu` has slope 0.2.
    """

    epsilon = 1e-5

    def __init__(self, channels: int, kind: NormKind, activation: Activation) -> None:
        super().__init__()
        self.kind = kind
        self.activation = activation
        self.batch = nn.BatchNorm2d(channels, eps=self.epsilon) if kind == "batch" else None

    def forward(self, x: Tensor, statistics: Statistics | None = None, residual: Tensor | None = None) -> Tensor:
        """Normalise by the statistics that the kind has of itself, or by `statistics`.

        Args:
            x: what to normalise.
            statistics: mean and variance, each (B or 1, C, 1, 1); or `image`, those of each picture for itself, which
                batch norm too then takes.
            residual: added behind the activation.
        """
        if torch.compiler.is_exporting() and self.looks_at_all(statistics):
            statistics = _row_by_row(x)
        if isinstance(statistics, str) and self.batch is not None:
            x = F.instance_norm(x, weight=self.batch.weight, bias=self.batch.bias, eps=self.epsilon)
        elif statistics is not None and not isinstance(statistics, str):
            mean, variance = statistics
            x = (x - mean) * torch.rsqrt(variance + self.epsilon)
            if self.batch is not None:
                x = x * self.batch.weight.view(1, -1, 1, 1) + self.batch.bias.view(1, -1, 1, 1)
        elif self.kind == "instance":
            if self.activation != "tanh" and suits(x):
                return fused_instance_norm(x, self.activation, residual, self.epsilon)
            x = self._each_by_itself(x)
        elif self.batch is not None:
            x = self.batch(x)
        x = self._activate(x)
        return x if residual is None else residual + x

    def _each_by_itself(self, x: Tensor) -> Tensor:
        """Return instance norm, on the CPU by those of torch's other norms that are the same, and several times faster.

        Half precision takes batch norm of one picture at a time, which stays channels-last (and rounds mean and
        variance to half precision, unless it has float32 ones to move). Its sums in float32 are too coarse for that
        type, which takes group norm of as many groups as channels. (The gradient of torch's own instance norm is wrong
        on the CPU where it arrives channels-last, as of 2.15.)
        """
        if x.device.type != "cpu":
            return F.instance_norm(x, eps=self.epsilon)
        if x.dtype in (torch.bfloat16, torch.float16):
            moved = x.new_zeros(x.shape[1], dtype=torch.float32), x.new_ones(x.shape[1], dtype=torch.float32)
            pictures = [F.batch_norm(one, *moved, training=True, eps=self.epsilon) for one in x.split(1)]
            return pictures[0] if len(pictures) == 1 else torch.cat(pictures)
        return F.group_norm(x.contiguous(), x.shape[1], eps=self.epsilon)

    def looks_at_all(self, statistics: Statistics | None = None) -> bool:
        """Say whether it needs the mean and variance of the whole picture, were it called with these `statistics`."""
        return self.kind == "instance" or (self.kind == "batch" and statistics == "image")

    def _activate(self, x: Tensor) -> Tensor:
        if self.activation == "relu":
            return F.relu(x, inplace=True)
        if self.activation == "leaky_relu":
            return F.leaky_relu(x, 0.2, inplace=True)
        if self.activation == "tanh":
            return torch.tanh(x)
        return x

    def extra_repr(self) -> str:
        return f"{self.kind}, {self.activation}"


def _row_by_row(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and variance of each picture and channel, of rows first: no sum has more than some thousand terms.

    A runtime that adds up the millions of a large picture one by one in fp32 (onnxruntime does) loses three digits.
    """
    mean = x.mean(3, keepdim=True).mean(2, keepdim=True)
    return mean, (x - mean).square().mean(3, keepdim=True).mean(2, keepdim=True)


class Segment(nn.Module):
    """Padding, one convolution, and the norm with its activation: (B, C_in, H, W) -> (B, C_out, H*scale, W*scale).

    Attributes:
        halo: input pixels beyond its own that an output pixel depends on, apart from the norm's statistics.
        scale: output size over input size (1/2 after a stride of 2, 2 after upsampling).
    """

    halo: int
    scale: Fraction

    def __init__(self, pad: Pad, convolution: nn.Module, norm: Norm, halo: int, scale: Fraction) -> None:
        super().__init__()
        self.pad = pad
        self.convolution = convolution
        self.norm = norm
        self.halo = halo
        self.scale = scale

    def forward(self, x: Features, statistics: Statistics | None = None, residual: Features | None = None) -> Features:
        """Return what it makes of `x`, and of `residual`, where it is given, the sum with that."""
        if isinstance(x, Tensor):
            return self.norm(self.convolution(self.pad(x)), statistics, residual)
        gather = self.norm.looks_at_all(statistics)
        made = x.through(lambda x: self.convolution(self.pad(x)), self.halo, self.scale, self.norm, gather)
        return made if residual is None else residual + made


class ResizeConvolution(nn.Module):
    """Double the size by nearest neighbour, then convolve 3x3 (Odena et al., 2016): no checkerboards."""

    def __init__(self, channels: int, out_channels: int, bias: bool = True) -> None:
        super().__init__()
        self.pad = Pad(1, "reflect")
        self.convolution = nn.Conv2d(channels, out_channels, 3, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.convolution(self.pad(F.interpolate(x, scale_factor=2, mode="nearest")))


class Dropout(nn.Module):
    """Set half of the features to zero and double the others (Srivastava et al., 2014), as noise that is handed in.

    A feature's fate follows from its picture's seed, the layer and its place alone: it is the same on every device, in
    every precision and batch, and nothing random is hidden in the module.

    Args:
        layer: sets apart the dropouts of one network.
    """

    def __init__(self, layer: int) -> None:
        super().__init__()
        self.layer = layer
        self.stream = (layer * _ODD + 2**63) % 2**64 - 2**63  # as int64 wraps around

    def forward(self, x: Features, seeds: Tensor | None = None) -> Features:
        """Drop features of (B, C, H, W) by `seeds`, (B,) int64; without seeds, return `x` as it is."""
        if seeds is None:
            return x
        height, width = x.shape[-2:]

        def drop(x: Tensor, places: Tensor) -> Tensor:
            channels = torch.arange(x.shape[1], device=x.device).view(-1, 1, 1) * (height * width)
            streams = _scramble(seeds.to(x.device) + self.stream).view(-1, 1, 1, 1)
            kept = _scramble(streams + (channels + places) * _ODD) < 0
            return x * (2 * kept.to(x.dtype))

        if isinstance(x, Tensor):
            return drop(x, torch.arange(height * width, device=x.device).view(1, 1, height, width))
        return locally(drop, x, x.places())

    def extra_repr(self) -> str:
        return f"layer {self.layer}"


_ODD = 0x9E3779B97F4A7C15 - 2**64


def _scramble(x: Tensor) -> Tensor:
    """Mix the 64 bits of int64 numbers (the finaliser of SplitMix64, Steele et al., 2014)."""
    x = (x ^ ((x >> 30) & (2**34 - 1))) * (0xBF58476D1CE4E5B9 - 2**64)
    x = (x ^ ((x >> 27) & (2**37 - 1))) * (0x94D049BB133111EB - 2**64)
    return x ^ ((x >> 31) & (2**33 - 1))


def same(
    channels: int, out_channels: int, kernel: int, norm: NormKind, activation: Activation, bias: bool = True
) -> Segment:
    """Return a segment that keeps the size, padding by reflection."""
    convolution = nn.Conv2d(channels, out_channels, kernel, bias=bias)
    half = kernel // 2
    return Segment(Pad(half, "reflect"), convolution, Norm(out_channels, norm, activation), half, Fraction(1))


def down(channels: int, out_channels: int, norm: NormKind, bias: bool = True) -> Segment:
    """Return a segment that halves the size (3x3, stride 2, zero padding, ReLU)."""
    convolution = nn.Conv2d(channels, out_channels, 3, stride=2, padding=1, bias=bias)
    return Segment(Pad(0, "zero"), convolution, Norm(out_channels, norm, "relu"), 1, Fraction(1, 2))


def up(channels: int, out_channels: int, norm: NormKind, upsampling: Upsampling, bias: bool = True) -> Segment:
    """Return a segment that doubles the size, by transposed convolution (the original) or resize-convolution."""
    convolution: nn.Module
    if upsampling == "deconv":
        convolution = nn.ConvTranspose2d(channels, out_channels, 3, stride=2, padding=1, output_padding=1, bias=bias)
    else:
        convolution = ResizeConvolution(channels, out_channels, bias)
    return Segment(Pad(0, "zero"), convolution, Norm(out_channels, norm, "relu"), 1, Fraction(2))


class ResidualBlock(nn.Module):
    """Two 3x3 segments and the identity, without an activation after the sum (Johnson et al., 2016).

    Args:
        channels: in and out.
        norm: of both segments.
        bias: whether the convolutions have one.
        dropout: between the two, or None.
    """

    def __init__(self, channels: int, norm: NormKind, bias: bool = True, dropout: Dropout | None = None) -> None:
        super().__init__()
        self.first = same(channels, channels, 3, norm, "relu", bias)
        self.dropout = dropout
        self.second = same(channels, channels, 3, norm, "none", bias)

    def forward(self, x: Features, statistics: Statistics | None = None, seeds: Tensor | None = None) -> Features:
        features = self.first(x, statistics)
        if self.dropout is not None:
            features = self.dropout(features, seeds)
        return self.second(features, statistics, x)


class Segments(nn.ModuleList):
    """Segments and residual blocks, one after the other.

    With `recompute`, only what goes in is kept for the backward pass and the rest is computed again (activation
    checkpointing, Chen et al., 2016).
    """

    def __init__(self, modules: Sequence[nn.Module], recompute: bool = False) -> None:
        super().__init__(modules)
        self.recompute = recompute

    def forward(self, x: Features, statistics: Statistics | None = None, seeds: Tensor | None = None) -> Features:
        for module in self:
            noise = (seeds,) if isinstance(module, ResidualBlock) else ()
            if self.recompute and torch.is_grad_enabled():
                x = checkpoint(module, x, statistics, *noise, use_reentrant=False, preserve_rng_state=False)
            else:
                x = module(x, statistics, *noise)
        return x
