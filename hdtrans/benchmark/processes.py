"""Rivals in processes of their own, which stay alive and compute only when told, so that none profits from another."""

import contextlib
import multiprocessing
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import wait
from typing import Any

from hdtrans.benchmark.worker import Job, serve
from hdtrans.common.errors import ProcessError, UserError


class Child:
    """A process that builds a rival; see `Worker` for what it can be asked.

    Args:
        job: what it computes.
    """

    def __init__(self, job: Job) -> None:
        spawn = multiprocessing.get_context("spawn")
        self.name = job.name
        self.connection, theirs = spawn.Pipe()
        self.process = spawn.Process(target=serve, args=(theirs, job), daemon=True)
        self.process.start()
        theirs.close()  # so that reading ends where the process does

    def tell(self, what: str, *arguments: Any) -> None:
        """Ask, and do not wait for the answer."""
        with contextlib.suppress(OSError):  # it is gone; `answer` says so
            self.connection.send((what, arguments))

    def answer(self) -> Any:
        """Wait for the oldest answer that is due; the first one of all comes when the rival is built.

        Raises:
            UserError: what the user gave is wrong.
            ProcessError: it failed otherwise, or ended.
        """
        try:
            failure, value = self.connection.recv()
        except (EOFError, OSError) as error:
            self.process.join()
            raise ProcessError(
                f"{self.name}: its process died (exit code {self.process.exitcode}), perhaps because memory "
                "ran out; ask for a smaller --size"
            ) from error
        if failure is None:
            return value
        if value:
            raise UserError(failure)
        raise ProcessError(f"{self.name}: failed with {failure}")

    def ask(self, what: str, *arguments: Any) -> Any:
        """Ask, and wait for the answer; errors as of `answer`."""
        self.tell(what, *arguments)
        return self.answer()

    def end(self) -> None:
        """End the process, whatever it does."""
        self.process.kill()
        self.process.join()
        self.connection.close()


@dataclass(frozen=True)
class There:
    """A rival in processes of its own: one, or several that compute together.

    Attributes:
        children: the processes.
        key: under which they know the call.
    """

    children: Sequence[Child]
    key: str

    def turn(self) -> tuple[float, float]:
        """Make one call; return the seconds until the last one had done it, and those of all cores."""
        took = answers(self.children, "turn", self.key)
        return max(seconds for seconds, _ in took), sum(cpu for _, cpu in took)

    def peak(self) -> int:
        """Make one call; return the bytes of tensors that it took at most in one process."""
        return max(answers(self.children, "peak", self.key))


def answers(children: Sequence[Child], what: str = "", *arguments: Any) -> list[Any]:
    """Ask all at once, or nothing new, and return their answers in their order.

    The first failure to arrive is raised: what comes later may be of those that wait for the one that failed.
    """
    if what:
        for child in children:
            child.tell(what, *arguments)
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
