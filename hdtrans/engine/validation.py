"""Validation during training: fixed pictures, shared among the processes, and what follows from their figures.

It knows no metric. A `Judge`, which is handed in, makes plain values of pictures and figures of all these values.
"""

import hashlib
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from hdtrans.common.errors import UserError
from hdtrans.config.validation import Validate
from hdtrans.data.batch import Batch, Sample, collate
from hdtrans.engine.report.reporter import Reporter
from hdtrans.engine.stage import StageTraining


class Judge(Protocol):
    """What says how good pictures are."""

    def measure(self, batch: Batch, picture: Tensor) -> Any:
        """Return plain values and arrays of one picture.

        Args:
            batch: of one sample: what the picture was made from, and the true one.
            picture: (1, C, H, W) in [-1, 1].

        Raises:
            UserError: it cannot be measured.
        """
        ...

    def figures(self, measured: Sequence[Any]) -> dict[str, float]:
        """Return figures by name, from what was measured of all pictures in their order."""
        ...


@dataclass
class Standing:
    """How a stage has done so far.

    Attributes:
        stage: its number.
        best: the best figure until now; None before the first.
        best_images: the images seen when it was reached.
        stale: validations since then.
    """

    stage: int = -1
    best: float | None = None
    best_images: int = 0
    stale: int = 0


class Validation:
    """Judges the pictures that the networks make of fixed inputs, and remembers the best.

    Each process makes and measures its share of the pictures, one by one; the first brings what was measured into the
    order of the pictures and sums up, so that figures do not depend on the number of processes. All are told the same.

    Args:
        section: of the recipe, completed.
        judge: of the pictures.
        names: of the samples.
        make_samples: returns these samples by place, of the size that a stage has, by its number.

    Attributes:
        standing: of the stage at work.
    """

    def __init__(
        self, section: Validate, judge: Judge, names: Sequence[str], make_samples: Callable[[int], Dataset[Sample]]
    ) -> None:
        self.section = section
        self.judge = judge
        self._names = names
        self.standing = Standing()
        self._make_samples = make_samples

    def begin(self, stage: int, reporter: Reporter | None = None) -> bool:
        """Take up a stage, by its number; return whether it was ended early before the run was stopped, and tell it.

        What was best in another stage, whose pictures may have another size, counts no more.
        """
        if self.standing.stage != stage:
            self.standing = Standing(stage)
        self._samples = self._make_samples(stage)
        places = np.linspace(0, len(self._names) - 1, self.section.pictures)
        self._places: list[int] = np.unique(places.round().astype(int)).tolist()
        if self.over and reporter is not None:
            reporter.message(f"{self._verdict()}. It does not go on unless you raise that")
        return self.over

    def check(self, channels: int, device: torch.device) -> None:
        """Measure the first picture's truth against black, so that what cannot be measured is told before training.

        Args:
            channels: of the pictures that will be made.
            device: where they will be.

        Raises:
            UserError: the metrics do not fit them.
        """
        batch = collate([self._samples[self._places[0]]]).to(device)
        self.judge.measure(batch, torch.full((1, channels, *batch.size), -1.0, device=device))

    def run(
        self, work: StageTraining, networks: nn.ModuleDict, images_seen: int, reporter: Reporter | None = None
    ) -> bool:
        """Judge and report what `networks` make now; return whether it is the best of the stage. Raises as `figures`.

        To be called by all processes, which come to the same.
        """
        figures = self.figures(work, networks)
        work.train_mode()
        best = self.take(figures, images_seen)
        if reporter is not None:
            reporter.validated(images_seen, work.stage.name, figures, self.section.best if best else None)
            if self.over:
                reporter.message(self._verdict())
        return best

    def figures(self, work: StageTraining, networks: nn.ModuleDict) -> dict[str, float]:
        """Return the figures of what `networks` make now, the same in every process; to be called by all.

        Puts the networks in evaluation mode; `work.train_mode` is to be called after.

        Raises:
            UserError: a sample cannot be read or measured.
        """
        processes = work.processes
        measured: list[Any] = []
        refusal = None
        try:
            measured.extend(self._measured(work, networks))
        except UserError as error:
            refusal = str(error)
        gathered = processes.gather((measured, refusal))
        figures: dict[str, float] = processes.on_first(lambda: self._summed_up(gathered))
        return figures

    @torch.no_grad()
    def _measured(self, work: StageTraining, networks: nn.ModuleDict) -> Iterator[Any]:
        """Yield what was measured of this process's share of the pictures."""
        networks.eval()
        processes = work.processes
        direction = work.method.directions[0]
        translator = work.method.translator(networks, direction).eval()
        for place in self._places[processes.rank :: processes.world]:
            batch = collate([self._samples[place]]).to(processes.device)
            with work.precision.autocast():
                picture = translator(**work.method.arguments(networks, batch, direction, seed=place))
            yield self.judge.measure(batch, picture)

    def _summed_up(self, gathered: Sequence[tuple[list[Any], str | None]]) -> dict[str, float]:
        """Return the figures of what all processes measured, each every so many pictures."""
        refusals = [words for _, words in gathered if words is not None]
        if refusals:
            raise UserError("\n".join(dict.fromkeys(refusals)))
        shares = [measured for measured, _ in gathered]
        world = len(shares)
        return self.judge.figures([shares[n % world][n // world] for n in range(len(self._places))])

    def take(self, figures: dict[str, float], images_seen: int) -> bool:
        """Remember figures; return whether they are the best of the stage. What is not finite never is."""
        value, before = figures.get(self.section.best or "", math.nan), self.standing.best
        sign = 1 if self.section.better == "higher" else -1
        better = math.isfinite(value) and (before is None or sign * value > sign * before)
        if better:
            self.standing.best, self.standing.best_images, self.standing.stale = value, images_seen, 0
        else:
            self.standing.stale += 1
        return better

    @property
    def over(self) -> bool:
        """Whether the stage is to end: its patience is at an end."""
        return self.section.patience is not None and self.standing.stale >= self.section.patience

    def _verdict(self) -> str:
        best = "none" if self.standing.best is None else f"{self.standing.best:.4g}"
        return (
            f"the stage ends early: {self.section.best} was not better in {self.standing.stale} validations than "
            f"{best} after {self.standing.best_images} images (validate.patience: {self.section.patience})"
        )

    def state_dict(self) -> dict[str, Any]:
        """Return what continues the run with the same decisions."""
        return {"of": self._of(), **asdict(self.standing)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from what `state_dict` returned; anew where other figures or other pictures were looked at."""
        if state["of"] == self._of():
            self.standing = Standing(**{key: value for key, value in state.items() if key != "of"})

    def _of(self) -> str:
        """Return a short name for what the best figure is of."""
        measured = self.section.model_dump_json(include={"best", "pictures", "protocol", "segmenter_input", "lpips"})
        return hashlib.sha256("\n".join([measured, *self._names]).encode()).hexdigest()[:16]
