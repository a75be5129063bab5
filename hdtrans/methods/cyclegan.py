"""CycleGAN (Zhu et al., "Unpaired Image-to-Image Translation using Cycle-Consistent Adversarial Networks", 2017).

Two generators, each the inverse of the other, and a discriminator for each side. Both generators step first, then both
discriminators, which see a history of generated pictures. Side A is `source` in a batch, side B is `photo`. Networks:
`generator_AtoB`, `generator_BtoA`, `discriminator_A` (judges pictures of A) and `discriminator_B`.
"""

from dataclasses import dataclass
from functools import partial
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field, Tag, model_validator
from torch import Tensor, nn

from hdtrans.config.augmentation import AugmentationSection, check_augmentation
from hdtrans.config.data import Data
from hdtrans.config.inputs import Input, Inputs
from hdtrans.config.losses import Penalty, Weight
from hdtrans.config.networks import (
    Dropout,
    NormKey,
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
from hdtrans.methods.base import Losses, Method, Nets, Phase, StepContext, train_together
from hdtrans.methods.history import Pool
from hdtrans.networks.build import build_discriminator, build_generator, too_small
from hdtrans.networks.condition import any_size
from hdtrans.networks.context import ForwardContext, Statistics
from hdtrans.networks.initialise import initialise
from hdtrans.networks.parts import Features, locally

GENERATORS = {"AtoB": "generator_AtoB", "BtoA": "generator_BtoA"}
DISCRIMINATORS = {"A": "discriminator_A", "B": "discriminator_B"}
NETWORKS = (*GENERATORS.values(), *DISCRIMINATORS.values())
# Purposes of random numbers: dropout in each of six passes, then pools, penalties and augmentations of A and B.
FORTH, BACK, FORTH_AGAIN, BACK_AGAIN, SAME_A, SAME_B, POOL_A, POOL_B, PENALTY_A, PENALTY_B = range(10)
AUGMENTATIONS = {"A": 10, "B": 11}


class UNetConfig(UNetSection):
    """U-Net with skip connections (Isola et al. 2017)."""

    norm: NormKey = "instance"
    dropout: Dropout = False


class ResNetConfig(ResNetSection):
    """Residual generator of the paper (Johnson et al. 2016)."""

    norm: NormKey = "instance"
    dropout: Dropout = False


class PatchConfig(PatchSection):
    """Discriminator of patches, as in the paper."""

    norm: NormKey = "instance"


class PixelConfig(PixelSection):
    """Discriminator of single pixels."""

    norm: NormKey = "instance"


GeneratorConfig = Annotated[
    Annotated[UNetConfig, Tag("unet")] | Annotated[ResNetConfig, Tag("resnet")], kind_or("resnet")
]
DiscriminatorConfig = Annotated[
    Annotated[PatchConfig, Tag("patch")] | Annotated[PixelConfig, Tag("pixel")], kind_or("patch")
]


class AdversarialConfig(Section):
    """Adversarial loss, the same on both sides."""

    kind: Annotated[CriticKind, Field(description="Adversarial loss.")] = "lsgan"
    weight: Annotated[Weight, Field(description="Weight of the generators' adversarial losses.")] = 1.0
    penalty: Penalty = 10.0


class CycleConfig(Section):
    """Cycle consistency loss: L1(G_BA(G_AB(a)), a) and L1(G_AB(G_BA(b)), b)."""

    weight_a: Annotated[Weight, Field(description="Weight of the cycle loss of A: from A to B and back.")] = 10.0
    weight_b: Annotated[Weight, Field(description="Weight of the cycle loss of B: from B to A and back.")] = 10.0


class IdentityConfig(Section):
    """Identity loss: L1(G_BA(a), a) and L1(G_AB(b), b)."""

    weight: Annotated[
        Weight,
        Field(
            description="Weight of the identity loss, relative to the cycle weights. 0 leaves it out, as A and B of "
            "different channels need."
        ),
    ] = 0.5


class PoolConfig(Section):
    """History of generated pictures, which the discriminators see in place of the latest."""

    size: Annotated[
        int,
        Field(
            ge=0,
            le=1000,
            description="Generated pictures kept for each position of the global batch; 0 shows the latest alone.",
        ),
    ] = 50


class Config(MethodSection):
    """The section `method` of a CycleGAN recipe."""

    directions: ClassVar[tuple[str, ...]] = tuple(GENERATORS)

    kind: Literal["cyclegan"] = "cyclegan"
    generator: GeneratorConfig = ResNetConfig()
    discriminator: DiscriminatorConfig = PatchConfig()
    augmentation: Annotated[
        AugmentationSection | None,
        Field(description="Augmentation of what discriminators see, for few pictures. Unset: none."),
    ] = None
    adversarial: AdversarialConfig = AdversarialConfig()
    cycle: CycleConfig = CycleConfig()
    identity: IdentityConfig = IdentityConfig()
    pool: PoolConfig = PoolConfig()
    translate: TranslateSection = TranslateSection()

    @model_validator(mode="after")
    def _fits(self) -> "Config":
        refuse_batch_norm(self.adversarial.kind, self.discriminator.norm)
        return self

    def complete(self, stage: Stage) -> Stage:
        """Fill in `output` and `train`: both directions, and all four networks train together."""
        stage = train_together(stage, "both", NETWORKS)
        if self.adversarial.kind == "wgangp" and stage.geometry in ("none", "scale_width"):
            raise ValueError(
                f"geometry: {stage.geometry} leaves pictures of A and of B in sizes of their own, and "
                "adversarial.kind: wgangp looks between them; choose another geometry"
            )
        return stage

    def too_small(self, stage: Stage, height: int, width: int) -> list[str]:
        """Return the reasons against training on pictures of this size."""
        return too_small(self.discriminator, height, width, stage.batch_size)

    def stride(self, stage: Stage) -> int:
        """Return the multiple to which height and width are padded."""
        return self.generator.stride[0]

    def inputs(self, data: Data, direction: str = "") -> Inputs:
        """Return the table of inputs: one side as `source`, noise seeds, the other side as target."""
        fields = data.fields
        for name in ("source", "photo"):
            if name not in fields or fields[name].values != "symmetric":
                makes = f" (its {name} is {fields[name].values})" if name in fields else ""
                raise ValueError(
                    f"data.kind: {data.kind}{makes} has no two sides of pictures, as cyclegan needs; use pix2pix or "
                    "unpaired data"
                )
        check_augmentation(self.augmentation, self.adversarial.kind)
        a, b = fields["source"], fields["photo"]
        refuse_residual(self.generator, a.size or 0, b.size or 0)
        if self.identity.weight and a.size != b.size:
            raise ValueError(
                f"method.identity: A has {a.size} channels and B {b.size}, so that no picture goes through the other "
                "side's generator; give method.identity.weight=0"
            )
        given, wanted = ("photo", "source") if direction == "BtoA" else ("source", "photo")
        noise = self.generator.dropout and self.translate.dropout
        return (
            Input.of("source", fields[given], source=given),
            *((Input("seeds", "seed", role="style", optional=True),) if noise else ()),
            Input.of("photo", fields[wanted], "target", source=wanted),
        )


def build_networks(config: Config, data: Data, seed: int = 0) -> nn.ModuleDict:
    """Return all four networks, with weights drawn from `seed`."""
    a, b = data.fields["source"].size or 0, data.fields["photo"].size or 0
    networks = {
        "generator_AtoB": build_generator(config.generator, a, b),
        "generator_BtoA": build_generator(config.generator, b, a),
        "discriminator_A": build_discriminator(config.discriminator, a),
        "discriminator_B": build_discriminator(config.discriminator, b),
    }
    for name, network in networks.items():
        initialise(network, name, seed, zero_biases=True)
    return nn.ModuleDict(networks)


@dataclass
class Shared:
    """Result of the forward pass that both phases share, each (B, C, H, W) in [-1, 1].

    Attributes:
        a, b: true pictures.
        fake_a, fake_b: G_BA(b) and G_AB(a), with their graphs.
        views: augmentation of what each side's discriminator sees.
    """

    a: Tensor
    b: Tensor
    fake_a: Tensor
    fake_b: Tensor
    views: dict[str, View]


class Translator(nn.Module):
    """Translate a (B, C, H, W) picture of one side, of any size, to (B, C, H, W) of the other, in [-1, 1]."""

    def __init__(self, generator: nn.Module, stride: tuple[int, int], how: TranslateSection) -> None:
        super().__init__()
        self.generator = generator
        self.stride = stride
        self.how = how

    def forward(self, source: Features, seeds: Tensor | None = None) -> Features:
        dtype = next(self.generator.parameters()).dtype
        x = locally(lambda picture: as_floats(picture, dtype), source)
        if seeds is None:
            seeds = torch.zeros(x.shape[0], dtype=torch.int64)
        noise = seeds if self.how.dropout else None
        statistics: Statistics | None = "image" if self.how.norm == "image" else None
        return any_size(self.generator, x, self.stride, ForwardContext(statistics, noise))


class CycleGAN(Method):
    """CycleGAN, the same in every stage."""

    def __init__(self, config: Config, data: Data, networks: nn.ModuleDict) -> None:
        self.config = config
        self.stride = config.generator.stride
        self.histories = {"A": Pool(config.pool.size), "B": Pool(config.pool.size)}
        self.augmentations = {side: Augmentation(config.augmentation) for side in DISCRIMINATORS}
        adaptive = [each.state(f"augmentation_{side}") for side, each in self.augmentations.items()]
        super().__init__(
            networks,
            phases=(
                Phase("generators", tuple(GENERATORS.values()), self.generator_losses),
                Phase("discriminators", tuple(DISCRIMINATORS.values()), self.discriminator_losses),
            ),
            inputs=partial(config.inputs, data),
            averaged=tuple(GENERATORS.values()),
            state=dict(self.histories) | adaptive[0] | adaptive[1],
            directions=config.directions,
        )

    def forward_shared(self, nets: Nets, batch: Batch, context: StepContext) -> Shared:
        a, b = as_floats(batch["source"], context.dtype), as_floats(batch["photo"], context.dtype)
        fake_b = self._generate(nets, "AtoB", a, context, FORTH)
        fake_a = self._generate(nets, "BtoA", b, context, BACK)
        views = {side: each.view(context, AUGMENTATIONS[side], a.device) for side, each in self.augmentations.items()}
        return Shared(a, b, fake_a, fake_b, views)

    def generated(self, shared: Shared) -> dict[str, Tensor]:
        return {"AtoB": shared.fake_b, "BtoA": shared.fake_a}

    def generator_losses(self, nets: Nets, batch: Batch, shared: Shared, context: StepContext) -> Losses:
        """Generator loss: L_GAN + lambda L_cyc (equation 3) + L_identity (section 5.2), each weighted."""
        config, kind, losses = self.config, self.config.adversarial.kind, {}
        weights = {"A": config.cycle.weight_a, "B": config.cycle.weight_b}
        for side, fake in (("A", shared.fake_a), ("B", shared.fake_b)):
            judged = nets[DISCRIMINATORS[side]](shared.views[side].picture(fake))
            losses[f"adversarial_{side}"] = config.adversarial.weight * generator_loss(kind, judged[-1:])
        passes = (
            ("A", "BtoA", shared.a, shared.fake_b, BACK_AGAIN, SAME_A),
            ("B", "AtoB", shared.b, shared.fake_a, FORTH_AGAIN, SAME_B),
        )
        for side, direction, real, fake, purpose, _ in passes:
            if weights[side]:
                cycle = self._generate(nets, direction, fake, context, purpose)
                losses[f"cycle_{side}"] = weights[side] * l1_loss(cycle, real)
        for side, direction, real, _, _, purpose in passes:
            if weights[side] and config.identity.weight:
                weight = weights[side] * config.identity.weight
                same = self._generate(nets, direction, real, context, purpose)
                losses[f"identity_{side}"] = weight * l1_loss(same, real)
        return losses

    def discriminator_losses(self, nets: Nets, batch: Batch, shared: Shared, context: StepContext) -> Losses:
        """Discriminator loss of each side: 0.5 (L_real + L_fake), L_fake on pictures from the history (section 4)."""
        losses: Losses = {}
        sides = (
            ("A", shared.a, shared.fake_a, POOL_A, PENALTY_A),
            ("B", shared.b, shared.fake_b, POOL_B, PENALTY_B),
        )
        for side, real, new, pool, purpose in sides:
            fakes = self.histories[side].exchange(new.detach(), context, pool)
            view = shared.views[side]
            fakes = [view.at(n).picture(fake[None])[0] for n, fake in enumerate(fakes)]
            losses |= self._discriminate(nets[DISCRIMINATORS[side]], side, view.picture(real), fakes, context, purpose)
        return losses

    def _discriminate(
        self, network: nn.Module, side: str, real: Tensor, fakes: list[Tensor], context: StepContext, purpose: int
    ) -> Losses:
        """Return the losses of one discriminator; an old picture of the history may differ in size from the new one."""
        config = self.config.adversarial
        equal = all(fake.shape == fakes[0].shape for fake in fakes)
        groups = [torch.stack(fakes)] if equal else [fake[None] for fake in fakes]
        judged = network(real)[-1:]
        self.augmentations[side].observe(judged, boundary(config.kind), context)
        losses = {
            f"real_{side}": 0.5 * real_loss(config.kind, judged),
            f"fake_{side}": 0.5 * fake_loss(config.kind, [network(x)[-1] for x in groups]) / len(groups),
        }
        if config.kind == "wgangp":
            with context.fp32():
                dtype = torch.promote_types(context.dtype, torch.float32)
                pair = real.to(dtype), groups[0].to(dtype)
                penalty = gradient_penalty(lambda x: network(x)[-1], *pair, context.uniform(purpose, like=pair[0]))
            losses[f"penalty_{side}"] = 0.5 * config.penalty * penalty
        return losses

    def translator(self, networks: nn.ModuleDict, direction: str = "") -> nn.Module:
        return Translator(networks[GENERATORS[direction or "AtoB"]], self.stride, self.config.translate)

    def previews(self, nets: nn.ModuleDict, batch: Batch, context: StepContext) -> dict[str, Tensor]:
        columns = {}
        directions = (
            ("A", "B", batch.get("source"), "AtoB", "BtoA"),
            ("B", "A", batch.get("photo"), "BtoA", "AtoB"),
        )
        for side, other, given, there, back in directions:
            if given is not None:
                columns[side] = as_floats(given, torch.float32)
                columns[f"{side} to {other}"] = made = self.translator(nets, there)(given)
                columns[f"{side} to {other} to {side}"] = self.translator(nets, back)(made)
        return columns

    def _generate(self, nets: Nets, direction: str, x: Tensor, context: StepContext, purpose: int) -> Tensor:
        seeds = context.seeds(purpose).to(x.device) if self.config.generator.dropout else None
        return any_size(nets[GENERATORS[direction]], x, self.stride, context.forward_context(seeds=seeds))


def build(config: Config, data: Data, stage: Stage, networks: nn.ModuleDict) -> CycleGAN:
    """Return CycleGAN over networks from `build_networks`."""
    return CycleGAN(config, data, networks)
