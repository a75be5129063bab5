"""Estimate compute and memory of a recipe on fake tensors: nothing is allocated, read or written."""

import itertools
import weakref
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from hdtrans.common.planned import as_on_gpu
from hdtrans.common.yaml_text import yaml_text
from hdtrans.config.recipe import Recipe
from hdtrans.config.registry import method_module
from hdtrans.config.stage import Size, Stage
from hdtrans.data.batch import Batch
from hdtrans.data.fields import kind_of
from hdtrans.engine.distributed import Processes
from hdtrans.engine.precision import Precision, choose_precision
from hdtrans.engine.stage import StageTraining
from hdtrans.methods.base import Method

GPU_SIZES = (12, 16, 24, 48, 80, 141)  # GB
_SPARE = 0.1  # share of a GPU's memory that the estimate leaves free
_MORE = (8, 32)  # pictures added to the batch, to infer the memory of each
_UNSIZED = (1024, 512)  # width and height assumed for stages that keep the size of the files


@dataclass(frozen=True)
class Cost:
    """Cost of one training step of one process.

    Attributes:
        flops: operations of all phases, forward and backward; a multiplication and an addition are two.
        weights: bytes of all networks, frozen ones included.
        optimizers: bytes of gradients and Adam's two moments.
        activations: peak bytes beyond those held between two steps: tensors kept for the backward passes and results
            of operators, less gradients that are freed meanwhile.
        averages: bytes of the averaged weights.
    """

    flops: int
    weights: int
    optimizers: int
    activations: int
    averages: int

    @property
    def total(self) -> int:
        """Bytes of one process, all parts together."""
        return self.weights + self.optimizers + self.activations + self.averages


def describe(recipe: Recipe) -> str:
    """Return the resolved recipe and, for each stage, its networks, compute and memory.

    With `training.device=cuda`, memory is that of a GPU, even on a machine without one.
    """
    precision = _planned_precision(recipe)
    lines = [yaml_text(recipe.model_dump(mode="json"))]
    for stage in recipe.stages:
        work, cost = count_step(recipe, stage, precision)
        size = f"{stage.size or f'files of {_UNSIZED[0]}x{_UNSIZED[1]} assumed'}"
        lines += [
            work.table().replace(" epochs of 1 images", " epochs"),
            f"  compute  {cost.flops / 1e9:,.0f} GFLOP a step ({size}, batch {stage.batch_size})",
            _memory(cost, "GPU" if precision.device == "cuda" else "CPU"),
        ]
        if precision.device == "cuda":
            counts = sorted({1, stage.batch_size, *(stage.batch_size + more for more in _MORE)})
            others = [stage.model_copy(update={"batch_size": count}) for count in counts]
            totals = {other.batch_size: count_step(recipe, other, precision)[1].total for other in others}
            lines.append(_batches(largest_batches(totals)))
        lines.append("")
    return "\n".join(lines)


def _planned_precision(recipe: Recipe) -> Precision:
    """Return the precision that the recipe would train in; a missing GPU is taken for one with bf16."""
    wanted, name = recipe.training.device, recipe.training.precision
    if wanted == "cuda" and not torch.cuda.is_available():
        return Precision("bf16" if name == "auto" else name, "cuda")  # as on GPUs since Ampere
    device = "cuda" if wanted != "cpu" and torch.cuda.is_available() else "cpu"
    return choose_precision(name, torch.device(device))


def _memory(cost: Cost, device: str) -> str:
    averages = f"averages {_gib(cost.averages)}, " if cost.averages else ""
    return (
        f"  memory   about {_gib(cost.total)} a process on a {device}: weights {_gib(cost.weights)}, gradients and "
        f"Adam {_gib(cost.optimizers)}, {averages}activations and their gradients {_gib(cost.activations)}; cuDNN's "
        "workspace and fragmentation come on top"
    )


def largest_batches(totals: Mapping[int, int]) -> list[int]:
    """Return the largest batch that fits a GPU of each of `GPU_SIZES`; 0 where none does.

    A tenth of the memory and 1 GiB stay free: the CUDA context takes about half a GiB, cuDNN's workspaces some hundred
    MiB, and fragmentation a few percent.

    Args:
        totals: bytes of a process by batch size: size 1 and at least one more. A picture takes at least as much memory
            as the one before it, so that a straight line between two sizes never underestimates. Where the last two
            sizes take the same (weights outweigh tiny pictures), the last is the answer.
    """
    pairs = list(itertools.pairwise(sorted(totals.items())))
    found = []
    for size in GPU_SIZES:
        usable = int(size * 2**30 * (1 - _SPARE)) - 2**30
        # The segment in which the memory runs out; beyond the last size, the last segment goes on.
        (few, least), (many, most) = next((pair for pair in pairs if usable < pair[1][1]), pairs[-1])
        if most == least:
            found.append(many if usable >= most else 0)
        else:
            found.append(max(0, few + (usable - least) * (many - few) // (most - least)))
    return found


def _batches(fits: list[int]) -> str:
    text = ", ".join(f"{fit} in {size} GB" for fit, size in zip(fits, GPU_SIZES, strict=True))
    return f"  batch    at most {text} (with {_SPARE:.0%} and 1 GiB to spare)"


def count_step(recipe: Recipe, stage: Stage, precision: Precision) -> tuple[StageTraining, Cost]:
    """Run one step of a stage on fake tensors; return the stage in training and its cost.

    For a precision on `cuda`, memory is counted as on a GPU with Triton, even on a machine without one.
    """
    module, on_gpu = method_module(recipe.method.kind), precision.device == "cuda"
    precision = Precision(precision.name, "cpu")
    with FakeTensorMode(), torch.device("cpu"), _default_type(precision.weights), as_on_gpu(on_gpu):
        networks = module.build_networks(recipe.method, recipe.data, recipe.training.seed)
        method = module.build(recipe.method, recipe.data, stage, networks)
        with _default_type(precision.compute):
            method.load_frozen_networks(weights=False)
        work = StageTraining(method, stage, 1, recipe.training, precision, Processes())
        batch = _batch(recipe, stage)
        with _Count(_after_a_step(work)) as count:
            work.step(batch, 0, 0)
    trained = 3 * sum(_bytes(p) for name in work.trained for p in networks[name].parameters())
    weights = sum(_bytes(p) for part in (networks, method.frozen_networks) for p in part.parameters())
    averages = sum(_bytes(p) for name in method.averaged for p in networks[name].parameters())
    return work, Cost(count.flops, weights, trained, count.most, averages if recipe.training.ema else 0)


def _after_a_step(work: StageTraining) -> list[Tensor]:
    """Make the gradients and moments that training holds between two steps; return all tensors."""
    tensors = [
        x for part in (work.method.networks, work.method.frozen_networks) for x in (*part.parameters(), *part.buffers())
    ]
    for each in work.phase_optimizers:
        for parameter in each.parameters.values():
            parameter.grad = torch.zeros_like(parameter)
            tensors.append(parameter.grad)
        each.optimizer.step()
        tensors += [moment for moments in each.optimizer.state.values() for moment in moments.values()]
    return tensors


def count_translation(recipe: Recipe, size: Size) -> int:
    """Return the operations of translating one picture of a size with the model of a recipe's last stage."""
    module, stage = method_module(recipe.method.kind), recipe.stages[-1]
    with FakeTensorMode(), torch.device("cpu"), torch.no_grad():
        networks = module.build_networks(recipe.method, recipe.data, recipe.training.seed)
        method = module.build(recipe.method, recipe.data, stage, networks)
        batch = _batch(recipe, stage.model_copy(update={"size": size, "batch_size": 1}))
        with _Count() as count:
            method.translator(networks)(**_without_style(method, method.arguments(networks, batch)))
    return count.flops


@contextmanager
def _default_type(dtype: torch.dtype) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


class _Count(TorchDispatchMode):
    """Count operations and the bytes of live storages, each storage once.

    (torch's FlopCounterMode keeps recomputed tensors of activation checkpointing alive.)

    Args:
        before: tensors that exist already, some of which may be freed meanwhile.

    Attributes:
        flops: operations of convolutions and matrix products.
        now: live bytes beyond those of `before`.
        most: largest `now` so far.
    """

    def __init__(self, before: Iterable[Tensor] = ()) -> None:
        super().__init__()
        self.flops = 0
        self.storages: set[int] = set()
        self.now = self.most = 0
        for tensor in before:
            self.add(tensor)
        self.now = self.most = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        if func.overloadpacket in flop_registry:
            self.flops += flop_registry[func.overloadpacket](*args, **(kwargs or {}), out_val=made)
        for tensor in tree_leaves(made):
            if isinstance(tensor, Tensor):
                self.add(tensor)
        return made

    def add(self, tensor: Tensor) -> None:
        """Count the storage of a tensor, unless it is counted already."""
        storage = tensor.untyped_storage()
        if storage._cdata not in self.storages:
            self.storages.add(storage._cdata)
            self.now += storage.nbytes()
            self.most = max(self.most, self.now)
            weakref.finalize(storage, self._remove, storage._cdata, storage.nbytes())

    def _remove(self, storage: int, size: int) -> None:
        self.storages.remove(storage)
        self.now -= size


def _batch(recipe: Recipe, stage: Stage) -> Batch:
    """Return a batch with the shapes and types of the training batches of a stage."""
    width, height = (stage.size.width, stage.size.height) if stage.size else _UNSIZED
    count, known = stage.batch_size, recipe.data.fields
    fields = {
        name: kind_of(known[name]).placeholder(known[name], count, height, width)
        for name in recipe.method.reads(recipe.data)
    }
    return Batch(("",) * count, (0,) * count, fields)


def _without_style(method: Method, arguments: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the arguments of a translation without its style, so that the encoder is not counted."""
    return {name: x for name, x in arguments.items() if method.style is None or name != method.style.name}


def _bytes(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()


def _gib(size: int) -> str:
    return f"{size / 2**30:.2f} GiB"
