"""Optimizers and the learning rate, a pure function of the images seen."""

from collections.abc import Iterable

import torch
from torch import Tensor

from hdtrans.config import Adam, Stage


def make_adam(parameters: Iterable[Tensor], config: Adam, learning_rate: float) -> torch.optim.Adam:
    """Return Adam over the parameters, fused where they lie on a GPU."""
    parameters = list(parameters)
    fused = True if parameters[0].is_cuda else None
    return torch.optim.Adam(parameters, learning_rate, config.betas, config.eps, fused=fused)


def stage_images(stage: Stage, count: int) -> int:
    """Return how many images a stage draws from `count` files: the one place where epochs become images."""
    return max(1, round((stage.epochs + stage.decay_epochs) * count))


def decay(stage: Stage, count: int, images: int) -> float:
    """Return the factor of the learning rate after `images` of a stage: 1, then falling to 0 in a straight line."""
    start, length = stage.epochs * count, stage.decay_epochs * count
    return 1.0 if images <= start or length == 0 else max(0.0, 1 - (images - start) / length)
