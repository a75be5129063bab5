"""Modulation of norms: scale and shift from the forward context, in place of learnt ones."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hdtrans.networks.context import ForwardContext
from hdtrans.networks.parts import Features, locally


class Modulation(nn.Module):
    """Turn the forward context into scale and shift of C channels: y = n(x) * scale + shift.

    Attributes:
        around_one: scales are offsets from 1.
    """

    around_one = False

    def forward(self, x: Features, context: ForwardContext) -> Features:
        """Return scale, then shift, for each of C channels: (B, 2C, H, W) of the size of `x`, or (B, 2C, 1, 1)."""
        raise NotImplementedError

    def modulate(self, x: Tensor, affine: Tensor) -> Tensor:
        """Return (B, C, h, w) scaled and shifted by (B, 2C, h or 1, w or 1)."""
        scale, shift = affine.to(x.dtype).chunk(2, 1)
        return x * (1 + scale) + shift if self.around_one else x * scale + shift


class StyleModulation(Modulation):
    """Scale and shift from the style vector: AdaIN (Huang and Belongie, 2017, equation 8), AdaLIN (U-GAT-IT).

    Either `size` numbers go through a linear layer to offsets from (1, 0), or the style holds scale and shift already,
    as the multilayer perceptron of a decoder makes them for all of its norms at once.

    Args:
        channels: C.
        size: S, the length of the style vector; None where it holds scales and shifts.
        start: place of this norm's 2C numbers in that vector.
        shift_first: C shifts come before C scales there, as in MUNIT.
    """

    def __init__(self, channels: int, size: int | None = None, start: int = 0, shift_first: bool = False) -> None:
        super().__init__()
        self.channels = channels
        self.start = start
        self.shift_first = shift_first
        self.affine = None if size is None else nn.Linear(size, 2 * channels)
        self.around_one = size is not None

    def forward(self, x: Features, context: ForwardContext) -> Tensor:  # type: ignore[override]
        style = context.style
        assert style is not None, "an adaptive norm needs a style in the forward context"
        if self.affine is not None:
            made: Tensor = self.affine(style.to(self.affine.weight.dtype))
            return made[:, :, None, None]
        numbers = style[:, self.start : self.start + 2 * self.channels]  # (B, 2C)
        if self.shift_first:
            numbers = numbers.roll(self.channels, 1)
        return numbers[:, :, None, None]

    def extra_repr(self) -> str:
        return f"{self.channels}, start={self.start}, shift_first={self.shift_first}"


class SpadeModulation(Modulation):
    """Scale and shift of each pixel from the condition by two convolutions (Park et al., "SPADE", 2019, equation 1).

    gamma, beta = conv(ReLU(conv(condition at the size of x))); y = n(x) * (1 + gamma) + beta. One convolution computes
    gamma and beta together.

    Args:
        channels: C.
        condition_channels: channels of the condition.
        hidden: channels between both convolutions.
        kernel: side of both, odd.
    """

    around_one = True

    def __init__(self, channels: int, condition_channels: int, hidden: int = 128, kernel: int = 3) -> None:
        super().__init__()
        self.halo = 2 * (kernel // 2)
        self.shared = nn.Conv2d(condition_channels, hidden, kernel, padding=kernel // 2)
        self.affine = nn.Conv2d(hidden, 2 * channels, kernel, padding=kernel // 2)
        self.affine.joined = 2  # type: ignore[assignment]  # `initialise` counts its outputs as those of two

    def forward(self, x: Features, context: ForwardContext) -> Features:
        return locally(self._convolve, _condition(x, context), halo=self.halo)

    def _convolve(self, condition: Tensor) -> Tensor:
        affine: Tensor = self.affine(F.relu(self.shared(condition), inplace=True))
        return affine


class ClassModulation(Modulation):
    """Scale and shift of each pixel from tables by its class (Tan et al., "CLADE", 2021): y = n(x) * w[k] + b[k].

    The class k is the largest of the condition's first channels; a pixel without a label takes class 0.

    Args:
        channels: C.
        labels: channels of the condition that are classes, the first ones.
    """

    def __init__(self, channels: int, labels: int) -> None:
        super().__init__()
        self.labels = labels
        self.weight = nn.Parameter(torch.rand(labels, channels))
        self.bias = nn.Parameter(torch.zeros(labels, channels))

    @torch.no_grad()
    def draw_initial(self, generator: torch.Generator) -> None:
        """Draw both tables anew, called by `initialise`: w uniform in [0, 1), b zero."""
        self.weight.copy_(torch.rand(self.weight.shape, generator=generator))
        self.bias.zero_()

    def forward(self, x: Features, context: ForwardContext) -> Features:
        return locally(self._look_up, _condition(x, context))

    def _look_up(self, condition: Tensor) -> Tensor:
        classes = condition[:, : self.labels].argmax(1)  # (B, h, w)
        table = torch.cat([self.weight, self.bias], 1)  # (labels, 2C)
        return F.embedding(classes, table).permute(0, 3, 1, 2)

    def extra_repr(self) -> str:
        return f"labels={self.labels}, channels={self.weight.shape[1]}"


def _condition(x: Features, context: ForwardContext) -> Features:
    """Return the condition at the size of `x`."""
    assert context.condition is not None, "a spatial modulation needs a condition in the forward context"
    made: Features = context.condition.at(x.shape[-2], x.shape[-1])
    return made
