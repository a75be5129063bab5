"""Section of the segmentation discriminator, and of its losses (Sushko et al. 2021)."""

from typing import Annotated

from pydantic import Field

from hdtrans.config.losses import FeatureMatchingSection, Weight
from hdtrans.config.networks import MultiscaleSection, Rate
from hdtrans.config.section import Section


class SegmenterSection(Section):
    """U-shaped discriminator that labels every pixel as fake or as one of the classes (OASIS, Sushko et al. 2021)."""

    width: Annotated[
        int, Field(ge=2, description="Channels after its first block; they double every second block, up to 4 times.")
    ] = 128
    downsamples: Annotated[int, Field(ge=1, le=8, description="Times it halves the size.")] = 6
    weight: Annotated[Weight, Field(description="Weight of its loss for the generator.")] = 1.0
    balanced: Annotated[
        bool, Field(description="Every class in a batch counts as much as every other, however small.")
    ] = True
    labelmix: Annotated[
        Weight,
        Field(description="Weight of its LabelMix loss, which mixes true and generated pictures by class; 0 for none."),
    ] = 10.0
    rate: Rate = 1.0


def settle_feature_matching(
    discriminator: MultiscaleSection, segmenter: SegmenterSection | None, matching: FeatureMatchingSection
) -> FeatureMatchingSection:
    """Return the section of feature matching, without weight where there is no discriminator of patches.

    Raises:
        ValueError: there is no discriminator at all, or none for a weight that the recipe gives.
    """
    if discriminator.scales:
        return matching
    if segmenter is None:
        raise ValueError("discriminator.scales: 0 leaves no discriminator; give 1 or more, or a segmenter")
    if "weight" in matching.model_fields_set and matching.weight:
        raise ValueError(
            f"feature_matching.weight: {matching.weight:g} compares feature maps of discriminators of patches, and "
            "discriminator.scales: 0 leaves none; leave it out"
        )
    return FeatureMatchingSection(weight=0.0)
