"""Processor cores of this process, and how its threads wait for each other.

torch counts the cores of the machine. A container may have a share of their time, a Slurm step some of them.
"""

import os
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

WAITING = {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "1000"}
"""OpenMP's settings for threads that wait at the end of an operator: they spin briefly, then sleep."""

_OTHER_WAITING = ("KMP_BLOCKTIME", "KMP_LIBRARY")  # what a user may have set instead


def cores(root: Path = Path("/"), environment: Mapping[str, str] = os.environ) -> int:
    """Return the number of cores that this process may use, >= 1.

    It is the least of its affinity, the CPU quota of its control groups (cgroup v1 and v2), and its part of a Slurm
    step; divided by the training processes that torchrun started on this machine.

    Args:
        root: root of the file system, with `proc` and `sys`.
        environment: environment variables of torchrun and Slurm.
    """
    given = [_affinity(), *(int(quota) for quota in _quotas(root))]
    started, tasks = _number(environment, "LOCAL_WORLD_SIZE") or 1, _tasks_of_step(environment)
    if own := _number(environment, "SLURM_CPUS_PER_TASK"):
        given.append(own)
    elif on_node := _number(environment, "SLURM_CPUS_ON_NODE"):
        given.append(on_node // tasks)
    one_a_task = 1 < started == tasks  # srun started the processes themselves
    return max(1, min(given) // (1 if one_a_task else started))


def choose_threads() -> None:
    """Set how many threads torch starts, if a limit is below the machine's cores, and how they wait.

    Call it before torch is loaded. What the user has set stays.
    """
    if "torch" in sys.modules:
        return
    if (count := cores()) < _affinity():
        os.environ.setdefault("OMP_NUM_THREADS", str(count))
    if not any(name in os.environ for name in (*WAITING, *_OTHER_WAITING)):
        os.environ.update(WAITING)


def _affinity() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _quotas(root: Path) -> Iterator[float]:
    """Yield the CPU time of each control group of this process and of those above it, in cores."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return  # no Linux
    mounts = root / "sys/fs/cgroup"
    for line in lines:
        _, controllers, inside = (*line.split(":", 2), "", "")[:3]
        if not controllers:
            found = [mounts, mounts / "unified"]
        elif "cpu" in controllers.split(","):
            found = [mounts / controllers, mounts / "cpu"]
        else:
            continue
        for mount in found:
            # in a container the mount shows its group as the root, under a path that only the host knows
            for folder in (mount / inside.lstrip("/"), *(mount / inside.lstrip("/")).parents):
                yield from _quota(folder)
                if folder == mount:
                    break


def _quota(folder: Path) -> Iterator[float]:
    """Yield the quota of one control group in cores, if it has one."""
    try:
        if (file := folder / "cpu.max").exists():
            quota, period = file.read_text().split()[:2]
        else:
            quota = (folder / "cpu.cfs_quota_us").read_text()
            period = (folder / "cpu.cfs_period_us").read_text()
        if quota != "max" and int(quota) > 0:
            yield int(quota) / int(period)
    except (OSError, ValueError, ZeroDivisionError):
        return


def _tasks_of_step(environment: Mapping[str, str]) -> int:
    """Return the number of tasks that Slurm's step has on this node, >= 1: `4(x2),1` is 4, 4 and 1."""
    counts = []
    for part in environment.get("SLURM_STEP_TASKS_PER_NODE", "").split(","):
        if found := re.fullmatch(r"([1-9][0-9]*)(?:\(x([0-9]+)\))?", part):
            counts += [int(found[1])] * int(found[2] or 1)
    node = _number(environment, "SLURM_NODEID") or 0
    return counts[node] if node < len(counts) else 1


def _number(environment: Mapping[str, str], name: str) -> int | None:
    """Return a whole number above 0; None if the variable is missing or something else."""
    text = environment.get(name, "")
    return int(text) or None if text.isdecimal() else None
