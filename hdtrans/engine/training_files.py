"""Training files of a run: their names, sizes and times, so that a run that goes on notices exchanged files."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from hdtrans.common.errors import UserError, shown
from hdtrans.common.files import write_text
from hdtrans.data.folders import SampleFiles
from hdtrans.data.io.header import open_regular
from hdtrans.data.io.shards import find_member
from hdtrans.data.io.tables import read_row, split_row

_NAME = "training_files.json"
_MOST_SHOWN = 10
_THREADS = 8  # mostly waiting for the disk


class SamplesChanged(UserError):
    """Refusal to continue a run whose samples are no longer the same.

    Args:
        root: training folder.
        was, now: names of the samples that the run was started with, and of those there are.

    Attributes:
        new, gone: names of samples that the run was not started with, and of those that are missing.
    """

    def __init__(self, root: Path, was: Sequence[str], now: Sequence[str]) -> None:
        before, present = set(was), set(now)
        new = self.new = tuple(name for name in now if name not in before)
        gone = self.gone = tuple(name for name in was if name not in present)
        parts = [_listed(f"{len(names)} {word}", names) for word, names in (("new", new), ("missing", gone)) if names]
        listed = "\n".join(parts)
        finding = f"the run was started with {len(was)} training files and now there are {len(now)}, not the same ones"
        super().__init__(
            f"{finding}, so it cannot go on as it would have:\n{listed}\n"
            "Bring the files back, or start a new run from its weights (init_from, out)",
            argument="data.root",
            path=root,
        )


@dataclass(frozen=True)
class TrainingFiles:
    """Samples of a run and the state of their files.

    Attributes:
        root: absolute path of the training folder.
        samples: names of the samples, in their order.
        files: (bytes, seconds of the last change since 1970) of each file, by its path in the folder. A file in a shard
            has the time of the shard; rows of a table are that file.
        digests: SHA-256 of the content of each file or table row, if it was asked for.
    """

    root: str
    samples: Sequence[str]
    files: Mapping[str, Sequence[int]]
    digests: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, root: Path, samples: Sequence[SampleFiles], content: bool = False) -> TrainingFiles:
        """Look up the files of these samples, and read them for `content`; those that cannot be are left out."""
        start, files = f"{os.fspath(root)}{os.sep}", dict[str, tuple[int, int]]()
        paths = [path for sample in samples for path in sample.paths.values()]
        for path in paths:
            try:
                if (found := find_member(path)) is not None:
                    shard, file, member = found
                    files[file] = member.size, int(os.stat(shard).st_mtime)
                    continue
                path, state = _state(path)
            except OSError:
                continue
            files[path.removeprefix(start)] = state.st_size, int(state.st_mtime)
        digests = {}
        with ThreadPoolExecutor(_THREADS) as threads:
            for path, digest in zip(paths, threads.map(_digest, paths if content else ()), strict=False):
                if digest:
                    digests[path.removeprefix(start)] = digest
        return cls(os.path.abspath(root), tuple(sample.name for sample in samples), files, digests)

    @classmethod
    def read(cls, run: Path) -> TrainingFiles | None:
        """Return the files that a run was last started with; None for a run that recorded none."""
        try:
            values: Any = json.loads((run / _NAME).read_text(encoding="utf-8"))
            digests = dict(values.get("digests", {}))
            return cls(str(values["root"]), tuple(values["samples"]), dict(values["files"]), digests)
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def write(self, run: Path) -> None:
        """Record them in the run folder."""
        write_text(run / _NAME, json.dumps(asdict(self), separators=(",", ":")))

    def check(self, before: TrainingFiles, warn: Callable[[str], None]) -> None:
        """Compare with the files that the run was last started with; files of another content are warned of.

        Contents are compared where both are known, else sizes and times. In another folder, a copy, times say nothing
        and are not compared.

        Raises:
            SamplesChanged: there are other samples.
        """
        if sorted(self.samples) != sorted(before.samples):
            raise SamplesChanged(Path(self.root), before.samples, self.samples)
        changes = []
        known = before.digests.keys() & self.digests.keys()
        for name in sorted(known):
            if before.digests[name] != self.digests[name]:
                changes.append(f"{shown(name)}: has another content")
        for name in dict.fromkeys((*before.files, *self.files)):
            if name in known:
                continue
            old, new = before.files.get(name), self.files.get(name)
            if old is None or new is None:
                changes.append(f"{shown(name)}: {'new' if old is None else 'missing'}")
            elif old[0] != new[0]:
                changes.append(f"{shown(name)}: {new[0]:,} bytes, was {old[0]:,}")
            elif old[1] != new[1] and self.root == before.root:
                changes.append(f"{shown(name)}: changed {_date(new[1])}, was {_date(old[1])}")
        if changes:
            head = f"warning: data.root={shown(self.root)}: {len(changes)} of {len(self.files)} training files"
            warn(_listed(f"{head} changed since the run was last started, which goes on with them", changes))


def _digest(path: str) -> str:
    """Return the SHA-256 of a file, or of the numbers of a table row, in hex; '' if it cannot be read."""
    try:
        if split_row(path)[0]:
            return hashlib.sha256(read_row(path).tobytes()).hexdigest()
        file, _ = open_regular(path)
        with file:
            return hashlib.sha256(file.read()).hexdigest()
    except (UserError, OSError):
        return ""


def _state(path: str) -> tuple[str, os.stat_result]:
    """Return a path and its state; of a row of a table, those of the table."""
    try:
        return path, os.stat(path)
    except NotADirectoryError:
        table = os.path.dirname(path)
        return table, os.stat(table)


def _listed(head: str, lines: Sequence[str]) -> str:
    more = [f"and {len(lines) - _MOST_SHOWN} more"] if len(lines) > _MOST_SHOWN else []
    return "\n  ".join([f"{head}:", *map(shown, lines[:_MOST_SHOWN]), *more])


def _date(seconds: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))
