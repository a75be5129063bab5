"""The order of samples: a pure function of the seed and the sample's counter, so that any run can go on anywhere.

A counter is how many samples a stage has drawn before. It says which file is read and gives every random number of
the sample, whatever the number of workers, ranks and restarts.
"""

import zlib
from collections.abc import Iterator
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from torch.utils.data import Sampler


def sample_index(seed: int, stage: int, counter: int, count: int) -> int:
    """Return which of `count` files is the sample `counter` of a stage: every one once in each epoch, shuffled anew.

    Example: `sorted(sample_index(0, 0, counter, 3) for counter in (3, 4, 5))` gives `[0, 1, 2]`.
    """
    assert counter >= 0 and count > 0, f"sample {counter} of {count} files"
    epoch, place = divmod(counter, count)
    return int(_permutation(seed, stage, epoch, count)[place])


@lru_cache(maxsize=2)  # batches run across the edge of an epoch
def _permutation(seed: int, stage: int, epoch: int, count: int) -> npt.NDArray[np.int64]:
    # Philox's raw numbers are the same in every version of numpy; Generator.permutation promises less.
    bits = np.random.Philox(np.random.SeedSequence((seed, stage, epoch))).random_raw(count)
    return np.argsort(bits, kind="stable")


def sample_random(seed: int, stage: int, counter: int, purpose: str) -> np.random.Generator:
    """Return the random generator of one sample for one purpose ("geometry"); others are independent of it."""
    words = (seed, stage, counter & 0xFFFFFFFF, counter >> 32, zlib.crc32(purpose.encode()))
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(words)))


class BatchOrder(Sampler[list[int]]):
    """The counters of one process, batch by batch.

    Global batch k holds the `world * batch_size` counters from `start + k * world * batch_size` on; each rank takes its
    own run of `batch_size` of them. Batches go on until the counter reaches `stop`, rounded up to a whole global batch:
    nothing is dropped.

    Example: `list(BatchOrder(0, 5, batch_size=2, rank=1, world=2))` gives `[[2, 3], [6, 7]]`.
    """

    def __init__(self, start: int, stop: int, batch_size: int, rank: int = 0, world: int = 1) -> None:
        assert batch_size > 0 and 0 <= rank < world, f"batch_size {batch_size}, rank {rank} of {world}"
        self.start, self.stop, self.batch_size, self.rank, self.world = start, stop, batch_size, rank, world

    def __iter__(self) -> Iterator[list[int]]:
        """Go over the batches of this rank."""
        step = self.world * self.batch_size
        for first in range(self.start + self.rank * self.batch_size, self.start + len(self) * step, step):
            yield list(range(first, first + self.batch_size))

    def __len__(self) -> int:
        """Return the number of batches, the same for every rank."""
        return max(0, -(-(self.stop - self.start) // (self.world * self.batch_size)))
