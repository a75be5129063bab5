"""Contract between a method and the trainer: networks and ordered phases.

A method's file holds three names that the rest of the package looks for: `Config` (its section of the recipe),
`build_networks(config, data, seed)` and `build(config, data, stage, networks)`. It may hold a fourth,
`class_axes(config, data, networks)`: the tensors of its networks that have an axis of classes (`ClassAxes`), so that
`init_from` takes over classes by name.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

import torch
from torch import Tensor, nn

from hdtrans.common.errors import UserError
from hdtrans.common.hashing import GOLDEN_GAMMA, MASK_64, mix64
from hdtrans.config.inputs import Field, Input, Inputs, Style, read_fields, translated
from hdtrans.config.stage import Stage
from hdtrans.data.batch import Batch
from hdtrans.data.fields import as_floats
from hdtrans.networks.context import ForwardContext, alone
from hdtrans.networks.points import heat_maps

Nets = Mapping[str, nn.Module]
Losses = dict[str, Tensor]
T = TypeVar("T")


def _call(make: Callable[[], T]) -> T:
    return make()


@dataclass(frozen=True)
class StepContext:
    """Random numbers, precision and sums over processes for one batch.

    Attributes:
        images_seen: images drawn by the whole run before this batch.
        seed: run seed, >= 0.
        sample_indices: indices of this process's samples in the order of the run, (B,).
        global_indices: their places in the batch of all processes together, (B,).
        dtype: type that networks compute in; inputs are best made in it.
        fp32: context in which autocast is off, for losses that half precision would spoil (gradient penalties).
        total: differentiable sum of a tensor over all processes; every process calls it equally often.
        shared: calls a function as `forward_shared` is called: under autocast, with gradients on for the networks that
            this step trains; see `Lazy`.
    """

    images_seen: int = 0
    seed: int = 0
    sample_indices: tuple[int, ...] = ()
    global_indices: range = range(0)
    dtype: torch.dtype = torch.float32
    fp32: Callable[[], AbstractContextManager[Any]] = nullcontext
    total: Callable[[Tensor], Tensor] = alone
    shared: Callable[[Callable[[], Any]], Any] = _call

    def generators(self, purpose: int) -> list[torch.Generator]:
        """Return one CPU generator for each sample, the same whatever the number of processes and workers."""
        return [torch.Generator().manual_seed(seed) for seed in self._seeds(purpose)]

    def seeds(self, purpose: int) -> Tensor:
        """Return the seeds of `generators`, (B,) int64, for networks that make their noise on the device."""
        return torch.tensor(self._seeds(purpose), dtype=torch.int64)

    def uniform(self, purpose: int, *shape: int, like: Tensor) -> Tensor:
        """Return numbers uniform in [0, 1) for each sample, (B, *shape), in the type and on the device of `like`."""
        numbers = [torch.rand(shape, generator=g, device="cpu", dtype=torch.float64) for g in self.generators(purpose)]
        return torch.stack(numbers).to(like)

    def normals(self, purpose: int, *shape: int, like: Tensor | None = None) -> Tensor:
        """Return numbers from N(0, 1) for each sample, (B, *shape), as `like`; without it float32 on the CPU."""
        numbers = [torch.randn(shape, generator=g, device="cpu", dtype=torch.float64) for g in self.generators(purpose)]
        drawn = torch.stack(numbers)
        return drawn.float() if like is None else drawn.to(like)

    def forward_context(self, **fields: Any) -> ForwardContext:
        """Return the forward context of a network in training: `fields`, and this run's `total`."""
        return ForwardContext(total=self.total, **fields)

    def _seeds(self, purpose: int) -> list[int]:
        return [mix(self.seed, self.images_seen + index, purpose) for index in self.global_indices]


class Lazy(Generic[T]):
    """Value shared by phases, computed when the first of them reads it, as if by `forward_shared`.

    A step whose phases do not read it (`Phase.every`) computes nothing.

    Args:
        context: context of the step.
        make: computes the value, from the networks that `forward_shared` was given.
    """

    def __init__(self, context: StepContext, make: Callable[[], T]) -> None:
        self._context = context
        self._make = make
        self._value: list[T] = []

    @property
    def made(self) -> bool:
        """True once it is computed."""
        return bool(self._value)

    def get(self) -> T:
        """Return the value."""
        if not self._value:
            self._value.append(self._context.shared(self._make))
        return self._value[0]


def mix(*numbers: int) -> int:
    """Mix integers into 63 bits, one step of SplitMix64 (Steele et al., 2014) for each."""
    state = 0
    for number in numbers:
        state = mix64((state + number + GOLDEN_GAMMA) & MASK_64)
    return state >> 1


@dataclass(frozen=True)
class ClassAxis:
    """Place of the classes in a tensor of a network.

    Attributes:
        dim: dimension along which the classes lie.
        start: channels before class 0.
        group: consecutive numbers of each channel.
    """

    dim: int
    start: int = 0
    group: int = 1


ClassAxes = dict[str, ClassAxis]
"""Axes of classes by `network.tensor`, as in a state dict."""


def axes_of_classes(
    fields: Mapping[str, Field],
    networks: nn.ModuleDict,
    readers: Sequence[str],
    makers: Sequence[str],
    judges: Sequence[str],
    channels: int,
) -> ClassAxes:
    """Return the axes of classes in first and last convolutions.

    Args:
        fields: fields of the data: classes are in one-hot channels of the `label`, or in a one-hot photo.
        networks: networks by name.
        readers: networks that read the condition.
        makers: networks that return the picture.
        judges: networks that read the condition, then the picture.
        channels: channels of the condition.
    """
    axes: ClassAxes = {}
    if "label" in fields:
        places = dict.fromkeys((*readers, *judges), 0)
    elif fields["photo"].values == "one_hot":
        places = dict.fromkeys(judges, channels)
        for name in makers:
            axes |= last_axes(name, networks[name])
    else:
        return axes
    for name, start in places.items():
        key, first = next((k, m) for k, m in networks[name].named_modules() if isinstance(m, nn.Conv2d))
        axes[f"{name}.{key}.weight"] = ClassAxis(1, start)
        if hasattr(first, "v"):  # spectral norm's, one number for each of a row of the weight
            axes[f"{name}.{key}.v"] = ClassAxis(0, start, first.weight[0, 0].numel())
    return axes


def last_axes(name: str, network: nn.Module, start: int = 0) -> ClassAxes:
    """Return the axes of classes in the last convolution of a network, which makes a channel for each from `start`."""
    kinds = nn.Conv2d | nn.ConvTranspose2d
    key, last = [(k, m) for k, m in network.named_modules() if isinstance(m, kinds)][-1]
    axes = {f"{name}.{key}.weight": ClassAxis(int(isinstance(last, nn.ConvTranspose2d)), start)}
    return axes | ({f"{name}.{key}.bias": ClassAxis(0, start)} if last.bias is not None else {})


@dataclass(frozen=True)
class Phase:
    """One optimizer and one backward pass.

    Attributes:
        name: heading of the optimizer and the losses in reports: `generator`.
        trains: names of the networks it trains; their gradients are on in this phase, all others' off.
        losses: named, weighted scalars from (nets, batch, shared, context); the trainer sums, scales, steps and
            reports. Every parameter of `trains` has a gradient from them, were it zero: several processes wait for
            each (a penalty on a gradient leaves out the last bias; `0 * prediction.mean()` takes it in).
        every: runs at every so many batches.
        after: called with the bare networks after its step (to clip a parameter).
        rate: factor on the stage's learning rate (two time-scale update rule, Heusel et al., 2017).
        clip: largest norm of all its gradients together; larger ones are scaled down. None clips nothing.
    """

    name: str
    trains: tuple[str, ...]
    losses: Callable[[Nets, Batch, Any, StepContext], Losses]
    every: int = 1
    after: Callable[[nn.ModuleDict], None] | None = None
    rate: float = 1.0
    clip: float | None = None


class Stateful(Protocol):
    """Extra state of a method, keyed by position in the global batch (a history pool).

    `state_dict(indices)` holds the state of these positions under keys no other position uses. `load_state_dict` takes
    the union over all, so that a run can go on with another number of processes. The state is taken before every phase,
    to be put back where the phase is not finite: it costs nothing, and no tensor in it is changed afterwards.
    """

    def state_dict(self, indices: range) -> dict[str, Any]: ...

    def load_state_dict(self, state: dict[str, Any]) -> None: ...


@dataclass
class Method:
    """A method in one stage.

    Attributes:
        networks: all networks of the method, bare, by name: saved, averaged and optimised.
        phases: optimizers with their losses, in the order in which they run.
        inputs: table of the model's inputs in a direction, targets included: see `MethodSection.inputs`.
        averaged: names of the networks whose weights may be averaged, and that generate pictures.
        state: extra state by name, saved and restored.
        directions: names of the directions in which it translates.
        frozen_networks: fixed networks of the losses; moved to the device, neither saved nor trained.
        style: style that an encoder computes from a photo, or that is drawn; None without one.
    """

    networks: nn.ModuleDict
    phases: tuple[Phase, ...]
    inputs: Callable[[str], Inputs]
    averaged: tuple[str, ...] = ()
    state: dict[str, Stateful] = field(default_factory=dict)
    directions: tuple[str, ...] = ("",)
    frozen_networks: nn.ModuleDict = field(default_factory=nn.ModuleDict)
    style: Style | None = None

    @property
    def reads(self) -> frozenset[str]:
        """Fields that training batches must hold, for all directions."""
        return frozenset().union(*(read_fields(self.inputs(direction)) for direction in self.directions))

    def noisy(self, direction: str = "") -> bool:
        """Return whether a translation varies with a seed."""
        return any(each.kind == "seed" for each in self.inputs(direction or self.directions[0]))

    def target(self, direction: str = "") -> Input:
        """Return the target of a direction, the true picture; results have its form."""
        return next(each for each in self.inputs(direction or self.directions[0]) if each.role == "target")

    def load_frozen_networks(self, weights: bool = True) -> None:
        """Load `frozen_networks` before training; without `weights`, only their architecture, to count its cost."""

    def forward_shared(self, nets: Nets, batch: Batch, context: StepContext) -> Any:
        """Compute, once for a batch, the forward pass that phases share: the generated image, or a `Lazy` of it."""
        raise NotImplementedError

    def generated(self, shared: Any) -> dict[str, Tensor]:
        """Return the generated images in the result of `forward_shared`, by direction, (B, C, H, W) in [-1, 1].

        Called after the phases; a `Lazy` that no phase read is left out.
        """
        raise NotImplementedError

    def translator(self, networks: nn.ModuleDict, direction: str = "") -> nn.Module:
        """Return the module that translates: the inputs of the direction as keywords -> (B, C, H, W) in [-1, 1].

        Inputs are batches: ids (B, H, W), images (B, C, H, W), vectors (B, N), points (B, N, 2), seeds (B,) int64.
        Optional inputs, styles and seeds may be left out. The module pads height and width to multiples of its
        attribute `stride`, a number or the first of two.
        """
        raise NotImplementedError

    def encoder(self, networks: nn.ModuleDict) -> nn.Module:
        """Return the module that encodes the style of a photo; only methods with a `style` have one.

        It takes a photo, (B, C, H, W) as in a batch, and, unless the style is that of the whole picture, ids (B, H, W)
        of the field `style.ids`. It returns the style input of the translator's module: (B, F, H, W), every pixel
        with the features of its id, or (B, S).
        """
        raise NotImplementedError

    def arguments(
        self, networks: nn.ModuleDict, batch: Batch, direction: str = "", seed: int | None = None
    ) -> dict[str, Tensor]:
        """Return keyword arguments of the translator's module for a batch of training data.

        Args:
            networks: networks by name, for the encoder.
            batch: batch on the device.
            direction: direction of the translation; '' for the first.
            seed: seed of the first sample, >= 0, counted up for the others; None leaves out seeds and drawn styles.
        """
        device = next(iter(batch.fields.values())).device
        seeds = () if seed is None else range(seed, seed + len(batch))
        given: dict[str, Tensor] = {}
        for each in translated(self.inputs(direction or self.directions[0])):
            if each.from_data and each.field in batch.fields:
                given[each.name] = batch[each.field]
            elif each.kind == "seed" and seeds:
                given[each.name] = torch.tensor(seeds, device=device)
        style = self.style
        if style is not None and style.prior == "normal" and seeds:
            given[style.name] = torch.stack([normal_style(number, style.size) for number in seeds]).to(device)
        elif style is not None and style.prior == "clusters":
            photo = batch.get(self.target(direction).field)
            if photo is not None:
                ids = () if style.of == "picture" else (batch[style.ids],)
                given[style.name] = self.encoder(networks)(photo, *ids)
        return given

    def previews(self, nets: nn.ModuleDict, batch: Batch, context: StepContext) -> dict[str, Tensor]:
        """Return the columns of a preview: (B, H, W) integer class maps or (B, C, H, W) in [-1, 1], by name.

        By default all inputs that can be shown, the result, and the true picture.
        """
        direction = self.directions[0]
        result = self.translator(nets, direction)(**self.arguments(nets, batch, direction))
        columns: dict[str, Tensor] = {}
        for each in translated(self.inputs(direction)):
            if each.from_data and each.field in batch.fields:
                columns |= preview(each, batch[each.field], result.shape[-2:])
        columns["result"] = as_floats(result, torch.float32)
        target = self.target(direction).field
        return columns | ({target: as_floats(batch[target], torch.float32)} if target in batch.fields else {})


def preview(spec: Input, x: Tensor, size: Sequence[int]) -> dict[str, Tensor]:
    """Return the preview column of an input, or nothing for instance ids, vectors and seeds.

    Class maps stay integers, images are in [-1, 1], points are white spots on black.

    Args:
        spec: the input.
        x: batch of the input.
        size: height and width of the picture, in pixels.
    """
    if spec.values == "instances":
        return {}
    if spec.kind == "ids":
        return {spec.name: x}
    if spec.kind == "image":
        return {spec.name: as_floats(x, torch.float32)}
    if spec.kind == "points":
        spots = heat_maps(x, size[0], size[1], sigma=max(1.0, max(size) / 64)).amax(1, keepdim=True)
        return {spec.name: 2 * spots.expand(-1, 3, -1, -1) - 1}
    return {}


def normal_style(seed: int, size: int) -> Tensor:
    """Return a style vector (S,) float32 from N(0, 1), equal for equal seeds on every machine."""
    generator = torch.Generator().manual_seed(mix(seed, size) % 2**32)
    return torch.randn(size, generator=generator, device="cpu")


def check_names(what: str, given: Sequence[str], allowed: Sequence[str]) -> None:
    """Raise UserError if one of `given` is not `allowed`."""
    wrong = [name for name in given if name not in allowed]
    if wrong:
        raise UserError(f"{what}: there is no {', '.join(wrong)}; there are {', '.join(allowed)}")


def train_together(stage: Stage, output: str, networks: Sequence[str]) -> Stage:
    """Fill in a stage of a method that has one `output` and trains all its networks in every stage.

    Raises:
        ValueError: the stage names another output, or leaves out a network.
    """
    check_names("output", [stage.output or output], [output])
    train = stage.train or tuple(networks)
    check_names("train", train, networks)
    if sorted(train) != sorted(networks):
        raise ValueError(f"train is {', '.join(networks)}: none trains without the others; leave it out")
    return stage.model_copy(update={"output": output, "train": tuple(train)})
