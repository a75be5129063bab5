"""Toy methods for the contract between methods and trainer; together they use every part of it.

`Adversarial` steps its discriminator first and its generator against the updated one. `TwoRoutes` has two generators,
two discriminators and a history pool. `Penalised` has a gradient penalty in full precision at every other batch, clips
its critic, and drops features by random numbers of its own.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import Dataset

from hdtrans.config.inputs import Input, Inputs
from hdtrans.config.stage import Stage
from hdtrans.data.batch import Batch, Sample
from hdtrans.data.fields import as_floats
from hdtrans.data.order import file_index, sample_random
from hdtrans.methods.base import Losses, Method, Nets, Phase, StepContext
from hdtrans.networks.initialise import initialise

HEIGHT, WIDTH = 6, 10
CLIP = 0.03


class ToySamples(Dataset[Sample]):
    """Noisy pictures of a few scenes: every sample is a pure function of its stage and counter.

    Args:
        count: number of scenes.
        stage: number of the stage.
    """

    def __init__(self, count: int, stage: int = 0) -> None:
        self.count = count
        self.stage = stage

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, counter: int) -> Sample:
        place = file_index(0, self.stage, counter, self.count)
        scene = sample_random(0, 0, place, "scene").integers(0, 200, (2, 3, HEIGHT, WIDTH))
        noise = sample_random(0, self.stage, counter, "noise").integers(0, 56, (2, 3, HEIGHT, WIDTH))
        source, photo = torch.from_numpy(scene + noise).to(torch.uint8)
        return Sample(f"scene{place}", counter, {"source": source, "photo": photo})


class Generator(nn.Module):
    """Generator: (B, 3, H, W), and optionally a mask of its features (B, 4, H, W) -> (B, 3, H, W) in [-1, 1]."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3, padding=1)
        self.last = nn.Conv2d(4, 3, 3, padding=1)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        features = F.leaky_relu(self.first(x), 0.2)
        return torch.tanh(self.last(features if mask is None else features * mask))


class Critic(nn.Module):
    """Discriminator: (B, channels, H, W) -> (B, 1, H/2, W/2)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, 4, 3, stride=2, padding=1)
        self.last = nn.Conv2d(4, 1, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(F.leaky_relu(self.first(x), 0.2))


def _sources(batch: Batch, context: StepContext) -> Tensor:
    return as_floats(batch["source"], context.dtype)


def _photos(batch: Batch, context: StepContext) -> Tensor:
    return as_floats(batch["photo"], context.dtype)


def picture_to_picture(direction: str = "") -> Inputs:
    """Return the inputs of a toy: a picture, and its target."""
    given, wanted = ("photo", "source") if direction == "BtoA" else ("source", "photo")
    return Input("source", "image", 3, field=given), Input("photo", "image", 3, role="target", field=wanted)


class ToyTranslator(nn.Module):
    """Translator of a picture (B, 3, H, W) uint8, as in a batch."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, source: Tensor) -> Tensor:
        return self.network(as_floats(source, next(self.network.parameters()).dtype))


class ToyMethod(Method):
    """Base of the toys: the networks that translate, by direction, and the previews."""

    translators: dict[str, str]

    def translator(self, networks: nn.ModuleDict, direction: str = "") -> nn.Module:
        return ToyTranslator(networks[self.translators[direction]])

    def previews(self, nets: nn.ModuleDict, batch: Batch, context: StepContext) -> dict[str, Tensor]:
        return {each or "result": self.translator(nets, each)(source=batch["source"]) for each in self.directions}


@dataclass
class Shared:
    """Shared forward pass: source, true and generated picture, each (B, 3, H, W)."""

    source: Tensor
    photo: Tensor
    fake: Tensor


class Adversarial(ToyMethod):
    """A conditional GAN with least squares, the discriminator first; the generated picture is shared."""

    translators = {"": "generator"}

    def __init__(self, networks: nn.ModuleDict) -> None:
        super().__init__(
            networks,
            phases=(
                Phase("discriminator", ("discriminator",), self.discriminator_losses),
                Phase("generator", ("generator",), self.generator_losses),
            ),
            inputs=picture_to_picture,
            averaged=("generator",),
        )

    def forward_shared(self, nets: Nets, batch: Batch, context: StepContext) -> Shared:
        source = _sources(batch, context)
        return Shared(source, _photos(batch, context), nets["generator"](source))

    def generated(self, shared: Shared) -> dict[str, Tensor]:
        return {"": shared.fake}

    def discriminator_losses(self, nets: Nets, batch: Batch, shared: Shared, context: StepContext) -> Losses:
        real = nets["discriminator"](torch.cat([shared.source, shared.photo], 1))
        fake = nets["discriminator"](torch.cat([shared.source, shared.fake.detach()], 1))
        return {"real": 0.5 * (real - 1).square().mean(), "fake": 0.5 * fake.square().mean()}

    def generator_losses(self, nets: Nets, batch: Batch, shared: Shared, context: StepContext) -> Losses:
        judged = nets["discriminator"](torch.cat([shared.source, shared.fake], 1))
        return {"adversarial": (judged - 1).square().mean(), "l1": 3 * F.l1_loss(shared.fake, shared.photo)}


class Pool:
    """History of generated pictures, for each position of the global batch (Shrivastava et al., 2017).

    Args:
        capacity: pictures for each position.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.pictures: dict[str, Tensor] = {}

    def exchange(self, fakes: Tensor, context: StepContext, purpose: int) -> Tensor:
        """Return for each position its new picture or, with probability 0.5, an old one that the new one replaces."""
        chosen = []
        for index, generator, fake in zip(
            context.global_indices, context.generators(purpose), fakes.detach(), strict=True
        ):
            kept = self.pictures.get(str(index), fake.new_zeros((0, *fake.shape)))
            if len(kept) < self.capacity:
                self.pictures[str(index)] = torch.cat([kept, fake[None]])
            elif torch.rand((), generator=generator) < 0.5:
                place = int(torch.randint(self.capacity, (), generator=generator))
                self.pictures[str(index)] = torch.cat([kept[:place], fake[None], kept[place + 1 :]])
                fake = kept[place]
            chosen.append(fake)
        return torch.stack(chosen)

    def state_dict(self, indices: range) -> dict[str, Any]:
        return {str(index): self.pictures[str(index)] for index in indices if str(index) in self.pictures}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.pictures = {index: kept.clone() for index, kept in state.items()}


@dataclass
class SharedRoutes:
    """Shared forward pass: true, generated and cycled pictures of both sides, each (B, 3, H, W)."""

    a: Tensor
    b: Tensor
    fake_a: Tensor
    fake_b: Tensor
    cycle_a: Tensor
    cycle_b: Tensor


class TwoRoutes(ToyMethod):
    """Two generators that undo each other, and a discriminator for each side, which sees a history of pictures."""

    translators = {"AtoB": "forth", "BtoA": "back"}

    def __init__(self, networks: nn.ModuleDict) -> None:
        self.histories = {"a": Pool(2), "b": Pool(2)}
        super().__init__(
            networks,
            phases=(
                Phase("generators", ("forth", "back"), self.generator_losses),
                Phase("discriminators", ("critic_a", "critic_b"), self.discriminator_losses),
            ),
            inputs=picture_to_picture,
            averaged=("forth", "back"),
            state=dict(self.histories),
            directions=("AtoB", "BtoA"),
        )

    def forward_shared(self, nets: Nets, batch: Batch, context: StepContext) -> SharedRoutes:
        a, b = _sources(batch, context), _photos(batch, context)
        fake_b, fake_a = nets["forth"](a), nets["back"](b)
        return SharedRoutes(a, b, fake_a, fake_b, nets["back"](fake_b), nets["forth"](fake_a))

    def generated(self, shared: SharedRoutes) -> dict[str, Tensor]:
        return {"AtoB": shared.fake_b, "BtoA": shared.fake_a}

    def generator_losses(self, nets: Nets, batch: Batch, shared: SharedRoutes, context: StepContext) -> Losses:
        return {
            "a": (nets["critic_a"](shared.fake_a) - 1).square().mean(),
            "b": (nets["critic_b"](shared.fake_b) - 1).square().mean(),
            "cycle": F.l1_loss(shared.cycle_a, shared.a) + F.l1_loss(shared.cycle_b, shared.b),
        }

    def discriminator_losses(self, nets: Nets, batch: Batch, shared: SharedRoutes, context: StepContext) -> Losses:
        losses = {}
        sides = (("a", shared.a, shared.fake_a), ("b", shared.b, shared.fake_b))
        for purpose, (side, real, fake) in enumerate(sides):
            critic, old = nets[f"critic_{side}"], self.histories[side].exchange(fake, context, purpose)
            losses[side] = (critic(real) - 1).square().mean() + critic(old).square().mean()
        return losses


class Penalised(ToyMethod):
    """A critic with clipped weights and, at every other batch, a penalty on its gradient; a generator with dropout."""

    translators = {"": "generator"}

    def __init__(self, networks: nn.ModuleDict) -> None:
        super().__init__(
            networks,
            phases=(
                Phase("critic", ("critic",), self.critic_losses),
                Phase("penalty", ("critic",), self.penalty_losses, every=2, after=self.clip),
                Phase("generator", ("generator",), self.generator_losses),
            ),
            inputs=picture_to_picture,
            averaged=("generator",),
        )

    def forward_shared(self, nets: Nets, batch: Batch, context: StepContext) -> Shared:
        source = _sources(batch, context)
        masks = [torch.rand(4, HEIGHT, WIDTH, generator=g) < 0.5 for g in context.generators(0)]
        mask = 2 * torch.stack(masks).to(device=source.device, dtype=source.dtype)
        return Shared(source, _photos(batch, context), nets["generator"](source, mask))

    def generated(self, shared: Shared) -> dict[str, Tensor]:
        return {"": shared.fake}

    def critic_losses(self, nets: Nets, batch: Batch, shared: Shared, context: StepContext) -> Losses:
        critic = nets["critic"]
        return {"fake": critic(shared.fake.detach()).mean(), "real": -critic(shared.photo).mean()}

    def penalty_losses(self, nets: Nets, batch: Batch, shared: Shared, context: StepContext) -> Losses:
        with context.fp32():
            dtype = torch.promote_types(context.dtype, torch.float32)
            shares = [torch.rand((1, 1, 1), generator=g, dtype=torch.float64) for g in context.generators(1)]
            share = torch.stack(shares).to(device=shared.photo.device, dtype=dtype)
            mixed = torch.lerp(shared.photo.to(dtype), shared.fake.detach().to(dtype), share).requires_grad_(True)
            judged = nets["critic"](mixed)
            assert judged.dtype == dtype, "autocast is off here"
            (slope,) = torch.autograd.grad(judged.sum(), mixed, create_graph=True)
            penalty = 10 * (slope.flatten(1).norm(dim=1) - 1).square().mean()
            return {"slope": penalty + 0 * judged.mean()}  # the last bias has a gradient, zero

    def generator_losses(self, nets: Nets, batch: Batch, shared: Shared, context: StepContext) -> Losses:
        return {"adversarial": -nets["critic"](shared.fake).mean(), "l1": F.l1_loss(shared.fake, shared.photo)}

    @staticmethod
    @torch.no_grad()
    def clip(networks: nn.ModuleDict) -> None:
        """Clip the first layer of the critic."""
        networks["critic"].get_parameter("first.weight").clamp_(-CLIP, CLIP)


TOYS: dict[str, tuple[type[ToyMethod], dict[str, tuple[type[nn.Module], Sequence[int]]]]] = {
    "adversarial": (Adversarial, {"generator": (Generator, ()), "discriminator": (Critic, (6,))}),
    "two_routes": (
        TwoRoutes,
        {"forth": (Generator, ()), "back": (Generator, ()), "critic_a": (Critic, (3,)), "critic_b": (Critic, (3,))},
    ),
    "penalised": (Penalised, {"generator": (Generator, ()), "critic": (Critic, (3,))}),
}


def toy_networks(name: str) -> nn.ModuleDict:
    """Return the networks of a toy, always with the same weights."""
    networks = nn.ModuleDict({part: make(*given) for part, (make, given) in TOYS[name][1].items()})
    for part, network in networks.items():
        initialise(network, part, 0)
        for parameter in network.parameters():
            parameter.data *= 8  # so that the losses move within a few steps
    return networks


def toy_method(name: str, networks: nn.ModuleDict) -> ToyMethod:
    """Return a toy over its networks."""
    return TOYS[name][0](networks)  # type: ignore[call-arg]


def toy_stages(*lengths: float, batch_size: int = 2) -> list[Stage]:
    """Return a stage for each number of epochs."""
    return [
        Stage(
            name=f"stage{number}",
            geometry="none",
            epochs=length,
            batch_size=batch_size,
            output="picture",
            train=("all",),
        )
        for number, length in enumerate(lengths)
    ]
