"""How time and memory grow: with the size of pictures, with the batch, and with the number of processes."""

import socket
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from itertools import product
from typing import Any

import torch

from hdtrans.benchmark.plan import OURS, Plan
from hdtrans.benchmark.processes import Child, There, started
from hdtrans.benchmark.timing import Took, ratios, spread, take_memory, take_turns
from hdtrans.benchmark.worker import Job
from hdtrans.common.cores import cores
from hdtrans.config.stage import Size

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


def grow_processes(plan: Plan, scenes: Scenes, device: torch.device) -> dict[str, Any]:
    """Measure training with one process, with two at once, and with two together, a core or a GPU each, in turn.

    The same two processes do all of it, so that they take the memory of two, and differ in their exchange alone.

    Returns:
        `sizes`: for each of the plan, images per second by the number of processes; two together against two at once
        that do not know each other, which tells what their exchange costs, and against twice one alone, which tells
        what sharing a machine costs besides; the latter by the time of all cores too, for where others use them.
        Or `missing`, what it takes.

    Raises:
        ProcessError: a process failed or died.
    """
    missing = _missing(device)
    if missing:
        return {"missing": missing}
    # Each of several processes takes the GPU of its place.
    together, port = replace(plan, threads=1, device=device.type), _free_port()
    with started([Job(together, "training", OURS, rank, WORLD, port) for rank in range(WORLD)]) as pair:
        for size, child in product(plan.growth, pair):
            child.ask("add", f"{size}, together", scenes(size), 1)
            child.ask("add", f"{size}, apart", scenes(size), 1, True)
        rivals = {}
        for size in plan.growth:
            rivals[f"{size}, one"] = There(pair[:1], f"{size}, apart")
            rivals |= {f"{size}, {way}": There(pair, f"{size}, {way}") for way in ("apart", "together")}
        took = take_turns(rivals, plan.rounds)
    return {"sizes": [_of_processes(size, took) for size in plan.growth]}


def _of_processes(size: Size, took: Mapping[str, Took]) -> dict[str, Any]:
    one, apart, together = (took[f"{size}, {way}"] for way in ("one", "apart", "together"))
    by_cpu = [WORLD * ratio for ratio in ratios(one, together, cpu=True)]
    return {
        "size": str(size),
        "pixels": size.width * size.height,
        "per_second": {"1": 1 / one.median, "2": WORLD / together.median},
        "of_two_apart": spread(ratios(apart, together)),
        "of_twice_one": spread(ratios(one, together)),
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
    return "" if cores() >= WORLD else f"takes {WORLD} cores; there is {cores()}"


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
