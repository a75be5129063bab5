"""The processes of a run: one, or as many as torchrun started. The only place that imports torch.distributed."""

import inspect
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from hdtrans.common.errors import UserError

T = TypeVar("T")
_TIMEOUT = timedelta(minutes=30)


@dataclass(frozen=True)
class Processes:
    """This process among all of a run.

    Attributes:
        rank: from 0 to world-1; rank 0 writes and prints.
        world: how many processes there are.
        device: where this one computes.
    """

    rank: int = 0
    world: int = 1
    device: torch.device = torch.device("cpu")

    @property
    def first(self) -> bool:
        """Whether this is the process that writes and prints."""
        return self.rank == 0

    def wrap(self, network: nn.Module) -> nn.Module:
        """Return the network so that its gradients are averaged over all processes; itself where there is one."""
        if self.world == 1:
            return network
        if any(isinstance(module, nn.BatchNorm2d) for module in network.modules()):
            raise UserError(
                "norm: batch takes its statistics from one process's part of the batch, so several processes do not "
                "equal one; use norm: instance, or train with one process"
            )
        devices = [self.device] if self.device.type == "cuda" else None
        return DistributedDataParallel(network, device_ids=devices, gradient_as_bucket_view=True, **_NO_BUFFER_SYNC)

    def mean(self, values: Tensor) -> Tensor:
        """Return the mean over all processes."""
        if self.world > 1:
            values = values.clone()
            dist.all_reduce(values)
            values /= self.world
        return values

    def largest(self, number: int) -> int:
        """Return the largest of an integer each; on the CPU, so that a GPU's queue is not waited for."""
        if self.world == 1:
            return number
        value = torch.tensor(number)
        dist.all_reduce(value, dist.ReduceOp.MAX)
        return int(value)

    def any(self, flags: Tensor) -> Tensor:
        """Return, for each flag of a vector on the device, whether one process has it up; nothing is waited for."""
        if self.world > 1:
            flags = flags.to(torch.uint8)
            dist.all_reduce(flags, dist.ReduceOp.MAX)
        return flags.bool()

    def gather(self, value: Any) -> list[Any]:
        """Return the plain values of all processes by rank, on rank 0; an empty list elsewhere."""
        if self.world == 1:
            return [value]
        gathered: list[Any] | None = [None] * self.world if self.first else None
        dist.gather_object(value, gathered)
        return gathered or []

    def agree(self, action: Callable[[], T]) -> T:
        """Run `action` on every process and return its result; a UserError of one ends all, and the first tells it."""
        if self.world == 1:
            return action()
        result, refusal = None, None
        try:
            result = action()
        except UserError as error:
            refusal = str(error)
        if not self.largest(refusal is not None):
            return cast(T, result)
        refusals: list[str | None] = [None] * self.world
        dist.all_gather_object(refusals, refusal)
        ending = UserError("\n".join(dict.fromkeys(words for words in refusals if words is not None)))
        ending.told = not self.first
        raise ending

    def together(self, items: Iterable[T]) -> Iterator[T]:
        """Go over as many items as every process has; a UserError of one ends all, as `agree` does."""
        iterator = iter(items)
        while (item := self.agree(lambda: next(iterator, None))) is not None:
            yield item

    def on_first(self, action: Callable[[], Any]) -> Any:
        """Run `action` on rank 0 and return its plain result everywhere; what it raises, every process raises.

        A UserError of another process than the first carries `told`, since the first one tells it.
        """
        if self.world == 1:
            return action()
        outcome: list[Any] = [None, None]
        failure: BaseException | None = None
        if self.first:
            try:
                outcome[0] = action()
            except UserError as error:
                outcome[1] = str(error)
            except BaseException as error:
                outcome[1], failure = f"rank 0 failed: {error}", error
        dist.broadcast_object_list(outcome)
        if failure is not None:
            raise failure
        if outcome[1] is not None:
            refusal = UserError(outcome[1])
            refusal.told = not self.first
            raise refusal
        return outcome[0]


# torch 2.14 renamed the argument that turns the synchronisation of buffers off.
_NO_BUFFER_SYNC: dict[str, Any] = (
    {"forward_sync_buffers": False}
    if "forward_sync_buffers" in inspect.signature(DistributedDataParallel.__init__).parameters
    else {"broadcast_buffers": False}
)


@contextmanager
def start_processes(device: str) -> Iterator[Processes]:
    """Join the processes that torchrun started, or be the only one.

    Args:
        device: `cpu`, `cuda`, or `auto`: a GPU for each process where there are GPUs.

    Raises:
        UserError: there is no GPU for this process.
    """
    world, rank = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("RANK", "0"))
    place = choose_device(device, int(os.environ.get("LOCAL_RANK", "0")))
    if world == 1:
        yield Processes(device=place)
        return
    backend = "cpu:gloo,cuda:nccl" if place.type == "cuda" else "gloo"
    if place.type == "cuda":
        torch.cuda.set_device(place)
    dist.init_process_group(backend, timeout=_TIMEOUT)
    try:
        yield Processes(rank, world, place)
    finally:
        dist.destroy_process_group()


def choose_device(device: str, local_rank: int = 0) -> torch.device:
    """Return the device for `auto`, `cpu`, `cuda` or `cuda:N`; raise UserError if it is not there."""
    if device == "cpu" or (device == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise UserError(f"device {device}: PyTorch sees no GPU on this machine; use device cpu or auto")
    count = torch.cuda.device_count()
    index = int(device.removeprefix("cuda:")) if device.startswith("cuda:") else local_rank
    if index >= count:
        raise UserError(
            f"device {device}: process {local_rank} of this machine wants GPU {index}, but there are {count}; "
            f"start at most {count} processes (torchrun --nproc_per_node={count})"
        )
    return torch.device("cuda", index)
