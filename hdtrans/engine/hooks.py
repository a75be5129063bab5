"""Hooks of the training loop: each runs after the steps at which it is due.

The trainer calls them in this order on every process, so that their collectives match: validate, show progress, log,
preview, save, stop. A hook is due by facts that all processes share.
"""

import os
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import nn

from hdtrans.common.classes import ClassTable
from hdtrans.common.errors import NonFiniteError, Stopped
from hdtrans.data.batch import Batch
from hdtrans.engine.agreement import check_agreement
from hdtrans.engine.checkpoint import Checkpoints
from hdtrans.engine.distributed import Processes
from hdtrans.engine.meter import Meter
from hdtrans.engine.report.previews import Viewable, preview_columns
from hdtrans.engine.report.reporter import Reporter
from hdtrans.engine.signals import Signals
from hdtrans.engine.stage import StageTraining
from hdtrans.engine.validation import Validation


@dataclass
class AfterStep:
    """State of a run after a training step, for the hooks.

    Attributes:
        work: stage in training.
        meter: losses and times since the last log line.
        reporter: reporter of the run, on rank 0.
        images: images drawn by the stage.
        images_seen: images drawn by the whole run.
        position: stage and images seen, for messages.
        signal: number of a signal that came to any process, else 0.
        last: True if the stage ends here; a hook may set it.
        check_step: checks the figures of the last step; raises NonFiniteError where the run must stop.
        served: returns the networks, averaged where averages are kept.
        state: returns the state of the run, for a checkpoint.
        best: True if a validation found the best figure of the stage.
    """

    work: StageTraining
    meter: Meter
    reporter: Reporter | None
    images: int
    images_seen: int
    position: str
    signal: int
    last: bool
    check_step: Callable[[], object]
    served: Callable[[], nn.ModuleDict]
    state: Callable[[], dict[str, Any]]
    best: bool = False

    @property
    def processes(self) -> Processes:
        """Processes of the run."""
        return self.work.processes

    def passed(self, every: int) -> bool:
        """Return True if the images seen passed a multiple of `every` with the last batch."""
        return self.images_seen // every > (self.images_seen - self.work.global_batch) // every


class Hook(Protocol):
    """Work of the training loop besides the step."""

    def due(self, after: AfterStep) -> bool:
        """Return True if the hook runs after this step; the same on every process."""
        ...

    def run(self, after: AfterStep) -> None:
        """Do the work; called by all processes."""
        ...


class Validate:
    """Validate the served networks, and end the stage when its patience is exhausted.

    Args:
        validation: validation of the run.
    """

    def __init__(self, validation: Validation) -> None:
        self.validation = validation

    def due(self, after: AfterStep) -> bool:
        return after.last or after.passed(self.validation.section.every)

    def run(self, after: AfterStep) -> None:
        after.check_step()
        with after.meter.paused():
            after.best = self.validation.run(after.work, after.served(), after.images_seen, after.reporter)
        after.last = after.last or self.validation.over


class ShowProgress:
    """Move the progress bar, after every step."""

    def due(self, after: AfterStep) -> bool:
        return True

    def run(self, after: AfterStep) -> None:
        if after.reporter is not None:
            after.reporter.advance(after.images_seen, after.meter.waiting_share)


class Save:
    """Save the state as a regular checkpoint, as the best one, or as both.

    Args:
        checkpoints: checkpoints of the run folder; None saves nothing.
        identity: plain values that go into every checkpoint (recipe, classes, version).
        verify: raises where another process owns the run folder by now; called on rank 0 before a checkpoint.
    """

    def __init__(
        self,
        checkpoints: Checkpoints | None = None,
        identity: dict[str, Any] | None = None,
        verify: Callable[[], None] = lambda: None,
    ) -> None:
        self.checkpoints = checkpoints
        self.identity = identity or {}
        self.verify = verify

    def regular(self, after: AfterStep) -> bool:
        """Return True if a regular checkpoint is due: at its interval, at the end of a stage, and before a stop."""
        return after.last or after.signal > 0 or after.passed(after.work.training.save_every)

    def due(self, after: AfterStep) -> bool:
        return self.regular(after) or after.best

    def run(self, after: AfterStep) -> None:
        if self.checkpoints is None:
            return
        work, processes = after.work, after.processes
        for name in work.trained:
            if not all(bool(torch.isfinite(p).all()) for p in work.method.networks[name].parameters()):
                raise NonFiniteError(
                    f"after {after.images_seen} images the weights of {name} are not finite; not saved"
                )
        state = {**self.identity, **after.state()}
        check_agreement(state, processes, after.position)
        state["training"]["memory"] = _union(processes.gather(work.memory()))
        processes.on_first(lambda: self._write(state, after))

    def _write(self, state: dict[str, Any], after: AfterStep) -> None:
        """Write the checkpoints, and warn if that takes so long that a signal may cut it off."""
        assert self.checkpoints is not None
        self.verify()
        start = time.monotonic()
        if after.best:
            self.checkpoints.save_best(state, after.images_seen)
        if self.regular(after):
            self.checkpoints.save(state, after.images_seen, after.work.stage.name if after.last else None)
        seconds, grace = time.monotonic() - start, float(os.environ.get("TORCH_ELASTIC_SHUTDOWN_TIMEOUT", "30"))
        if seconds > grace / 2 and after.reporter is not None:
            after.reporter.message(
                f"warning: saving took {seconds:.0f} s, and torchrun kills its processes {grace:.0f} s after a signal; "
                f"set TORCH_ELASTIC_SHUTDOWN_TIMEOUT={max(120, round(4 * seconds))} before you start it, and give as "
                "much time to whatever sends the signal"
            )


class Log:
    """Log mean losses, speed and files left out, at their interval and with every regular checkpoint.

    Args:
        save: hook that saves.
    """

    def __init__(self, save: Save) -> None:
        self.save = save

    def due(self, after: AfterStep) -> bool:
        return self.save.regular(after) or after.passed(after.work.training.log_every)

    def run(self, after: AfterStep) -> None:
        after.check_step()
        work, meter, reporter = after.work, after.meter, after.reporter
        means = meter.flush(after.processes)
        record: dict[str, float | int | str] = {
            "images": after.images_seen,
            "stage": work.stage.name,
            "epoch": round(after.images / work.count, 3),
            "learning_rate": work.current_learning_rate(after.images - work.global_batch),
            **meter.speed,
            **means,
        }
        if work.training.bad_files == "skip":
            by_rank = after.processes.gather(meter.take_left_out())
            if reporter is not None:
                reporter.left_out([problem for problems in by_rank for problem in problems])
        if reporter is not None:
            reporter.log(record)


class Preview:
    """Make the sample grid with the served networks, and rewrite the page, on rank 0.

    Args:
        make_batches: returns the samples of a stage's grids, by its number, each a batch of one.
        classes: names and colours of label maps.
        viewable: turns columns that the eye cannot read into pictures.
    """

    def __init__(
        self,
        make_batches: Callable[[int], Sequence[Batch]] = lambda stage_number: (),
        classes: ClassTable | None = None,
        viewable: Viewable = dict,
    ) -> None:
        self.make_batches = make_batches
        self.classes = classes
        self.viewable = viewable
        self._batches: Sequence[Batch] = ()

    def begin(self, stage_number: int, processes: Processes, reporter: Reporter | None) -> None:
        """Load the samples of a stage where a reporter shows them; called by all processes."""
        self._batches = processes.agree(lambda: () if reporter is None else self.make_batches(stage_number))

    def due(self, after: AfterStep) -> bool:
        return after.last or after.passed(after.work.training.sample_every)

    def run(self, after: AfterStep) -> None:
        after.check_step()
        after.processes.on_first(lambda: self._show(after))

    def _show(self, after: AfterStep) -> None:
        if after.reporter is None:
            return
        if self._batches:
            names, columns = preview_columns(
                after.work, after.served(), self._batches, after.images_seen, self.classes, self.viewable
            )
            after.reporter.samples(after.images_seen, after.work.stage.name, names, columns)
            after.work.train_mode()
        after.reporter.page()


class Stop:
    """End the run after a signal, its state saved.

    Args:
        signals: signals of this process.
    """

    def __init__(self, signals: Signals) -> None:
        self.signals = signals

    def due(self, after: AfterStep) -> bool:
        return after.signal > 0

    def run(self, after: AfterStep) -> None:
        came = [images for images in after.processes.gather(self.signals.came_after) if images is not None]
        when = f" (it came after {min(came)})" if came else ""
        name = signal.Signals(after.signal).name
        raise Stopped(
            after.signal, f"{name} after {after.images_seen} images{when}; run the same command again to go on"
        )


def _union(memories: Sequence[dict[str, dict[str, Any]]]) -> dict[str, dict[str, Any]]:
    """Merge the extra state of all processes, each under keys of its own."""
    union: dict[str, dict[str, Any]] = {}
    for memory in memories:
        for name, entries in memory.items():
            union.setdefault(name, {}).update(entries)
    return union
