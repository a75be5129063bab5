"""Processes for tests that are forked from a server: they start in a hundredth of the time that imports take.

The server is started by the first test that needs it, once in each process of the tests. It has imported torch and the
trainer and computed nothing. Tests of torchrun, and of what a command imports, start programs of their own.
"""

import atexit
import io
import multiprocessing
import os
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from multiprocessing import forkserver
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from torch.distributed import TCPStore

ROOT = Path(__file__).resolve().parents[1]
PRELOADED = ("torch._dynamo", "torch.utils.tensorboard", "hdtrans.engine.run", "tests.engine.runs", "tests.forked")
PATIENCE = 300.0  # seconds


@dataclass(frozen=True)
class Ended:
    """End of a process.

    Attributes:
        code: exit code; minus the number of a signal that ended it.
        out: text on the standard output.
        said: text on the standard error.
        value: return value of its function.
    """

    code: int
    out: str
    said: str
    value: Any = None


class Forked:
    """Process that runs `function(*arguments)`, an exit code of `SystemExit` included, in a session of its own.

    Args:
        function: function of a module, by which the process finds it.
        arguments: plain values.
        folder: where its output goes, to a file each.
        environment: variables to set for it.
    """

    def __init__(
        self, function: Callable[..., Any], *arguments: Any, folder: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        self.files = [Path(tempfile.mkstemp(dir=folder)[1]) for _ in range(2)]
        self.connection, theirs = multiprocessing.Pipe(duplex=False)
        # A daemon may not have children; these have data workers.
        self.process: BaseProcess = server().Process(  # type: ignore[attr-defined]
            target=_enter,
            args=(function, arguments, theirs, [str(file) for file in self.files], dict(environment or {})),
        )
        self.process.start()
        theirs.close()

    @property
    def pid(self) -> int:
        """Number of the process, and of its group."""
        return self.process.pid or 0

    def wait(self, seconds: float = PATIENCE) -> Ended:
        """Wait for its end; kill it after so many seconds and raise TimeoutError."""
        value = None
        if self.connection.poll(seconds):
            with suppress(EOFError):
                value = self.connection.recv()
        self.process.join(seconds)
        if self.process.exitcode is None:
            self.process.kill()
            self.process.join()
            raise TimeoutError(f"still at work after {seconds} s: {self.said[-4000:]}")
        out, said = (file.read_text(errors="replace") for file in self.files)
        return Ended(self.process.exitcode, out, said, value)

    @property
    def out(self) -> str:
        """Text on the standard output so far."""
        return self.files[0].read_text(errors="replace")

    @property
    def said(self) -> str:
        """Text on the standard error so far."""
        return self.files[1].read_text(errors="replace")

    def wait_for(self, words: str, seconds: float = 60.0) -> None:
        """Wait until its standard output holds these words."""
        deadline = time.monotonic() + seconds
        while words not in self.out:
            assert time.monotonic() < deadline and self.process.exitcode is None, self.said[-4000:]
            time.sleep(0.01)


def two_processes(function: Callable[..., Any], *arguments: Any, folder: Path) -> list[Ended]:
    """Run a function in two processes that find each other as torchrun's do; return the end of each, by rank."""
    store = TCPStore("127.0.0.1", 0, None, True, timedelta(seconds=PATIENCE), False)
    place = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(store.port)}
    place |= {"TORCHELASTIC_USE_AGENT_STORE": "True", "TORCHELASTIC_RESTART_COUNT": "0"}
    both = [
        Forked(function, *arguments, folder=folder, environment={**place, "RANK": rank, "LOCAL_RANK": rank})
        for rank in "01"
    ]
    return [each.wait() for each in both]


def values_of_two(function: Callable[..., Any], *arguments: Any, folder: Path) -> list[Any]:
    """Run `function(processes, *arguments)` in two gloo processes; return the value of each, by rank."""
    ended = two_processes(_joined, function, arguments, folder=folder)
    assert [each.code for each in ended] == [0, 0], "\n".join(each.said[-4000:] for each in ended)
    return [each.value for each in ended]


def run_command(name: str, arguments: Sequence[str], change: Callable[[], None] = lambda: None) -> tuple[int, float]:
    """Run a command after a change of the code; return its exit code and the time of its end."""
    from hdtrans.cli import run_tool

    change()
    return run_tool(name, arguments), time.time()


def end_as_command(name: str, arguments: Sequence[str]) -> None:
    """Run a command and end with its exit code."""
    from hdtrans.cli import run_tool

    sys.exit(run_tool(name, arguments))


def _joined(function: Callable[..., Any], arguments: Sequence[Any]) -> Any:
    from hdtrans.engine.distributed import start_processes

    with start_processes("cpu") as processes:
        return function(processes, *arguments)


@cache
def server() -> Any:
    """Start the server and return the context of multiprocessing whose processes are forked from it."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(PRELOADED))
    changes = {"PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]), "OMP_NUM_THREADS": "1"}
    changes["CUDA_VISIBLE_DEVICES"] = ""
    before = {name: os.environ.get(name) for name in changes}
    os.environ.update(changes)
    try:
        forkserver.ensure_running()
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})
    return context


def _enter(
    function: Callable[..., Any],
    arguments: Sequence[Any],
    connection: Any,
    files: Sequence[str],
    environment: Mapping[str, str],
) -> None:
    """Begin as a program does: with its own output, session and environment."""
    import torch

    multiprocessing.set_start_method(None, force=True)  # of its own children: the default
    signal.signal(signal.SIGINT, signal.default_int_handler)  # tests started in the background ignore it
    os.setsid()
    os.environ.update(environment)
    for number, file in enumerate(files, start=1):
        descriptor = os.open(file, os.O_WRONLY)
        os.dup2(descriptor, number)
        os.close(descriptor)
    for name in ("stdout", "stderr"):
        setattr(
            sys, name, io.TextIOWrapper(io.FileIO(1 if name == "stdout" else 2, "w", closefd=False), write_through=True)
        )
    torch.set_num_threads(1)
    try:
        connection.send(function(*arguments))
    except Exception:
        traceback.print_exc()
        sys.exit(1)
    finally:
        atexit._run_exitfuncs()  # which multiprocessing leaves out, and data workers end by
