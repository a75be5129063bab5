"""Broken twins of training on several processes: gradients that are not averaged, or of too many networks."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from hdtrans.engine import hooks
from hdtrans.engine import run as training_run
from hdtrans.engine.distributed import _FailureReports
from hdtrans.engine.stage import StageTraining
from tests.mutants import put


def flip_last_bit(value: Tensor) -> None:
    """Change the last bit of the first of some float64 numbers."""
    value.view(torch.int64).view(-1)[0] ^= 1


@contextmanager
def unwrapped(network: str | None) -> Iterator[None]:
    """Let the phases call a network bare, so that its gradients are not averaged; None breaks nothing."""
    prepare = StageTraining.__init__

    def broken(self: StageTraining, *arguments: Any) -> None:
        prepare(self, *arguments)
        if network is not None:
            self.nets[network] = self.method.networks[network]

    StageTraining.__init__ = broken  # type: ignore[method-assign]
    try:
        yield
    finally:
        StageTraining.__init__ = prepare  # type: ignore[method-assign]


@contextmanager
def unfocused(broken: bool) -> Iterator[None]:
    """Let every phase call all networks wrapped, with their gradients on."""
    if not broken:
        yield
        return
    run, focus = StageTraining._run, StageTraining.set_trainable

    def wrapped(self: StageTraining, *arguments: Any) -> None:
        bare, self.method.networks = self.method.networks, self.nets  # type: ignore[assignment]
        run(self, *arguments)
        self.method.networks = bare

    StageTraining._run = wrapped  # type: ignore[method-assign]
    StageTraining.set_trainable = lambda self, trained: focus(self, self.trained)  # type: ignore[method-assign]
    try:
        yield
    finally:
        StageTraining._run, StageTraining.set_trainable = run, focus  # type: ignore[method-assign]


@contextmanager
def blind(broken: bool) -> Iterator[None]:
    """Save without comparing the processes."""
    check = hooks.check_agreement
    if broken:
        hooks.check_agreement = lambda *_: None
    try:
        yield
    finally:
        hooks.check_agreement = check


def hear_no_other() -> None:
    """Take no answer from the other processes of the job, about who is lost."""
    put(_FailureReports, "explain", lambda self, error, where: None)


def come_back_slowly() -> None:
    """Wait for 25 seconds where torchrun starts a process again."""
    time.sleep(25 * (os.environ["TORCHELASTIC_RESTART_COUNT"] != "0"))


def share_out_nothing() -> None:
    """Keep the batch size of each process where their number changes."""
    put(training_run, "keep_global_batches", lambda stages, state, world: (list(stages), ""))
