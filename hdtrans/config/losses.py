"""Sections that several methods have in common: losses and their weights."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_serializer

from hdtrans.config.section import Section

Weight = Annotated[float, Field(ge=0)]
Penalty = Annotated[
    float,
    Field(
        ge=0,
        description="Weight of the gradient penalty of `wgangp`, which needs a discriminator without batch norm.",
    ),
]


class FeatureMatchingSection(Section):
    """Feature matching loss: L1 between the discriminators' feature maps of true and generated pictures."""

    weight: Annotated[Weight, Field(description="Weight of the feature matching loss.")] = 10.0


class PerceptualSection(Section):
    """Perceptual loss: L1 between feature maps of a network trained on ImageNet."""

    kind: Annotated[
        Literal["vgg19", "squeezenet", "none"],
        Field(description="Network of the perceptual loss; `none` leaves the loss out."),
    ] = "vgg19"
    weight: Annotated[Weight, Field(description="Weight of the perceptual loss.")] = 10.0
    weights: Annotated[
        Path | None,
        Field(description="File of the network's weights with torchvision's keys. Unset: torchvision's own download."),
    ] = None
    imagenet_normalisation: Annotated[
        bool,
        Field(description="Shift and scale pictures as in the network's training; the original does not."),
    ] = False

    @field_serializer("weights")
    def _weights_text(self, weights: Path | None) -> str | None:
        return None if weights is None else str(weights)
