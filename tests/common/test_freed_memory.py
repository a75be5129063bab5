"""Kept freed memory, counted in page faults."""

import resource
from pathlib import Path

import pytest
import torch

from hdtrans.common.freed_memory import keep_freed_memory
from tests.forked import Forked


def faults(keep: bool) -> tuple[bool, int]:
    """Return the ability to keep memory, and the page faults of ten tensors of 64 MiB, one after the other."""
    able = keep_freed_memory(keep)
    for _ in range(20):
        torch.ones(16 * 2**20)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        torch.ones(16 * 2**20)
    return able, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def pages(keep: bool, folder: Path) -> int:
    """Return the page faults in a process of its own."""
    ended = Forked(faults, keep, folder=folder).wait(60)
    assert ended.code == 0, ended.said
    able, count = ended.value
    if not able:
        pytest.skip("this C library has no mallopt")
    return int(count)


@pytest.mark.unhurried
def test_tensors_take_the_pages_of_those_before_them(tmp_path: Path) -> None:
    assert pages(True, tmp_path) < 100
    assert pages(False, tmp_path) > 1000
