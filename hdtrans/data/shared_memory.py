"""Whether data workers have room to hand over their batches: where they lack it, the kernel kills them."""

import shutil
from pathlib import Path

import torch
from torch.utils.data import Dataset

from hdtrans.common.errors import UserError
from hdtrans.data.batch import Sample

_AHEAD = 2  # batches that torch lets each worker read ahead


def check_shared_memory(
    samples: Dataset[Sample],
    counter: int,
    batch_size: int,
    workers: int,
    processes: int = 1,
    folder: Path = Path("/dev/shm"),  # noqa: S108 (where Linux keeps shared memory)
) -> None:
    """Refuse to start where shared memory is too small for the batches that are under way.

    Args:
        samples: of the stage.
        counter: of the sample whose size is taken for all.
        batch_size: of one process.
        workers: of each process; 0 needs no shared memory.
        processes: that share this machine.
        folder: the file system of shared memory; nothing is checked where there is none.

    Raises:
        UserError: with what is needed and free, and how to get more.
    """
    if not workers or not folder.is_dir():
        return
    try:
        sample = samples[counter]
    except UserError:
        return  # the loader tells it, or leaves the sample out
    size = sum(value.nbytes for value in vars(sample).values() if isinstance(value, torch.Tensor))
    needed = processes * (_AHEAD * workers + 1) * batch_size * size
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise UserError(
            f"{folder}: has {_mebibytes(free)} free, and the data workers need about {_mebibytes(needed)} to hand over "
            f"batches ({processes} process(es) of {workers} workers, {batch_size} x {_mebibytes(size)} a batch). Give "
            f"the container more (docker run --shm-size={-(-2 * needed // 2**30)}g, or --ipc=host), or read without "
            "workers (training.workers=0)"
        )


def _mebibytes(size: int) -> str:
    return f"{size / 2**20:,.1f} MiB"
