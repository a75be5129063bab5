"""Validation during training: figures of fixed pictures, the best checkpoint, and early stopping.

No metric is known here: a `Judge` measures each picture, and computes figures from all measurements.
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

from hdtrans.common.errors import UserError, as_one
from hdtrans.common.files import utf8
from hdtrans.config.validation import Validate
from hdtrans.data.batch import Batch, Sample, collate
from hdtrans.engine.report.reporter import Reporter
from hdtrans.engine.stage import StageTraining


class Judge(Protocol):
    """Metrics of generated pictures."""

    def measure(self, batch: Batch, picture: Tensor) -> Any:
        """Return the measurements of one picture, plain values and arrays.

        Args:
            batch: one sample: the inputs of the picture, and the true picture.
            picture: generated picture, (1, C, H, W) in [-1, 1].

        Raises:
            UserError: the picture cannot be measured.
        """
        ...

    def figures(self, measured: Sequence[Any]) -> dict[str, float]:
        """Return figures by name, from the measurements of all pictures in their order."""
        ...


@dataclass
class Standing:
    """Best figure of a stage so far.

    Attributes:
        stage: number of the stage.
        best: best value of the deciding figure; None before the first.
        best_images: images seen at the best value.
        stale: validations since then.
    """

    stage: int = -1
    best: float | None = None
    best_images: int = 0
    stale: int = 0


class Validation:
    """Measure the results of the networks for fixed inputs, and keep the best figure.

    Each process translates and measures its share of the pictures, one by one. Rank 0 orders the measurements by
    picture and computes the figures, which therefore do not depend on the number of processes. All receive them.

    Args:
        section: section `validate` of the recipe, completed.
        judge: metrics.
        names: names of the samples.
        make_samples: returns these samples at the size of a stage, by its number.

    Attributes:
        standing: best figure of the current stage.
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
        """Begin or continue a stage; return True, with a message, if it had ended early before the run was stopped.

        The best figure of another stage, whose pictures may have another size, no longer counts.

        Args:
            stage: number of the stage.
            reporter: reporter of the run, on rank 0.
        """
        if self.standing.stage != stage:
            self.standing = Standing(stage)
        self._samples = self._make_samples(stage)
        evenly = np.linspace(0, len(self._names) - 1, self.section.pictures)
        self._indices: list[int] = np.unique(evenly.round().astype(int)).tolist()
        if self.over and reporter is not None:
            reporter.message(f"{self._verdict()}. It does not continue unless you raise that")
        return self.over

    def check(self, channels: int, device: torch.device) -> None:
        """Measure a black picture against the first true one, so that a metric that does not fit fails before training.

        Args:
            channels: channels of the results.
            device: device of the results.

        Raises:
            UserError: the metrics do not fit the pictures.
        """
        batch = collate([self._samples[self._indices[0]]]).to(device)
        self.judge.measure(batch, torch.full((1, channels, *batch.size), -1.0, device=device))

    def run(
        self, work: StageTraining, networks: nn.ModuleDict, images_seen: int, reporter: Reporter | None = None
    ) -> bool:
        """Validate `networks`, and report; return True if they are the best of the stage. Errors: see `figures`.

        All processes call this, and all receive the same result.
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
        """Return the figures of `networks`, the same on every process; all processes call this.

        The networks are left in evaluation mode; call `work.train_mode` before the next step.

        Raises:
            UserError: a sample cannot be read or measured.
        """
        processes = work.processes
        measured: list[Any] = []
        refusal: UserError | None = None
        try:
            measured.extend(self._measured(work, networks))
        except UserError as error:
            refusal = error
        gathered = processes.gather((measured, refusal))
        figures: dict[str, float] = processes.on_first(lambda: self._summed_up(gathered))
        return figures

    @torch.no_grad()
    def _measured(self, work: StageTraining, networks: nn.ModuleDict) -> Iterator[Any]:
        """Yield the measurements of this process's share of the pictures."""
        networks.eval()
        processes = work.processes
        direction = work.method.directions[0]
        translator = work.method.translator(networks, direction).eval()
        for index in self._indices[processes.rank :: processes.world]:
            batch = collate([self._samples[index]]).to(processes.device)
            with work.precision.autocast():
                picture = translator(**work.method.arguments(networks, batch, direction, seed=index))  # (1, C, H, W)
            yield self.judge.measure(batch, picture)

    def _summed_up(self, gathered: Sequence[tuple[list[Any], UserError | None]]) -> dict[str, float]:
        """Return the figures of the measurements of all processes; process r has pictures r, r + world, ..."""
        refusals = [refusal for _, refusal in gathered if refusal is not None]
        if refusals:
            raise as_one(refusals)
        shares = [measured for measured, _ in gathered]
        world = len(shares)
        return self.judge.figures([shares[n % world][n // world] for n in range(len(self._indices))])

    def take(self, figures: dict[str, float], images_seen: int) -> bool:
        """Count a validation; return True if its deciding figure is the best of the stage, and finite."""
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
        """True if the patience of the stage is exhausted, so that it ends."""
        return self.section.patience is not None and self.standing.stale >= self.section.patience

    def _verdict(self) -> str:
        best = "none" if self.standing.best is None else f"{self.standing.best:.4g}"
        return (
            f"the stage ends early: {self.section.best} was not better in {self.standing.stale} validations than "
            f"{best} after {self.standing.best_images} images (validate.patience: {self.section.patience})"
        )

    def state_dict(self) -> dict[str, Any]:
        """Return the standing of the stage, for a checkpoint."""
        return {"of": self._key(), **asdict(self.standing)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from the result of `state_dict`; start anew if it belongs to another metric or other pictures."""
        if state["of"] == self._key():
            self.standing = Standing(**{key: value for key, value in state.items() if key != "of"})

    def _key(self) -> str:
        """Return a short hash of the deciding figure and the pictures."""
        measured = self.section.model_dump_json(include={"best", "pictures", "protocol", "segmenter_input", "lpips"})
        return hashlib.sha256(utf8("\n".join([measured, *self._names]))).hexdigest()[:16]
