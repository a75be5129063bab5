"""Warn of training that fails with finite numbers: collapse, divergence, a saturated discriminator."""

from collections import deque
from collections.abc import Collection, Mapping, Sequence
from statistics import median

from hdtrans.engine.guard import PhaseReport

_LOW, _HIGH, _STEPS = 1e-3, 1e3, 20  # range of a sound discriminator loss; steps outside it before a warning
_FLAT = 1e-3  # standard deviation over pixels, pictures in [-1, 1]: an eighth of one of 255 levels
_GROWTH, _LEAST, _WINDOW = 100.0, 10, 100  # factor over the median gradient; steps it needs; steps it spans


class Alarms:
    """Check the losses and gradients of every step; each warning is given once.

    A discriminator loss that stays under 1e-3 saturates: the generator learns nothing. Training diverges where it stays
    over 1e3, or where a generator's gradient norm exceeds 100 times its median of the last 100 steps. A generator has
    collapsed where every picture stays of one colour.

    Args:
        generators: names of the phases that train generators; all others train discriminators.
    """

    def __init__(self, generators: Collection[str]) -> None:
        self.generators = frozenset(generators)
        self._reported: set[str] = set()
        self._in_a_row: dict[str, int] = {}
        self._norms: dict[str, deque[float]] = {}

    def watch(self, reports: Sequence[PhaseReport], variations: Mapping[str, float]) -> list[str]:
        """Return the new warnings about one finite step.

        Args:
            reports: figures of its phases.
            variations: standard deviation of its pictures over their pixels, by direction.
        """
        warnings = []
        for direction, variation in variations.items():
            subject = f"{direction}: the generated" if direction else "the generated"
            flat = f"{subject} pictures have been of one colour all over"
            if self._lasts(flat, variation < _FLAT):
                warnings += self._once(
                    f"{flat}: the generator has collapsed (start again from an earlier checkpoint, with a lower "
                    "training.optimizer.learning_rate)"
                )
        for report in reports:
            if report.name in self.generators:
                warnings += self._check_generator(report)
            else:
                warnings += self._check_discriminator(report)
        return warnings

    def _check_generator(self, report: PhaseReport) -> list[str]:
        norms = self._norms.setdefault(report.name, deque(maxlen=_WINDOW))
        usual = median(norms) if len(norms) >= _LEAST else 0.0
        norms.append(report.gradient)
        if usual == 0 or report.gradient <= _GROWTH * usual:
            return []
        return self._once(
            f"{report.name}: the gradient grew to {report.gradient:.3g}, {report.gradient / usual:.3g} times what it "
            "was; training may be diverging (lower training.optimizer.learning_rate)"
        )

    def _check_discriminator(self, report: PhaseReport) -> list[str]:
        loss = abs(sum(report.losses.values()))
        warnings = []
        for out, words in (
            (loss < _LOW, f"under {_LOW:g}: it is always right, and the generator learns nothing from it"),
            (loss > _HIGH, f"over {_HIGH:g}: training may be diverging (lower training.optimizer.learning_rate)"),
        ):
            warning = f"{report.name}: the loss has been {words}"
            if self._lasts(warning, out):
                warnings += self._once(warning)
        return warnings

    def _lasts(self, condition: str, holds: bool) -> bool:
        """Count the steps in a row at which a condition holds; return True at the one that calls for a warning."""
        self._in_a_row[condition] = self._in_a_row.get(condition, 0) + 1 if holds else 0
        return self._in_a_row[condition] == _STEPS

    def _once(self, warning: str) -> list[str]:
        subject = warning.split(" grew")[0]  # the figures after it differ at every step
        if subject in self._reported:
            return []
        self._reported.add(subject)
        return [warning]
