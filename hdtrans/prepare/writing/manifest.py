"""Metadata of a prepared folder: dataset.json, and a manifest (prepare.jsonl) with one line per finished item."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hdtrans.common.classes import ClassTable
from hdtrans.common.errors import UserError
from hdtrans.common.files import append_line, write_text
from hdtrans.common.folder_lock import holds_files
from hdtrans.prepare.writing.making import Record

TABLE = "dataset.json"
MANIFEST = "prepare.jsonl"
_SETTINGS = "prepared"


@dataclass(frozen=True)
class PreparedFolder:
    """A folder being prepared.

    Attributes:
        out: output folder.
        classes: class table of its label maps, or None without label maps.
        settings: format, data set and all options that affect the files; must be the same on resume.
    """

    out: Path
    classes: ClassTable | None
    settings: Mapping[str, Any]

    def check(self) -> None:
        """Raise UserError unless the folder is new, empty, or started with the same settings and classes."""
        if self.out.exists() and not self.out.is_dir():
            raise UserError("is a file; give a new or an empty folder", argument="out", path=self.out)
        if not self.out.is_dir() or not holds_files(self.out):
            return
        found = self._read()
        before = found.get(_SETTINGS)
        if not isinstance(before, dict):
            finding = "contains files not written by hdtrans prepare; give a new folder"
            raise UserError(finding, argument="out", path=self.out)
        own = self.classes.to_dict() if self.classes else {}
        differences = [
            f"\n  {name}: was {_json_text(old)}, now {_json_text(new)}"
            for name, old, new in [
                *_differences(before, self.settings),
                *_differences({name: found.get(name) for name in own}, own),
            ]
        ]
        if differences:
            raise UserError(
                "was prepared with other settings; give a new folder, or the same options:" + "".join(differences),
                argument="out",
                path=self.out,
            )

    def create(self) -> None:
        """Write dataset.json with the settings into a new folder; call `check` first."""
        if not (self.out / TABLE).exists():
            self.write({})

    def write(self, more: Mapping[str, Any]) -> None:
        """Write dataset.json: the classes, the settings and the keys of `more`."""
        extra = {_SETTINGS: dict(self.settings), **more}
        if self.classes is not None:
            self.classes.write(self.out / TABLE, extra)
        else:
            write_text(self.out / TABLE, json.dumps(extra, indent=2, ensure_ascii=False) + "\n")

    def finished(self) -> dict[str, Record]:
        """Return the records of items whose files all exist, by key; an incomplete last line is removed."""
        path = self.out / MANIFEST
        try:
            text = path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return {}
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"cannot be read: {error}; remove it to prepare all items again", path=path) from error
        whole, _, rest = text.rpartition("\n")
        if rest:
            write_text(path, f"{whole}\n" if whole else "")
        records: dict[str, Record] = {}
        for number, line in enumerate(whole.splitlines(), start=1):
            try:
                record = Record(**json.loads(line))
            except (ValueError, TypeError) as error:
                raise UserError(
                    f"{path}: line {number}: is damaged: {error}; remove the file to prepare all items again"
                ) from error
            records[record.key] = record
        return {key: r for key, r in records.items() if all((self.out / file).is_file() for file in r.files)}

    def add(self, record: Record) -> None:
        """Append a finished item to the manifest."""
        append_line(self.out / MANIFEST, json.dumps(record.to_dict(), ensure_ascii=False, separators=(",", ":")))

    def _read(self) -> dict[str, Any]:
        try:
            values = json.loads((self.out / TABLE).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return values if isinstance(values, dict) else {}


def item_sources(records: Sequence[Record]) -> dict[str, list[str]]:
    """Return the photo and annotation paths per item key, relative to the data set if inside."""
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


def _json_text(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 100 else f"{text[:97]}..."
