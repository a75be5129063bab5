"""Write a prepared folder: all items in parallel, each whole or not at all, continued where it was stopped."""

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import cv2
from tqdm import tqdm

from hdtrans.common.cores import cores
from hdtrans.common.errors import Stopped, UserError
from hdtrans.common.files import write_bytes
from hdtrans.prepare.sources.source import Item
from hdtrans.prepare.writing.making import Maker, Record
from hdtrans.prepare.writing.manifest import Folder, about_files
from hdtrans.prepare.writing.splits import Work, limited
from hdtrans.prepare.writing.summary import Report, count_classes

_AHEAD = 4  # items waiting for each process


@dataclass(frozen=True)
class Failure:
    """An item that could not be made, by its key, and why."""

    key: str
    why: str


def write_items(
    folder: Folder, maker: Maker, work: Work, workers: int | None = None, limit: int | None = None
) -> Report:
    """Make the files of all items that are not there yet, and dataset.json; return what was done.

    An item that fails is reported, and the rest done; it is tried again the next time.

    Args:
        folder: where to; it is checked first.
        maker: makes the files of one item.
        work: all items and their splits.
        workers: processes; 1 is this one, None one for each core.
        limit: how many items of each split are made, or None for all.

    Raises:
        UserError: the folder holds something else, or cannot be written.
        Stopped: on SIGTERM or Ctrl-C, after the items in work.
    """
    check_names(work)
    folder.check()
    folder.claim()
    records = folder.finished()
    _check_continued(folder, records, work)
    work = limited(work, limit)
    left = [(item, split) for item, split in work if _key(item, split) not in records]
    count = min(workers or cores(), max(1, len(left)))
    failures: dict[str, str] = {}
    before = len(records)
    with _stoppable(), tqdm(total=len(work), initial=len(work) - len(left), unit="item", disable=None) as bar:
        for result in _results(_Task(maker, folder.out), left, count):
            if isinstance(result, Failure):
                failures[result.key] = result.why
            else:
                folder.add(result)
                records[result.key] = result
            bar.update()
    keys = [_key(item, split) for item, split in work]
    done = [records[key] for key in keys if key in records]
    wanted = set(keys)
    everything = [*done, *(record for key, record in records.items() if key not in wanted)]
    failed = {key: failures[key] for key in keys if key in failures}
    counts = {} if folder.classes is None else count_classes(everything, folder.classes)
    folder.write({"pixels": counts, "failed": failed, "files": about_files(everything)})
    return Report(folder, done, failed, len(records) - before, len(everything) - len(done))


def _key(item: Item, split: str) -> str:
    return f"{split}/{item.name}"


def check_names(work: Work) -> None:
    """Raise UserError if there are no items, or two of a split have one name, or it could not be that of a file."""
    if not work:
        raise UserError("there is nothing to prepare: no item was found")
    seen: dict[str, Item] = {}
    for item, split in work:
        parts = PurePosixPath(item.name).parts
        if not parts or item.name.startswith("/") or any(part.startswith(".") for part in parts):
            raise UserError(f"the name {item.name!r} cannot be that of a file to be written ({_files(item)})")
        if twin := seen.get(_key(item, split)):
            raise UserError(
                f"two items of {split} are named {item.name!r}: {_files(twin)}, and {_files(item)}; keep or rename one"
            )
        seen[_key(item, split)] = item


def _files(item: Item) -> str:
    return ", ".join(str(path) for path in (item.photo, *item.annotations) if path is not None) or "without files"


def _check_continued(folder: Folder, records: dict[str, Record], work: Work) -> None:
    """Raise UserError if an item that is finished is no longer in the data set, or in another split."""
    if gone := sorted(records.keys() - {_key(item, split) for item, split in work}):
        raise UserError(
            f"--out {folder.out}: holds {len(gone)} item(s) that the data set has not, or has in another split, as "
            f"{gone[0]}: it has changed since; give a new folder"
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
            return Failure(_key(item, split), str(error))
        except Stopped:
            raise
        except Exception as error:  # whatever a damaged file makes a decoder raise: the other items go on
            return Failure(_key(item, split), f"{_files(item)}: {type(error).__name__}: {error}")
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
    """Let SIGTERM and Ctrl-C end the run with its workers, after the items in work."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: Any) -> None:
        raise Stopped(number, "stopped; run the same command again to go on")

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
