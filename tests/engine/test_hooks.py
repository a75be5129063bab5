"""Hooks of the training loop: their order, and the steps after which each runs."""

from pathlib import Path
from typing import Any

import pytest
import torch

from hdtrans.common.errors import Stopped
from hdtrans.engine.trainer import Trainer
from tests.engine.runs import Notes, make_trainer, section, subject
from tests.engine.validating import Scripted, validation


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def note_runs(trainer: Trainer) -> dict[int, list[str]]:
    """Record the hooks that a trainer runs, by the images seen."""
    runs: dict[int, list[str]] = {}

    def noted(name: str, run: Any) -> Any:
        return lambda after: (runs.setdefault(after.images_seen, []).append(name), run(after))

    for hook in trainer.hooks:
        setattr(hook, "run", noted(type(hook).__name__, hook.run))  # noqa: B010
    return runs


ALWAYS, END = ["ShowProgress"], ["ShowProgress", "Log", "Preview", "Save"]


def test_hooks_run_when_they_are_due_in_one_order(tmp_path: Path) -> None:
    training = section(log_every=4, sample_every=6, save_every=1000)
    trainer = make_trainer(subject("adversarial", epochs=4), training, tmp_path, Notes())  # 20 images a stage
    trainer.stages = trainer.stages[:1]
    runs = note_runs(trainer)
    trainer.run()
    log, preview = [*ALWAYS, "Log"], [*ALWAYS, "Preview"]
    assert [runs[images] for images in range(2, 22, 2)] == [
        ALWAYS, log, preview, log, ALWAYS, [*log, "Preview"], ALWAYS, log, preview, END,
    ]  # fmt: skip


def test_a_best_figure_saves_without_a_log_line_and_patience_ends_the_stage(tmp_path: Path) -> None:
    training = section(log_every=1000, save_every=1000)
    judging = validation(Scripted(0.5, 0.4, 0.6), every=4, patience=1)
    trainer = make_trainer(subject("adversarial", epochs=4), training, tmp_path, Notes(), validation=judging)
    trainer.stages = trainer.stages[:1]
    runs = note_runs(trainer)
    trainer.run()
    best = ["Validate", *ALWAYS, "Save"]
    assert runs == {2: ALWAYS, 4: best, 6: ALWAYS, 8: best, 10: ALWAYS, 12: ["Validate", *END]}


def test_a_signal_logs_saves_and_stops(tmp_path: Path) -> None:
    trainer = make_trainer(
        subject("adversarial"), section(log_every=1000, save_every=1000), tmp_path, Notes(signal_after=1)
    )
    runs = note_runs(trainer)
    with pytest.raises(Stopped):
        trainer.run()
    assert runs == {2: ALWAYS, 4: [*ALWAYS, "Log", "Save", "Stop"]}
