"""One owner of a folder: a second is refused, one that is gone is followed, whatever machine it was on."""

import json
import multiprocessing
import os
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from hdtrans.common import folder_lock
from hdtrans.common.errors import UserError
from hdtrans.common.folder_lock import LOCK_FILE, FolderInUse, FolderLock, LostFolder, Owner, holds_files


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let locks be renewed, and go stale, within parts of a second."""
    for name, seconds in (("_RENEWED", 0.02), ("_STALE", 0.15), ("_LOOKED_AT", 0.01)):
        monkeypatch.setattr(folder_lock, name, seconds)


def left_by(folder: Path, owner: Owner, age: float = 0) -> Path:
    """Write the lock of a process as that left it, so many seconds ago; return it."""
    folder.mkdir(exist_ok=True)
    lock = folder / LOCK_FILE
    lock.write_text(json.dumps(asdict(owner)))
    os.utime(lock, (time.time() - age,) * 2)
    return lock


@contextmanager
def renewed(lock: Path) -> Iterator[None]:
    """Renew a lock as its owner does on another machine."""
    ended = threading.Event()

    def renew() -> None:
        while not ended.wait(0.01):
            os.utime(lock)

    thread = threading.Thread(target=renew)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def elsewhere() -> Owner:
    """Return a process of this one's id in another container: the same host, another namespace of ids."""
    own = Owner.this_process()
    return replace(own, machine=own.machine + "0")


def test_a_second_owner_is_refused_before_it_writes(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "deep"
    with FolderLock(folder):
        before = {file: file.read_bytes() for file in folder.iterdir()}
        with pytest.raises(FolderInUse) as caught, FolderLock(folder, "pictures"):
            pass
        assert {file: file.read_bytes() for file in folder.iterdir()} == before
        assert caught.value.owner.pid == os.getpid() and caught.value.argument == "pictures"
        assert f"process {os.getpid()} on " in str(caught.value) and str(folder / LOCK_FILE) in str(caught.value)
        assert not holds_files(folder)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_with_files_stays_and_its_lock_goes(tmp_path: Path) -> None:
    with FolderLock(tmp_path / "run"):
        (tmp_path / "run" / "a.txt").write_text("a")
        assert holds_files(tmp_path / "run")
    assert [file.name for file in (tmp_path / "run").iterdir()] == ["a.txt"]
    with FolderLock(tmp_path / "run" / "a.txt"):  # a file: left to the checks of the command
        pass
    assert (tmp_path / "run" / "a.txt").read_text() == "a"


def test_a_process_that_is_gone_is_followed_with_a_line(tmp_path: Path) -> None:
    own, lines = Owner.this_process(), list[str]()
    if (child := os.fork()) == 0:
        os._exit(0)
    time.sleep(0.05)
    zombie = replace(own, pid=child, token="zombie")
    reused = replace(own, started="1", token="reused")  # this process's id, of an earlier process
    never = replace(own, pid=2**22 + 1, token="never")
    for owner in (zombie, reused, never):
        left_by(tmp_path, owner)
        with FolderLock(tmp_path, say=lines.append) as lock:
            assert json.loads((tmp_path / LOCK_FILE).read_text())["token"] == lock.owner.token  # type: ignore[union-attr]
    os.waitpid(child, 0)
    assert len(lines) == 3 and all("taken over from process" in line and "it ended" in line for line in lines)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [None, "", '{"pid": "x", "other": 1}'])
def test_an_owner_that_cannot_be_seen_is_judged_by_its_renewals(
    content: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another container, or a lock whose text was lost."""
    lock = left_by(tmp_path, elsewhere())
    if content is not None:
        lock.write_text(content)
    with renewed(lock), pytest.raises(FolderInUse), FolderLock(tmp_path):
        pass
    lines: list[str] = []
    start = time.monotonic()
    with FolderLock(tmp_path, say=lines.append):
        assert time.monotonic() - start > 0.1
    os.utime(left_by(tmp_path, elsewhere()), (0, 0))
    monkeypatch.setattr(folder_lock, "_STALE", 1e6)
    with FolderLock(tmp_path, say=lines.append):  # the age of the file is enough: nobody waits
        pass
    assert [line.split(": ")[-1] for line in lines] == ["no sign of life for 0 s", "no sign of life for 1000000 s"]


def test_it_works_without_a_list_of_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on Windows and macOS: this process's own lock is judged by its renewals."""
    monkeypatch.setattr(folder_lock, "_machine", lambda: "")
    with FolderLock(tmp_path) as lock:
        with pytest.raises(FolderInUse), FolderLock(tmp_path):
            pass
        time.sleep(0.25)
        lock.verify()


def test_a_process_whose_folder_was_taken_over_is_stopped_and_takes_nothing(tmp_path: Path) -> None:
    with FolderLock(tmp_path) as lock:
        lock.verify()
        other = left_by(tmp_path, replace(elsewhere(), command="hdtrans train other.yaml"))
        with pytest.raises(LostFolder, match=r"belongs to process .* \(hdtrans train other.yaml\)"):
            lock.verify()
    assert other.exists()


def test_a_lock_removed_by_hand_comes_back_while_its_owner_lives(tmp_path: Path) -> None:
    with FolderLock(tmp_path) as lock:
        lock.file.unlink()
        deadline = time.monotonic() + 20
        while not lock.file.exists():
            assert time.monotonic() < deadline
            time.sleep(0.01)
        lock.verify()


def test_a_copy_of_a_folder_is_free_while_its_owner_works_in_the_original(tmp_path: Path) -> None:
    lines = list[str]()
    (tmp_path / "link").symlink_to(tmp_path / "run")
    with FolderLock(tmp_path / "run") as lock:
        shutil.copytree(tmp_path / "run", tmp_path / "copy")
        with FolderLock(tmp_path / "copy", say=lines.append):
            for name in ("run", "link", "copy"):
                with pytest.raises(FolderInUse), FolderLock(tmp_path / name):
                    pass
        (tmp_path / "run").rename(tmp_path / "moved")  # the owner writes there until it opens new files
        lock._ended.set()
        with pytest.raises(FolderInUse), FolderLock(tmp_path / "moved"):
            pass
    assert len(lines) == 1 and f"it works in {tmp_path / 'run'}, of which this folder is a copy" in lines[0]


def test_a_folder_that_cannot_be_written_is_an_error_of_the_user(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"^out=.*: cannot be written: "), FolderLock(tmp_path / "file" / "run"):
        pass


def _race(folder: Path, barrier: Any, rounds: int, results: Any) -> None:
    for number in range(rounds):
        barrier.wait()
        try:
            with FolderLock(folder / str(number), say=lambda text: None):
                results.put((number, "owner"))
                barrier.wait()  # the other has tried
        except FolderInUse:
            results.put((number, "refused"))
            barrier.wait()


@pytest.mark.parametrize("stale", [False, True])
def test_of_two_that_start_at_once_exactly_one_wins(stale: bool, tmp_path: Path) -> None:
    rounds, processes = 20, multiprocessing.get_context("fork")
    for number in range(rounds):
        if stale:
            left_by(tmp_path / str(number), replace(Owner.this_process(), started="1"))
    barrier, results = processes.Barrier(2), processes.Queue()
    both = [processes.Process(target=_race, args=(tmp_path, barrier, rounds, results)) for _ in range(2)]
    for each in both:
        each.start()
    found = sorted(results.get(timeout=60) for _ in range(2 * rounds))
    for each in both:
        each.join()
    assert found == [(number, ending) for number in range(rounds) for ending in ("owner", "refused")]
