"""Sections of a recipe that say which generator and which discriminator: what several methods let one choose.

The defaults are pix2pix's; `hdtrans.networks.build` makes the networks.
"""

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, PositiveInt, model_validator

from hdtrans.config.section import Section

Norm = Literal["instance", "batch", "none"]


class UNetSection(Section):
    """A U-Net; 8 `downsamples` are the paper's for 256x256, 7 for 128x128."""

    kind: Literal["unet"] = "unet"
    width: PositiveInt = 64
    downsamples: Annotated[int, Field(ge=2, le=10)] = 8
    norm: Norm = "batch"
    dropout: bool = True

    @property
    def stride(self) -> tuple[int, int]:
        """Height and width are made multiples of the first number, and at least the second times it."""
        return 2**self.downsamples, 1


class ResNetSection(Section):
    """The residual generator of CycleGAN: 9 `blocks` for 256x256, 6 for 128x128.

    With `residual` it makes what is added to the input picture, instead of the picture.
    """

    kind: Literal["resnet"] = "resnet"
    width: PositiveInt = 64
    downsamples: Annotated[int, Field(ge=1, le=8)] = 2
    blocks: Annotated[int, Field(ge=0)] = 9
    norm: Norm = "batch"
    dropout: bool = True
    upsampling: Literal["deconv", "resize"] = "deconv"
    recompute: bool = False
    residual: bool = False

    @model_validator(mode="after")
    def _fits(self) -> "ResNetSection":
        if self.recompute and self.norm == "batch":
            raise ValueError("recompute runs a layer twice, and batch norm would count the batch twice; use instance")
        return self

    @property
    def stride(self) -> tuple[int, int]:
        """Height and width are made multiples of the first number, and at least the second times it."""
        return 2**self.downsamples, 2


class PatchSection(Section):
    """A discriminator of patches; with 3 `layers` they are 70x70."""

    kind: Literal["patch"] = "patch"
    width: PositiveInt = 64
    layers: Annotated[int, Field(ge=1, le=6)] = 3
    norm: Norm = "batch"


class PixelSection(Section):
    """A discriminator of single pixels."""

    kind: Literal["pixel"] = "pixel"
    width: PositiveInt = 64
    norm: Norm = "batch"


class TranslateSection(Section):
    """How a trained model translates.

    Attributes:
        dropout: keep the generator's dropout, as noise from a seed.
        norm: batch norm takes the statistics of each picture (`image`) or those gathered in training (`running`).
    """

    dropout: bool = True
    norm: Literal["running", "image"] = "image"


def kind_or(default: str) -> Discriminator:
    """Return what tells the kind of a section that may leave it out."""

    def kind(value: Any) -> Any:
        return value.get("kind", default) if isinstance(value, dict) else getattr(value, "kind", default)

    return Discriminator(kind)


def refuse_residual(generator: UNetSection | ResNetSection, given: int, wanted: int) -> None:
    """Raise ValueError if a generator cannot add to an input picture of `given` channels, 0 where there is none."""
    if isinstance(generator, ResNetSection) and generator.residual and given != wanted:
        what = f"the input picture has {given} channel(s)" if given else "the input is no picture"
        raise ValueError(
            f"method.generator.residual: adds to the input picture, but {what} and the wanted one has {wanted}; leave "
            "it out"
        )


def refuse_batch_norm(adversarial: str, norm: Norm) -> None:
    """Raise ValueError if a discriminator with this norm cannot have this adversarial loss."""
    if adversarial == "wgangp" and norm == "batch":
        raise ValueError(
            "adversarial.kind: wgangp needs a discriminator that judges each picture for itself, and batch norm mixes "
            "them; give discriminator: {norm: instance} or {norm: none}"
        )
