"""The processes that read samples: signals, deaths, waits, and the memory they share."""

import math
import multiprocessing
import os
import re
import signal
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import Dataset

from hdtrans.common.errors import ProcessError, UserError
from hdtrans.config.training import Timeouts
from hdtrans.data.batch import Sample
from hdtrans.data.dataset import make_loader, workers_watched
from hdtrans.data.shared_memory import shareable
from tests.bars import Figure
from tests.engine.runs import COUNT, make_trainer, section, subject
from tests.engine.toys import ToySamples


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1])
def test_workers_leave_signals_to_the_process_that_started_them(number: signal.Signals) -> None:
    batches = iter(make_loader(Numbered(), [[n] for n in range(20)], workers=1, pin_memory=False))
    assert next(batches).sample_indices == (0,)
    for worker in multiprocessing.active_children():
        os.kill(worker.pid or 0, number)
    assert [batch.sample_indices[0] for batch in batches] == list(range(1, 20))


LOST = r"a data worker is lost: (DataLoader worker \(pid.*killed|a worker hung up).*fewer training.workers"


def kill_workers() -> None:
    """Go over batches and kill whoever brings them."""
    with workers_watched():
        for _ in make_loader(Numbered(), [[n] for n in range(10_000)], workers=1, pin_memory=False):
            for worker in multiprocessing.active_children():
                os.kill(worker.pid or 0, signal.SIGKILL)


@pytest.mark.bar("B8.5", "a worker that is lost or hangs is named")
def test_a_killed_worker_is_reported(figure: Figure) -> None:
    start = time.monotonic()
    with pytest.raises(ProcessError, match=LOST):
        kill_workers()
    seconds = time.monotonic() - start
    assert seconds < 15
    figure(f"killed: reported after {seconds:.1f} s")


@pytest.mark.bar("B8.5", "a worker that is lost or hangs is named")
def test_mutant_that_passes_on_the_error_of_torch(figure: Figure, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hdtrans.data.dataset._lost", RuntimeError)
    with pytest.raises(RuntimeError) as raised:
        kill_workers()
    assert not isinstance(raised.value, ProcessError) and not re.search(LOST, str(raised.value))
    figure("mutant that passes on what torch says: a RuntimeError without advice")


@pytest.mark.bar("B8.5", "a worker that is lost or hangs is named")
def test_mutant_without_a_time_limit_waits_on(figure: Figure) -> None:
    with workers_watched():
        batches = list(make_loader(Numbered(pause=0.8), [[0]], workers=1, pin_memory=False))
    assert len(batches) == 1
    figure("mutant without a limit: waits 0.8 s and reports nothing")


@pytest.mark.bar("B8.5", "a worker that is lost or hangs is named")
def test_a_hanging_worker_is_reported() -> None:
    with pytest.raises(ProcessError, match=r"timed out.*training.timeouts.step"), workers_watched():
        for _ in make_loader(Numbered(pause=1.5), [[0]], workers=1, pin_memory=False, timeout=0.5):
            pass


class Hanging(ToySamples):
    """Samples of which one takes two seconds."""

    def __getitem__(self, counter: int) -> Sample:
        time.sleep(2 if counter == 2 else 0)
        return super().__getitem__(counter)


def train_on_a_worker_that_hangs(folder: Path) -> None:
    """Train with a limit of one second."""
    what = subject("adversarial")
    what.stages = what.stages[:1]
    what.make_samples = lambda number: Hanging(COUNT)
    make_trainer(what, section(workers=1, timeouts=Timeouts(step=1)), folder).run()


@pytest.mark.bar("B8.5", "a worker that is lost or hangs is named")
def test_a_training_ends_where_a_worker_hangs(tmp_path: Path) -> None:
    assert Timeouts().step > 0, "there is a limit unless it is changed"
    with pytest.raises(ProcessError, match=r"timed out.*training.timeouts.step"):
        train_on_a_worker_that_hangs(tmp_path)


@pytest.mark.bar("B8.5", "a worker that is lost or hangs is named")
def test_mutant_that_trains_without_the_limit(tmp_path: Path, figure: Figure, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hdtrans.engine.trainer.make_loader", lambda *given: make_loader(*given[:4]))
    train_on_a_worker_that_hangs(tmp_path)
    figure("mutant that trains without the limit: waits on")


class Numbered(Dataset[Sample]):
    """Samples that hold their number alone; each may take its time."""

    def __init__(self, pause: float = 0) -> None:
        self.pause = pause

    def __getitem__(self, counter: int) -> Sample:
        time.sleep(self.pause)
        return Sample(str(counter), counter, {"label": torch.full((4, 1024), counter % 256, dtype=torch.uint8)})


def test_batches_lie_in_memory_without_a_name() -> None:
    """A batch arrives unchanged, through a file without a name."""
    arrived = [
        batch["label"] for batch in make_loader(Numbered(), [[n] for n in range(3)], workers=1, pin_memory=False)
    ]
    assert all(torch.equal(label, torch.full((1, 4, 1024), n)) for n, label in enumerate(arrived))
    files = [_file_behind(label.data_ptr()) for label in arrived if label is not None]
    assert files == ["/memfd:hdtrans (deleted)"] * 3


def _file_behind(address: int) -> str:
    """Return the file that is mapped where an address of this process lies."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        span, *_, file = line.split(maxsplit=5)
        start, end = (int(edge, 16) for edge in span.split("-"))
        if start <= address < end:
            return file
    return ""


@pytest.fixture
def config(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Values of multiprocessing for this process, without a folder for sockets."""
    values: dict[str, Any] = multiprocessing.current_process()._config  # type: ignore[attr-defined]
    monkeypatch.delitem(values, "tempdir", raising=False)
    return values


def test_batches_arrive_where_the_folder_for_temporary_files_has_a_long_path(
    tmp_path: Path, config: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    (long := tmp_path / ("x" * 110)).mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    batches = make_loader(Numbered(), [[0], [1]], workers=1, pin_memory=False, timeout=30)
    assert [batch.sample_indices for batch in batches] == [(0,), (1,)]
    assert not list(long.iterdir()) and len(config["tempdir"]) < 80
    first = config["tempdir"]
    make_loader(Numbered(), [[0]], workers=1, pin_memory=False)
    assert config["tempdir"] == first
    os.rmdir(first)  # as cleaners of /tmp do in a long training
    make_loader(Numbered(), [[0]], workers=1, pin_memory=False)
    assert os.path.isdir(config["tempdir"])


def test_no_folder_for_sockets_is_refused_at_once(
    tmp_path: Path, config: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    (long := tmp_path / ("x" * 110)).mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    monkeypatch.setenv("TMPDIR", str(long))
    monkeypatch.setattr("hdtrans.data.shared_memory._PLACES", (str(tmp_path / "missing"),))
    words = rf"^TMPDIR {long}: has {len(str(long))} bytes.* at most 75 .*; set TMPDIR, or give training.workers=0$"
    with pytest.raises(UserError, match=words):
        make_loader(Numbered(), [[0]], workers=1, pin_memory=False)
    assert "tempdir" not in config


@pytest.mark.parametrize("error", [OSError(24, "Too many open files"), RuntimeError("unable to mmap 4096 bytes")])
def test_a_batch_that_cannot_be_handed_over_is_reported(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    class Refusing:
        """Pickler that fails, in the worker and not in the thread of its queue."""

        @staticmethod
        def dumps(batch: object) -> bytes:
            raise error

    monkeypatch.setattr("hdtrans.data.shared_memory.ForkingPickler", Refusing)
    loader = make_loader(Numbered(), [[0]], workers=1, pin_memory=False, timeout=30)
    with pytest.raises(UserError, match=rf"cannot hand a batch over: .*{error.args[-1]}; give fewer training.workers"):
        next(iter(loader))


@pytest.mark.parametrize("shape", [(2, 3, 4), (0, 3), ()])
def test_a_shareable_tensor_equals_the_tensor(shape: tuple[int, ...]) -> None:
    for dtype in (torch.uint8, torch.int32, torch.float32):
        tensor = torch.arange(math.prod(shape)).reshape(shape).to(dtype)
        found = shareable(tensor)
        assert found.dtype == dtype and torch.equal(found, tensor)
        assert found.is_shared() or not tensor.numel()
