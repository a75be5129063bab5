"""The processes of a run: one, or as many as torchrun started. The only place that imports torch.distributed."""

import contextlib
import inspect
import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, TypeVar, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.distributed_c10d import PrefixStore
from torch.distributed.rendezvous import rendezvous
from torch.nn.parallel import DistributedDataParallel

from hdtrans.common.errors import ProcessError, UserError

T = TypeVar("T")
_DAY = 24 * 60 * 60.0
_NCCL_MARGIN = 60.0  # seconds: the exchange on the CPU can tell who is missing, so it gives up before that of the GPUs


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
    _groups: "_Groups | None" = field(default=None, repr=False)

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

    def total(self, values: Tensor) -> Tensor:
        """Return the sum over all processes; each loss's gradient reaches the values of every process."""
        if self.world == 1:
            return values
        summed: Tensor = _Total.apply(values)
        return summed

    def largest(self, number: int) -> int:
        """Return the largest of an integer each; on the CPU, so that a GPU's queue is not waited for."""
        if self.world == 1:
            return number
        value = torch.tensor(number)
        dist.all_reduce(value, dist.ReduceOp.MAX, group=self._of("step"))
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
        dist.gather_object(value, gathered, group=self._of("pause"))
        return gathered or []

    def agree(self, action: Callable[[], T]) -> T:
        """Run `action` on every process and return its result; a UserError of one ends all, and the first tells it."""
        if self.world == 1:
            return action()
        result, refusal = None, None
        try:
            result = action()
        except UserError as error:
            refusal = error
        if not self.largest(refusal is not None):
            return cast(T, result)
        refusals: list[UserError | None] = [None] * self.world
        dist.all_gather_object(refusals, refusal, group=self._of("step"))
        different = {str(error): error for error in refusals if error is not None}
        ending = next(iter(different.values())) if len(different) == 1 else UserError("\n".join(different))
        ending.reported = not self.first
        raise ending

    def together(self, items: Iterable[T]) -> Iterator[T]:
        """Go over as many items as every process has; a UserError of one ends all, as `agree` does."""
        iterator = iter(items)
        while (item := self.agree(lambda: next(iterator, None))) is not None:
            yield item

    def on_first(self, action: Callable[[], Any]) -> Any:
        """Run `action` on rank 0, the others wait, and return its plain result everywhere; what it raises, all raise.

        A UserError of another process than the first carries `reported`, since the first one prints it.
        """
        if self.world == 1:
            return action()
        outcome: list[Any] = [None, None]
        failure: BaseException | None = None
        if self.first:
            try:
                outcome[0] = action()
            except UserError as error:
                outcome[1] = error
            except BaseException as error:
                outcome[1], failure = UserError(f"rank 0 failed: {error}"), error
        dist.broadcast_object_list(outcome, group=self._of("pause"))
        if failure is not None:
            raise failure
        if outcome[1] is not None:
            refusal: UserError = outcome[1]
            refusal.reported = not self.first
            raise refusal
        return outcome[0]

    @contextmanager
    def watched(self, progress: Callable[[], str]) -> Iterator[None]:
        """Say, where this process waits in vain, which other one is lost or failed, and how far `progress` says it got.

        Raises ProcessError, or the UserError of the other process. What fails here by itself passes through.
        """
        try:
            yield
        except Exception as error:
            if self._groups is None or self._groups.words.said:
                raise
            told = self._groups.words.explain(error, progress())
            if told is None:
                raise
            raise told from error

    def _of(self, kind: str) -> Any:
        return None if self._groups is None else getattr(self._groups, kind)


class _Total(torch.autograd.Function):
    """Sum over all processes, forth and back."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        summed = values.detach().clone(memory_format=torch.contiguous_format)
        dist.all_reduce(summed)
        return summed

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return _Total.apply(gradient)


@dataclass(frozen=True)
class _Groups:
    """Besides the group of the gradients, on the CPU: one for what each step exchanges, and one for long waits."""

    step: Any
    pause: Any
    words: "_Words"


# Of an exchange with other processes that failed. The last is all that gloo says where another exchange timed out.
_SIGNS = ("gloo", "NCCL", "caused pair closure")


class _Words:
    """What each process leaves in the store that torchrun keeps: where it runs, and how it failed."""

    def __init__(self, store: Any, rank: int, world: int) -> None:
        self.store, self.rank, self.world = store, rank, world
        self.said = False
        self.store.set(f"host/{rank}", socket.gethostname())

    def explain(self, error: Exception, where: str) -> Exception | None:
        """Leave a word about the error; return what it comes from, or None where it comes from here."""
        self.said = True
        text = str(error) or type(error).__name__
        waited = isinstance(error, RuntimeError) and any(sign in text for sign in _SIGNS)
        known = isinstance(error, UserError | ProcessError)
        word = {"waited": waited, "user": isinstance(error, UserError), "where": where}
        word["text"] = text if known else f"{type(error).__name__}: {text.splitlines()[0]}"
        found: list[Exception] = []

        def ask() -> None:
            with contextlib.suppress(RuntimeError):
                self.store.set(f"word/{self.rank}", json.dumps(word))
                if waited:
                    found.append(self._cause(self._gather(3.0), where, text))

        asking = threading.Thread(target=ask, daemon=True)  # the store may be out of reach, with the machine it is on
        asking.start()
        asking.join(15.0)
        lost = ProcessError(f"{where}: process {self.rank} lost the others: {text.splitlines()[0]}")
        return (found or [lost])[0] if waited else None

    def _gather(self, seconds: float) -> dict[int, dict[str, Any]]:
        """Return the words of all processes that leave one soon."""
        deadline = time.monotonic() + seconds
        words: dict[int, dict[str, Any]] = {}
        while True:
            for rank in range(self.world):
                if rank not in words and self.store.check([f"word/{rank}"]):
                    words[rank] = json.loads(self.store.get(f"word/{rank}"))
            if len(words) == self.world or time.monotonic() > deadline:
                return words
            time.sleep(0.05)

    def _cause(self, words: dict[int, dict[str, Any]], where: str, text: str) -> Exception:
        told = self.rank != min(rank for rank, word in words.items() if word["waited"])
        failed = [rank for rank, word in words.items() if not word["waited"]]
        if failed:
            first = min(failed, key=lambda rank: not words[rank]["user"])
            word = words[first]
            if word["user"]:
                refusal = UserError(word["text"])
                refusal.reported = True
                return refusal
            return ProcessError(f"{word['where']}: {self._name(first)} failed: {word['text']}", told)
        lost = [self._name(rank) for rank in range(self.world) if rank not in words]
        if lost:
            reason = f"no word from {', '.join(lost)}: killed, stuck, or cut off with its machine"
        else:
            reason = f"the processes lost each other: {text.splitlines()[0]}"
        advice = "Run the same command again to go on from the last checkpoint"
        if lost and ("imed out" in text or "imeout" in text):
            advice += " (training.timeouts says how long to wait)"
        return ProcessError(f"{where}: {reason}. {advice}", told)

    def _name(self, rank: int) -> str:
        key = f"host/{rank}"
        return f"process {rank} on {self.store.get(key).decode()}" if self.store.check([key]) else f"process {rank}"


# torch 2.14 renamed the argument that turns the synchronisation of buffers off.
_NO_BUFFER_SYNC: dict[str, Any] = (
    {"forward_sync_buffers": False}
    if "forward_sync_buffers" in inspect.signature(DistributedDataParallel.__init__).parameters
    else {"broadcast_buffers": False}
)


@contextmanager
def start_processes(device: str, step: float = _DAY, pause: float = _DAY) -> Iterator[Processes]:
    """Join the processes that torchrun started, or be the only one.

    Args:
        device: `cpu`, `cuda`, or `auto`: a GPU for each process where there are GPUs.
        step: seconds that processes wait for each other in a step.
        pause: seconds that they wait for one that works alone, and for each other to begin.

    Raises:
        UserError: there is no GPU for this process.
        ProcessError: another process is lost.
    """
    world, rank = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("RANK", "0"))
    place = choose_device(device, int(os.environ.get("LOCAL_RANK", "0")))
    if world == 1:
        yield Processes(device=place)
        return
    on_gpu = place.type == "cuda"
    if on_gpu:
        torch.cuda.set_device(place)
    patience = timedelta(seconds=step + (_NCCL_MARGIN if on_gpu else 0))
    store, _, _ = next(rendezvous("env://", rank, world, timeout=timedelta(seconds=pause)))
    if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True":
        # It is torchrun's, over all restarts, and holds the addresses of processes that are gone. A store of the first
        # process begins with it, and hosts that came later have counted fewer restarts.
        store = PrefixStore(f"hdtrans/{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}", store)
    dist.init_process_group(
        "cpu:gloo,cuda:nccl" if on_gpu else "gloo", store=store, rank=rank, world_size=world, timeout=patience
    )
    try:
        groups = _Groups(
            dist.new_group(backend="gloo", timeout=timedelta(seconds=step)),
            dist.new_group(backend="gloo", timeout=timedelta(seconds=pause)),
            _Words(store, rank, world),
        )
        processes = Processes(rank, world, place, groups)
        with processes.watched(lambda: "before the first step"):
            yield processes
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
