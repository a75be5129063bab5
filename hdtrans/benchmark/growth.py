"""How time and memory grow: with the size of pictures, with the batch, and with the number of processes."""

import os
import socket
import statistics
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import torch

from hdtrans.benchmark.plan import OURS, Plan
from hdtrans.benchmark.processes import Child, There, started
from hdtrans.benchmark.timing import ratios, spread, take_memory, take_turns
from hdtrans.benchmark.worker import Job
from hdtrans.config import Size

BATCHES = (1, 2, 4)
_IN_BATCHES = 2  # of the sizes, from the smallest on
WORLD = 2

Scenes = Callable[[Size], Mapping[str, Any]]


def grow(what: str, plan: Plan, ours: Child, scenes: Scenes) -> list[dict[str, Any]]:
    """Measure ours at all sizes of the plan, and the smallest two in batches, in turn.

    Returns:
        name, size, pixels and batch of each; seconds and bytes of memory are those of one picture.
    """
    wanted = list(_wanted(plan))
    for size, batch in wanted:
        ours.ask("add", _key(size, batch), scenes(size), batch)
    rivals = {_key(size, batch): There([ours], _key(size, batch)) for size, batch in wanted}
    took = take_turns(rivals, plan.rounds)
    take_memory(rivals, took)
    found = []
    for size, batch in wanted:
        each = took[_key(size, batch)]
        known = {"name": what, "size": str(size), "pixels": size.width * size.height, "batch": batch}
        found.append({**known, "seconds": each.median / batch, "memory": each.memory / batch})
    return found


def grow_processes(plan: Plan, ours: Child, scene: Mapping[str, Any], device: torch.device) -> dict[str, Any]:
    """Measure training with one process and with two that train together, each with one core or one GPU, in turn.

    Returns:
        images per second by the number of processes; two together against twice one, by the clock and by the time of
        all cores, which tells the work of their exchange where others use the cores too. Or `missing`, what it takes.
    """
    missing = _missing(device)
    if missing:
        return {"missing": missing}
    # A single process has its GPU by number; each of several takes that of its place.
    together = replace(plan, threads=1, device=device.type)
    port = _free_port()
    with started([Job(together, "training", OURS, rank, WORLD, port) for rank in range(WORLD)]) as children:
        for child in (ours, *children):
            child.ask("add", "alone or together", scene, 1)
        ours.ask("use_threads", 1)
        rivals = {"1": There([ours], "alone or together"), "2": There(children, "alone or together")}
        took = take_turns(rivals, plan.rounds)
    speeds = {name: statistics.median(int(name) / seconds for seconds in each.seconds) for name, each in took.items()}
    by_cpu = [WORLD * ratio for ratio in ratios(took["1"], took["2"], cpu=True)]
    return {
        "per_second": speeds,
        "of_twice_one": spread(ratios(took["1"], took["2"])),
        "of_twice_one_by_cpu_time": spread(by_cpu),
    }


def _wanted(plan: Plan) -> Iterator[tuple[Size, int]]:
    for place, size in enumerate(plan.growth):
        for batch in BATCHES if place < _IN_BATCHES else BATCHES[:1]:
            yield size, batch


def _key(size: Size, batch: int) -> str:
    return f"{size}, batch {batch}"


def _missing(device: torch.device) -> str:
    if device.type == "cuda":
        there = torch.cuda.device_count()
        return "" if there >= WORLD else f"takes {WORLD} GPUs; there is {there}"
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return "" if cores >= WORLD else f"takes {WORLD} cores; there is {cores}"


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
