"""Order of samples: a pure function of seed and sample index, so that a run can continue anywhere.

A sample's index is the number of samples that its stage drew before it. Its file and all its random numbers follow from
the index, whatever the number of workers, ranks and restarts.
"""

import zlib
from collections.abc import Iterator
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from torch.utils.data import Sampler


def file_index(seed: int, stage: int, index: int, count: int) -> int:
    """Return the file, in [0, count), of a stage's sample: every file once in each epoch, in a new order.

    Example: `sorted(file_index(0, 0, index, 3) for index in (3, 4, 5))` gives `[0, 1, 2]`.
    """
    assert index >= 0 and count > 0, f"sample {index} of {count} files"
    epoch, place = divmod(index, count)
    return int(_permutation(seed, stage, epoch, count)[place])


@lru_cache(maxsize=2)  # a batch may cross the edge of an epoch
def _permutation(seed: int, stage: int, epoch: int, count: int) -> npt.NDArray[np.int64]:
    # Philox's raw numbers are the same in every version of numpy; Generator.permutation promises less.
    bits = np.random.Philox(np.random.SeedSequence((seed, stage, epoch))).random_raw(count)
    return np.argsort(bits, kind="stable")


def sample_random(seed: int, stage: int, index: int, purpose: str) -> np.random.Generator:
    """Return the random generator of a sample for one purpose ("geometry"), independent of all others."""
    words = (seed, stage, index & 0xFFFFFFFF, index >> 32, zlib.crc32(purpose.encode()))
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(words)))


class BatchOrder(Sampler[list[int]]):
    """Sample indices of one process, batch by batch.

    Global batch k holds the `world * batch_size` indices from `start + k * world * batch_size` on; each rank takes its
    own run of `batch_size` of them. The last global batch reaches or passes `stop`: nothing is dropped.

    Example: `list(BatchOrder(0, 5, batch_size=2, rank=1, world=2))` gives `[[2, 3], [6, 7]]`.
    """

    def __init__(self, start: int, stop: int, batch_size: int, rank: int = 0, world: int = 1) -> None:
        assert batch_size > 0 and 0 <= rank < world, f"batch_size {batch_size}, rank {rank} of {world}"
        self.start, self.stop, self.batch_size, self.rank, self.world = start, stop, batch_size, rank, world

    def __iter__(self) -> Iterator[list[int]]:
        """Yield the indices of each batch of this rank."""
        step = self.world * self.batch_size
        for first in range(self.start + self.rank * self.batch_size, self.start + len(self) * step, step):
            yield list(range(first, first + self.batch_size))

    def __len__(self) -> int:
        """Return the number of batches, the same for every rank."""
        return max(0, -(-(self.stop - self.start) // (self.world * self.batch_size)))
