"""Jobs of each of two processes in tests/engine/test_validation.py."""

from dataclasses import asdict
from pathlib import Path

import torch

from hdtrans.common.errors import UserError
from hdtrans.engine.distributed import Processes
from hdtrans.engine.precision import choose_precision
from hdtrans.engine.stage import StageTraining
from tests.engine.runs import make_trainer, section, subject
from tests.engine.validating import Distances, Scripted, one_thread, validation


def figures_of_fixed_weights(processes: Processes | None, bad: str = "") -> dict[str, float]:
    """Return the figures of a toy's first weights."""
    what, alone = subject("adversarial", 1), processes or Processes()
    precision = choose_precision("fp32", alone.device)
    work = StageTraining(what.make_method(what.stages[0]), what.stages[0], 5, section(), precision, alone)
    judging = validation(Distances(bad))
    judging.begin(0)
    return judging.figures(work, what.networks)


def run_jobs(processes: Processes, folder: Path) -> dict[str, object]:
    """Measure, fail to measure, and train with patience."""
    one_thread()
    torch.manual_seed(0)
    ends: dict[str, object] = {"figures": figures_of_fixed_weights(processes)}
    try:
        figures_of_fixed_weights(processes, "place3")  # one process alone measures it
    except UserError as error:
        ends["refused"] = str(error)
    judging = validation(Scripted(0.5, 0.6, 0.4, 0.3, 0.35), patience=1)
    make_trainer(subject("adversarial", 1), section(), folder, None, processes, validation=judging).run()
    ends["standing"] = asdict(judging.standing)
    return ends
