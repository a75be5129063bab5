"""Child side of `processes`: build one rival from a job, then answer requests."""

import contextlib
import os
import resource
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch

from benchmarks.plan import Job
from hdtrans.benchmark.plan import OURS
from hdtrans.benchmark.timing import LocalCall
from hdtrans.common.errors import UserError
from hdtrans.common.freed_memory import keep_freed_memory


class Worker:
    """Make the calls of one subject on request; each public method is one request.

    Args:
        subject: maker of the calls.
        device: device to compute on.
    """

    def __init__(self, subject: Any, device: torch.device) -> None:
        self.subject, self.device = subject, device
        self.calls: dict[str, LocalCall] = {}

    def add(self, key: str, *arguments: Any) -> None:
        """Make the call of (scene, batch, ...) and keep it under a key."""
        self.calls[key] = LocalCall(self.subject.make(*arguments), self.device)

    def timed(self, key: str) -> tuple[float, float]:
        """Make one call; see `Timed`."""
        return self.calls[key].timed()

    def peak(self, key: str) -> int:
        """Make one call; see `Timed`."""
        return self.calls[key].peak()

    def flops(self) -> int:
        """Return the operations of one call at the plan's size."""
        return int(self.subject.flops())

    def memory(self) -> tuple[int, int]:
        """Return bytes held between steps, and bytes estimated by `--dry-run`."""
        held, estimate = self.subject.memory()
        return held, estimate

    def shares(self, key: str) -> dict[str, dict[str, float]]:
        """Return the shares of one call's time by part of the network and by kind of operation."""
        from benchmarks.time_shares import by_kind, by_part

        work, subject = self.calls[key].work, self.subject
        return {
            "by_part": by_part(work, subject.parts, subject.optimizers, self.device, subject.frozen),
            "by_kind": by_kind(work, self.device),
        }

    def resident(self) -> int:
        """Return the peak bytes of this process so far."""
        with contextlib.suppress(OSError, StopIteration):
            # getrusage would include the parent's memory.
            lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
            return 1024 * int(next(line for line in lines if line.startswith("VmHWM")).split()[1])
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def serve(connection: Connection, job: Job) -> None:
    """Build a rival and answer requests one after the other, until the other end is closed.

    Each answer is a pair: (None, value), or (message of a failure, True for a `UserError`).
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends its children
    try:
        with _worker(job) as worker:
            connection.send((None, None))
            while (request := _receive(connection)) is not None:
                name, arguments = request
                connection.send((None, getattr(worker, name)(*arguments)))
        return
    except BrokenPipeError:  # the other end is closed
        return
    except UserError as error:
        failure, of_user = str(error), True
    except Exception as error:  # torch raises many kinds where memory or a device is too small
        failure, of_user = " ".join([f"{type(error).__name__}:", *str(error).splitlines()[:1]]), False
    with contextlib.suppress(BrokenPipeError):
        connection.send((failure, of_user))


def _receive(connection: Connection) -> tuple[str, tuple[Any, ...]] | None:
    try:
        request: tuple[str, tuple[Any, ...]] = connection.recv()
    except EOFError:
        return None
    return request


@contextmanager
def _worker(job: Job) -> Iterator[Worker]:
    torch.set_num_threads(job.plan.threads)
    if job.rival != OURS:
        from benchmarks.original import OriginalSubject

        yield Worker(OriginalSubject(job.plan, job.what, job.plan.device), torch.device(job.plan.device))
        return
    keep_freed_memory()
    from benchmarks.ours import InferenceInParts, TrainingInParts
    from hdtrans.engine.distributed import Processes, choose_device, start_processes

    together: Any = nullcontext(Processes(device=choose_device(job.plan.device)))
    if job.world > 1:
        place = {"RANK": job.rank, "LOCAL_RANK": job.rank, "WORLD_SIZE": job.world, "MASTER_PORT": job.port}
        os.environ.update({name: str(value) for name, value in place.items()}, MASTER_ADDR="127.0.0.1")
        together = start_processes(job.plan.device)
    with together as processes:
        device = processes.device
        if job.what == "inference":
            yield Worker(InferenceInParts(job.plan, device), device)
        else:
            yield Worker(TrainingInParts(job.plan, processes), device)
