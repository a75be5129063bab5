"""Warnings of training that goes wrong without becoming infinite, from figures that are at hand anyway."""

from collections import deque
from collections.abc import Collection, Mapping, Sequence
from statistics import median

from hdtrans.engine.guard import PhaseReport

_LOW, _HIGH, _STEPS = 1e-3, 1e3, 20
_FLAT = 1e-3  # of pictures in [-1, 1]: an eighth of a level of 255
_GROWTH, _LEAST, _WINDOW = 100.0, 10, 100


class Alarms:
    """Looks at every step and warns once of each thing.

    A discriminator has gone too far where its loss stays under 1e-3 (it is always right: the generator learns
    nothing), and training diverges where that stays over 1e3, or where the gradient of a generator is more than 100
    times its median of the last 100 steps. A generator has collapsed where its pictures stay of one colour all over.

    Args:
        generators: the phases that train what translates; the others train discriminators.
    """

    def __init__(self, generators: Collection[str]) -> None:
        self.generators = frozenset(generators)
        self._told: set[str] = set()
        self._rows: dict[str, int] = {}
        self._norms: dict[str, deque[float]] = {}

    def watch(self, reports: Sequence[PhaseReport], variations: Mapping[str, float]) -> list[str]:
        """Take in a step that is finite, and how much its pictures vary by route; return the warnings that are new."""
        warnings = []
        for route, variation in variations.items():
            subject = f"{route}: the generated" if route else "the generated"
            flat = f"{subject} pictures have been of one colour all over"
            if self._lasts(flat, variation < _FLAT):
                warnings += self._once(
                    f"{flat}: the generator has collapsed (start again from an earlier checkpoint, with a lower "
                    "training.optimizer.learning_rate)"
                )
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
            warning = f"{report.name}: the loss has been {words}"
            if self._lasts(warning, out):
                warnings += self._once(warning)
        return warnings

    def _lasts(self, what: str, happens: bool) -> bool:
        """Count whether something happens at this step; return whether it has for just so many steps as to tell it."""
        self._rows[what] = self._rows.get(what, 0) + 1 if happens else 0
        return self._rows[what] == _STEPS

    def _once(self, warning: str) -> list[str]:
        subject = warning.split(" grew")[0]
        if subject in self._told:
            return []
        self._told.add(subject)
        return [warning]
