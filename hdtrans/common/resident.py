"""Resident memory of this process: now, and its peak."""

import os
import sys
from pathlib import Path

_STATM = Path("/proc/self/statm")


def resident() -> int:
    """Return the resident memory of this process in bytes; its peak where the system does not tell."""
    try:
        return int(_STATM.read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, AttributeError):
        return most_resident()


def most_resident() -> int:
    """Return the peak of the resident memory of this process in bytes."""
    try:
        import resource
    except ImportError:  # Windows
        import psutil

        info = psutil.Process().memory_info()
        return int(getattr(info, "peak_wset", info.rss))
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
