"""Broken twins of training on files that go bad, and a sound one that notes the time."""

import contextlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from hdtrans.common.errors import UserError
from hdtrans.data.dataset import TrainingSamples
from hdtrans.engine.distributed import Processes
from tests.mutants import put


def note_first_bad_file(mark: Path) -> None:
    """Sound: touch a file as soon as a bad sample is seen."""
    read = TrainingSamples.__getitem__

    def noting(self: TrainingSamples, counter: int) -> Any:
        try:
            return read(self, counter)
        except UserError:
            if not mark.exists():
                mark.touch()
            raise

    TrainingSamples.__getitem__ = noting  # type: ignore[method-assign]


def agree_on_nothing() -> None:
    """Let each process go its own way where it meets a bad file."""
    put(Processes, "together", lambda self, items: iter(items))
    put(Processes, "watched", lambda self, progress: contextlib.nullcontext())


def repeat_the_last_sample() -> None:
    """Put the last sample that this process read in the place of a bad one."""
    TrainingSamples.__getitem__ = repeating(TrainingSamples.__getitem__)  # type: ignore[method-assign]


def repeating(sound: Callable[..., Any]) -> Callable[..., Any]:
    """Return how such a twin reads a sample, from how a sound one does."""

    def last_one_read(self: Any, counter: int) -> Any:
        self._tries = 1
        try:
            self.last = sound(self, counter)
            return self.last
        except UserError as error:
            return replace(self.last, sample_index=counter, left_out=(str(error),))

    return last_one_read
