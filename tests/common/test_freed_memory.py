"""Kept freed memory, counted in page faults."""

import subprocess
import sys

import pytest

SCRIPT = """
import resource, sys
import torch
from hdtrans.common.freed_memory import keep_freed_memory
print(keep_freed_memory(sys.argv[1] == "keep"))
for _ in range(20):
    torch.ones(16 * 2**20)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    torch.ones(16 * 2**20)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def pages(how: str) -> int:
    """Return the page faults of ten tensors of 64 MiB, one after the other."""
    done = subprocess.run([sys.executable, "-c", SCRIPT, how], check=True, capture_output=True, text=True)
    able, count = done.stdout.split()
    if able != "True":
        pytest.skip("this C library has no mallopt")
    return int(count)


@pytest.mark.unhurried
def test_tensors_take_the_pages_of_those_before_them() -> None:
    assert pages("keep") < 100
    assert pages("give back") > 1000
