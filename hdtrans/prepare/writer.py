"""Write a prepared folder: all items in parallel, each whole or not at all, continued where it was stopped."""

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import cv2
from tqdm import tqdm

from hdtrans.common.errors import Stopped, UserError
from hdtrans.common.files import write_bytes
from hdtrans.prepare.journal import Folder, about_files
from hdtrans.prepare.making import Maker, Record
from hdtrans.prepare.source import Item
from hdtrans.prepare.summary import Report, count_classes

_AHEAD = 4  # items waiting for each process

Work = Sequence[tuple[Item, str]]


@dataclass(frozen=True)
class Failure:
    """An item that could not be made, and why."""

    name: str
    why: str


def write_items(folder: Folder, maker: Maker, work: Work, workers: int | None = None) -> Report:
    """Make the files of all items that are not there yet, and dataset.json; return what was done.

    An item that fails is reported, and the rest done; it is tried again the next time.

    Args:
        folder: where to; it is checked first.
        maker: makes the files of one item.
        work: items and their splits.
        workers: processes; 1 is this one, None one for each core.

    Raises:
        UserError: the folder holds something else, or cannot be written.
        Stopped: on SIGTERM, after the items in work.
    """
    check_names([item for item, _ in work])
    folder.check()
    folder.claim()
    records = folder.finished()
    _check_continued(folder, records, work)
    left = [(item, split) for item, split in work if item.name not in records]
    count = min(workers or len(os.sched_getaffinity(0)), max(1, len(left)))
    failures: dict[str, str] = {}
    made = len(records)
    with _stoppable(), tqdm(total=len(work), initial=len(work) - len(left), unit="item", disable=None) as bar:
        for result in _results(_Task(maker, folder.out), left, count):
            if isinstance(result, Failure):
                failures[result.name] = result.why
            else:
                folder.add(result)
                records[result.name] = result
            bar.update()
    done = [records[item.name] for item, _ in work if item.name in records]
    extra = [record for name, record in records.items() if name not in {item.name for item, _ in work}]
    ordered = {item.name: failures[item.name] for item, _ in work if item.name in failures}
    counts = {} if folder.classes is None else count_classes([*done, *extra], folder.classes)
    folder.write({"pixels": counts, "failed": ordered, "files": about_files([*done, *extra])})
    return Report(folder, done, ordered, len(records) - made, len(extra))


def check_names(items: Sequence[Item]) -> None:
    """Raise UserError if there are no items, or two have the same name, or one could not be the name of a file."""
    if not items:
        raise UserError("there is nothing to prepare: no item was found")
    seen: dict[str, Item] = {}
    for item in items:
        parts = PurePosixPath(item.name).parts
        if not parts or item.name.startswith("/") or any(part.startswith(".") for part in parts):
            raise UserError(f"the name {item.name!r} cannot be that of a file to be written ({_files(item)})")
        if twin := seen.get(item.name):
            raise UserError(f"two items are named {item.name!r}: {_files(twin)} and {_files(item)}; keep or rename one")
        seen[item.name] = item


def _files(item: Item) -> str:
    return ", ".join(str(path) for path in (item.photo, *item.annotations) if path is not None) or "without files"


def _check_continued(folder: Folder, records: dict[str, Record], work: Work) -> None:
    known = [(records[item.name], split) for item, split in work if item.name in records]
    moved = [f"{record.name} ({record.split}, now {split})" for record, split in known if record.split != split]
    if moved:
        raise UserError(
            f"--out {folder.out}: {len(moved)} item(s) are in another split there, as {moved[0]}: the data set has "
            "changed since; give a new folder"
        )


@dataclass(frozen=True)
class _Task:
    maker: Maker
    out: Path

    def run(self, item: Item, split: str) -> Record | Failure:
        """Make and write one item; only what the disk refuses is raised."""
        try:
            made = self.maker.make(item, split)
        except UserError as error:
            return Failure(item.name, str(error))
        except Exception as error:  # whatever a damaged file makes a decoder raise: the other items go on
            return Failure(item.name, f"{_files(item)}: {type(error).__name__}: {error}")
        for name, data in made.files.items():
            write_bytes(self.out / name, data)
        return made.record


def _results(task: _Task, work: Work, workers: int) -> Iterator[Record | Failure]:
    """Yield what becomes of each item, as it comes."""
    if workers == 1:
        for item, split in work:
            yield task.run(item, split)
        return
    pending: set[Future[Record | Failure]] = set()
    pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), _start, (task,))
    try:
        for item, split in work:
            pending.add(pool.submit(_run, item, split))
            if len(pending) >= workers * _AHEAD:
                done, pending = wait(pending, return_when=FIRST_COMPLETED)
                yield from (each.result() for each in done)
        while pending:
            done, pending = wait(pending, return_when=FIRST_COMPLETED)
            yield from (each.result() for each in done)
    except BrokenProcessPool as error:
        raise UserError(
            "a worker process died, perhaps because memory ran out; run the same command again with fewer --workers"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


_task: _Task | None = None


def _start(task: _Task) -> None:
    """Begin a worker: it leaves Ctrl-C to the parent, and ends with it."""
    global _task  # noqa: PLW0603 - the one place for what all items of a worker share
    _task = task
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    cv2.setNumThreads(1)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _run(item: Item, split: str) -> Record | Failure:
    assert _task is not None
    return _task.run(item, split)


@contextlib.contextmanager
def _stoppable() -> Iterator[None]:
    """Let SIGTERM stop as Ctrl-C does, so that no worker is left alone."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: Any) -> None:
        raise Stopped(number, "stopped; run the same command again to go on")

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
