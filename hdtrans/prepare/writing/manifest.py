"""Metadata of a prepared folder: dataset.json, and a manifest (prepare.jsonl) with one line per finished item."""

import json
import re
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
OPTION_FILES = "format_files"
"""Key of the settings with the digests of files given as options, such as a class list."""

_SETTINGS = "prepared"
_SURROGATES = re.compile("[\ud800-\udfff]")


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
        """Raise UserError unless the folder is new, empty, without any item yet, or started with the same settings."""
        if self.out.exists() and not self.out.is_dir():
            raise UserError("is a file; give a new or an empty folder", argument="out", path=self.out)
        if not self.out.is_dir() or not holds_files(self.out):
            return
        found = self._read()
        before = found.get(_SETTINGS)
        if not isinstance(before, dict):
            finding = "contains files not written by hdtrans prepare; give a new folder"
            raise UserError(finding, argument="out", path=self.out)
        if (differences := _differences(_typed(before), _typed(self.settings))) and self._is_begun():
            lines = [
                f"\n  {name}: was {short_json(old)}, now {short_json(new)}"
                for name, old, new in [*differences, *self.table_differences()]
            ]
            raise UserError(
                "was prepared with other settings; give a new folder, or the same options:" + "".join(lines),
                argument="out",
                path=self.out,
            )

    def table_differences(self) -> list[tuple[str, Any, Any]]:
        """Return key, old and new value where the folder's class table, or the contents of option files, differ."""
        found, own = self._read(), self.classes.to_dict() if self.classes else {}
        if not (before := found.get(_SETTINGS)):
            return []
        files = [{OPTION_FILES: values.get(OPTION_FILES) or {}} for values in (before, self.settings)]
        return [*_differences({name: found.get(name) for name in own}, own), *_differences(*files)]

    def create(self) -> None:
        """Write dataset.json with the settings into a folder without items; call `check` first."""
        if not self._is_begun():
            self.write({})

    def write(self, more: Mapping[str, Any]) -> None:
        """Write dataset.json: the classes, the settings and the keys of `more`."""
        own = self.classes.to_dict() if self.classes else {}
        write_text(self.out / TABLE, json_text({**own, _SETTINGS: dict(self.settings), **more}, indent=2) + "\n")

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
        for number, line in enumerate(whole.split("\n") if whole else (), start=1):
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
        append_line(self.out / MANIFEST, json_text(record.to_dict(), separators=(",", ":")))

    def remove(self, record: Record) -> None:
        """Delete the files of an item whose inputs changed, so that none of them outlives its annotation."""
        for name in record.files:
            try:
                (self.out / name).unlink(missing_ok=True)
            except OSError as error:
                raise UserError(f"cannot be removed: {error.strerror or error}", path=self.out / name) from error

    def _is_begun(self) -> bool:
        """Return True if the folder holds anything besides dataset.json."""
        return self.out.is_dir() and holds_files(self.out, (TABLE,))

    def _read(self) -> dict[str, Any]:
        try:
            values = json.loads((self.out / TABLE).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return values if isinstance(values, dict) else {}


def item_sources(records: Sequence[Record]) -> dict[str, list[str]]:
    """Return the photo and annotation paths per item key, relative to the data set if inside."""
    return {record.key: record.sources for record in records}


def _typed(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings without the contents of files, which decide item by item what is made anew."""
    return {name: value for name, value in settings.items() if name != OPTION_FILES}


def _differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    found = []
    for name in {**before, **now}:
        old, new = before.get(name), now.get(name)
        if isinstance(old, dict) and isinstance(new, dict):
            found += [(f"{name}.{inner}", *values) for inner, *values in _differences(old, new)]
        elif old != new:
            found.append((name, old, new))
    return found


def json_text(values: Any, **layout: Any) -> str:
    """Return JSON; bytes of file names that are no UTF-8 (lone surrogates) are escaped, so that any reader takes it."""
    text = json.dumps(values, ensure_ascii=False, **layout)
    return _SURROGATES.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def short_json(value: Any) -> str:
    """Return a value as JSON of at most 100 characters, for messages."""
    text = json_text(value)
    return text if len(text) <= 100 else f"{text[:97]}..."
