"""Summary of a preparation: items per split, pixels and items per class, findings, failures."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hdtrans.common.classes import ClassTable
from hdtrans.common.errors import Advice, Spelling, UserError, as_argument, shown
from hdtrans.data.label_ids import mask_finding
from hdtrans.prepare.options import SPLITS
from hdtrans.prepare.writing.making import STRETCHED, Record
from hdtrans.prepare.writing.manifest import MANIFEST, TABLE, PreparedFolder

_MOST_CLASSES = 20
_MOST_SHOWN = 10
_MOST_FAILURES = 50
_LONGEST_NAME = 32


@dataclass(frozen=True)
class Report:
    """Result of preparing a folder.

    Attributes:
        folder: the prepared folder.
        done: records of the requested items that are finished.
        failures: error, or a sentence, per failed item key (`split/name`).
        new: number of items prepared by this run.
        extra: number of finished items in the folder that were not requested.
        again: number of items made anew, as their inputs changed since an earlier run.
        notes: findings about the whole data set.
        wanted: photos that the annotations name and that were not found.
        needs_photos: label maps without any photo are a failure.
    """

    folder: PreparedFolder
    done: Sequence[Record]
    failures: Mapping[str, UserError | str]
    new: int
    extra: int
    again: int = 0
    notes: Sequence[str] = ()
    wanted: Sequence[str] = ()
    needs_photos: bool = False

    @property
    def failed(self) -> bool:
        """True if items failed, or none has its photo."""
        return bool(self.failures) or (self.needs_photos and self._without_photos)

    @property
    def _without_photos(self) -> bool:
        """True if there are label maps, and no photo of any."""
        return self.folder.classes is not None and bool(self.done) and not any(map(_has_photo, self.done))

    def text(self, spelling: Spelling = as_argument) -> str:
        """Return the summary for the terminal, with findings and failures in the words of an interface."""
        parts = [self._splits()]
        if self.folder.classes is not None and self.done:
            parts.append(_classes(self.done, self.folder.classes))
        parts += [self._findings(spelling), self._failures(spelling)]
        total = len(self.done) + len(self.failures)
        old = len(self.done) - self.new
        how = [f"{old} from earlier runs"] if old else []
        how += [f"{self.again} made anew, as their sources changed"] if self.again else []
        again = f" ({', '.join(how)})" if how else ""
        parts.append(f"{len(self.done)} of {total} items are in {shown(self.folder.out)}{again}")
        return printable("\n\n".join(part for part in parts if part))

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

    def _findings(self, spelling: Spelling) -> str:
        notes: dict[str, tuple[str, list[str]]] = {}
        for record in self.done:
            for note in record.notes:
                notes.setdefault(note.partition(":")[0], (note, []))[1].append(record.key)
        with_instances = sum(record.things is not None for record in self.done)
        cropping = {f"{STRETCHED}:": f"{STRETCHED} ({spelling('crop_to_aspect', None)} crops instead):"}
        lines = [f"  {note}" for note in self.notes]
        for note, names in list(notes.values())[:_MOST_SHOWN]:
            start, colon, rest = note.partition(":")
            lines.append(f"  {_item_text(names)}: {cropping.get(start + colon, start + colon)}{rest}")
        if len(notes) > _MOST_SHOWN:
            lines.append(f"  and {len(notes) - _MOST_SHOWN} more findings; all are listed in {MANIFEST}")
        if 0 < with_instances < len(self.done):
            lines.append(f"  only {with_instances} of {len(self.done)} items have an instance map")
        if self.folder.classes is not None and self.done and not _has_classes(self.done, self.folder.classes):
            lines.append("  no item has a pixel of a class")
        if old := sum(not record.inputs for record in self.done):
            lines.append(f"  {old} item(s) are of an older version and were compared by times, not by content")
        lines += self._photo_lines(spelling)
        lines += self._mask_lines(spelling)
        if self.extra:
            lines.append(f"  {self.extra} finished item(s) in the folder were not requested by this run")
        return "\n".join(["findings:", *lines]) if lines else ""

    def _photo_lines(self, spelling: Spelling) -> list[str]:
        """Return the finding that photos are missing, in all splits or in some."""
        if self.folder.classes is None:
            return []
        has = {split: any(_has_photo(r) for r in self.done if r.split == split) for split in SPLITS}
        lacking = [split for split in SPLITS if not has[split] and any(r.split == split for r in self.done)]
        if not self._without_photos:
            return [f"  no item of {split} has a photo" for split in lacking]
        example = f" of {len(self.wanted)} in the annotations, such as {shown(self.wanted[0])}" if self.wanted else ""
        words = f"no item has a photo{example}: the folder can be translated, but not used for training"
        if not self.needs_photos:
            return [f"  {words}"]
        given = "photo_dir" in self.folder.settings.get("format_options", {})
        way = Advice("photo_dir", "DIR").text(spelling) if given else ""
        return [f"  FAILED: {words}; {f'{way}, or ' if way else ''}put the photos where the format has them"]

    def _mask_lines(self, spelling: Spelling) -> list[str]:
        """Return the finding that the label maps are likely masks of grey values, where they are read as ids."""
        options = self.folder.settings.get("format_options", {})
        if self.folder.classes is None or options.get("values", "") is not None:
            return []
        pixels: Counter[int] = Counter()
        for record in self.done:
            pixels.update({int(number): count for number, count in record.pixels.items()})
        if (found := mask_finding(pixels, self.folder.classes.ignore)) is None:
            return []
        if not found.values:
            return [f"  label maps: {found.words}"]
        way = Advice("values", ",".join(map(str, found.values)), "and a new folder, if each value is a class")
        return [f"  WARNING: label maps: {found.words}; {way.text(spelling)}"]

    def _failures(self, spelling: Spelling) -> str:
        if not self.failures:
            return ""
        lines = []
        for key, why in list(self.failures.items())[:_MOST_FAILURES]:
            lines.append(f"  {key}: {why if isinstance(why, str) else why.text(spelling)}")
        if len(self.failures) > _MOST_FAILURES:
            lines.append(f"  and {len(self.failures) - _MOST_FAILURES} more; all are listed in {TABLE}")
        return "\n".join([f"{len(self.failures)} item(s) FAILED and were skipped:", *lines])


def printable(text: str) -> str:
    """Return a text whose lone surrogates, bytes of file names that are no UTF-8, are escaped."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def count_classes(records: Sequence[Record], classes: ClassTable) -> dict[str, dict[str, int]]:
    """Return pixel and item counts per class name, or per `id name` if names repeat."""
    pixels: Counter[int] = Counter()
    items: Counter[int] = Counter()
    for record in records:
        pixels.update({int(class_id): count for class_id, count in record.pixels.items()})
        items.update(int(class_id) for class_id in record.pixels)
    unique = len(set(classes.names)) == len(classes)
    return {
        (name if unique else f"{index} {name}"): {"pixels": pixels[index], "items": items[index]}
        for index, name in enumerate(classes.names)
    }


def table(rows: Sequence[Sequence[str]]) -> str:
    """Format rows as aligned columns: the first left-aligned, the others right-aligned."""
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
        lines.append(f"classes without a pixel: {', '.join(_short(name) for name in absent[:_MOST_SHOWN])}{more}")
    return "\n".join(lines)


def _has_classes(records: Sequence[Record], classes: ClassTable) -> bool:
    return any(record.pixels.keys() - {str(classes.ignore)} for record in records)


def _has_photo(record: Record) -> bool:
    return any(file.startswith(f"{record.split}_img/") for file in record.files)


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 3]}..."


def _item_text(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{len(names)} items ({names[0]}, ...)"
