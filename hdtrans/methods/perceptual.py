"""Perceptual loss of a method: its frozen network, and the loss with its weight."""

from typing import cast

from torch import Tensor, nn

from hdtrans.config.losses import PerceptualSection
from hdtrans.losses.features import perceptual_loss
from hdtrans.networks.perceptual import PerceptualNetwork

_NAME = "perceptual"  # of the network among a method's frozen networks


def load_perceptual(frozen: nn.ModuleDict, section: PerceptualSection, weights: bool = True) -> None:
    """Add the network of a recipe's perceptual loss to the frozen networks, if the recipe has one.

    Args:
        frozen: frozen networks of the method; one that is there stays.
        section: section of the recipe.
        weights: read its weights; else only its architecture is made.
    """
    if section.kind == "none" or section.weight == 0 or _NAME in frozen:
        return
    network = PerceptualNetwork(section.kind, section.imagenet_normalisation)
    if weights:
        network.load(section.weights)
    frozen[_NAME] = network


def weighted_perceptual(frozen: nn.ModuleDict, section: PerceptualSection, fake: Tensor, real: Tensor) -> Tensor | None:
    """Return the perceptual loss of pictures (B, 3, H, W) in [-1, 1] with its weight; None without its network."""
    if _NAME not in frozen:
        return None
    network = cast(PerceptualNetwork, frozen[_NAME])
    return perceptual_loss(network.depths, fake, real, [section.weight * weight for weight in network.weights])
