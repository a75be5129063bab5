"""Initial weights, from the seed and the network's name alone."""

import math
import zlib
from typing import Literal

import torch
from torch import Tensor, nn

from hdtrans.networks.compat import fans

Weights = Literal["normal", "kaiming", "xavier"]


def initialise(
    network: nn.Module,
    name: str,
    seed: int,
    zero_biases: bool = False,
    weights: Weights = "normal",
    gain: float | None = None,
) -> None:
    """Draw the weights of convolutions and linear layers anew, their biases, and the parameters of norms.

    The numbers follow from `seed` and `name`, so adding a network changes no other. Batch norm scales are N(1, 0.02).

    Args:
        network: changed in place; nothing happens where its weights have no memory (`meta`).
        name: the network's name in its method.
        seed: run seed, >= 0.
        zero_biases: set biases to 0, as pix2pix and CycleGAN do; else they are uniform in +-1/sqrt(fan in), as
            pix2pixHD's.
        weights: deviation of the weights: `normal`, gain; `kaiming`, gain / sqrt(fan in) (He et al., 2015, equation
            10); `xavier`, gain * sqrt(2 / (fan in + fan out)) (Glorot and Bengio, 2010, equation 12).
        gain: 0.02 unless given, with `kaiming` sqrt(2).
    """
    if next(network.parameters()).is_meta:
        return
    # One number of 32 bits: torch's generator on the CPU leaves out what lies above them.
    generator = torch.Generator().manual_seed(zlib.crc32(f"{seed} {name}".encode()))
    gain = gain if gain is not None else math.sqrt(2) if weights == "kaiming" else 0.02
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            _normal(module.weight, 0.0, _deviation(module, weights, gain), generator)
            if module.bias is not None and zero_biases:
                nn.init.zeros_(module.bias)
            elif module.bias is not None:
                bound = 1 / math.sqrt(fans(module.weight)[0])
                _copy(module.bias, torch.rand(module.bias.shape, generator=generator) * 2 * bound - bound)
        elif isinstance(module, nn.BatchNorm2d) and module.affine:
            _normal(module.weight, 1.0, 0.02, generator)
            nn.init.zeros_(module.bias)
        draw = getattr(module, "draw_initial", None)
        if draw is not None:  # tables, layer norm's scales, vectors of spectral norm
            draw(generator)


def _deviation(module: nn.Conv2d | nn.ConvTranspose2d | nn.Linear, weights: Weights, gain: float) -> float:
    if weights == "normal":
        return gain
    fan_in, fan_out = fans(module.weight)
    if weights == "kaiming":
        return gain / math.sqrt(fan_in)
    joined: int = getattr(module, "joined", 1)  # so many layers, computed as one
    return gain * math.sqrt(2 / (fan_in + fan_out / joined))


def _normal(parameter: Tensor, mean: float, deviation: float, generator: torch.Generator) -> None:
    _copy(parameter, torch.randn(parameter.shape, generator=generator) * deviation + mean)


@torch.no_grad()
def _copy(parameter: Tensor, values: Tensor) -> None:
    parameter.copy_(values)
