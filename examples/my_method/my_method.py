"""A method of one's own: a label map, an optional mask, a style vector and points -> a picture.

One small generator with adaptive instance norm, one patch discriminator, and an L1 loss. The inputs are a table
(`Config.inputs`); previews, checkpoints, tiles, export, `--dry-run`, `infer` and the Translator follow from it.
"""

from dataclasses import dataclass
from functools import partial
from typing import Annotated, Literal

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from hdtrans.config.data import Data
from hdtrans.config.inputs import Input, Inputs, Style
from hdtrans.config.recipe import MethodSection
from hdtrans.config.stage import Stage
from hdtrans.data.batch import Batch
from hdtrans.data.fields import as_floats
from hdtrans.losses.adversarial import fake_loss, generator_loss, real_loss
from hdtrans.losses.pictures import l1_loss
from hdtrans.methods.base import Losses, Method, Nets, Phase, StepContext, train_together
from hdtrans.networks.blocks import down, same, up
from hdtrans.networks.condition import Condition, crop, pad_to_stride
from hdtrans.networks.context import ForwardContext
from hdtrans.networks.discriminators import PatchDiscriminator
from hdtrans.networks.initialise import initialise
from hdtrans.networks.modulation import StyleModulation
from hdtrans.networks.norm import Norm
from hdtrans.networks.parts import Features, locally
from hdtrans.networks.points import heat_maps_like

STYLE = range(1)  # purposes of random numbers
STRIDE = 2
SIGMA = 3.0  # pixels, of the heat map of a point


class Config(MethodSection):
    """The section `method` with `kind: my_method`."""

    kind: Literal["my_method"] = "my_method"
    width: Annotated[PositiveInt, Field(description="Channels after the first convolution.")] = 16
    style: Annotated[PositiveInt, Field(description="Length of the style vector, drawn from N(0, 1).")] = 8
    l1: Annotated[float, Field(ge=0, description="Weight of the L1 distance to the true picture.")] = 10.0

    def complete(self, stage: Stage) -> Stage:
        """Fill in `output` and `train`: both networks train together."""
        return train_together(stage, "generator", ("generator", "discriminator"))

    def inputs(self, data: Data, direction: str = "") -> Inputs:
        """Return the table of inputs; raise ValueError if such data lack a required field."""
        fields = data.fields
        if lacking := {"label", "points", "photo"} - fields.keys():
            raise ValueError(f"data.kind: {data.kind} has no {', '.join(sorted(lacking))}, which my_method needs")
        mask = (Input.of("mask", fields["mask"], "guide", optional=True, over="label"),) if "mask" in fields else ()
        return (
            Input.of("label", fields["label"]),
            *mask,
            Input.of("points", fields["points"]),
            Input("style", "vector", self.style, "normal", "style", optional=True),
            Input.of("photo", fields["photo"], "target"),
        )

    def stride(self, stage: Stage) -> int:
        """Return the number that height and width are padded to multiples of."""
        return STRIDE


class Generator(nn.Module):
    """(B, C, H, W) and a style (B, S) in the context -> (B, out_channels, H, W) in [-1, 1]."""

    def __init__(self, channels: int, out_channels: int, width: int, style: int) -> None:
        super().__init__()

        def norm(count: int) -> Norm:
            return Norm(count, "instance", "relu", StyleModulation(count, style))

        self.blocks = nn.ModuleList(
            [
                same(channels, width, 7, norm(width), "relu"),
                down(width, 2 * width, norm(2 * width)),
                up(2 * width, width, norm(width), "resize"),
            ]
        )
        self.last = same(width, out_channels, 7, "none", "tanh")

    def forward(self, x: Features, context: ForwardContext) -> Features:
        for block in self.blocks:
            x = block(x, context)
        return self.last(x)


class See(nn.Module):
    """Channels that networks see: one-hot labels, the mask in {0, 1} (0 without one), a heat map of each point."""

    def __init__(self, labels: int, ignore: int | None, points: int) -> None:
        super().__init__()
        self.condition = Condition(labels, 0, ignore, "zeros", "none")
        self.channels = self.condition.channels + 1 + points

    def forward(self, label: Features, mask: Features | None, points: Tensor, dtype: torch.dtype) -> Features:
        def see(label: Tensor, mask: Tensor | None, maps: Tensor) -> Tensor:
            one_hot = self.condition(label, dtype=dtype)
            inside = torch.zeros_like(one_hot[:, :1]) if mask is None else (as_floats(mask, dtype) + 1) / 2
            return torch.cat([one_hot, inside, maps.to(dtype)], 1)

        padded = [None if x is None else pad_to_stride(x, STRIDE) for x in (label, mask)]
        return locally(see, *padded, heat_maps_like(points, padded[0], SIGMA))


class Translator(nn.Module):
    """The inputs of the table as keywords -> (B, C, H, W) in [-1, 1], of any size."""

    stride = STRIDE

    def __init__(self, see: See, generator: nn.Module, style: int) -> None:
        super().__init__()
        self.see, self.generator, self.size = see, generator, style

    def forward(
        self, label: Features, points: Tensor, mask: Features | None = None, style: Tensor | None = None
    ) -> Features:
        height, width = label.shape[-2:]
        dtype = next(self.generator.parameters()).dtype
        style = points.new_zeros(points.shape[0], self.size) if style is None else style
        seen = self.see(label, mask, points, dtype)
        return crop(self.generator(seen, ForwardContext(style=style)), height, width)


@dataclass
class Shared:
    """Condition (B, C, H, W), true picture and generated picture, (B, C, H, W) in [-1, 1]."""

    condition: Tensor
    photo: Tensor
    fake: Tensor


class MyMethod(Method):
    """The method, the same in every stage."""

    def __init__(self, config: Config, data: Data, networks: nn.ModuleDict) -> None:
        self.config = config
        self.see = _see(data)
        super().__init__(
            networks,
            phases=(
                Phase("generator", ("generator",), self.generator_losses),
                Phase("discriminator", ("discriminator",), self.discriminator_losses),
            ),
            inputs=partial(config.inputs, data),
            averaged=("generator",),
            style=Style("style", config.style, of="picture", ids="", prior="normal"),
        )

    def forward_shared(self, nets: Nets, batch: Batch, context: StepContext) -> Shared:
        photo = as_floats(batch["photo"], context.dtype)
        height, width = photo.shape[-2:]
        condition = self.see(batch["label"], batch.get("mask"), batch["points"], context.dtype)
        style = context.normals(STYLE[0], self.config.style, like=photo)
        fake = nets["generator"](condition, context.forward_context(style=style))[..., :height, :width]
        return Shared(condition[..., :height, :width], photo, fake)

    def generated(self, shared: Shared) -> dict[str, Tensor]:
        return {"": shared.fake}

    def generator_losses(self, nets: Nets, batch: Batch, shared: Shared, context: StepContext) -> Losses:
        """Adversarial loss (Mao et al., 2017) and L1 distance."""
        judged = nets["discriminator"](torch.cat([shared.condition, shared.fake], 1))
        return {
            "adversarial": generator_loss("lsgan", judged[-1:]),
            "l1": self.config.l1 * l1_loss(shared.fake, shared.photo),
        }

    def discriminator_losses(self, nets: Nets, batch: Batch, shared: Shared, context: StepContext) -> Losses:
        """Discriminator loss 0.5 (L_real + L_fake)."""
        pictures = {"real": shared.photo, "fake": shared.fake.detach()}
        judged = {name: nets["discriminator"](torch.cat([shared.condition, x], 1)) for name, x in pictures.items()}
        return {
            "real": 0.5 * real_loss("lsgan", judged["real"][-1:]),
            "fake": 0.5 * fake_loss("lsgan", judged["fake"][-1:]),
        }

    def translator(self, networks: nn.ModuleDict, direction: str = "") -> nn.Module:
        return Translator(self.see, networks["generator"], self.config.style)


def _see(data: Data) -> See:
    fields = data.fields
    return See(fields["label"].size or 0, data.ignore, fields["points"].size or 0)


def build_networks(config: Config, data: Data, seed: int = 0) -> nn.ModuleDict:
    """Return both networks, their weights drawn from `seed`."""
    channels = _see(data).channels
    networks: dict[str, nn.Module] = {
        "generator": Generator(channels, data.photo_channels, config.width, config.style),
        "discriminator": PatchDiscriminator(channels + data.photo_channels, config.width, 2),
    }
    for name, network in networks.items():
        initialise(network, name, seed)
    return nn.ModuleDict(networks)


def build(config: Config, data: Data, stage: Stage, networks: nn.ModuleDict) -> MyMethod:
    """Return the method over networks from `build_networks`."""
    return MyMethod(config, data, networks)
