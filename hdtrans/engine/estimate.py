"""What a recipe would train and what it costs, counted on shapes alone: nothing is allocated, read or written."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.flop_counter import FlopCounterMode

from hdtrans.common.yaml_text import yaml_text
from hdtrans.config import Pictures, Recipe, Size, Stage, method_module
from hdtrans.data.batch import Batch
from hdtrans.engine.distributed import Processes
from hdtrans.engine.precision import Precision, choose_precision
from hdtrans.engine.stage import StageTraining

_UNSIZED = (1024, 512)  # width and height assumed where the files decide


@dataclass(frozen=True)
class Cost:
    """Of one step of one process.

    Attributes:
        flops: of all phases, forward and backward; a multiplication and an addition are two.
        weights: bytes of all networks and fixed networks.
        optimizers: bytes of gradients and Adam's two moments.
        activations: bytes kept for the backward passes, at most.
    """

    flops: int
    weights: int
    optimizers: int
    activations: int


def describe(recipe: Recipe) -> str:
    """Return the resolved recipe and, for each stage, its networks, compute and memory."""
    precision = choose_precision(recipe.training.precision, _device(recipe))
    lines = [yaml_text(recipe.model_dump(mode="json"))]
    for stage in recipe.stages:
        work, cost = count_step(recipe, stage, precision)
        total = cost.weights + cost.optimizers + cost.activations
        size = f"{stage.size or f'files of {_UNSIZED[0]}x{_UNSIZED[1]} assumed'}"
        lines += [
            work.table().replace(" epochs of 1 images", " epochs"),
            f"  compute  {cost.flops / 1e9:,.0f} GFLOP a step ({size}, batch {stage.batch_size})",
            f"  memory   about {_gib(total)} a process: weights {_gib(cost.weights)}, gradients and Adam "
            f"{_gib(cost.optimizers)}, kept for the backward pass {_gib(cost.activations)}; cuDNN's workspace "
            "and fragmentation come on top",
            "",
        ]
    return "\n".join(lines)


def _device(recipe: Recipe) -> torch.device:
    wanted = recipe.training.device
    return torch.device("cuda" if wanted != "cpu" and torch.cuda.is_available() else "cpu")


def count_step(recipe: Recipe, stage: Stage, precision: Precision) -> tuple[StageTraining, Cost]:
    """Walk one step of a stage with tensors that have shapes alone; return what trains, and what it costs."""
    module = method_module(recipe.method.kind)
    precision = Precision(precision.name, "cpu")
    with FakeTensorMode(), torch.device("cpu"), _default_type(precision.weights):
        networks = module.build_networks(recipe.method, recipe.data, recipe.training.seed)
        method = module.build(recipe.method, recipe.data, stage, networks)
        method.load_helpers(weights=False)
        work = StageTraining(method, stage, 1, recipe.training, precision, Processes())
        kept = _Kept(networks, method.helpers)
        with FlopCounterMode(display=False) as counter, saved_tensors_hooks(kept.pack, kept.unpack):
            work.step(_batch(recipe, stage), 0, 0)
    trained = sum(_bytes(p) for name in work.trained for p in networks[name].parameters())
    weights = sum(_bytes(p) for part in (networks, method.helpers) for p in part.parameters())
    return work, Cost(counter.get_total_flops(), weights, 3 * trained, kept.most)


def count_translation(recipe: Recipe, size: Size) -> int:
    """Return the operations of making one picture of a size, as the last stage of a recipe makes it."""
    module, stage = method_module(recipe.method.kind), recipe.stages[-1]
    with FakeTensorMode(), torch.device("cpu"), torch.no_grad():
        networks = module.build_networks(recipe.method, recipe.data, recipe.training.seed)
        method = module.build(recipe.method, recipe.data, stage, networks)
        batch = _batch(recipe, stage.model_copy(update={"size": size, "batch_size": 1}))
        inputs = {name: getattr(batch, name) for name in method.reads - {"photo"}}
        with FlopCounterMode(display=False) as counter:
            method.translator(networks)(**inputs)
    return counter.get_total_flops()


@contextmanager
def _default_type(dtype: torch.dtype) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


class _Kept:
    """Counts the bytes that autograd keeps at the same time, each storage once, weights left out."""

    def __init__(self, *parts: torch.nn.Module) -> None:
        self.weights = {id(p) for part in parts for p in part.parameters()}
        self.counted: dict[int, list[int]] = {}  # storage: bytes, references
        self.now = self.most = 0

    def pack(self, tensor: Tensor) -> "_Saved":
        return _Saved(self, tensor)

    def unpack(self, saved: "_Saved") -> Tensor:
        return saved.tensor

    def add(self, tensor: Tensor) -> None:
        if id(tensor) in self.weights:
            return
        entry = self.counted.setdefault(_storage(tensor), [tensor.untyped_storage().nbytes(), 0])
        entry[1] += 1
        if entry[1] == 1:
            self.now += entry[0]
            self.most = max(self.most, self.now)

    def remove(self, tensor: Tensor) -> None:
        entry = self.counted.get(_storage(tensor))
        if entry is not None and id(tensor) not in self.weights:
            entry[1] -= 1
            if entry[1] == 0:
                self.now -= entry[0]
                del self.counted[_storage(tensor)]


class _Saved:
    """A tensor that autograd keeps; counted until autograd lets it go."""

    def __init__(self, kept: _Kept, tensor: Tensor) -> None:
        self.kept, self.tensor = kept, tensor
        kept.add(tensor)

    def __del__(self) -> None:
        self.kept.remove(self.tensor)


def _storage(tensor: Tensor) -> int:
    return tensor.untyped_storage()._cdata


def _batch(recipe: Recipe, stage: Stage) -> Batch:
    width, height = (stage.size.width, stage.size.height) if stage.size else _UNSIZED
    size = (stage.batch_size, height, width)
    fields: dict[str, Any] = {}
    for name in recipe.method.reads(recipe.data):
        if name in ("label", "instance"):
            fields[name] = torch.zeros(size, dtype=torch.uint8 if name == "label" else torch.int32)
        else:
            source = name == "source" and isinstance(recipe.data, Pictures)
            channels = recipe.data.source_channels if source else recipe.data.photo_channels  # type: ignore[union-attr]
            fields[name] = torch.zeros((size[0], channels, *size[1:]), dtype=torch.uint8)
    return Batch(("",) * size[0], (0,) * size[0], **fields)


def _bytes(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()


def _gib(size: int) -> str:
    return f"{size / 2**30:.2f} GiB"
