"""Jobs of each of two processes in tests/engine/test_non_finite.py."""

import math
from pathlib import Path
from typing import Any

import torch.distributed as dist
from torch import Tensor, nn

from hdtrans.data.batch import collate
from hdtrans.engine.distributed import Processes
from hdtrans.engine.precision import Precision
from hdtrans.engine.stage import StageTraining
from tests.engine.non_finite import BAD_IMAGES, PLACES, run_spoiled, spoiled
from tests.engine.runs import fingerprint, section
from tests.engine.toys import toy_stages


def one_step(processes: Processes) -> dict[str, str]:
    """Take the bad step alone, with a non-finite loss on rank 1."""
    what, method = spoiled("generators", math.nan, processes.rank == 1)
    (stage,) = toy_stages(1, batch_size=1)
    work = StageTraining(method, stage, 5, section(), Precision("fp32", "cpu"), processes)
    sample = what.make_samples(0)[processes.rank]
    work.step(collate([sample]), 0, BAD_IMAGES)
    return {"networks": fingerprint(nn.utils.parameters_to_vector(what.networks.parameters()).detach())}


def counted(processes: Processes) -> dict[str, Any]:
    """Count the all-reduces of three steps, besides those of DistributedDataParallel."""
    what, method = spoiled("", 0.0)
    (stage,) = toy_stages(1, batch_size=1)
    work = StageTraining(method, stage, 5, section(), Precision("fp32", "cpu"), processes)
    reduce, counts, sizes = dist.all_reduce, [], []

    def noted(tensor: Tensor, *given: Any, **named: Any) -> Any:
        sizes.append(tensor.numel())
        return reduce(tensor, *given, **named)

    dist.all_reduce = noted
    try:
        for step in range(3):
            sizes.clear()
            work.step(collate([what.make_samples(0)[2 * step + processes.rank]]), 2 * step, 2 * step)
            assert set(sizes) == {2}, sizes
            counts.append(len(sizes))
    finally:
        dist.all_reduce = reduce
    return {"reductions": counts}


def run_jobs(processes: Processes, folder: Path) -> dict[str, Any]:
    """Run all jobs one after the other; return their results by name."""
    results: dict[str, Any] = {}
    for place in PLACES:
        for value in (math.nan, math.inf):
            for precision in ("fp32", "bf16", "fp16"):
                job = f"{place} {value} {precision}"
                results[job] = run_spoiled(place, value, folder / job, processes, precision=precision)
    results["counted"] = counted(processes)
    results["heard"] = one_step(processes)
    together = Processes.any
    Processes.any = lambda self, flags: flags  # type: ignore[method-assign]
    try:
        results["deaf"] = one_step(processes)
    finally:
        Processes.any = together  # type: ignore[method-assign]
    return results
