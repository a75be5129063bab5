"""Broken twins of training samples, whose random numbers do not follow from the sample alone."""

from typing import Any

import torch

from hdtrans.data.dataset import TrainingSamples


class DrawnInTurn(TrainingSamples):
    """Draws for a sample what comes next in this process, as a generator that all samples share would."""

    def __getitem__(self, counter: int) -> Any:
        self._seed += 1
        return super().__getitem__(counter)


class DrawnByTheWorker(TrainingSamples):
    """Draws for a sample what the random numbers of this process say, which torch starts anew in each worker."""

    def __getitem__(self, counter: int) -> Any:
        self._seed = int(torch.randint(2**31, ()))
        return super().__getitem__(counter)
