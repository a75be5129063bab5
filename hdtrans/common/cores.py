"""How many cores there are to compute with."""

import os


def cores() -> int:
    """Return how many cores this process may use, of those of the machine."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def own_cores() -> int:
    """Return this process's share of them, at least 1: torchrun says how many processes it started on the machine."""
    return max(1, cores() // int(os.environ.get("LOCAL_WORLD_SIZE", "1")))
