"""Skip non-finite steps without a host-device sync.

A phase with non-finite losses or gradients, on any process, raises a flag on the device that stays up. Meanwhile Adam,
the scales of fp16 and the averages change nothing. The host reads the flag a step late, after queueing the next step,
which therefore changed nothing either. It then restores buffers and extra state, lowers the flag, and stops or goes
on with the next step.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from hdtrans.data.batch import Batch
from hdtrans.engine.distributed import Processes

_IN_A_ROW, _OVERFLOWS_IN_A_ROW = 5, 25  # skipped steps in a row that are allowed; those by fp16 overflow
_WINDOW, _IN_WINDOW = 1000, 50  # skipped steps that are allowed in a window of so many
_LEAST_SCALE = 1.0  # an overflow at this scale or below is no matter of scaling


class Guard:
    """Flag of a non-finite step, on the device.

    Args:
        processes: processes of the run.

    Attributes:
        frozen: 1 from the first non-finite phase until `clear`, else 0; a float32 scalar on the device.
    """

    def __init__(self, processes: Processes) -> None:
        self.processes = processes
        self.frozen = torch.zeros((), device=processes.device)

    def check_finite(self, losses: Tensor, norms: Tensor) -> Tensor:
        """Raise the flag if losses or gradient norms of any process are not finite.

        Args:
            losses: losses of a phase, of any shape.
            norms: gradient norms, (parameters,).

        Returns:
            (2,) bool on the device: non-finite losses, non-finite gradients.
        """
        found = self.processes.any(torch.stack([~torch.isfinite(x).all() for x in (losses, norms)]))
        self.frozen = torch.maximum(self.frozen, found.any().float())
        return found

    def clear(self) -> None:
        """Lower the flag."""
        self.frozen = torch.zeros_like(self.frozen)


@dataclass(frozen=True)
class Snapshot:
    """State besides weights that a phase may change: buffers, and the extra state of the method by name."""

    buffers: list[Tensor]
    memory: dict[str, dict[str, Any]]


@dataclass(frozen=True)
class PhaseFigures:
    """Figures of one phase, on the device.

    Attributes:
        name: name of the phase.
        losses: scalar losses, by name.
        parameters: names of the parameters that have a gradient.
        norms: norms of their gradients, times the scale, (parameters,).
        non_finite: non-finite losses, non-finite gradients, on any process, (2,) bool.
        scale: fp16 factor on the losses; None without.
        learning_rate: learning rate of the step.
        before: state before the phase; before the whole step, if it is the first.
    """

    name: str
    losses: dict[str, Tensor]
    parameters: list[str]
    norms: Tensor
    non_finite: Tensor
    scale: Tensor | None
    learning_rate: float
    before: Snapshot


@dataclass(frozen=True)
class PhaseReport:
    """Figures of one phase, on the host.

    Attributes:
        name: name of the phase.
        losses: losses, by name.
        gradient: norm of all its gradients together, unscaled.
        scale: fp16 factor on the losses; None without.
        bad_losses: True if a loss was not finite on any process.
        bad_gradients: True if a gradient was not finite on any process.
    """

    name: str
    losses: dict[str, float]
    gradient: float
    scale: float | None
    bad_losses: bool
    bad_gradients: bool

    @property
    def bad(self) -> bool:
        """True if the phase changed nothing, for it was not finite."""
        return self.bad_losses or self.bad_gradients


@dataclass
class Step:
    """Figures of one training step, on the device; `send` and `read` bring them to the host.

    Attributes:
        batch: names, sample indices and files of the batch, without its fields.
        images: images drawn by the stage before the step.
        images_seen: images drawn by the whole run before the step.
        phases: figures of the phases that ran, in order.
        variations: standard deviation of the generated pictures over their pixels, by direction.
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
        """All losses, as `phase/name`."""
        return {f"{phase.name}/{name}": loss for phase in self.phases for name, loss in phase.losses.items()}

    def send(self) -> None:
        """Start the copy of the figures to the host, without a host-device sync."""
        figures = list(self.variations.values())
        for phase in self.phases:
            norm = torch.linalg.vector_norm(phase.norms)
            scale = torch.ones_like(norm) if phase.scale is None else phase.scale
            figures += [*phase.losses.values(), norm / scale, scale, *phase.non_finite]
        # One vector, so that one copy does: the variations, then losses, gradient, scale and flags of each phase.
        sent = torch.stack([figure.to(torch.float64) for figure in figures]) if figures else torch.zeros(0)
        self._sent = sent.to("cpu", non_blocking=True)
        if sent.is_cuda:
            self._event = torch.cuda.Event()
            self._event.record()

    def read(self) -> tuple[list[PhaseReport], dict[str, float]]:
        """Return the phases' reports and the variations, waiting for this step and for nothing queued after it."""
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
    """Count skipped steps, and decide when they are too many.

    Attributes:
        steps: steps so far, skipped ones included.
        skipped: numbers of the steps skipped among the last 1000.
    """

    def __init__(self) -> None:
        self.steps = 0
        self.skipped: list[int] = []

    def good(self) -> None:
        """Count a step with finite figures."""
        self.steps += 1

    def bad(self, reports: Sequence[PhaseReport]) -> str:
        """Count a skipped step; return the reason why training must stop now, or ''."""
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
        """Return the count, for a checkpoint."""
        return {"steps": self.steps, "skipped": list(self.skipped)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue the count of a checkpoint."""
        self.steps, self.skipped = state["steps"], list(state["skipped"])


def overflowed(reports: Sequence[PhaseReport]) -> bool:
    """Return True if scaled gradients alone made a step non-finite, which a smaller scale cures."""
    first = _first_bad(reports)
    return first.scale is not None and not first.bad_losses


def _first_bad(reports: Sequence[PhaseReport]) -> PhaseReport:
    return next(report for report in reports if report.bad)
