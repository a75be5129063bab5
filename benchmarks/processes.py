"""Parent side: one process for each rival, so that none profits from memory that another left."""

import contextlib
import multiprocessing
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import wait
from typing import Any

from benchmarks.plan import Job
from benchmarks.worker import serve
from hdtrans.common.errors import ProcessError, UserError


class Child:
    """A process that holds one rival; its requests are the methods of `Worker`.

    Args:
        job: work of the process.
    """

    def __init__(self, job: Job) -> None:
        spawn = multiprocessing.get_context("spawn")
        self.name = job.name
        self.connection, theirs = spawn.Pipe()
        self.process = spawn.Process(target=serve, args=(theirs, job), daemon=True)
        self.process.start()
        theirs.close()  # so that reading ends when the process does

    def send(self, request: str, *arguments: Any) -> None:
        """Send a request without waiting for its answer."""
        with contextlib.suppress(OSError):  # the process died; `answer` reports it
            self.connection.send((request, arguments))

    def answer(self) -> Any:
        """Wait for the oldest answer that is due; the very first one follows the construction of the rival.

        Raises:
            UserError: wrong input from the user.
            ProcessError: another failure, or death of the process.
        """
        try:
            failure, value = self.connection.recv()
        except (EOFError, OSError) as error:
            self.process.join()
            raise ProcessError(
                f"{self.name}: its process died (exit code {self.process.exitcode}), perhaps because memory "
                "ran out; give a smaller --size"
            ) from error
        if failure is None:
            return value
        if value:
            raise UserError(failure)
        raise ProcessError(f"{self.name}: failed with {failure}")

    def ask(self, request: str, *arguments: Any) -> Any:
        """Send a request and wait for its answer; errors as in `answer`."""
        self.send(request, *arguments)
        return self.answer()

    def end(self) -> None:
        """Kill the process."""
        self.process.kill()
        self.process.join()
        self.connection.close()


@dataclass(frozen=True)
class RemoteCall:
    """A call in other processes: one, or several that compute together.

    Attributes:
        children: the processes.
        key: key of the call in each of them.
    """

    children: Sequence[Child]
    key: str

    def timed(self) -> tuple[float, float]:
        """Make one call; return the seconds of the slowest process, and the processor seconds of all."""
        took = answers(self.children, "timed", self.key)
        return max(seconds for seconds, _ in took), sum(cpu for _, cpu in took)

    def peak(self) -> int:
        """Make one call; return the largest peak bytes of tensors in one process."""
        return max(answers(self.children, "peak", self.key))


def answers(children: Sequence[Child], request: str = "", *arguments: Any) -> list[Any]:
    """Send a request to all, or none, and return their answers in the order of `children`.

    The first failure to arrive is raised: later ones may come from processes that waited for the failed one.
    """
    if request:
        for child in children:
            child.send(request, *arguments)
    due = {child.connection: place for place, child in enumerate(children)}
    found: list[Any] = [None] * len(children)
    while due:
        for connection in wait(list(due)):
            place = due.pop(connection)  # type: ignore[call-overload]
            found[place] = children[place].answer()
    return found


@contextlib.contextmanager
def started(jobs: Sequence[Job]) -> Iterator[list[Child]]:
    """Start a process for each job and yield them when all are built; they end with the context."""
    children: list[Child] = []
    try:
        for job in jobs:
            children.append(Child(job))
        answers(children)
        yield children
    finally:
        for child in children:
            child.end()
