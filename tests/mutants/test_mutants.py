"""Twins that break a process for good still find what they break: most run in tests of faults alone."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.forked import Forked
from tests.mutants import as_code, bad_files, leaking, processes, saving, signals

CHANGES = [
    bad_files.agree_on_nothing,
    bad_files.repeat_the_last_sample,
    leaking.keep_graphs,
    leaking.keep_results,
    leaking.share_memory_as_torch_does,
    processes.come_back_slowly,
    processes.hear_no_other,
    processes.share_out_nothing,
    saving.remove_first,
    saving.write_straight,
    signals.give_way_to_the_second,
    signals.look_seldom,
    *signals.PHASES.values(),
]


def broken_as_code(code: str) -> None:
    """Break this process, where nothing was broken before."""
    os.environ["TORCHELASTIC_RESTART_COUNT"] = "0"
    exec(code, {})


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_a_change_applies(change: Callable[[], None], tmp_path: Path) -> None:
    ended = Forked(broken_as_code, as_code(change), folder=tmp_path).wait(60)
    assert ended.code == 0, ended.said
