"""Warnings of training that goes wrong without becoming infinite, from figures that are at hand anyway."""

from collections import deque
from collections.abc import Collection, Sequence
from statistics import median

from hdtrans.engine.guard import PhaseReport

_LOW, _HIGH, _STEPS = 1e-3, 1e3, 20
_GROWTH, _LEAST, _WINDOW = 100.0, 10, 100


class Alarms:
    """Looks at every step and warns once of each thing.

    A discriminator has gone too far where its loss stays under 1e-3 (it is always right: the generator learns
    nothing), and training diverges where that stays over 1e3, or where the gradient of a generator is more than 100
    times its median of the last 100 steps.

    Args:
        generators: the phases that train what translates; the others train discriminators.
    """

    def __init__(self, generators: Collection[str]) -> None:
        self.generators = frozenset(generators)
        self._told: set[str] = set()
        self._rows: dict[str, int] = {}
        self._norms: dict[str, deque[float]] = {}

    def watch(self, reports: Sequence[PhaseReport]) -> list[str]:
        """Take in a step that is finite; return the warnings that are new."""
        warnings = []
        for report in reports:
            if report.name in self.generators:
                warnings += self._of_generator(report)
            else:
                warnings += self._of_discriminator(report)
        return warnings

    def _of_generator(self, report: PhaseReport) -> list[str]:
        norms = self._norms.setdefault(report.name, deque(maxlen=_WINDOW))
        usual = median(norms) if len(norms) >= _LEAST else 0.0
        norms.append(report.gradient)
        if usual == 0 or report.gradient <= _GROWTH * usual:
            return []
        return self._once(
            f"{report.name}: the gradient grew to {report.gradient:.3g}, {report.gradient / usual:.3g} times what it "
            "was; training may be diverging (lower training.optimizer.learning_rate)"
        )

    def _of_discriminator(self, report: PhaseReport) -> list[str]:
        loss = abs(sum(report.losses.values()))
        warnings = []
        for out, words in (
            (loss < _LOW, f"under {_LOW:g}: it is always right, and the generator learns nothing from it"),
            (loss > _HIGH, f"over {_HIGH:g}: training may be diverging (lower training.optimizer.learning_rate)"),
        ):
            key = f"{report.name}: the loss has been {words}"
            self._rows[key] = self._rows.get(key, 0) + 1 if out else 0
            if self._rows[key] == _STEPS:
                warnings += self._once(key)
        return warnings

    def _once(self, warning: str) -> list[str]:
        subject = warning.split(" grew")[0]
        if subject in self._told:
            return []
        self._told.add(subject)
        return [warning]
