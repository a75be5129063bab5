"""Write a prepared folder: items in parallel processes, each complete or absent; a stopped run is resumed."""

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from copy import copy
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import cv2

from hdtrans.common.cores import cores
from hdtrans.common.errors import Advice, Stopped, UserError, shown
from hdtrans.common.files import write_bytes
from hdtrans.common.progress import progress
from hdtrans.prepare.sources.class_names import likeness_notes
from hdtrans.prepare.sources.source import Item, Noted
from hdtrans.prepare.writing.inputs import Inputs
from hdtrans.prepare.writing.making import Maker, Record
from hdtrans.prepare.writing.manifest import OPTION_FILES, PreparedFolder, item_sources, short_json
from hdtrans.prepare.writing.splits import SplitItems, limit_per_split
from hdtrans.prepare.writing.summary import Report, count_classes

_QUEUED_PER_WORKER = 4  # items


@dataclass(frozen=True)
class Failure:
    """A failed item: its key (`split/name`) and the error, or a sentence on one that is no mistake of the user."""

    key: str
    error: UserError | str


def write_items(
    folder: PreparedFolder, maker: Maker, items: SplitItems, workers: int | None = None, limit: int | None = None
) -> Report:
    """Write the files of all unfinished items, and dataset.json.

    A failed item is reported and does not stop the others; the next run tries it again.

    Args:
        folder: output folder; checked first.
        maker: builder of an item's files.
        items: all items with their splits.
        workers: number of processes; 1 uses this one, None one per core.
        limit: largest number of items per split, or None for all.

    Raises:
        UserError: the folder contains other files, or cannot be written.
        Stopped: on SIGTERM or Ctrl-C, after the items in progress.
    """
    check_names(items)
    folder.check()
    notes = _set_notes(folder, maker)
    folder.create()
    records = folder.finished()
    _check_continued(folder, records, items)
    items = limit_per_split(items, limit)
    inputs = Inputs(maker.source, maker.root, folder.out, folder.settings.get(OPTION_FILES, {}))
    changed, lost = _remove_outdated(folder, records, items, inputs)
    notes += lost
    left = [(item, split) for item, split in items if _key(item, split) not in records]
    count = min(workers or cores(), max(1, len(left)))
    failures: dict[str, UserError | str] = {}
    before = len(records)
    with (
        _stop_on_signal() as check_stop,
        progress(total=len(items), done=len(items) - len(left), unit="item") as bar,
        contextlib.closing(_run_all(_Task(maker, folder.out, inputs), left, count)) as results,
    ):
        for result in results:
            if isinstance(result, Failure):
                failures[result.key] = result.error
            else:
                folder.add(result)
                records[result.key] = result
            bar.update()
            check_stop()
    keys = [_key(item, split) for item, split in items]
    done = [records[key] for key in keys if key in records]
    requested = set(keys)
    everything = [*done, *(record for key, record in records.items() if key not in requested)]
    failed = {key: failures[key] for key in keys if key in failures}
    counts = {} if folder.classes is None else count_classes(everything, folder.classes)
    messages = {key: str(error) for key, error in failed.items()}
    folder.write({"pixels": counts, "failed": messages, "files": item_sources(everything)})
    new, extra = len(records) - before, len(everything) - len(done)
    again = sum(key in records for key in changed)
    wanted = [item.wanted for item, split in items if item.wanted and _key(item, split) in records]
    return Report(folder, done, failed, new, extra, again, notes, wanted)


def _set_notes(folder: PreparedFolder, maker: Maker) -> list[str]:
    """Return the findings about the whole data set."""
    notes = list(maker.source.notes) if isinstance(maker.source, Noted) else []
    if folder.classes is not None:
        notes += likeness_notes(folder.classes.names)
    return notes


def _remove_outdated(
    folder: PreparedFolder, records: dict[str, Record], items: SplitItems, inputs: Inputs
) -> tuple[list[str], list[str]]:
    """Remove the files and records of finished items whose inputs changed; return their keys, and notes.

    Items of which a file is gone are kept.

    Raises:
        UserError: the class table or a file given as an option changed, but the limit leaves items of the old one.
    """
    changed, lost = [], []
    differences = folder.table_differences()
    for item, split in items:
        if (record := records.get(key := _key(item, split))) is None:
            continue
        if gone := inputs.lost(item, record):
            lost.append(f"{shown(key)}: {shown(gone)}")
            continue
        current = None if differences and not record.table else inputs.up_to_date(item, record)
        if current is None:
            changed.append(key)
        elif current is not record:
            folder.add(current)
            records[key] = current
    kept = records.keys() - {_key(item, split) for item, split in items}
    if differences and kept:
        name, old, new = differences[0]
        raise UserError(
            f"the class table changed ({name}: was {short_json(old)}, now {short_json(new)}), and the "
            f"limit leaves {len(kept)} finished item(s) of the old one, such as {shown(min(kept))}",
            argument="limit",
            advice=[Advice("limit", None)],
        )
    for key in changed:
        folder.remove(records.pop(key))
    notes = []
    if differences:
        folder.write({})
        changes = ", ".join(name for name, _, _ in differences)
        notes.append(f"the class table, or a file given as an option, changed: {changes}")
    if lost:
        count = len(lost)
        notes.append(f"{count} finished item(s) are kept as they are, as a source left the data set: {lost[0]}")
    return changed, notes


def _key(item: Item, split: str) -> str:
    return f"{split}/{item.name}"


def check_names(items: SplitItems) -> None:
    """Raise UserError if there are no items, a name is no valid file name, or two items of a split share one."""
    if not items:
        raise UserError("no item was found; give a data set of this format", argument="root")
    seen: dict[str, Item] = {}
    for item, split in items:
        parts = PurePosixPath(item.name).parts
        if not parts or item.name.startswith("/") or any(part.startswith(".") for part in parts):
            raise UserError(
                f"{_files_text(item)}: the name {item.name!r} is not allowed as an output file name; rename it"
            )
        if twin := seen.get(_key(item, split)):
            raise UserError(
                f"{_files_text(twin)} and {_files_text(item)}: both are named {item.name!r} in {split}; "
                "rename or remove one"
            )
        seen[_key(item, split)] = item


def _files_text(item: Item) -> str:
    return ", ".join(str(path) for path in (item.photo, *item.annotations) if path is not None) or "without files"


def _check_continued(folder: PreparedFolder, records: dict[str, Record], items: SplitItems) -> None:
    """Raise UserError if a finished item is no longer in the data set, or changed its split."""
    if gone := sorted(records.keys() - {_key(item, split) for item, split in items}):
        raise UserError(
            f"contains {len(gone)} item(s) that are no longer in the data set, or in another split, such as "
            f"{shown(gone[0])}",
            argument="out",
            path=folder.out,
            advice=["remove their files there", "give a new folder"],
        )


@dataclass(frozen=True)
class _Task:
    maker: Maker
    out: Path
    inputs: Inputs

    def run(self, item: Item, split: str) -> Record | Failure:
        """Build and write one item; errors become a `Failure`, except write errors, which are raised."""
        try:
            stamps, part = self.inputs.stamps(item)
            made = self.maker.make(item, split)
        except UserError as error:
            return Failure(_key(item, split), copy(error))  # without a traceback, which would keep arrays alive
        except Exception as error:  # decoders raise anything on damaged files; the other items continue
            return Failure(_key(item, split), f"{_files_text(item)}: {type(error).__name__}: {error}")
        for name, data in made.files.items():
            write_bytes(self.out / name, data)
        return replace(made.record, inputs=stamps, part=part, table=self.inputs.table)


def _run_all(task: _Task, items: SplitItems, workers: int) -> Generator[Record | Failure]:
    """Yield the result of each item in order of completion."""
    if workers == 1:
        for item, split in items:
            yield task.run(item, split)
        return
    pending: set[Future[Record | Failure]] = set()
    pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), _init_worker, (task,))
    try:
        for item, split in items:
            pending.add(pool.submit(_run_item, item, split))
            if len(pending) >= workers * _QUEUED_PER_WORKER:
                done, pending = wait(pending, return_when=FIRST_COMPLETED)
                yield from (each.result() for each in done)
        while pending:
            done, pending = wait(pending, return_when=FIRST_COMPLETED)
            yield from (each.result() for each in done)
    except BrokenProcessPool as error:
        raise UserError(
            "a worker process died, possibly out of memory; run the same again with fewer",
            advice=[Advice("workers", max(1, workers // 2))],
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


_task: _Task | None = None


def _init_worker(task: _Task) -> None:
    """Initialise a worker: Ctrl-C is handled by the parent, and the worker exits with it."""
    global _task  # noqa: PLW0603 - sent once per worker, not once per item
    _task = task
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    cv2.setNumThreads(1)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _run_item(item: Item, split: str) -> Record | Failure:
    assert _task is not None
    return _task.run(item, split)


@contextlib.contextmanager
def _stop_on_signal() -> Iterator[Callable[[], None]]:
    """Yield a function, called after each item, that raises Stopped once SIGTERM or Ctrl-C came.

    The handler raises nothing itself: in the middle of the pool's work, above all when a second signal comes while it
    shuts down, an exception can leave workers that wait for ever.
    """
    came: list[int] = []

    def check() -> None:
        if came:
            raise Stopped(came[0], "stopped; run the same command again to resume")

    if threading.current_thread() is not threading.main_thread():
        yield check
        return
    stop_signals = signal.SIGTERM, signal.SIGINT
    before = {number: signal.signal(number, lambda number, frame: came.append(number)) for number in stop_signals}
    try:
        yield check
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
