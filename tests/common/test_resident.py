"""Resident memory of this process, with and without the system's own ways to tell it."""

import sys
from pathlib import Path

import numpy as np
import pytest

from hdtrans.common import resident as module
from hdtrans.common.resident import most_resident, resident

BLOCK = 64 << 20


@pytest.mark.parametrize("missing", [(), ("resource",), ("resource", "/proc")])
def test_memory_that_is_taken_is_seen(missing: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    """Without `resource`, as on Windows, psutil tells it; without /proc, the peak stands in."""
    if "resource" in missing:
        monkeypatch.setitem(sys.modules, "resource", None)
    if "/proc" in missing:
        monkeypatch.setattr(module, "_STATM", Path("/proc/nowhere"))
    before = resident()
    block = np.ones(BLOCK, np.uint8)
    seen = max(resident() - before, most_resident() - before)
    assert block.nbytes * 0.9 < seen
    assert most_resident() >= resident() * 0.9
