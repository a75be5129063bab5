"""Judges for tests of validation: a known distance, or figures from a list."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from hdtrans.common.errors import UserError
from hdtrans.config.validation import Validate
from hdtrans.data.batch import Batch, Sample
from hdtrans.data.fields import as_floats
from hdtrans.engine.validation import Validation
from tests.engine.toys import ToySamples

COUNT = 7


class Distances:
    """Judge by the mean absolute difference to the photo; it records its pictures.

    Args:
        bad: name of a sample that it refuses.
        scrambled: return figures that rise and fall, though they follow from the pictures alone.
    """

    def __init__(self, bad: str = "", scrambled: bool = False) -> None:
        self.bad = bad
        self.scrambled = scrambled
        self.shown: list[tuple[str, Tensor]] = []

    def measure(self, batch: Batch, picture: Tensor) -> float:
        assert batch["photo"] is not None
        if batch.names[0] == self.bad:
            raise UserError(f"{self.bad}: cannot be measured")
        self.shown.append((batch.names[0], picture.clone()))
        return float((picture - as_floats(batch["photo"], picture.dtype)).abs().double().mean())

    def figures(self, measured: Sequence[Any]) -> dict[str, float]:
        total = 0.0
        for place, value in enumerate(measured):
            total += value * (1 + place / 3)  # the order counts
        return {"l1": total * 1e5 % 1 if self.scrambled else total}


class Scripted:
    """Judge with figures from a list, one a validation, the last one repeated."""

    def __init__(self, *figures: float) -> None:
        self.script = list(figures)

    def measure(self, batch: Batch, picture: Tensor) -> None:
        return None

    def figures(self, measured: Sequence[Any]) -> dict[str, float]:
        return {"l1": self.script.pop(0) if len(self.script) > 1 else self.script[0]}


class Scenes(Dataset[Sample]):
    """The first toy samples of a stage, by place."""

    def __init__(self, stage: int, count: int = COUNT) -> None:
        self.samples, self.count = ToySamples(count, stage), count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, place: int) -> Sample:
        sample = self.samples[place]
        return Sample(f"place{place}", place, {"source": sample["source"], "photo": sample["photo"]})


def validation(judge: Any, **section: Any) -> Validation:
    """Return a validation of toys at every second image, on all their scenes."""
    given = {"every": 2, "pictures": COUNT, "metrics": ("l1",), "best": "l1", **section}
    return Validation(Validate(**given), judge, [f"place{n}" for n in range(COUNT)], Scenes)


def best_files(folder: Path) -> list[str]:
    """Return the names of the best checkpoints in a run folder."""
    return sorted(file.name for file in (folder / "checkpoints").glob("best_*.pt"))


def one_thread() -> None:
    """Use one thread, so that sums have one order."""
    torch.set_num_threads(1)
