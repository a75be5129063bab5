"""Normalisation, modulation and activation: one module, the only place where they are computed."""

from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hdtrans.networks.context import PLAIN, ForwardContext, Statistics, alone
from hdtrans.networks.kernels.fused import suits
from hdtrans.networks.kernels.fused_norm import fused_instance_norm
from hdtrans.networks.modulation import Modulation
from hdtrans.networks.parts import Features, Parts

NormKind = Literal["instance", "batch", "layer", "layer_deviation", "layer_instance", "none"]
Activation = Literal["relu", "leaky_relu", "tanh", "none"]
LAYER_KINDS = ("layer", "layer_deviation", "layer_instance")
_LEAST_VARIANCE = 1e-24  # of layer_deviation: the slope of the root at 0 would be infinite on an image of one colour


class Norm(nn.Module):
    """Normalise (B, C, H, W), modulate, then activate.

    With mean m_c and biased variance v_c of a channel, m and v of an image over all channels, n values each:

    - `instance`: (x - m_c) / sqrt(v_c + eps), no parameters (Ulyanov et al., 2016);
    - `batch`: the same over the batch, with learnt scale and shift (Ioffe and Szegedy, 2015); over the batches of all
      processes where the context has a `total`;
    - `layer`: (x - m) / sqrt(v + eps), scale and shift for each channel (Ba et al., 2016; DRIT's);
    - `layer_deviation`: (x - m) / (s + eps), s^2 = v n / (n - 1) (MUNIT's, where scales start uniform in [0, 1));
    - `layer_instance`: rho (x - m_c) / sqrt(v_c' + eps) + (1 - rho) (x - m) / sqrt(v' + eps), variances over n - 1, rho
      for each channel (Kim et al., "U-GAT-IT", 2020, equation 1);
    - `none`.

    Args:
        channels: C.
        kind: as above; eps = 1e-5.
        activation: after the norm; `leaky_relu` has slope 0.2.
        modulation: scale and shift from the forward context, in place of learnt ones: AdaIN, AdaLIN, SPADE, CLADE.
    """

    epsilon = 1e-5

    def __init__(
        self, channels: int, kind: NormKind, activation: Activation, modulation: Modulation | None = None
    ) -> None:
        super().__init__()
        assert kind in get_args(NormKind), kind
        self.kind = kind
        self.activation = activation
        self.modulation = modulation
        plain = modulation is None
        self.batch = nn.BatchNorm2d(channels, eps=self.epsilon, affine=plain) if kind == "batch" else None
        if kind in LAYER_KINDS:
            self.scale = nn.Parameter(torch.ones(channels)) if plain else None
            self.shift = nn.Parameter(torch.zeros(channels)) if plain else None
            # U-GAT-IT starts at instance norm's side where it is adaptive, at layer norm's where it is not.
            self.rho = (
                nn.Parameter(torch.full((channels,), 0.0 if plain else 0.9)) if kind == "layer_instance" else None
            )

    @torch.no_grad()
    def draw_initial(self, generator: torch.Generator) -> None:
        """Draw scale and shift anew, called by `initialise`; batch norm's are drawn there."""
        if self.kind == "layer_deviation" and self.scale is not None:
            self.scale.copy_(torch.rand(self.scale.shape, generator=generator))

    def forward(self, x: Features, context: ForwardContext = PLAIN, residual: Features | None = None) -> Features:
        """Return activation(modulation(norm(x))) + `residual`, (B, C, H, W)."""
        affine = None if self.modulation is None else self.modulation(x, context)
        pixels = x.shape[-2] * x.shape[-1]
        if isinstance(x, Tensor):
            return self._finish(x, context.statistics, pixels, context, affine, residual)
        beside = () if affine is None or isinstance(affine, Tensor) else (affine,)

        def finish(x: Tensor, statistics: Statistics | None, *window: Tensor) -> Tensor:
            return self._finish(x, statistics, pixels, context, window[0] if window else affine, None)

        made: Parts = x.finished(finish, *beside, gather=self.looks_at_all(context))
        return made if residual is None else residual + made

    def looks_at_all(self, context: ForwardContext = PLAIN) -> bool:
        """Return whether it needs mean and variance of the whole image under this context."""
        return self.kind in ("instance", *LAYER_KINDS) or (self.kind == "batch" and context.statistics == "image")

    def _finish(
        self,
        x: Tensor,
        statistics: Statistics | None,
        pixels: int,
        context: ForwardContext,
        affine: Tensor | None,
        residual: Tensor | None,
    ) -> Tensor:
        """Return a tensor normalised by `statistics`, or by its own, of a whole with so many `pixels`."""
        if torch.compiler.is_exporting() and self.looks_at_all(context):
            statistics = _row_by_row(x)
        own = not isinstance(statistics, tuple)
        if own and self.kind == "instance" and (affine is not None or self.activation != "tanh") and suits(x):
            if affine is None:
                return fused_instance_norm(x, self.activation, residual, self.epsilon)  # type: ignore[arg-type]
            x = fused_instance_norm(x, "none", None, self.epsilon)
        else:
            x = self._normalise(x, statistics, pixels, context)
        if affine is not None:
            assert self.modulation is not None
            x = self.modulation.modulate(x, affine)
        x = self._activate(x)
        return x if residual is None else residual + x

    def _normalise(self, x: Tensor, statistics: Statistics | None, pixels: int, context: ForwardContext) -> Tensor:
        if self.kind in LAYER_KINDS:
            return self._by_layer(x, statistics if isinstance(statistics, tuple) else _moments(x), pixels)
        if isinstance(statistics, str) and self.batch is not None:
            return F.instance_norm(x, weight=self.batch.weight, bias=self.batch.bias, eps=self.epsilon)
        if isinstance(statistics, tuple):
            mean, variance = statistics
            x = (x - mean) * torch.rsqrt(variance + self.epsilon)
            return x if self.batch is None else _affine(x, self.batch.weight, self.batch.bias)
        if self.kind == "instance":
            return self._each_by_itself(x)
        if self.batch is None:
            return x
        if self.training and context.total is not alone:
            return self._over_processes(x, context)
        normalised: Tensor = self.batch(x)
        return normalised

    def _by_layer(self, x: Tensor, statistics: tuple[Tensor, Tensor], pixels: int) -> Tensor:
        """Normalise over channels and pixels; the whole's mean and variance follow from those of its channels."""
        channel_mean, channel_variance = statistics  # (B, C, 1, 1), biased, float32 at least
        count = pixels * x.shape[1]
        mean = channel_mean.mean(1, keepdim=True)
        variance = (channel_variance + (channel_mean - mean).square()).mean(1, keepdim=True)
        if self.kind == "layer":
            made = (x - mean) * torch.rsqrt(variance + self.epsilon)
        elif self.kind == "layer_deviation":
            deviation = (variance * count / (count - 1)).clamp_min(_LEAST_VARIANCE).sqrt()
            made = (x - mean) / (deviation + self.epsilon)
        else:
            assert self.rho is not None
            own = (x - channel_mean) * torch.rsqrt(channel_variance * pixels / (pixels - 1) + self.epsilon)
            whole = (x - mean) * torch.rsqrt(variance * count / (count - 1) + self.epsilon)
            made = torch.lerp(whole, own, self.rho.to(own.dtype).view(1, -1, 1, 1))
        return _affine(made, self.scale, self.shift).to(x.dtype)

    def _over_processes(self, x: Tensor, context: ForwardContext) -> Tensor:
        """Return batch norm in training by mean and variance over all processes, and move the running ones."""
        assert self.batch is not None
        batch, wide = self.batch, x.to(torch.promote_types(x.dtype, torch.float32))
        count = context.total(wide.new_tensor(float(x.numel() // x.shape[1])))
        mean = context.total(wide.sum((0, 2, 3))) / count  # (C,)
        apart = wide - mean.view(1, -1, 1, 1)
        variance = context.total(apart.square().sum((0, 2, 3))) / count
        if batch.running_mean is not None and batch.running_var is not None and batch.num_batches_tracked is not None:
            with torch.no_grad():
                batch.num_batches_tracked += 1
                batch.running_mean.lerp_(mean.to(batch.running_mean.dtype), batch.momentum or 0.0)
                unbiased = variance * count / (count - 1)
                batch.running_var.lerp_(unbiased.to(batch.running_var.dtype), batch.momentum or 0.0)
        made = apart * torch.rsqrt(variance + self.epsilon).view(1, -1, 1, 1)
        return _affine(made, batch.weight, batch.bias).to(x.dtype)

    def _each_by_itself(self, x: Tensor) -> Tensor:
        """Return instance norm; on the CPU by others of torch's norms that equal it and are several times faster.

        Half precision takes batch norm of one image at a time, which stays channels-last (and rounds mean and variance
        to half precision, unless it has float32 ones to move). Its sums in float32 are too coarse for that type, which
        takes group norm of as many groups as channels. (The gradient of torch's own instance norm is wrong on the CPU
        where it arrives channels-last, as of 2.15.)
        """
        if x.device.type != "cpu":
            return F.instance_norm(x, eps=self.epsilon)
        if x.dtype in (torch.bfloat16, torch.float16):
            moved = x.new_zeros(x.shape[1], dtype=torch.float32), x.new_ones(x.shape[1], dtype=torch.float32)
            pictures = [F.batch_norm(one, *moved, training=True, eps=self.epsilon) for one in x.split(1)]
            return pictures[0] if len(pictures) == 1 else torch.cat(pictures)
        return F.group_norm(x.contiguous(), x.shape[1], eps=self.epsilon)

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


def _affine(x: Tensor, scale: Tensor | None, shift: Tensor | None) -> Tensor:
    """Return x * scale + shift, each (C,)."""
    return x if scale is None or shift is None else x * scale.view(1, -1, 1, 1) + shift.view(1, -1, 1, 1)


def _moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and biased variance of each image and channel, (B, C, 1, 1), in float32 at least."""
    wide = x.to(torch.promote_types(x.dtype, torch.float32))
    variance, mean = torch.var_mean(wide, (2, 3), correction=0, keepdim=True)
    return mean, variance


def _row_by_row(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and variance of each image and channel, of rows first: no sum has more than some thousand terms.

    A runtime that adds up the millions of a large image one by one in fp32 (onnxruntime does) loses three digits.
    """
    mean = x.mean(3, keepdim=True).mean(2, keepdim=True)
    return mean, (x - mean).square().mean(3, keepdim=True).mean(2, keepdim=True)
