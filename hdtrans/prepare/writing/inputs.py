"""Tell by content which finished items are up to date: digests of their input files, kept in the manifest."""

import hashlib
import json
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from hdtrans.common.hashing import file_digest
from hdtrans.prepare.sources.source import Item, PairSource, SharedDocuments, Source
from hdtrans.prepare.writing.making import Record, Stamp, relative_name, source_names

_SETTLED = 2.0  # seconds after which another change of a file gets another time, on any file system


@dataclass(frozen=True)
class Inputs:
    """The files that items are made from, compared with those of an earlier run; picklable.

    Where size and times of a file are those in its stamp, its bytes are not read again. Times of a file that changed
    less than two seconds before are not trusted. Of annotation files that hold several items, each item's own part is
    compared.

    Attributes:
        source: the data set.
        root: its folder.
        out: output folder.
        option_files: digests of files given as options, such as a class list, by option.
    """

    source: Source | PairSource
    root: Path
    out: Path
    option_files: Mapping[str, str]
    _digests: dict[Path, str] = field(default_factory=dict, compare=False)

    def stamps(self, item: Item) -> tuple[dict[str, Stamp], str]:
        """Return the stamps of an item's files, and the digest of its part of others; taken before they are read."""
        return {name: self._stamp(path) for name, path in self._files(item)}, self._part(item)

    def lost(self, item: Item, record: Record) -> str:
        """Return an input of a finished item that is gone, if nothing else changed and so the item may stay; or ''."""
        files = dict(self._files(item))
        before = list(record.inputs) or record.sources
        gone = [name for name, path in files.items() if not path.exists()]
        gone += [name for name in before if name not in files] if len(files) < len(before) else []
        left = {name: path for name, path in files.items() if name not in gone}
        return gone[0] if gone and self._unchanged(left, item, record) else ""

    def up_to_date(self, item: Item, record: Record) -> Record | None:
        """Return the record of a finished item, with new stamps where only times changed; None if an input changed."""
        files = dict(self._files(item))
        known = record.inputs.keys() if record.inputs else set(record.sources)
        if known != (files.keys() if record.inputs else set(source_names(item, self.root))):
            return None
        stamps = {name: [record.inputs[name][0], *_look(path)] for name, path in files.items()} if record.inputs else {}
        if not self._unchanged(files, item, record):
            return None
        settled = all(_trusted(stamp, files[name]) for name, stamp in stamps.items())
        return replace(record, inputs=stamps) if settled and stamps != record.inputs else record

    def _unchanged(self, files: Mapping[str, Path], item: Item, record: Record) -> bool:
        """Compare files by content; by times with records of older versions, which have no digests."""
        if not record.inputs:
            newest = max((path.stat().st_mtime_ns for path in files.values() if path.exists()), default=0)
            return newest <= min((self.out / file).stat().st_mtime_ns for file in record.files)
        if record.table != self.table or not files.keys() <= record.inputs.keys():
            return False
        changed = [name for name, path in files.items() if not _trusted(record.inputs[name], path)]
        if any(self._stamp(files[name])[0] != record.inputs[name][0] for name in changed):
            return False
        return not any(self._is_shared(files[name]) for name in changed) or self._part(item) == record.part

    @cached_property
    def table(self) -> str:
        """Return a digest of what all items depend on: the data set's class table, and files given as options."""
        classes = None if isinstance(self.source, PairSource) else self.source.classes.to_dict()
        return _digest([classes, dict(self.option_files)])

    def _files(self, item: Item) -> Iterator[tuple[str, Path]]:
        for path in (item.photo, *item.annotations, *item.inputs):
            if path is not None:
                yield relative_name(path, self.root), path

    def _stamp(self, path: Path) -> Stamp:
        look = _look(path)
        return ["" if self._is_shared(path) or not look else self._file_digest(path), *look]

    def _is_shared(self, path: Path) -> bool:
        return isinstance(self.source, SharedDocuments) and path in self.source.shared

    def _file_digest(self, path: Path) -> str:
        """Return a file's digest; that of a file of all items, such as a colour table, is computed once."""
        if path not in self._digests:
            try:
                self._digests[path] = file_digest(path)
            except OSError:  # reading the item reports it
                return ""
        return self._digests[path]

    def _part(self, item: Item) -> str:
        return _digest(self.source.part(item)) if isinstance(self.source, SharedDocuments) else ""


def _look(path: Path) -> list[int]:
    """Return size, mtime and ctime in ns; [] without such a file, and times of 0 if they are not to be trusted."""
    try:
        state = os.stat(path)
    except OSError:
        return []
    settled = max(state.st_mtime, state.st_ctime) < time.time() - _SETTLED
    return [state.st_size, state.st_mtime_ns if settled else 0, state.st_ctime_ns if settled else 0]


def _trusted(stamp: Stamp, path: Path) -> bool:
    """Return True if a file's size and times are those of its stamp, and may be trusted."""
    return stamp[1:] == _look(path) and len(stamp) == 4 and stamp[2] != 0


def _digest(values: object) -> str:
    text = json.dumps(values, sort_keys=True)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
