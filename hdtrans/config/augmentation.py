"""Section of the augmentation of what discriminators see."""

from typing import Annotated, Literal

from pydantic import Field

from hdtrans.config.section import Section


class AugmentationSection(Section):
    """Differentiable augmentation of all that discriminators see, for few pictures (DiffAugment, Zhao et al. 2020)."""

    colour: Annotated[bool, Field(description="Change brightness, saturation and contrast of pictures.")] = True
    translation: Annotated[
        float,
        Field(ge=0, le=0.5, description="Largest shift, as a share of height and width; 0 shifts nothing."),
    ] = 0.125
    cutout: Annotated[
        float,
        Field(ge=0, lt=1, description="Rectangle that is blanked, as a share of height and width; 0 blanks nothing."),
    ] = 0.5
    probability: Annotated[
        Annotated[float, Field(ge=0, le=1)] | Literal["adaptive"],
        Field(
            description="Probability of each of the three; `adaptive` starts at 0 and rises while discriminators "
            "overfit (Karras et al. 2020)."
        ),
    ] = "adaptive"
    target: Annotated[
        float,
        Field(
            gt=-1,
            lt=1,
            description="Of `adaptive`: mean sign of the predictions for true pictures, above which the probability "
            "rises.",
        ),
    ] = 0.6
    span: Annotated[
        float, Field(gt=0, description="Of `adaptive`: images seen in which the probability can go from 0 to 1.")
    ] = 100_000


def check_augmentation(augmentation: AugmentationSection | None, adversarial: str, *values: str) -> None:
    """Raise ValueError if what discriminators see cannot be augmented so.

    Args:
        augmentation: the section, or None.
        adversarial: kind of the adversarial loss.
        values: meanings of the pictures' numbers (`Field.values`).
    """
    if augmentation is None:
        return
    if augmentation.probability == "adaptive" and adversarial == "wgangp":
        raise ValueError(
            "method.augmentation.probability: adaptive reads from the predictions which pictures pass for true, and a "
            "critic of adversarial.kind: wgangp does not say; give a number from 0 to 1"
        )
    other = next((value for value in values if value != "symmetric"), None)
    if augmentation.colour and other is not None:
        raise ValueError(f"method.augmentation.colour: changes colours, and these pictures are {other}; use false")
