"""Resident memory of this process, with and without the system's own ways to tell it."""

import mmap
import sys
from pathlib import Path

import psutil  # noqa: F401 - here it takes `resource` itself
import pytest

from hdtrans.common import resident as module
from hdtrans.common.resident import most_resident, resident

BLOCK = 64 << 20


@pytest.mark.parametrize("missing", [(), ("resource",), ("/proc",)])
def test_memory_that_is_taken_is_seen(missing: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    """Without `resource`, as on Windows, psutil tells it; without /proc, the peak stands in."""
    if "resource" in missing:
        monkeypatch.setitem(sys.modules, "resource", None)
    if "/proc" in missing:
        monkeypatch.setattr(module, "_STATM", Path("/nowhere"))
    before = resident()
    with mmap.mmap(-1, BLOCK) as block:  # memory that no one had
        block.write(b"1" * BLOCK)
        taken = resident() - before
        assert most_resident() >= 0.9 * resident()
    assert taken > 0.9 * BLOCK or "/proc" in missing
