"""Initial weights, from the seed and the network's name alone."""

import math
import zlib

import torch
from torch import Tensor, nn


def initialise(network: nn.Module, name: str, seed: int, zero_biases: bool = False) -> None:
    """Draw all weights anew: convolutions N(0, 0.02), their biases uniform in +-1/sqrt(fan in), batch norm N(1, 0.02).

    The numbers follow from `seed` and `name`, so adding a network changes no other. pix2pixHD's biases are as above;
    those of pix2pix and CycleGAN are `zero_biases`.
    """
    if next(network.parameters()).is_meta:
        return
    # One number of 32 bits: torch's generator on the CPU leaves out what lies above them.
    generator = torch.Generator().manual_seed(zlib.crc32(f"{seed} {name}".encode()))
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            _normal(module.weight, 0.0, generator)
            if module.bias is not None and zero_biases:
                nn.init.zeros_(module.bias)
            elif module.bias is not None:
                bound = 1 / math.sqrt(nn.init._calculate_fan_in_and_fan_out(module.weight)[0])
                _copy(module.bias, torch.rand(module.bias.shape, generator=generator) * 2 * bound - bound)
        elif isinstance(module, nn.BatchNorm2d):
            _normal(module.weight, 1.0, generator)
            nn.init.zeros_(module.bias)


def _normal(parameter: Tensor, mean: float, generator: torch.Generator) -> None:
    _copy(parameter, torch.randn(parameter.shape, generator=generator) * 0.02 + mean)


@torch.no_grad()
def _copy(parameter: Tensor, values: Tensor) -> None:
    parameter.copy_(values)
