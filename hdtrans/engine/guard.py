"""Skip non-finite steps without a host-device sync.

A phase whose losses or gradients are not finite, on any process, raises a flag on the device that stays up. Adam, the
scales of fp16 and the averages change nothing while it is. The host reads it a step late, after queueing the next step,
which therefore changed nothing either. It then restores buffers and extra state, lowers the flag, and stops, or goes on
with the next step.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from hdtrans.data.batch import Batch
from hdtrans.engine.distributed import Processes

_IN_A_ROW, _OVERFLOWS_IN_A_ROW = 5, 25
_WINDOW, _IN_WINDOW = 1000, 50
_LEAST_SCALE = 1.0  # with which fp16 may overflow no more


class Guard:
    """The flag.

    Attributes:
        frozen: 1 from the first phase that is not finite until `clear`, else 0; a float32 scalar on the device.
    """

    def __init__(self, processes: Processes) -> None:
        self.processes = processes
        self.frozen = torch.zeros((), device=processes.device)

    def look(self, losses: Tensor, norms: Tensor) -> Tensor:
        """Return whether losses and whether norms of gradients are not finite on some process, (2,) bool."""
        found = self.processes.any(torch.stack([~torch.isfinite(x).all() for x in (losses, norms)]))
        self.frozen = torch.maximum(self.frozen, found.any().float())
        return found

    def clear(self) -> None:
        """Lower the flag."""
        self.frozen = torch.zeros_like(self.frozen)


@dataclass(frozen=True)
class Snapshot:
    """State that a phase may change besides weights: buffers, and the extra state of the method."""

    buffers: list[Tensor]
    memory: dict[str, dict[str, Any]]


@dataclass(frozen=True)
class PhaseFigures:
    """Of one phase, on the device.

    Attributes:
        name: of the phase.
        losses: by name.
        parameters: the names of those that have a gradient.
        norms: the norm of each of their gradients, times the scale.
        found: whether losses, and whether gradients, are not finite on some process.
        scale: of the losses.
        learning_rate: of the step.
        before: state before the phase; before the whole step, if it is the first.
    """

    name: str
    losses: dict[str, Tensor]
    parameters: list[str]
    norms: Tensor
    found: Tensor
    scale: Tensor | None
    learning_rate: float
    before: Snapshot


@dataclass(frozen=True)
class PhaseReport:
    """What the host reads of a phase; `gradient` is the norm of all its gradients, `scale` None unless in fp16."""

    name: str
    losses: dict[str, float]
    gradient: float
    scale: float | None
    bad_losses: bool
    bad_gradients: bool

    @property
    def bad(self) -> bool:
        """Whether the phase changed nothing."""
        return self.bad_losses or self.bad_gradients


@dataclass
class Step:
    """One batch taken through the phases, as the device knows it.

    Attributes:
        batch: what was trained on; its names and files alone.
        images, images_seen: before it, by the stage and by the run.
        phases: those that ran.
        variations: how much the generated pictures vary over their pixels, by direction.
    """

    batch: Batch
    images: int
    images_seen: int
    phases: list[PhaseFigures] = field(default_factory=list)
    variations: dict[str, Tensor] = field(default_factory=dict)
    _sent: Tensor | None = None
    _event: Any = None

    @property
    def losses(self) -> dict[str, Tensor]:
        """Every loss as `phase/name`."""
        return {f"{phase.name}/{name}": loss for phase in self.phases for name, loss in phase.losses.items()}

    def send(self) -> None:
        """Send the figures to the host, without waiting for them."""
        figures = list(self.variations.values())
        for phase in self.phases:
            norm = torch.linalg.vector_norm(phase.norms)
            scale = torch.ones_like(norm) if phase.scale is None else phase.scale
            figures += [*phase.losses.values(), norm / scale, scale, *phase.found]
        sent = torch.stack([figure.to(torch.float64) for figure in figures]) if figures else torch.zeros(0)
        self._sent = sent.to("cpu", non_blocking=True)
        if sent.is_cuda:
            self._event = torch.cuda.Event()
            self._event.record()

    def read(self) -> tuple[list[PhaseReport], dict[str, float]]:
        """Return what was sent of phases and of `variations`, waiting for this step, and for nothing after it."""
        assert self._sent is not None, "read before send"
        if self._event is not None:
            self._event.synchronize()
        values = iter(self._sent.tolist())
        variations = {direction: next(values) for direction in self.variations}
        return [_report(phase, values) for phase in self.phases], variations


def _report(phase: PhaseFigures, values: Iterator[float]) -> PhaseReport:
    losses = {name: next(values) for name in phase.losses}
    gradient, scale, bad_losses, bad_gradients = (next(values) for _ in range(4))
    scaled = None if phase.scale is None else scale
    return PhaseReport(phase.name, losses, gradient, scaled, bool(bad_losses), bool(bad_gradients))


class Skips:
    """Counts the steps that changed nothing, and says when they are too many."""

    def __init__(self) -> None:
        self.steps = 0
        self.skipped: list[int] = []  # by the number of the step, of the last 1000

    def good(self) -> None:
        """Count a step that did what it should."""
        self.steps += 1

    def bad(self, reports: Sequence[PhaseReport]) -> str:
        """Count one that did not; return why training must stop now, or an empty text."""
        self.skipped = [n for n in self.skipped if n > self.steps - _WINDOW] + [self.steps]
        self.steps += 1
        overflow = overflowed(reports)
        most = _OVERFLOWS_IN_A_ROW if overflow else _IN_A_ROW
        row = 0
        while row < len(self.skipped) and self.skipped[-1 - row] == self.steps - 1 - row:
            row += 1
        if row > most:
            return f"{row} steps in a row were not finite"
        if len(self.skipped) > _IN_WINDOW:
            return f"{len(self.skipped)} of the last {_WINDOW} steps were not finite"
        if overflow and (_first_bad(reports).scale or 0) <= _LEAST_SCALE:
            return "gradients overflow in fp16 even when losses are not scaled up"
        return ""

    def state_dict(self) -> dict[str, Any]:
        """Return what continues the count."""
        return {"steps": self.steps, "skipped": list(self.skipped)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue the count."""
        self.steps, self.skipped = state["steps"], list(state["skipped"])


def overflowed(reports: Sequence[PhaseReport]) -> bool:
    """Return whether a step that is not finite is so by scaled gradients alone, which a smaller scale cures."""
    first = _first_bad(reports)
    return first.scale is not None and not first.bad_losses


def _first_bad(reports: Sequence[PhaseReport]) -> PhaseReport:
    return next(report for report in reports if report.bad)
