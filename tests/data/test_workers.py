"""The processes that read samples: signals, deaths, waits, and the shared memory they need."""

import multiprocessing
import os
import shutil
import signal
import time
from pathlib import Path

import pytest
import torch
from torch.utils.data import Dataset

from hdtrans.common.errors import ProcessError, UserError
from hdtrans.data.batch import Sample
from hdtrans.data.dataset import make_loader, workers_watched
from hdtrans.data.shared_memory import check_shared_memory


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1])
def test_workers_leave_signals_to_the_process_that_started_them(number: signal.Signals) -> None:
    batches = iter(make_loader(Numbered(), [[n] for n in range(20)], workers=1, pin_memory=False))
    assert next(batches).counters == (0,)
    for worker in multiprocessing.active_children():
        os.kill(worker.pid or 0, number)
    assert [batch.counters[0] for batch in batches] == list(range(1, 20))


def test_a_worker_that_was_killed_is_told() -> None:
    words = r"a data worker is lost: (DataLoader worker \(pid.*killed|a worker hung up).*fewer training.workers"
    with pytest.raises(ProcessError, match=words), workers_watched():
        for _ in make_loader(Numbered(), [[n] for n in range(10_000)], workers=1, pin_memory=False):
            for worker in multiprocessing.active_children():
                os.kill(worker.pid or 0, signal.SIGKILL)


def test_a_worker_that_hangs_is_told() -> None:
    with pytest.raises(ProcessError, match=r"timed out.*training.timeouts.step"), workers_watched():
        for _ in make_loader(Numbered(pause=3), [[0]], workers=1, pin_memory=False, timeout=0.5):
            pass


class Numbered(Dataset[Sample]):
    """Samples that hold their number alone; each may take its time."""

    def __init__(self, pause: float = 0) -> None:
        self.pause = pause

    def __getitem__(self, counter: int) -> Sample:
        time.sleep(self.pause)
        return Sample(str(counter), counter, label=torch.zeros(4, 1024, dtype=torch.uint8))


def test_too_little_shared_memory_is_told_before_a_worker_dies_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage._replace(free=240 * 4096))
    check_shared_memory(Numbered(), 0, 4, workers=2, processes=12, folder=tmp_path)  # 12 x (2 x 2 + 1) x 4 x 4096 bytes
    words = r"has 0.9 MiB free, .* need about 1.0 MiB .*--shm-size=1g, or --ipc=host.*training.workers=0"
    with pytest.raises(UserError, match=words):
        check_shared_memory(Numbered(), 0, 4, workers=2, processes=13, folder=tmp_path)
    check_shared_memory(Numbered(), 0, 4, workers=0, processes=13, folder=tmp_path)
    check_shared_memory(Numbered(), 0, 4, workers=2, processes=13, folder=tmp_path / "missing")
