"""Folders that the first of several test processes fills, and that the others only read."""

import fcntl
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


def filled_once(factory: pytest.TempPathFactory, name: str, fill: Callable[[Path], Any]) -> tuple[Path, Any]:
    """Return a folder of this session and the value of `fill(folder)`, which runs in one test process alone.

    Args:
        factory: pytest's own.
        name: name of the folder, one for each use.
        fill: writes into the folder and returns plain values.
    """
    base = factory.getbasetemp()
    root = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    folder, value = root / name, root / f"{name}.pickle"
    with (root / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # until it is closed
        if not value.exists():
            folder.mkdir()
            value.write_bytes(pickle.dumps(fill(folder)))
    return folder, pickle.loads(value.read_bytes())
