"""Processes of a run: one, or as many as torchrun started. The only file that imports torch.distributed."""

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
from pathlib import Path
from typing import Any, TypeVar, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.distributed_c10d import PrefixStore
from torch.distributed.rendezvous import rendezvous
from torch.nn.parallel import DistributedDataParallel

from hdtrans.common.errors import ProcessError, UserError, as_one
from hdtrans.common.folder_lock import FolderLock

T = TypeVar("T")
_DAY = 24 * 60 * 60.0
_NCCL_MARGIN = 60.0  # seconds: the CPU exchange can name the missing process, so it times out before that of the GPUs


@dataclass(frozen=True)
class Processes:
    """This process among all processes of a run.

    Attributes:
        rank: number of this process, 0 to world - 1; rank 0 writes and prints.
        world: number of processes, >= 1.
        device: device of this process.
    """

    rank: int = 0
    world: int = 1
    device: torch.device = torch.device("cpu")
    _groups: "_Groups | None" = field(default=None, repr=False)

    @property
    def first(self) -> bool:
        """True for the process that writes and prints."""
        return self.rank == 0

    def wrap(self, network: nn.Module) -> nn.Module:
        """Return the network in DistributedDataParallel; the bare network in a run of one process."""
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
        """Return the differentiable sum over all processes; gradients flow back to the values of every process."""
        if self.world == 1:
            return values
        summed: Tensor = _Total.apply(values)
        return summed

    def largest(self, number: int) -> int:
        """Return the largest integer of all processes; exchanged on the CPU, so that no GPU queue is waited for."""
        if self.world == 1:
            return number
        value = torch.tensor(number)
        dist.all_reduce(value, dist.ReduceOp.MAX, group=self._of("step"))
        return int(value)

    def any(self, flags: Tensor) -> Tensor:
        """Return the logical or over all processes of (N,) bool flags on the device, without a host-device sync."""
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
        """Run `action` on every process and return its result; a UserError of one ends all, reported by rank 0."""
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
        ending = as_one(error for error in refusals if error is not None)
        ending.reported = not self.first
        raise ending

    def together(self, items: Iterable[T]) -> Iterator[T]:
        """Iterate until one process has no more items; a UserError of one ends all, as in `agree`."""
        iterator = iter(items)
        while (item := self.agree(lambda: next(iterator, None))) is not None:
            yield item

    def on_first(self, action: Callable[[], Any]) -> Any:
        """Run `action` on rank 0 while the others wait; return its plain result, or raise its error, everywhere.

        A UserError on other ranks carries `reported`, for rank 0 prints it.
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
    def owning(self, folder: Path, argument: str = "out") -> Iterator[Callable[[], None]]:
        """Own an output folder, by rank 0 for all processes; see `FolderLock`, and for its errors.

        Args:
            folder: the folder.
            argument: argument that named it, for messages.

        Yields:
            A function for rank 0 that raises LostFolder if another process took the folder over.
        """
        lock = FolderLock(folder, argument)
        with contextlib.ExitStack() as held:
            self.on_first(lambda: held.enter_context(lock) and None)
            yield lock.verify

    @contextmanager
    def watched(self, progress: Callable[[], str]) -> Iterator[None]:
        """Name the lost or failed process where this one waits for it in vain; errors of this process pass through.

        Args:
            progress: returns the position of this process in the run, for the message.

        Raises:
            ProcessError: another process is lost, or failed by a bug.
            UserError: error of another process.
        """
        try:
            yield
        except Exception as error:
            if self._groups is None or self._groups.failures.reported:
                raise
            cause = self._groups.failures.explain(error, progress())
            if cause is None:
                raise
            raise cause from error

    def _of(self, kind: str) -> Any:
        return None if self._groups is None else getattr(self._groups, kind)


class _Total(torch.autograd.Function):
    """Sum over all processes, of values in the forward pass and of gradients in the backward pass."""

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
    """Process groups on the CPU, besides that of the gradients: `step` for every step, `pause` for long waits."""

    step: Any
    pause: Any
    failures: "_FailureReports"


# Parts of the messages of failed exchanges. The last is all that gloo gives where another exchange timed out.
_SIGNS = ("gloo", "NCCL", "caused pair closure")


class _FailureReports:
    """Host name and failure of each process, in the key-value store of torchrun.

    Args:
        store: key-value store that all processes reach.
        rank: number of this process.
        world: number of processes.
    """

    def __init__(self, store: Any, rank: int, world: int) -> None:
        self.store, self.rank, self.world = store, rank, world
        self.reported = False
        self.store.set(f"host/{rank}", socket.gethostname())

    def explain(self, error: Exception, where: str) -> Exception | None:
        """Report the error of this process; return the error that caused it elsewhere, or None if it began here."""
        self.reported = True
        text = str(error) or type(error).__name__
        waited = isinstance(error, RuntimeError) and any(sign in text for sign in _SIGNS)
        known = isinstance(error, UserError | ProcessError)
        report = {"waited": waited, "user": isinstance(error, UserError), "where": where}
        report["text"] = text if known else f"{type(error).__name__}: {text.splitlines()[0]}"
        found: list[Exception] = []

        def exchange() -> None:
            with contextlib.suppress(RuntimeError):
                self.store.set(f"word/{self.rank}", json.dumps(report))
                if waited:
                    found.append(self._cause(self._gather(3.0), where, text))

        # In a thread with a time limit: the store may be out of reach, together with the machine that holds it.
        exchanging = threading.Thread(target=exchange, daemon=True)
        exchanging.start()
        exchanging.join(15.0)
        lost = ProcessError(f"{where}: process {self.rank} lost the others: {text.splitlines()[0]}")
        return (found or [lost])[0] if waited else None

    def _gather(self, seconds: float) -> dict[int, dict[str, Any]]:
        """Return the reports of all processes that leave one within some seconds, by rank."""
        deadline = time.monotonic() + seconds
        reports: dict[int, dict[str, Any]] = {}
        while True:
            for rank in range(self.world):
                if rank not in reports and self.store.check([f"word/{rank}"]):
                    reports[rank] = json.loads(self.store.get(f"word/{rank}"))
            if len(reports) == self.world or time.monotonic() > deadline:
                return reports
            time.sleep(0.05)

    def _cause(self, reports: dict[int, dict[str, Any]], where: str, text: str) -> Exception:
        """Return the error behind a failed exchange: a failure of another process, or its loss."""
        reported = self.rank != min(rank for rank, report in reports.items() if report["waited"])
        failed = [rank for rank, report in reports.items() if not report["waited"]]
        if failed:
            first = min(failed, key=lambda rank: not reports[rank]["user"])  # a UserError before a bug
            report = reports[first]
            if report["user"]:
                refusal = UserError(report["text"])
                refusal.reported = True
                return refusal
            return ProcessError(f"{report['where']}: {self._name(first)} failed: {report['text']}", reported)
        lost = [self._name(rank) for rank in range(self.world) if rank not in reports]
        if lost:
            reason = f"no word from {', '.join(lost)}: killed, stuck, or cut off with its machine"
        else:
            reason = f"the processes lost each other: {text.splitlines()[0]}"
        advice = "Run the same command again to go on from the last checkpoint"
        if lost and ("imed out" in text or "imeout" in text):
            advice += " (training.timeouts sets how long to wait)"
        return ProcessError(f"{where}: {reason}. {advice}", reported)

    def _name(self, rank: int) -> str:
        key = f"host/{rank}"
        return f"process {rank} on {self.store.get(key).decode()}" if self.store.check([key]) else f"process {rank}"


# torch 2.14 renamed the argument that turns off the synchronisation of buffers.
_NO_BUFFER_SYNC: dict[str, Any] = (
    {"forward_sync_buffers": False}
    if "forward_sync_buffers" in inspect.signature(DistributedDataParallel.__init__).parameters
    else {"broadcast_buffers": False}
)


@contextmanager
def start_processes(device: str, step: float = _DAY, pause: float = _DAY) -> Iterator[Processes]:
    """Join the processes that torchrun started; without torchrun, run as the only process.

    Args:
        device: `cpu`, `cuda`, or `auto`: a GPU for each process if the machine has GPUs.
        step: timeout of the exchanges within a step, in seconds.
        pause: timeout of the start, and of waits for a process that works alone, in seconds.

    Raises:
        UserError: no GPU is left for this process.
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
        # torchrun's store outlives restarts and holds addresses of dead processes, so that each restart takes a prefix.
        # A store of the first process begins with it; hosts that joined later have counted fewer restarts.
        store = PrefixStore(f"hdtrans/{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}", store)
    dist.init_process_group(
        "cpu:gloo,cuda:nccl" if on_gpu else "gloo", store=store, rank=rank, world_size=world, timeout=patience
    )
    try:
        groups = _Groups(
            dist.new_group(backend="gloo", timeout=timedelta(seconds=step)),
            dist.new_group(backend="gloo", timeout=timedelta(seconds=pause)),
            _FailureReports(store, rank, world),
        )
        processes = Processes(rank, world, place, groups)
        with processes.watched(lambda: "before the first step"):
            yield processes
    finally:
        dist.destroy_process_group()


def choose_device(device: str, local_rank: int = 0) -> torch.device:
    """Return the device for `auto`, `cpu`, `cuda` or `cuda:N`; raise UserError if the machine lacks it."""
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
