"""What is said at the end: items by split, pixels and pictures by class, findings and failures."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hdtrans.common.classes import ClassTable
from hdtrans.prepare.options import SPLITS
from hdtrans.prepare.writing.making import Record
from hdtrans.prepare.writing.manifest import Folder

_MOST_CLASSES = 20
_MOST_SHOWN = 10
_MOST_FAILURES = 50
_LONGEST_NAME = 32


@dataclass(frozen=True)
class Report:
    """What a run did.

    Attributes:
        folder: that was written.
        done: the records of the items asked for that are finished.
        failures: why items could not be made, by split and name.
        new: how many items this run made.
        extra: how many finished items lie in the folder that were not asked for.
    """

    folder: Folder
    done: Sequence[Record]
    failures: Mapping[str, str]
    new: int
    extra: int

    def text(self) -> str:
        """Return the summary."""
        parts = [self._splits()]
        if self.folder.classes is not None and self.done:
            parts.append(_classes(self.done, self.folder.classes))
        parts += [self._findings(), self._failures()]
        total = len(self.done) + len(self.failures)
        old = len(self.done) - self.new
        again = f" ({old} of them before)" if old else ""
        parts.append(f"{len(self.done)} of {total} items are in {self.folder.out}{again}")
        return "\n\n".join(part for part in parts if part)

    def _splits(self) -> str:
        rows: list[tuple[str, ...]] = [("split", "items", "labels", "instances", "photos", "A/B")]
        for split in SPLITS:
            records = [record for record in self.done if record.split == split]
            has = Counter(file.removeprefix(f"{split}_").split("/")[0] for record in records for file in record.files)
            counts = (len(records), has["label"], has["inst"], has["img"], has["A"])
            if records:
                rows.append((split, *map(str, counts)))
        if len(rows) == 1:
            return ""
        used = [c for c in range(6) if c == 0 or any(row[c] != "0" for row in rows[1:])]
        return table([[row[c] for c in used] for row in rows])

    def _findings(self) -> str:
        notes: dict[str, tuple[str, list[str]]] = {}
        for record in self.done:
            for note in record.notes:
                notes.setdefault(note.partition(":")[0], (note, []))[1].append(record.key)
        with_instances = sum(record.things is not None for record in self.done)
        lines = [f"  {_counted(names)}: {note}" for note, names in list(notes.values())[:_MOST_SHOWN]]
        if len(notes) > _MOST_SHOWN:
            lines.append(f"  and {len(notes) - _MOST_SHOWN} more findings, each in its line of prepare.jsonl")
        if 0 < with_instances < len(self.done):
            lines.append(f"  only {with_instances} of {len(self.done)} items have an instance map")
        if self.folder.classes is not None and self.done and not any(_has_photo(record) for record in self.done):
            lines.append("  no item has a photo: label maps alone can be translated, but train nothing")
        if self.extra:
            lines.append(f"  {self.extra} finished item(s) in the folder were not asked for this time")
        return "\n".join(["findings:", *lines]) if lines else ""

    def _failures(self) -> str:
        if not self.failures:
            return ""
        lines = [f"  {key}: {why}" for key, why in list(self.failures.items())[:_MOST_FAILURES]]
        if len(self.failures) > _MOST_FAILURES:
            lines.append(f"  and {len(self.failures) - _MOST_FAILURES} more; dataset.json lists all of them")
        return "\n".join([f"{len(self.failures)} item(s) FAILED and were left out:", *lines])


def count_classes(records: Sequence[Record], classes: ClassTable) -> dict[str, dict[str, int]]:
    """Return for each class by name (by id where names repeat) its pixels and how many items show it."""
    pixels: Counter[int] = Counter()
    items: Counter[int] = Counter()
    for record in records:
        pixels.update({int(place): count for place, count in record.pixels.items()})
        items.update(int(place) for place in record.pixels)
    unique = len(set(classes.names)) == len(classes)
    return {
        (name if unique else f"{place} {name}"): {"pixels": pixels[place], "items": items[place]}
        for place, name in enumerate(classes.names)
    }


def table(rows: Sequence[Sequence[str]]) -> str:
    """Return lines with columns, the first one to the left."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join([row[0].ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(row[1:], widths[1:], strict=True))])
        for row in rows
    )


def _classes(records: Sequence[Record], classes: ClassTable) -> str:
    counts = count_classes(records, classes)
    total = sum(sum(record.pixels.values()) for record in records)
    present = sorted((n for n in counts if counts[n]["pixels"]), key=lambda n: -counts[n]["pixels"])
    absent = [name for name in counts if not counts[name]["pixels"]]
    rows = [("class", "pixels", "items")]
    rows += [
        (_short(name), f"{100 * counts[name]['pixels'] / total:.2f} %", str(counts[name]["items"]))
        for name in present[:_MOST_CLASSES]
    ]
    ignored = total - sum(count["pixels"] for count in counts.values())
    if ignored:
        having = sum(str(classes.ignore) in record.pixels for record in records)
        rows.append((f"(ignored, {classes.ignore})", f"{100 * ignored / total:.2f} %", str(having)))
    lines = [table(rows)]
    if len(present) > _MOST_CLASSES:
        lines.append(f"and {len(present) - _MOST_CLASSES} more classes")
    if absent:
        more = f" and {len(absent) - _MOST_SHOWN} more" if len(absent) > _MOST_SHOWN else ""
        lines.append(f"no pixel of: {', '.join(_short(name) for name in absent[:_MOST_SHOWN])}{more}")
    return "\n".join(lines)


def _has_photo(record: Record) -> bool:
    return any(file.startswith(f"{record.split}_img/") for file in record.files)


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 3]}..."


def _counted(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{len(names)} items ({names[0]}, ...)"
