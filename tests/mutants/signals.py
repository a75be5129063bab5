"""Twins that stay a second in one phase of a run, and broken ones that give way to signals or seldom look for them."""

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import torch

from hdtrans.common.files import whole_file
from hdtrans.engine import stage, trainer, validation
from hdtrans.engine.report import reporter
from hdtrans.engine.trainer import Trainer
from tests.mutants import put

_CALLS = [0]


def linger(call: int = 1) -> None:
    """Touch a file beside the program and wait for a second, at the call of this number."""
    _CALLS[0] += 1
    if _CALLS[0] == call:
        Path(sys.argv[0]).with_name("lingers" + os.environ["RANK"]).touch()
        time.sleep(1)


def before_the_first_batch() -> None:
    """Linger before the loader is made."""
    make_loader = trainer.make_loader

    def lingering(*given: Any) -> Any:
        linger()
        return make_loader(*given)

    trainer.make_loader = lingering  # type: ignore[attr-defined]


def in_a_step() -> None:
    """Linger before the eighth step of Adam."""
    step_adam = stage.step_adam

    def lingering(*given: Any) -> None:
        linger(8)
        step_adam(*given)

    stage.step_adam = lingering  # type: ignore[attr-defined]


def while_validating() -> None:
    """Linger at the first inputs of a validation."""
    collate = validation.collate

    def lingering(*given: Any) -> Any:
        linger()
        return collate(*given)

    put(validation, "collate", lingering)


def writing_samples() -> None:
    """Linger after the first hundred bytes of a sample grid."""

    def write_bytes(path: Any, data: bytes) -> None:
        with whole_file(path) as file:
            file.write(data[:100])
            file.flush()
            linger()
            file.write(data[100:])

    put(reporter, "write_bytes", write_bytes)


def writing_a_checkpoint() -> None:
    """Linger after the bytes of a checkpoint."""
    save = torch.save

    def lingering(*given: Any) -> None:
        save(*given)
        linger()

    torch.save = lingering


PHASES = {
    "before the first batch": before_the_first_batch,
    "in a step": in_a_step,
    "validating": while_validating,
    "writing samples": writing_samples,
    "writing a checkpoint": writing_a_checkpoint,
}


def look_seldom() -> None:
    """Broken: look for a signal every 64 images alone."""
    after_step = Trainer._after_step

    def seldom(self: Trainer, *given: Any, **how: Any) -> None:
        number, self.signals.number = self.signals.number, self.signals.number if self.images_seen % 64 == 0 else 0
        after_step(self, *given, **how)
        self.signals.number = self.signals.number or number

    Trainer._after_step = seldom  # type: ignore[method-assign]


def give_way_to_the_second() -> None:
    """Broken: linger in a step, and end at once at a second signal."""
    in_a_step()
    run = Trainer._run_stage

    def run_stage(self: Trainer, stage: Any) -> None:
        remember: Any = signal.getsignal(signal.SIGTERM)

        def first(number: int, frame: Any) -> None:
            signal.signal(number, signal.SIG_DFL)
            remember(number, frame)

        signal.signal(signal.SIGTERM, first)
        run(self, stage)

    Trainer._run_stage = run_stage  # type: ignore[method-assign]
