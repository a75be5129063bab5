"""Evidence of a non-finite step: its file in the run folder, and its sentence in the message."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hdtrans.common.files import write_text
from hdtrans.engine.guard import PhaseReport, Step

FOLDER = "non_finite"


def evidence(step: Step, reports: Sequence[PhaseReport]) -> dict[str, Any]:
    """Return the samples, losses and gradients of a non-finite step on one process, as plain values."""
    phases = []
    for phase, report in zip(step.phases, reports, strict=True):
        norms = dict(zip(phase.parameters, phase.norms.tolist(), strict=True))
        phases.append(
            {
                "phase": phase.name,
                "losses": {name: _plain(value) for name, value in report.losses.items()},
                "gradient_norm": _plain(report.gradient),
                "first_bad_parameter": next((name for name, norm in norms.items() if not math.isfinite(norm)), None),
                "learning_rate": phase.learning_rate,
                "scale": report.scale,
            }
        )
    batch = step.batch
    return {
        "samples": list(batch.names),
        "counters": list(batch.sample_indices),
        "files": batch.files,
        "phases": phases,
    }


def save_evidence(
    folder: Path, step: Step, reports: Sequence[PhaseReport], by_rank: Sequence[dict[str, Any]], where: dict[str, Any]
) -> Path:
    """Write `non_finite/images_N.json`, N being the images seen before the step; return its path.

    Args:
        folder: run folder.
        step: non-finite step.
        reports: reports of its phases.
        by_rank: evidence of every process.
        where: further entries of the file: stage, seed, precision.
    """
    path = folder / FOLDER / f"images_{step.images_seen:09d}.json"
    first = next(report for report in reports if report.bad)
    content = {
        **where,
        "images_seen": step.images_seen,
        "phase": first.name,
        "what": "a loss" if first.bad_losses else "a gradient",
        "ranks": list(by_rank),
    }
    write_text(path, json.dumps(content, indent=1, allow_nan=False) + "\n")
    return path


def sentence(step: Step, reports: Sequence[PhaseReport], by_rank: Sequence[dict[str, Any]]) -> str:
    """Describe a non-finite step: the loss or gradient, its process, and its samples."""
    first = next(report for report in reports if report.bad)
    place = next(n for n, report in enumerate(reports) if report.bad)
    for rank, known in enumerate(by_rank):
        phase = known["phases"][place]
        bad = [name for name, value in phase["losses"].items() if isinstance(value, str)]  # as `_plain` has them
        culprit = f"{first.name}/{bad[0]}" if bad else f"the gradient of {phase['first_bad_parameter']}"
        if bad or (not first.bad_losses and phase["first_bad_parameter"]):
            losses = ", ".join(f"{first.name}/{name} {_short(value)}" for name, value in phase["losses"].items())
            process = f" on process {rank}" if len(by_rank) > 1 else ""
            return f"{culprit} is not finite{process} ({losses}; samples {', '.join(known['samples'])})"
    return f"phase {first.name} is not finite"


def _plain(value: float) -> float | str:
    """Return a number as JSON holds it: non-finite ones as text."""
    return value if math.isfinite(value) else str(value)


def _short(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:.4g}"
