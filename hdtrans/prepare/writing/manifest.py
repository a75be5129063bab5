"""What a prepared folder says of itself: dataset.json, and a journal with a line for each finished item."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hdtrans.common.classes import ClassTable
from hdtrans.common.errors import UserError
from hdtrans.common.files import PART_SUFFIX, append_line, write_text
from hdtrans.prepare.writing.making import Record

TABLE = "dataset.json"
JOURNAL = "prepare.jsonl"
_MARK = "prepared"


@dataclass(frozen=True)
class Folder:
    """A folder that is prepared.

    Attributes:
        out: the folder.
        classes: of its label maps, or None where there are none.
        mark: how it is made: format, source and every option that changes a file.
    """

    out: Path
    classes: ClassTable | None
    mark: Mapping[str, Any]

    def check(self) -> None:
        """Raise UserError unless the folder is new, empty, or one that was begun with the same mark and classes."""
        if self.out.exists() and not self.out.is_dir():
            raise UserError(f"--out {self.out}: is a file; give a new or an empty folder")
        if not self.out.is_dir() or all(each.name.endswith(PART_SUFFIX) for each in self.out.iterdir()):
            return
        found = self._read()
        there = found.get(_MARK)
        if not isinstance(there, dict):
            raise UserError(f"--out {self.out}: holds files that hdtrans prepare did not write; give a new folder")
        own = self.classes.to_dict() if self.classes else {}
        differences = [
            f"\n  {name}: {_shown(before)} there, {_shown(now)} now"
            for name, before, now in [
                *_differences(there, self.mark),
                *_differences({name: found.get(name) for name in own}, own),
            ]
        ]
        if differences:
            raise UserError(
                f"--out {self.out}: was made in another way; give a new folder, or the same options:"
                + "".join(differences)
            )

    def claim(self) -> None:
        """Mark a new folder; `check` comes first."""
        if not (self.out / TABLE).exists():
            self.write({})

    def write(self, more: Mapping[str, Any]) -> None:
        """Write dataset.json: the classes, the mark, and what else is known."""
        extra = {_MARK: dict(self.mark), **more}
        if self.classes is not None:
            self.classes.write(self.out / TABLE, extra)
        else:
            write_text(self.out / TABLE, json.dumps(extra, indent=2, ensure_ascii=False) + "\n")

    def finished(self) -> dict[str, Record]:
        """Return the records of items whose files are all there, by their keys; a line that was cut off is removed."""
        path = self.out / JOURNAL
        try:
            text = path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return {}
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"{path}: cannot be read: {error}; remove it to make every item again") from error
        whole, _, rest = text.rpartition("\n")
        if rest:
            write_text(path, f"{whole}\n" if whole else "")
        records: dict[str, Record] = {}
        for number, line in enumerate(whole.splitlines(), start=1):
            try:
                record = Record(**json.loads(line))
            except (ValueError, TypeError) as error:
                raise UserError(
                    f"{path}: line {number} is damaged: {error}; remove the file to make every item again"
                ) from error
            records[record.key] = record
        return {key: r for key, r in records.items() if all((self.out / file).is_file() for file in r.files)}

    def add(self, record: Record) -> None:
        """Add a finished item to the journal."""
        append_line(self.out / JOURNAL, json.dumps(record.to_dict(), ensure_ascii=False, separators=(",", ":")))

    def _read(self) -> dict[str, Any]:
        try:
            values = json.loads((self.out / TABLE).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return values if isinstance(values, dict) else {}


def about_files(records: Sequence[Record]) -> dict[str, list[str]]:
    """Return where each item came from: the paths, in the data set's folder, of its photo and annotations."""
    return {record.key: record.sources for record in records}


def _differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    found = []
    for name in {**before, **now}:
        old, new = before.get(name), now.get(name)
        if isinstance(old, dict) and isinstance(new, dict):
            found += [(f"{name}.{inner}", *values) for inner, *values in _differences(old, new)]
        elif old != new:
            found.append((name, old, new))
    return found


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 100 else f"{text[:97]}..."
