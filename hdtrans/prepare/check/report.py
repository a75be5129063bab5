"""Report of the data check: text for people, JSON for programs."""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from hdtrans.common.errors import shown
from hdtrans.prepare.check.facts import ERROR, NOTE, WARNING, Facts, Finding
from hdtrans.prepare.check.samples import SampleFacts

_MOST_PLACES = 5
_MOST_SIZES = 4
_MOST_ROWS = 256  # of the table of classes
_MOST_EMPTY_ROWS = 64
_FORMAT = 1


@dataclass(frozen=True)
class Report:
    """Facts, findings, and recipe lines that fit."""

    facts: Facts
    findings: tuple[Finding, ...]
    recipe: str

    @property
    def clean(self) -> bool:
        """True without errors and warnings."""
        return all(finding.level == NOTE for finding in self.findings)

    def text(self) -> str:
        """Return the report as text, with a few files of each finding."""
        data = self.facts.data
        how = "" if self.facts.recipe else ", guessed from its folders"
        lines = [f"{shown(data.root)}: {data.kind}{how}"]
        for split in self.facts.wanted:
            lines += _split_lines(split, self.facts.of(split))
        if self.facts.classes is not None:
            lines += ["", *self._histogram()]
        counts = Counter(finding.level for finding in self.findings)
        summary = ", ".join(f"{counts[level]} {level}{'s' * (counts[level] != 1)}" for level in (ERROR, WARNING, NOTE))
        lines += ["", f"findings: {summary}", *(line for finding in self.findings for line in _finding_lines(finding))]
        return "\n".join([*lines, "", "recipe lines that fit:", "", self.recipe.rstrip()])

    def json(self) -> str:
        """Return the whole report as JSON, with every file of every finding."""
        data = self.facts.data
        values: dict[str, Any] = {
            "format": _FORMAT,
            "clean": self.clean,
            "root": str(data.root),
            "kind": data.kind,
            "guessed": self.facts.recipe is None,
            "splits": {split: _split_values(self.facts.of(split)) for split in self.facts.wanted},
            "classes": None if self.facts.classes is None else self._class_values(),
            "findings": [
                {
                    "kind": finding.kind,
                    "level": finding.level,
                    "words": finding.words,
                    "count": len(finding.places),
                    "places": [{"place": place, "detail": detail} for place, detail in finding.places],
                }
                for finding in self.findings
            ],
            "recipe": self.recipe,
        }
        return json.dumps(values, indent=2) + "\n"

    def _class_values(self) -> list[dict[str, Any]]:
        """Return pixels and images of each class and of all other ids, in each split."""
        assert self.facts.classes is not None
        names = dict(enumerate(self.facts.classes.names))
        splits = list(self.facts.wanted)
        pixels, images = _count(self.facts, splits)
        ids = sorted({*names, *(number for split in splits for number in pixels[split])})
        return [
            {
                "id": number,
                "name": names.get(number),
                "ignored": number == self.facts.data.ignore,
                "pixels": {split: pixels[split][number] for split in splits},
                "images": {split: images[split][number] for split in splits},
            }
            for number in ids
        ]

    def _histogram(self) -> Iterator[str]:
        """Yield the lines of the class table: number of images and share of the pixels."""
        rows = self._class_values()
        present = [row for row in rows if any(row["pixels"].values())]
        if len(rows) > _MOST_ROWS or len(rows) - len(present) > _MOST_EMPTY_ROWS:
            rows = present  # a finding counts the absent ones
        splits = list(self.facts.wanted)
        totals = {split: sum(row["pixels"][split] for row in rows) or 1 for split in splits}
        names = [_class_name(row) for row in rows]
        width = max(map(len, names), default=0)
        yield f"{'classes':{width + 7}}" + "".join(f"{f'{split}: images':>16}{'pixels':>10}" for split in splits)
        for row, name in list(zip(rows, names, strict=True))[:_MOST_ROWS]:
            cells = "".join(
                f"{row['images'][split]:>16}{_share(row['pixels'][split], totals[split]):>10}" for split in splits
            )
            yield f"{row['id']:>5}  {name:{width}}{cells}"
        if len(rows) > _MOST_ROWS:
            yield f"  and {len(rows) - _MOST_ROWS} more ids"


def _share(part: int, whole: int) -> str:
    return "<0.01%" if 0 < part < whole / 10_000 else f"{part / whole:.2%}"


def _class_name(row: dict[str, Any]) -> str:
    if row["ignored"]:
        return "(ignored)"
    return row["name"] or "(no class)"


def _count(facts: Facts, splits: Sequence[str]) -> tuple[dict[str, Counter[int]], dict[str, Counter[int]]]:
    pixels: dict[str, Counter[int]] = {split: Counter() for split in splits}
    images: dict[str, Counter[int]] = {split: Counter() for split in splits}
    for sample in facts.samples:
        pixels[sample.split].update(sample.pixels)
        images[sample.split].update(sample.pixels.keys())
    return pixels, images


def _split_values(samples: Sequence[SampleFacts]) -> dict[str, Any]:
    names = dict.fromkeys(name for sample in samples for name in sample.files)
    files = {}
    for name in names:
        facts = [sample.files[name] for sample in samples if name in sample.files]
        headers = [file.header for file in facts if file.header]
        files[name] = {
            "count": len(facts),
            "sizes": dict(Counter(f"{h.width}x{h.height}" for h in headers).most_common()),
            "formats": dict(Counter(f"{h.format}, {_kind(h.channels, h.palette)}, {h.bits} bits" for h in headers)),
        }
    return {"samples": len(samples), "files": files}


def _kind(channels: int, palette: bool) -> str:
    if palette:
        return "palette"
    return {1: "grey", 3: "colour"}.get(channels, f"{channels} channels")


def _split_lines(split: str, samples: Sequence[SampleFacts]) -> Iterator[str]:
    values = _split_values(samples)
    yield f"  {split}: {values['samples']} samples"
    for name, facts in values["files"].items():
        sizes = [f"{size} ({count})" if len(facts["sizes"]) > 1 else size for size, count in facts["sizes"].items()]
        more = f" and {len(sizes) - _MOST_SIZES} more sizes" if len(sizes) > _MOST_SIZES else ""
        kinds = "; ".join(facts["formats"])
        yield f"    {name}: {facts['count']} files, {', '.join(sizes[:_MOST_SIZES])}{more}; {kinds}"


def _finding_lines(finding: Finding) -> Iterator[str]:
    count = f" [{len(finding.places)}]" if len(finding.places) > 1 else ""
    yield f"  {finding.level}: {finding.kind}{count}: {finding.words}"
    for place, detail in finding.places[:_MOST_PLACES]:
        yield f"      {shown(place)}{': ' if detail else ''}{detail}"
    if len(finding.places) > _MOST_PLACES:
        yield f"      and {len(finding.places) - _MOST_PLACES} more"
