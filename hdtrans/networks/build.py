"""Build generators, discriminators and an encoder from their sections of the recipe."""

from collections.abc import Collection
from typing import Any

from torch import nn

from hdtrans.config.networks import (
    CoarseToFineSection,
    EncoderSection,
    MultiscaleSection,
    PatchSection,
    PixelSection,
    ResNetSection,
    UNetSection,
)
from hdtrans.networks.discriminators import PADDING, PatchDiscriminator, PixelDiscriminator, fits_patches, least_side
from hdtrans.networks.encoder import Encoder
from hdtrans.networks.generators import Enhancer, Head, Trunk
from hdtrans.networks.resnet import ResNet
from hdtrans.networks.unet import UNet

_PADDING = 1  # of each layer of a patch discriminator, as in pix2pix and CycleGAN


def build_generator(section: UNetSection | ResNetSection, channels: int, out_channels: int) -> nn.Module:
    """Return a generator: `forward(x, context)`, as in `UNet` and `ResNet`."""
    if isinstance(section, UNetSection):
        return UNet(channels, out_channels, section.width, section.downsamples, section.norm, section.dropout)
    return ResNet(
        channels,
        out_channels,
        section.width,
        section.downsamples,
        section.blocks,
        section.norm,
        section.dropout,
        section.upsampling,
        section.recompute,
        section.residual,
    )


def build_discriminator(section: PatchSection | PixelSection, channels: int) -> nn.Module:
    """Return a discriminator as in pix2pix and CycleGAN: (B, channels, H, W) -> its feature maps."""
    bias = section.norm == "instance"
    if isinstance(section, PixelSection):
        return PixelDiscriminator(channels, section.width, section.norm, bias)
    return PatchDiscriminator(
        channels,
        section.width,
        section.layers,
        section.norm,
        padding=_PADDING,
        widest=8 * section.width,
        bias=bias,
        spectral_norm=section.spectral_norm,
    )


def too_small(section: PatchSection | PixelSection, height: int, width: int, batch_size: int) -> list[str]:
    """Return the reason why a discriminator cannot be trained on pictures of this size, in a list; none if it can."""
    if isinstance(section, PixelSection):
        values = height * width * (batch_size if section.norm == "batch" else 1)
        fits, least, words = values > 1 or section.norm == "none", 2, "of single pixels"
    else:
        fits = fits_patches(section.layers, _PADDING, section.norm, height, width, batch_size)
        least, words = least_side(section.layers, _PADDING, section.norm), f"of {section.layers} layers"
    advice = "" if isinstance(section, PixelSection) else ", or fewer method.discriminator.layers"
    finding = (
        f"{width}x{height}: a discriminator {words} needs {least} pixels each way at least; give a larger size{advice}"
    )
    return [] if fits else [finding]


def build_coarse_to_fine(section: CoarseToFineSection, channels: int, out_channels: int) -> dict[str, nn.Module]:
    """Return the networks of pix2pixHD's generator by name: `trunk`, `head`, `enhancer1`, `enhancer1_head`, ..."""
    common = _common(section)
    networks: dict[str, nn.Module] = {
        "trunk": Trunk(channels, section.width, section.downsamples, section.blocks, **common),
        "head": Head(section.width, out_channels),
    }
    for n in range(1, section.enhancers + 1):
        width, finest = section.width // 2**n, n == section.enhancers
        networks[f"enhancer{n}"] = Enhancer(
            channels, width, section.enhancer_blocks, out_channels=out_channels if finest else None, **common
        )
        if not finest:
            networks[f"enhancer{n}_head"] = Head(width, out_channels)
    return networks


def build_encoder(section: EncoderSection, generator: CoarseToFineSection, channels: int) -> nn.Module:
    """Return the encoder of per-instance features, with the generator's norm and upsampling."""
    return Encoder(channels, section.count, section.width, section.downsamples, **_common(generator))


def build_multiscale(section: MultiscaleSection, channels: int) -> dict[str, nn.Module]:
    """Return pix2pixHD's discriminators by name, `discriminator0` (the coarsest) first."""
    return {
        f"discriminator{n}": PatchDiscriminator(
            channels, section.width, section.layers, section.norm, spectral_norm=section.spectral_norm
        )
        for n in range(section.scales)
    }


def scales_too_small(
    section: MultiscaleSection, trained: Collection[str], height: int, width: int, batch_size: int
) -> list[str]:
    """Return the reasons why those of pix2pixHD's discriminators that are trained cannot be on such pictures."""
    scales = [n for n in range(section.scales) if f"discriminator{n}" in trained]
    found = []
    for scale in scales:
        rows, columns = (-(-side // 2 ** (max(scales) - scale)) for side in (height, width))  # of the pyramid
        if not fits_patches(section.layers, PADDING, section.norm, rows, columns, batch_size):
            seen = "" if scale == max(scales) else f" sees {columns}x{rows}, and"
            least = least_side(section.layers, PADDING, section.norm)
            found.append(f"{width}x{height}: discriminator{scale}{seen} needs {least} pixels each way at least")
    return found


def _common(section: CoarseToFineSection) -> dict[str, Any]:
    return {"norm": section.norm, "upsampling": section.upsampling, "recompute": section.recompute}
