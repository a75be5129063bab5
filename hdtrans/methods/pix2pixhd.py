"""pix2pixHD (Wang et al., "High-Resolution Image Synthesis and Semantic Manipulation with Conditional GANs", 2018).

A coarse-to-fine generator against discriminators at several scales (section 3.2). One forward pass of the generator
serves both phases; the generator steps first. With `features`, an encoder gives the generator a style of each instance
of the photo (section 3.4). With `segmenter`, a discriminator that labels every pixel judges beside the others or alone.
Networks: `trunk`, `head`, `enhancer1`..., `encoder`, `discriminator0` (the coarsest)..., and `segmenter`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Annotated, ClassVar, Literal

import pydantic
import torch
from torch import Tensor, nn

from hdtrans.config.augmentation import AugmentationSection, check_augmentation
from hdtrans.config.data import Data
from hdtrans.config.inputs import Field, Input, Inputs, Style
from hdtrans.config.losses import FeatureMatchingSection, PerceptualSection, Weight
from hdtrans.config.networks import (
    MOST_SCALES,
    BatchNormSection,
    CoarseToFineSection,
    ConditionSection,
    EncoderSection,
    MultiscaleSection,
)
from hdtrans.config.recipe import MethodSection
from hdtrans.config.section import Section
from hdtrans.config.segmenter import SegmenterSection, settle_feature_matching
from hdtrans.config.stage import Stage
from hdtrans.data.batch import Batch
from hdtrans.data.fields import as_floats
from hdtrans.losses.adversarial import AdversarialKind, boundary, fake_loss, generator_loss, real_loss
from hdtrans.losses.features import feature_matching_loss
from hdtrans.methods import base
from hdtrans.methods.augmentation import Augmentation, View
from hdtrans.methods.base import Losses, Method, Nets, Phase, StepContext, check_names
from hdtrans.methods.perceptual import load_perceptual, weighted_perceptual
from hdtrans.methods.segmenter import SEGMENTER, PixelJudge, Seen, build_segmenter
from hdtrans.networks.build import build_coarse_to_fine, build_encoder, build_multiscale, scales_too_small
from hdtrans.networks.condition import Condition, crop, pad_to_stride
from hdtrans.networks.context import ForwardContext
from hdtrans.networks.discriminators import multiscale
from hdtrans.networks.encoder import pool
from hdtrans.networks.generators import coarse_to_fine, networks_for
from hdtrans.networks.initialise import initialise
from hdtrans.networks.parts import Features, locally
from hdtrans.networks.perceptual import SMALLEST

COINS, AUGMENTATION = range(2)  # purposes of random numbers


class AdversarialConfig(Section):
    """Adversarial loss."""

    kind: Annotated[AdversarialKind, pydantic.Field(description="Adversarial loss.")] = "lsgan"
    weight: Annotated[Weight, pydantic.Field(description="Weight of the generator's adversarial loss.")] = 1.0


class Config(MethodSection):
    """The section `method` of a pix2pixHD recipe."""

    renamed: ClassVar[Mapping[str, str]] = {f"scale{n}": f"discriminator{n}" for n in range(MOST_SCALES)}

    kind: Literal["pix2pixhd"] = "pix2pixhd"
    condition: ConditionSection = ConditionSection()
    generator: CoarseToFineSection = CoarseToFineSection()
    features: Annotated[
        EncoderSection | None,
        pydantic.Field(
            description="Encoder that gives the generator a style of each instance of the photo. Unset: none."
        ),
    ] = None
    discriminator: MultiscaleSection = MultiscaleSection()
    segmenter: Annotated[
        SegmenterSection | None,
        pydantic.Field(
            description="Discriminator that labels every pixel, beside those of patches or alone. Unset: none."
        ),
    ] = None
    augmentation: Annotated[AugmentationSection | None, pydantic.Field(description="For small data. Off: null.")] = None
    adversarial: AdversarialConfig = AdversarialConfig()
    feature_matching: FeatureMatchingSection = FeatureMatchingSection()
    perceptual: PerceptualSection = PerceptualSection()
    translate: BatchNormSection = BatchNormSection()

    @pydantic.model_validator(mode="after")
    def _fits(self) -> "Config":
        settled = settle_feature_matching(self.discriminator, self.segmenter, self.feature_matching)
        object.__setattr__(self, "feature_matching", settled)
        return self

    @property
    def must_train(self) -> tuple[str, ...]:
        return (SEGMENTER,) if self.segmenter else ()

    @property
    def outputs(self) -> list[str]:
        """Outputs that a stage can train: the trunk's own picture (`head`), or an enhancer's."""
        return ["head", *(f"enhancer{n}" for n in range(1, self.generator.enhancers + 1))]

    def generators(self, output: str) -> list[str]:
        """Return the names of the networks that generate `output`, the encoder last."""
        return networks_for(output, self.generator.enhancers) + (["encoder"] if self.features else [])

    def complete(self, stage: Stage) -> Stage:
        """Fill in `output` (the finest) and `train` (all used, with one discriminator less for each finer enhancer)."""
        enhancers = self.generator.enhancers
        output = stage.output or self.outputs[-1]
        check_names("output", [output], self.outputs)
        generators = self.generators(output)
        scales = [f"discriminator{n}" for n in range(self.discriminator.scales)]
        judges = [*scales, *([SEGMENTER] if self.segmenter else [])]
        unused = enhancers - self.outputs.index(output)
        train = stage.train or (*generators, *scales[: max(1, len(scales) - unused)], *judges[len(scales) :])
        check_names(f"train (output {output})", train, [*generators, *judges])
        if len(set(train)) < len(train):
            raise ValueError(f"train names a network twice: {', '.join(train)}")
        if not set(train) & set(generators):
            raise ValueError(f"train names no network of the generator; {output} is made by {', '.join(generators)}")
        if not set(train) & set(judges):
            raise ValueError(f"train names no discriminator; there are {', '.join(judges)}")
        at = stage.segmenter_at or ("full" if SEGMENTER in train else None)
        return stage.model_copy(update={"output": output, "train": tuple(train), "segmenter_at": at})

    def inputs(self, data: Data, direction: str = "") -> Inputs:
        """Return the table of inputs: label map or picture, instance map, per-instance features, photo."""
        fields = data.fields
        lead = "label" if "label" in fields else "source"
        if lead == "source" and self.condition.boundary == "labels":
            raise ValueError("method.condition.boundary: labels needs data of kind label_maps; use instance or none")
        if lead == "source" and self.features is not None and self.features.pool == "label":
            raise ValueError("method.features.pool: label needs data of kind label_maps; use instance")
        if lead == "source" and self.segmenter is not None:
            raise ValueError("method.segmenter: labels pixels by class, which needs data of kind label_maps")
        check_augmentation(self.augmentation, self.adversarial.kind, fields["photo"].values)
        if not data.paired:
            raise ValueError("data.kind: unpaired has no true picture for an input, as pix2pixhd needs; use cyclegan")
        if data.photo_channels != 3 and self.perceptual.kind != "none" and self.perceptual.weight:
            raise ValueError(f"method.perceptual sees 3 channels, the data has {data.photo_channels}; use kind: none")
        found = [Input.of(lead, fields[lead])]
        pools = self.features is not None and self.features.pool == "instance"
        if self.condition.boundary == "instance" or pools:
            found.append(Input.of("instance", fields.get("instance", Field("ids", None, "instances"))))
        if self.features is not None:
            found.append(Input("features", "image", self.features.count, "features", "style", optional=True))
        return (*found, Input.of("photo", fields["photo"], "target"))

    @property
    def style(self) -> Style | None:
        """The per-instance (or per-class) features of an encoder."""
        if self.features is None:
            return None
        of: Literal["instance", "class"] = "instance" if self.features.pool == "instance" else "class"
        return Style("features", self.features.count, of, self.features.pool)

    def too_small(self, stage: Stage, height: int, width: int) -> list[str]:
        """Return the reasons against training on pictures of this size: a discriminator, or the perceptual network."""
        found = scales_too_small(self.discriminator, stage.train or (), height, width, stage.batch_size)
        least = SMALLEST[self.perceptual.kind] if self.perceptual.weight else 0
        if min(height, width) < least:
            ways = f"{least} pixels each way at least; give a larger size, or method.perceptual.kind: none"
            found.append(f"{width}x{height}: {self.perceptual.kind} needs {ways}")
        return found

    def stride(self, stage: Stage) -> int:
        """Return the multiple to which height and width are padded; each enhancer doubles it."""
        return 2 ** (self.generator.downsamples + self.outputs.index(stage.output or self.outputs[-1]))

    def channels(self, data: Data) -> Condition:
        """Return the condition module for such data."""
        labels, channels = (data.fields[name].size or 0 if name in data.fields else 0 for name in ("label", "source"))
        ignore, features = data.ignore if labels else None, self.features.count if self.features else 0
        return Condition(labels, channels, ignore, self.condition.ignored, self.condition.boundary, features)


def build_networks(config: Config, data: Data, seed: int = 0) -> nn.ModuleDict:
    """Return the networks of all stages, with weights drawn from `seed`."""
    condition = config.channels(data)
    channels, generator = condition.channels + condition.features, config.generator
    networks: dict[str, nn.Module] = build_coarse_to_fine(generator, channels, data.photo_channels)
    if config.features:
        networks["encoder"] = build_encoder(config.features, generator, data.photo_channels)
    networks |= build_multiscale(config.discriminator, condition.channels + data.photo_channels)
    drawn_as = {new: old for old, new in config.renamed.items()}  # the weights of a seed do not change with a name
    for name, network in networks.items():
        initialise(network, drawn_as.get(name, name), seed)
    if config.segmenter:
        networks[SEGMENTER] = build_segmenter(config.segmenter, data.photo_channels, condition.labels, seed)
    return nn.ModuleDict(networks)


@dataclass
class Shared:
    """Result of the forward pass that all phases share.

    Attributes:
        condition: condition of the discriminators, (B, C, H, W), without features of the encoder, augmented.
        fake: generated picture, (B, 3, H, W) in [-1, 1], with its graph.
        perceptual: weighted perceptual loss; None without one.
        real: true picture as discriminators see it, augmented.
        real_features: feature maps of the discriminators on the true picture, with their graph.
        view: augmentation of what discriminators see.
        seen: targets of the segmenter; None where none trains.
    """

    condition: Tensor
    fake: Tensor
    perceptual: Tensor | None
    real: Tensor
    real_features: list[list[Tensor]]
    view: View
    seen: Seen | None


class Translator(nn.Module):
    """Translate (B, H, W) maps or a (B, C, H, W) picture of any size to (B, 3, H, W) in [-1, 1].

    A model with an encoder also takes its features, (B, count, H, W) in [-1, 1].
    """

    def __init__(
        self, condition: Condition, networks: nn.ModuleDict, output: str, stride: int, how: BatchNormSection
    ) -> None:
        super().__init__()
        self.condition = condition
        self.networks = networks
        self.how = how
        self.output = output
        self.stride = stride

    def forward(
        self,
        label: Features | None = None,
        instance: Features | None = None,
        source: Features | None = None,
        features: Features | None = None,
    ) -> Features:
        height, width = next(x for x in (label, source) if x is not None).shape[-2:]
        padded = [None if x is None else pad_to_stride(x, self.stride) for x in (label, instance, source, features)]
        condition = locally(self._see, *padded, halo=1)
        return crop(coarse_to_fine(self.networks, condition, self.output, _context(self.how)), height, width)

    def _see(self, *fields: Tensor | None) -> Tensor:
        label, instance, source, features = fields
        dtype = next(self.networks.parameters()).dtype
        picture = None if source is None else as_floats(source, dtype)
        return self.condition(label, instance, picture, dtype, features)


class PooledEncoder(nn.Module):
    """Encode a photo, and average the features over each instance (section 3.4): see `Method.encoder`."""

    def __init__(self, encoder: nn.Module, how: BatchNormSection) -> None:
        super().__init__()
        self.network = encoder
        self.how = how

    def forward(self, photo: Tensor, ids: Tensor) -> Tensor:
        dtype = next(self.network.parameters()).dtype
        return pool(self.network(as_floats(photo, dtype), _context(self.how)), ids)


def _context(how: BatchNormSection) -> ForwardContext:
    return ForwardContext("image" if how.norm == "image" else None)


class Pix2pixHD(Method):
    """pix2pixHD in one stage.

    Args:
        perceptual: frozen network of the perceptual loss; unset, `load_frozen_networks` loads the recipe's.
    """

    def __init__(
        self,
        config: Config,
        data: Data,
        stage: Stage,
        networks: nn.ModuleDict,
        perceptual: nn.Module | None = None,
    ) -> None:
        assert stage.train is not None and stage.output is not None
        self.config = config
        self.condition = config.channels(data)
        self.output = stage.output
        self.stride = config.stride(stage)
        self.scales = [n for n in range(config.discriminator.scales) if f"discriminator{n}" in stage.train]
        self.generators = networks_for(stage.output, config.generator.enhancers)
        translating = config.generators(stage.output)
        self.augmentation = Augmentation(config.augmentation)
        trained = tuple(name for name in stage.train if name in translating)
        phases = [Phase("generator", trained, self.generator_losses, rate=config.generator.rate)]
        if self.scales:
            names = tuple(f"discriminator{n}" for n in self.scales)
            phases.append(Phase("discriminator", names, self.discriminator_losses, rate=config.discriminator.rate))
        self.judge = None
        if config.segmenter and SEGMENTER in stage.train:
            self.judge = PixelJudge(config.segmenter, self.condition.labels, data.ignore, stage.segmenter_at)
            phases.append(Phase(SEGMENTER, (SEGMENTER,), self.segmenter_losses, rate=config.segmenter.rate))
        super().__init__(
            networks,
            phases=tuple(phases),
            inputs=partial(config.inputs, data),
            averaged=tuple(translating),
            state=self.augmentation.state("augmentation"),
            frozen_networks=nn.ModuleDict({} if perceptual is None else {"perceptual": perceptual}),
            style=config.style,
        )

    def load_frozen_networks(self, weights: bool = True) -> None:
        load_perceptual(self.frozen_networks, self.config.perceptual, weights)

    def forward_shared(self, nets: Nets, batch: Batch, context: StepContext) -> Shared:
        photo = as_floats(batch["photo"], context.dtype)
        height, width = photo.shape[-2:]
        plain = context.forward_context()
        features = pool(nets["encoder"](photo, plain), batch[self.style.ids]) if self.style else None
        fields = (batch.get("label"), batch.get("instance"), batch.get("source"), features)
        label, instance, source, features = (None if x is None else pad_to_stride(x, self.stride) for x in fields)
        source = None if source is None else as_floats(source, context.dtype)
        seen = self.condition(label, instance, source, context.dtype, features)  # (B, C + count, H, W), padded
        # The discriminators see no features, and no padding.
        condition = seen[:, : self.condition.channels, :height, :width].detach()
        fake = coarse_to_fine(nets, seen, self.output, plain)[..., :height, :width]
        # Before the discriminators store their feature maps: VGG19 needs more memory than they do, and stores nothing.
        perceptual = weighted_perceptual(self.frozen_networks, self.config.perceptual, fake, photo)
        view = self.augmentation.view(context, AUGMENTATION, photo.device)
        condition, real = view.moved(condition, 0.0), view.picture(photo)
        target = self.judge.see(batch["label"], view, context) if self.judge else None
        return Shared(condition, fake, perceptual, real, self._discriminate(nets, condition, real), view, target)

    def generated(self, shared: Shared) -> dict[str, Tensor]:
        return {"": shared.fake}

    def generator_losses(self, nets: Nets, batch: Batch, shared: Shared, context: StepContext) -> Losses:
        """Generator loss: L_GAN + lambda L_FM (equation 5) and the perceptual loss, each weighted."""
        config, losses = self.config, {}
        seen = shared.view.picture(shared.fake)
        features = self._discriminate(nets, shared.condition, seen)
        if features:
            adversarial = generator_loss(config.adversarial.kind, [maps[-1] for maps in features])
            losses["adversarial"] = config.adversarial.weight * adversarial
        if features and config.feature_matching.weight:
            losses["feature_matching"] = config.feature_matching.weight * feature_matching_loss(
                features, shared.real_features
            )
        if self.judge and shared.seen:
            losses[SEGMENTER] = self.judge.generator_loss(nets, shared.seen, seen)
        return losses if shared.perceptual is None else {**losses, "perceptual": shared.perceptual}

    def discriminator_losses(self, nets: Nets, batch: Batch, shared: Shared, context: StepContext) -> Losses:
        """Discriminator loss: 0.5 (L_real + L_fake), summed over the scales (equation 3)."""
        kind = self.config.adversarial.kind
        fake = self._discriminate(nets, shared.condition, shared.view.picture(shared.fake.detach()))
        real = [maps[-1] for maps in shared.real_features]
        self.augmentation.observe(real, boundary(kind), context)
        return {
            "real": 0.5 * real_loss(kind, real),
            "fake": 0.5 * fake_loss(kind, [maps[-1] for maps in fake]),
        }

    def segmenter_losses(self, nets: Nets, batch: Batch, shared: Shared, context: StepContext) -> Losses:
        """Segmenter loss: fake, labelled and LabelMix, summed."""
        assert self.judge and shared.seen
        fake = shared.view.picture(shared.fake.detach())
        losses, votes = self.judge.losses(nets, shared.seen, shared.real, fake, context, COINS)
        if not self.scales:
            self.augmentation.observe([votes], 0.0, context)
        return losses

    def translator(self, networks: nn.ModuleDict, direction: str = "") -> nn.Module:
        used = nn.ModuleDict({name: networks[name] for name in self.generators})
        return Translator(self.condition, used, self.output, self.stride, self.config.translate)

    def encoder(self, networks: nn.ModuleDict) -> nn.Module:
        return PooledEncoder(networks["encoder"], self.config.translate)

    def _discriminate(self, nets: Nets, condition: Tensor, picture: Tensor) -> list[list[Tensor]]:
        return multiscale(nets, self.scales, torch.cat([condition, picture], 1)) if self.scales else []


def build(config: Config, data: Data, stage: Stage, networks: nn.ModuleDict) -> Pix2pixHD:
    """Return pix2pixHD in one stage, over networks from `build_networks`."""
    return Pix2pixHD(config, data, stage, networks)


def class_axes(config: Config, data: Data, networks: nn.ModuleDict) -> base.ClassAxes:
    """Return the axes of classes: one-hot inputs and results, and the segmenter's logits."""
    heads, enhancers = [name for name in networks if name.endswith("head")], config.generator.enhancers
    readers = [name for name in networks if name.startswith(("trunk", "enhancer")) and name not in heads]
    judges = [name for name in networks if name.startswith("discriminator")]
    makers = [*heads, *([f"enhancer{enhancers}"] if enhancers else [])]
    axes = base.axes_of_classes(data.fields, networks, readers, makers, judges, config.channels(data).channels)
    return axes | (base.last_axes(SEGMENTER, networks[SEGMENTER], 1) if SEGMENTER in networks else {})
