"""Broken twins of the guards that keep a run from what is not finite."""

from signal import SIGTERM
from typing import Any

import pytest
import torch
from torch import Tensor

from hdtrans.common.errors import NonFiniteError
from hdtrans.engine.ema import Ema
from hdtrans.engine.guard import Guard
from hdtrans.engine.meter import Meter
from hdtrans.engine.precision import Scaler
from hdtrans.engine.stage import StageTraining
from hdtrans.engine.trainer import Trainer


def deaf(patch: pytest.MonkeyPatch) -> None:
    """Find what is not finite and forget it at once."""
    check_finite = Guard.check_finite

    def without_the_flag(self: Guard, losses: Tensor, norms: Tensor) -> Tensor:
        found = check_finite(self, losses, norms)
        self.clear()
        return found

    patch.setattr(Guard, "check_finite", without_the_flag)


def keeping(patch: pytest.MonkeyPatch) -> None:
    """Keep the buffers and pools of a step that is undone."""
    patch.setattr(StageTraining, "undo", lambda self, step, phase: self.guard.clear())


def averaging(patch: pytest.MonkeyPatch) -> None:
    """Average the weights of a step that counts for nothing."""
    update = Ema.update
    patch.setattr(Ema, "update", lambda self, *given: update(self, *given[:-1], torch.zeros(())))


def averaging_buffers(patch: pytest.MonkeyPatch) -> None:
    """Average the vectors of spectral norm, which are to be copied."""
    update = Ema.update

    def averaged(self: Ema, *given: Any) -> None:
        kept = [average.clone() for average in self.networks.buffers()]
        update(self, *given)
        for average, before in zip(self.networks.buffers(), kept, strict=True):
            average.lerp_(before, 0.5)

    patch.setattr(Ema, "update", averaged)


def saving_at_any_stop(patch: pytest.MonkeyPatch) -> None:
    """Save before a run ends with a value that is not finite."""
    report = Trainer._report_non_finite

    def saving(self: Trainer, work: StageTraining, *given: Any) -> None:
        try:
            report(self, work, *given)
        except NonFiniteError:
            self.save.run(self._state_after(work, Meter(), last=False, signal=SIGTERM))  # as after a signal
            raise

    patch.setattr(Trainer, "_report_non_finite", saving)


def hearing_of_no_overflow(patch: pytest.MonkeyPatch) -> None:
    """Keep the scale of fp16 where gradients overflow."""
    update = Scaler.update
    patch.setattr(Scaler, "update", lambda self, overflow, frozen: update(self, overflow & False, frozen))
