"""pix2pix (Isola et al., "Image-to-Image Translation with Conditional Adversarial Networks", 2017).

A generator against one discriminator, with an L1 loss to the true picture. One forward pass of the generator serves
both phases; the discriminator steps first, and the generator then faces the updated one. Networks: `generator` and
`discriminator`.
"""

from dataclasses import dataclass
from functools import partial
from typing import Annotated, Literal

import torch
from pydantic import Field, Tag, model_validator
from torch import Tensor, nn

from hdtrans.config.augmentation import AugmentationSection, check_augmentation
from hdtrans.config.data import Data
from hdtrans.config.inputs import Input, Inputs
from hdtrans.config.losses import Penalty, Weight
from hdtrans.config.networks import (
    ConditionSection,
    PatchSection,
    PixelSection,
    ResNetSection,
    TranslateSection,
    UNetSection,
    kind_or,
    refuse_batch_norm,
    refuse_residual,
)
from hdtrans.config.recipe import MethodSection
from hdtrans.config.section import Section
from hdtrans.config.stage import Stage
from hdtrans.data.batch import Batch
from hdtrans.data.fields import as_floats
from hdtrans.losses.adversarial import CriticKind, boundary, fake_loss, generator_loss, gradient_penalty, real_loss
from hdtrans.losses.pictures import l1_loss
from hdtrans.methods.augmentation import Augmentation, View
from hdtrans.methods.base import (
    ClassAxes,
    Losses,
    Method,
    Nets,
    Phase,
    StepContext,
    axes_of_classes,
    train_together,
)
from hdtrans.networks.build import build_discriminator, build_generator, too_small
from hdtrans.networks.condition import Condition, crop, pad_to_stride
from hdtrans.networks.context import ForwardContext, Statistics
from hdtrans.networks.initialise import initialise
from hdtrans.networks.parts import Features, locally

NETWORKS = ("generator", "discriminator")
DROPOUT, PENALTY, AUGMENTATION = range(3)  # purposes of random numbers

GeneratorConfig = Annotated[
    Annotated[UNetSection, Tag("unet")] | Annotated[ResNetSection, Tag("resnet")], kind_or("unet")
]
DiscriminatorConfig = Annotated[
    Annotated[PatchSection, Tag("patch")] | Annotated[PixelSection, Tag("pixel")], kind_or("patch")
]


class AdversarialConfig(Section):
    """Adversarial loss."""

    kind: Annotated[CriticKind, Field(description="Adversarial loss.")] = "vanilla"
    weight: Annotated[Weight, Field(description="Weight of the generator's adversarial loss.")] = 1.0
    penalty: Penalty = 10.0


class L1Config(Section):
    """L1 distance to the true picture."""

    weight: Annotated[Weight, Field(description="Weight of the L1 distance to the true picture.")] = 100.0


class Config(MethodSection):
    """The section `method` of a pix2pix recipe."""

    kind: Literal["pix2pix"] = "pix2pix"
    condition: ConditionSection = ConditionSection()
    generator: GeneratorConfig = UNetSection()
    discriminator: DiscriminatorConfig = PatchSection()
    augmentation: Annotated[
        AugmentationSection | None,
        Field(description="Augmentation of what discriminators see, for few pictures. Unset: none."),
    ] = None
    adversarial: AdversarialConfig = AdversarialConfig()
    l1: L1Config = L1Config()
    translate: TranslateSection = TranslateSection()

    @model_validator(mode="after")
    def _fits(self) -> "Config":
        refuse_batch_norm(self.adversarial.kind, self.discriminator.norm)
        return self

    def complete(self, stage: Stage) -> Stage:
        """Fill in `output` and `train`: one generator, and both networks train together."""
        return train_together(stage, "generator", NETWORKS)

    def inputs(self, data: Data, direction: str = "") -> Inputs:
        """Return the table of inputs: label map or picture, instance map, noise seeds, photo."""
        fields = data.fields
        if not data.paired:
            raise ValueError("data.kind: unpaired has no true picture for an input, which pix2pix needs; use cyclegan")
        check_augmentation(self.augmentation, self.adversarial.kind, fields["photo"].values)
        lead = "label" if "label" in fields else "source"
        if lead != "label" and self.condition.boundary == "labels":
            raise ValueError("method.condition.boundary: labels needs data of kind label_maps; use instance or none")
        found = [Input.of(lead, fields[lead])]
        if self.condition.boundary == "instance":
            if "instance" not in fields:
                raise ValueError(f"method.condition.boundary: instance needs instance maps, and {data.kind} has none")
            found.append(Input.of("instance", fields["instance"]))
        refuse_residual(self.generator, 0 if lead == "label" else fields[lead].size or 0, data.photo_channels)
        if self.generator.dropout and self.translate.dropout:
            found.append(Input("seeds", "seed", role="style", optional=True))
        return (*found, Input.of("photo", fields["photo"], "target"))

    def too_small(self, stage: Stage, height: int, width: int) -> list[str]:
        """Return the reasons against training on pictures of this size."""
        return too_small(self.discriminator, height, width, stage.batch_size)

    def stride(self, stage: Stage) -> int:
        """Return the multiple to which height and width are padded."""
        return self.generator.stride[0]

    def channels(self, data: Data) -> Condition:
        """Return the condition module for such data."""
        condition, labels = self.condition, data.fields.get("label")
        if labels is not None:
            return Condition(labels.size or 0, 0, data.ignore, condition.ignored, condition.boundary)
        return Condition(0, data.fields["source"].size or 0, None, condition.ignored, condition.boundary)


def build_networks(config: Config, data: Data, seed: int = 0) -> nn.ModuleDict:
    """Return both networks, with weights drawn from `seed`."""
    channels = config.channels(data).channels
    networks = {
        "generator": build_generator(config.generator, channels, data.photo_channels),
        "discriminator": build_discriminator(config.discriminator, channels + data.photo_channels),
    }
    for name, network in networks.items():
        initialise(network, name, seed, zero_biases=True)
    return nn.ModuleDict(networks)


@dataclass
class Shared:
    """Result of the forward pass that both phases share.

    Attributes:
        condition: condition as the discriminator sees it, (B, C, H, W), augmented.
        photo: true picture, (B, C, H, W) in [-1, 1].
        fake: generated picture, (B, C, H, W) in [-1, 1], with its graph.
        view: augmentation of what the discriminator sees.
    """

    condition: Tensor
    photo: Tensor
    fake: Tensor
    view: View


class PaddedCondition(nn.Module):
    """Condition of maps or a picture, padded to a size that the generator can work at.

    Args:
        condition: condition module.
        stride: height and width become multiples of the first number, and at least the second times it.
    """

    def __init__(self, condition: Condition, stride: tuple[int, int]) -> None:
        super().__init__()
        self.condition = condition
        self.stride = stride

    def forward(
        self, label: Features | None, instance: Features | None, source: Features | None, dtype: torch.dtype
    ) -> Features:
        def see(label: Tensor | None, instance: Tensor | None, source: Tensor | None) -> Tensor:
            return self.condition(label, instance, None if source is None else as_floats(source, dtype), dtype)

        padded = [None if x is None else pad_to_stride(x, *self.stride) for x in (label, instance, source)]
        return locally(see, *padded, halo=1)


class Translator(nn.Module):
    """Translate (B, H, W) maps or a (B, C, H, W) picture of any size to (B, C, H, W) in [-1, 1]."""

    def __init__(self, condition: PaddedCondition, generator: nn.Module, how: TranslateSection) -> None:
        super().__init__()
        self.condition = condition
        self.generator = generator
        self.stride = condition.stride
        self.how = how

    def forward(
        self,
        label: Features | None = None,
        instance: Features | None = None,
        source: Features | None = None,
        seeds: Tensor | None = None,
    ) -> Features:
        given = next(x for x in (label, source) if x is not None)
        height, width = given.shape[-2:]
        condition = self.condition(label, instance, source, next(self.generator.parameters()).dtype)
        if seeds is None:
            seeds = torch.zeros(given.shape[0], dtype=torch.int64)
        noise = seeds if self.how.dropout else None
        statistics: Statistics | None = "image" if self.how.norm == "image" else None
        return crop(self.generator(condition, ForwardContext(statistics, noise)), height, width)


class Pix2pix(Method):
    """pix2pix, the same in every stage."""

    def __init__(self, config: Config, data: Data, networks: nn.ModuleDict) -> None:
        self.config = config
        self.condition = PaddedCondition(config.channels(data), config.generator.stride)
        self.augmentation = Augmentation(config.augmentation)
        super().__init__(
            networks,
            phases=(
                Phase("discriminator", ("discriminator",), self.discriminator_losses),
                Phase("generator", ("generator",), self.generator_losses),
            ),
            inputs=partial(config.inputs, data),
            averaged=("generator",),
            state=self.augmentation.state("augmentation"),
        )

    def forward_shared(self, nets: Nets, batch: Batch, context: StepContext) -> Shared:
        photo = as_floats(batch["photo"], context.dtype)
        height, width = photo.shape[-2:]
        condition = self.condition(batch.get("label"), batch.get("instance"), batch.get("source"), context.dtype)
        seeds = context.seeds(DROPOUT).to(photo.device) if self.config.generator.dropout else None
        fake = nets["generator"](condition, context.forward_context(seeds=seeds))[..., :height, :width]
        view = self.augmentation.view(context, AUGMENTATION, photo.device)
        return Shared(view.moved(condition[..., :height, :width], 0.0), photo, fake, view)

    def discriminator_losses(self, nets: Nets, batch: Batch, shared: Shared, context: StepContext) -> Losses:
        """Discriminator loss: 0.5 (L_real + L_fake) (section 3.3).

        Generated pictures come first and in a batch of their own, as in the original: with batch norm both matter.
        """
        kind, discriminator = self.config.adversarial.kind, nets["discriminator"]
        fake = torch.cat([shared.condition, shared.view.picture(shared.fake.detach())], 1)
        real = torch.cat([shared.condition, shared.view.picture(shared.photo)], 1)
        losses = {"fake": 0.5 * fake_loss(kind, discriminator(fake)[-1:])}
        judged = discriminator(real)[-1:]
        losses["real"] = 0.5 * real_loss(kind, judged)
        self.augmentation.observe(judged, boundary(kind), context)
        if kind == "wgangp":
            with context.fp32():
                dtype = torch.promote_types(context.dtype, torch.float32)
                pairs = real.to(dtype), fake.to(dtype)
                penalty = gradient_penalty(
                    lambda x: discriminator(x)[-1], *pairs, context.uniform(PENALTY, like=pairs[0])
                )
            losses["penalty"] = 0.5 * self.config.adversarial.penalty * penalty
        return losses

    def generated(self, shared: Shared) -> dict[str, Tensor]:
        return {"": shared.fake}

    def generator_losses(self, nets: Nets, batch: Batch, shared: Shared, context: StepContext) -> Losses:
        """Generator loss: L_GAN + lambda L_L1 (equation 4), each weighted."""
        config = self.config
        judged = nets["discriminator"](torch.cat([shared.condition, shared.view.picture(shared.fake)], 1))
        losses = {"adversarial": config.adversarial.weight * generator_loss(config.adversarial.kind, judged[-1:])}
        if config.l1.weight:
            losses["l1"] = config.l1.weight * l1_loss(shared.fake, shared.photo)
        return losses

    def translator(self, networks: nn.ModuleDict, direction: str = "") -> nn.Module:
        return Translator(self.condition, networks["generator"], self.config.translate)


def build(config: Config, data: Data, stage: Stage, networks: nn.ModuleDict) -> Pix2pix:
    """Return pix2pix over networks from `build_networks`."""
    return Pix2pix(config, data, networks)


def class_axes(config: Config, data: Data, networks: nn.ModuleDict) -> ClassAxes:
    """Return the axes of classes: one-hot inputs and results."""
    generator, discriminator = NETWORKS
    seen = config.channels(data).channels
    return axes_of_classes(data.fields, networks, [generator], [generator], [discriminator], seen)
