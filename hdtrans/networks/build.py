"""Build a generator or a discriminator from its section of the recipe."""

from torch import nn

from hdtrans.config.networks import PatchSection, PixelSection, ResNetSection, UNetSection
from hdtrans.networks.discriminators import PatchDiscriminator, PixelDiscriminator
from hdtrans.networks.resnet import ResNet
from hdtrans.networks.unet import UNet


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
    return PatchDiscriminator(channels, section.width, section.layers, section.norm, 1, widest, bias)
