"""Result of translating a folder."""

from dataclasses import dataclass, field
from pathlib import Path

from hdtrans.common.errors import Spelling, UserError, as_argument
from hdtrans.data.pairing import natural
from hdtrans.inference.folder.results import ODDITIES


@dataclass
class Outcome:
    """Result of translating a folder: names of inputs, and the reason for each that failed."""

    page: Path
    made: list[str] = field(default_factory=list)
    passed_over: list[str] = field(default_factory=list)
    failed: dict[str, UserError | str] = field(default_factory=dict)
    odd: dict[str, list[str]] = field(default_factory=dict)  # names by what is odd about their pictures
    memory: int = 0  # bytes, of the process that used most
    far: list[str] = field(default_factory=list)  # names of inputs of another scale than in training
    trained_width: int | None = None  # of whole pictures in training, where they were scaled to one
    note: str = ""

    def add(self, other: "Outcome") -> None:
        """Count what another process did as well."""
        self.made += other.made
        self.passed_over += other.passed_over
        self.far += other.far
        self.failed |= other.failed
        for what, names in other.odd.items():
            self.odd.setdefault(what, []).extend(names)
        self.memory = max(self.memory, other.memory)

    def text(self, spelling: Spelling = as_argument) -> str:
        """Return a few lines for people: counts, every failure in the words of an interface, and the gallery's path."""
        lines = [f"{len(self.made)} made, {len(self.passed_over)} there already, {len(self.failed)} failed"]
        for name, reason in sorted(self.failed.items(), key=lambda item: item[0]):
            lines.append(f"  {name}: {reason if isinstance(reason, str) else reason.text(spelling)}")
        for odd, names in self.odd.items():
            lines.append(f"warning: {len(names)} of them {odd} (first: {names[0]}): {ODDITIES[odd]}")
        if self.far:
            lines.append(
                f"note: {len(self.far)} inputs (first: {min(self.far, key=natural)}) are much wider or narrower than "
                f"the {self.trained_width} pixels that pictures had in training; a model knows things at the size it "
                "saw them, so scale such inputs to about that width where results look wrong"
            )
        lines += [self.note] if self.note else []
        lines += [f"peak memory: {self.memory / 1e9:.2f} GB"] if self.made else []
        return "\n".join([*lines, f"gallery: {self.page}"])
