"""The smallest pictures that networks can be trained on: computed, and held against the real ones."""

import itertools

import pytest
import torch
from torch import nn

from hdtrans.config.networks import PatchSection, PixelSection
from hdtrans.networks.build import build_discriminator, too_small
from hdtrans.networks.condition import any_size
from hdtrans.networks.context import PLAIN
from hdtrans.networks.discriminators import PatchDiscriminator, fits_patches, least_side, patch_maps
from hdtrans.networks.norm import NormKind
from hdtrans.networks.perceptual import SMALLEST, PerceptualKind, PerceptualNetwork
from hdtrans.networks.resnet import ResNet
from hdtrans.networks.unet import UNet


def trains(network: nn.Module, batch: int, height: int, width: int, channels: int = 1) -> list[tuple[int, int]] | None:
    """Return the sizes of a network's feature maps on a picture, None where it fails."""
    try:
        return [tuple(made.shape[-2:]) for made in network(torch.rand(batch, channels, height, width))]
    except (RuntimeError, ValueError):
        return None


@pytest.mark.parametrize("norm", ["instance", "batch", "none"])
@pytest.mark.parametrize(("layers", "padding"), [*itertools.product(range(1, 7), (1, 2))])
def test_a_patch_discriminator_works_at_the_bound_and_fails_below(layers: int, padding: int, norm: NormKind) -> None:
    network = PatchDiscriminator(1, 1, layers, norm, padding, widest=2)
    least = least_side(layers, padding, norm)
    for height, width in itertools.product((least - 1, least, least + 1), repeat=2):
        if min(height, width) > 0:
            made = trains(network, 1, height, width)
            assert (made is not None) == fits_patches(layers, padding, norm, height, width), (height, width)
            assert made in (None, patch_maps(layers, padding, height, width))
    assert trains(network, 1, least, least) is not None


def test_batch_norm_counts_the_batch() -> None:
    network = PatchDiscriminator(1, 1, 2, "batch", 2)
    for batch in (1, 2):
        assert (trains(network, batch, 1, 1) is not None) == fits_patches(2, 2, "batch", 1, 1, batch)


@pytest.mark.parametrize(
    "section", [PatchSection(width=1, layers=2), PixelSection(width=1), PixelSection(width=1, norm="none")]
)
def test_the_reason_names_the_bound(section: PatchSection | PixelSection) -> None:
    network = build_discriminator(section, 1)
    for side in (1, 2, 11, 12):
        assert (trains(network, 1, side, side) is None) == bool(found := too_small(section, side, side, 1))
        least = 12 if isinstance(section, PatchSection) else 2
        assert all(f"needs {least} pixels each way" in finding for finding in found)


@pytest.mark.parametrize("norm", ["instance", "batch"])
@pytest.mark.parametrize("downsamples", [1, 2, 4])
def test_generators_pad_the_smallest_picture_to_one_that_works(downsamples: int, norm: NormKind) -> None:
    networks: list[tuple[nn.Module, tuple[int, int]]] = [
        (ResNet(1, 1, 2, downsamples, 1, norm), (2**downsamples, 2)),
        (ResNet(1, 1, 2, downsamples, 0, norm, upsampling="resize"), (2**downsamples, 2)),
    ]
    if downsamples > 1:
        networks.append((UNet(1, 1, 2, downsamples, norm), (2**downsamples, 1)))
    for network, stride in networks:
        assert any_size(network, torch.rand(1, 1, 1, 1), stride, PLAIN).shape == (1, 1, 1, 1)


@pytest.mark.parametrize("kind", ["vgg19", "squeezenet"])
def test_a_perceptual_network_works_at_the_bound_and_fails_below(kind: PerceptualKind) -> None:
    with torch.device("meta"):
        network, least = PerceptualNetwork(kind), SMALLEST[kind]
        assert trains(network, 1, least, least, 3) is not None
        assert trains(network, 1, least - 1, 64, 3) is None
        assert trains(network, 1, 64, least - 1, 3) is None
