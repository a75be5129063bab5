"""Build a generator or a discriminator from its section of the recipe."""

from torch import nn

from hdtrans.config.networks import PatchSection, PixelSection, ResNetSection, UNetSection
from hdtrans.networks.discriminators import PatchDiscriminator, PixelDiscriminator, fits_patches, least_side
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
    widest = 8 * section.width
    return PatchDiscriminator(channels, section.width, section.layers, section.norm, _PADDING, widest, bias)


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
