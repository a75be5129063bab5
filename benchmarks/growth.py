"""Growth of time and memory with the size of pictures, the batch and the number of processes."""

import socket
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from itertools import product
from typing import Any

import torch

from benchmarks.plan import Comparison, Job
from benchmarks.processes import Child, RemoteCall, started
from hdtrans.benchmark.plan import OURS
from hdtrans.benchmark.timing import Timings, add_memory, ratios, spread, time_in_turns
from hdtrans.common.cores import cores
from hdtrans.config.stage import Size

BATCHES = (1, 2, 4)
_IN_BATCHES = 2  # number of sizes measured in batches, from the smallest
WORLD = 2

Scenes = Callable[[Size], Mapping[str, Any]]


def grow(what: str, plan: Comparison, ours: Child, scenes: Scenes) -> list[dict[str, Any]]:
    """Measure hdtrans at all sizes of the plan, the smallest two in batches too, in turn.

    Returns:
        Name, size, pixels and batch of each; `seconds` and `memory` (bytes) per picture.
    """
    wanted = list(_wanted(plan))
    for size, batch in wanted:
        ours.ask("add", _key(size, batch), scenes(size), batch)
    calls = {_key(size, batch): RemoteCall([ours], _key(size, batch)) for size, batch in wanted}
    timings = time_in_turns(calls, plan.rounds)
    add_memory(calls, timings)
    found = []
    for size, batch in wanted:
        each = timings[_key(size, batch)]
        known = {"name": what, "size": str(size), "pixels": size.width * size.height, "batch": batch}
        found.append({**known, "seconds": each.median / batch, "memory": each.memory / batch})
    return found


def grow_processes(plan: Comparison, scenes: Scenes, device: torch.device) -> dict[str, Any]:
    """Measure training in one process, in two side by side and in two together, a core or a GPU each, in turn.

    The same two processes do all of it, so that memory is equal and only the exchange of gradients differs.

    Returns:
        `sizes`: for each size of the plan, images per second by number of processes; the speed of two together relative
        to two side by side (cost of the exchange), and to twice one alone (cost of sharing the machine too), the
        latter by processor time as well. Or `missing`: the missing hardware.

    Raises:
        ProcessError: a process failed or died.
    """
    missing = _missing(device)
    if missing:
        return {"missing": missing}
    # Each of several processes takes the GPU of its rank.
    together, port = replace(plan, threads=1, device=device.type), _free_port()
    with started([Job(together, "training", OURS, rank, WORLD, port) for rank in range(WORLD)]) as pair:
        for size, child in product(plan.growth, pair):
            child.ask("add", f"{size}, together", scenes(size), 1)
            child.ask("add", f"{size}, apart", scenes(size), 1, True)
        calls = {}
        for size in plan.growth:
            calls[f"{size}, one"] = RemoteCall(pair[:1], f"{size}, apart")
            calls |= {f"{size}, {way}": RemoteCall(pair, f"{size}, {way}") for way in ("apart", "together")}
        timings = time_in_turns(calls, plan.rounds)
    return {"sizes": [_of_processes(size, timings) for size in plan.growth]}


def _of_processes(size: Size, timings: Mapping[str, Timings]) -> dict[str, Any]:
    one, apart, together = (timings[f"{size}, {way}"] for way in ("one", "apart", "together"))
    by_cpu = [WORLD * ratio for ratio in ratios(one, together, cpu=True)]
    return {
        "size": str(size),
        "pixels": size.width * size.height,
        "per_second": {"1": 1 / one.median, "2": WORLD / together.median},
        "of_two_apart": spread(ratios(apart, together)),
        "of_twice_one": spread(ratios(one, together)),
        "of_twice_one_by_cpu_time": spread(by_cpu),
    }


def _wanted(plan: Comparison) -> Iterator[tuple[Size, int]]:
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
