"""The other side of `processes`: one rival in a process of its own, which builds itself from the plan, and answers."""

import contextlib
import os
import resource
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch

from hdtrans.benchmark.plan import OURS, Plan
from hdtrans.benchmark.timing import Here
from hdtrans.common.errors import UserError
from hdtrans.common.freed_memory import keep_freed_memory


@dataclass(frozen=True)
class Job:
    """What one process computes.

    Attributes:
        plan: of the benchmark.
        what: `inference` or `training`.
        rival: whose way.
        rank: of the processes that train together.
        world: how many they are; they meet at `port` of this machine.
        port: where there are several.
    """

    plan: Plan
    what: str
    rival: str
    rank: int = 0
    world: int = 1
    port: int = 0

    @property
    def name(self) -> str:
        """Return what a user is told of it."""
        together = f", process {self.rank + 1} of {self.world}" if self.world > 1 else ""
        return f"{self.what} ({self.rival}{together})"


class Worker:
    """Calls what a rival computes, when it is asked to.

    Args:
        subject: what makes the calls.
        device: to compute on.
    """

    def __init__(self, subject: Any, device: torch.device) -> None:
        self.subject, self.device = subject, device
        self.works: dict[str, Here] = {}

    def add(self, key: str, *what: Any) -> None:
        """Make the call for a scene, so many times at once, known by a key from now on."""
        self.works[key] = Here(self.subject.make(*what), self.device)

    def turn(self, key: str) -> tuple[float, float]:
        """Make one call; see `Rival`."""
        return self.works[key].turn()

    def peak(self, key: str) -> int:
        """Make one call; see `Rival`."""
        return self.works[key].peak()

    def facts(self) -> dict[str, Any]:
        """Return what is known without a call."""
        found: dict[str, Any] = self.subject.facts()
        return found

    def shares(self, key: str) -> dict[str, dict[str, float]]:
        """Return where the time of a call goes."""
        from hdtrans.benchmark.profile import by_kind, by_part

        work, subject = self.works[key].work, self.subject
        return {
            "by_part": by_part(work, subject.parts, subject.optimizers, self.device, subject.fixed),
            "by_kind": by_kind(work, self.device),
        }

    def resident(self) -> int:
        """Return the bytes that the process took at most so far."""
        with contextlib.suppress(OSError, StopIteration):
            # Not of getrusage, where that of the parent counts too.
            lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
            return 1024 * int(next(line for line in lines if line.startswith("VmHWM")).split()[1])
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def serve(connection: Connection, job: Job) -> None:
    """Build a rival and answer what is asked, one request after the other, until nobody is there to ask.

    Every answer is a pair: nothing and a value, or the words of a failure and whether it is the user's.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends its children
    try:
        with _worker(job) as worker:
            connection.send((None, None))
            while (request := _receive(connection)) is not None:
                name, arguments = request
                connection.send((None, getattr(worker, name)(*arguments)))
        return
    except BrokenPipeError:  # nobody is there to ask
        return
    except UserError as error:
        failure, of_user = str(error), True
    except Exception as error:  # whatever torch raises where memory or a device does not suffice
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
        from hdtrans.benchmark.original import OriginalSubject

        subject = OriginalSubject(job.plan, job.what, job.plan.device)
        yield Worker(subject, torch.device(job.plan.device))
        return
    keep_freed_memory()
    from hdtrans.benchmark.subjects import Inference, Training
    from hdtrans.engine.distributed import Processes, choose_device, start_processes

    together: Any = nullcontext(Processes(device=choose_device(job.plan.device)))
    if job.world > 1:
        place = {"RANK": job.rank, "LOCAL_RANK": job.rank, "WORLD_SIZE": job.world, "MASTER_PORT": job.port}
        os.environ.update({name: str(value) for name, value in place.items()}, MASTER_ADDR="127.0.0.1")
        together = start_processes(job.plan.device)
    with together as processes:
        device = processes.device
        yield Worker(Inference(job.plan, device) if job.what == "inference" else Training(job.plan, processes), device)
