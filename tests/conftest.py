"""Fixtures and options of all tests."""

import multiprocessing
import os
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from hdtrans.engine import precision
from tests.bars import figure, note_bars, print_bars
from tests.forked import server

__all__ = ["figure", "forked_children", "in_fp32", "needs_bf16"]

if "PYTEST_XDIST_WORKER" in os.environ:
    torch.set_num_threads(1)  # the processes of the tests share the cores already

# Elsewhere torch computes it by a way of its own, which takes more memory and many times as long.
needs_bf16 = pytest.mark.skipif(
    not torch.ops.mkldnn._is_mkldnn_bf16_supported(), reason="oneDNN does not compute bf16 on this CPU"
)


@pytest.fixture(scope="module")
def in_fp32() -> Iterator[None]:
    """Let precision `auto` be fp32 on every CPU, for modules whose tolerances are those of fp32."""
    computes_bf16 = precision.computes_bf16
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(precision, "computes_bf16", lambda device: device.type == "cuda" and computes_bf16(device))
        yield


@pytest.fixture(scope="module")
def forked_children() -> Iterator[None]:
    """Fork processes that would be spawned from a server that has imported torch; each spawn takes four seconds."""
    get_context = multiprocessing.get_context
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(multiprocessing, "get_context", lambda how: server() if how == "spawn" else get_context(how))
        yield


def pytest_itemcollected(item: pytest.Item) -> None:
    """Let reports carry the bars that a test holds."""
    note_bars(item)


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """End `make test-faults` with a table of bars."""
    if "faults" in config.option.markexpr and "not faults" not in config.option.markexpr:
        print_bars(terminalreporter)
