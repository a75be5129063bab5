"""Result of translating a folder."""

from dataclasses import dataclass, field
from pathlib import Path

from hdtrans.common.errors import Advice, Spelling, UserError, as_argument
from hdtrans.data.pairing import natural
from hdtrans.inference.folder.results import DEGENERATE
from hdtrans.inference.folder.video import Video


@dataclass
class Outcome:
    """Result of translating a folder.

    Attributes:
        page: gallery, an HTML page.
        made, skipped: names of inputs translated now, and finished before.
        failed: reason by name of an input that failed.
        degenerate: names of inputs by what is suspicious about their pictures, a key of `DEGENERATE`.
        memory: peak memory in bytes, of the process that used most.
        scale_mismatch: names of inputs much wider or narrower than `trained_width`.
        trained_width: width in pixels that training scaled whole pictures to; None if it kept their size.
        note: remark on the inputs, and its advice.
        thumbnails: number of thumbnails of an earlier translation among the inputs, which are passed over.
        videos: videos of the results.
        without_thumbnail: reason by name of an input whose thumbnails could not be written.
    """

    page: Path
    made: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    failed: dict[str, UserError | str] = field(default_factory=dict)
    degenerate: dict[str, list[str]] = field(default_factory=dict)
    memory: int = 0
    scale_mismatch: list[str] = field(default_factory=list)
    trained_width: int | None = None
    note: tuple[str, Advice] | None = None
    without_thumbnail: dict[str, str] = field(default_factory=dict)
    thumbnails: int = 0
    videos: list[Video] = field(default_factory=list)

    def add(self, other: "Outcome") -> None:
        """Add the result of another process."""
        self.made += other.made
        self.skipped += other.skipped
        self.scale_mismatch += other.scale_mismatch
        self.failed |= other.failed
        self.without_thumbnail |= other.without_thumbnail
        for finding, names in other.degenerate.items():
            self.degenerate.setdefault(finding, []).extend(names)
        self.memory = max(self.memory, other.memory)

    def text(self, spelling: Spelling = as_argument) -> str:
        """Return a summary: counts, failures in the words of an interface, warnings, and the gallery's path."""
        lines = [f"{len(self.made)} made, {len(self.skipped)} there already, {len(self.failed)} failed"]
        for name, reason in sorted(self.failed.items(), key=lambda item: item[0]):
            lines.append(f"  {name}: {reason if isinstance(reason, str) else reason.text(spelling)}")
        for finding, names in self.degenerate.items():
            lines.append(f"warning: {len(names)} of them {finding} (first: {names[0]}): {DEGENERATE[finding]}")
        if self.scale_mismatch:
            first = min(self.scale_mismatch, key=natural)
            lines.append(
                f"note: {len(self.scale_mismatch)} inputs (first: {first}) are much wider or narrower than the "
                f"{self.trained_width} pixels of training pictures; a model knows objects at the size of training, so "
                "scale such inputs to about that width if results look wrong"
            )
        if self.thumbnails:
            lines.append(f"note: {self.thumbnails} thumbnails of an earlier translation are passed over")
        if self.without_thumbnail:
            first = min(self.without_thumbnail, key=natural)
            reason = self.without_thumbnail[first]
            lines.append(f"note: the page shows {len(self.without_thumbnail)} of them without thumbnails: {reason}")
        if self.note is not None:
            finding, advice = self.note
            lines.append("; ".join(filter(None, (finding, advice.text(spelling)))))
        lines += [video.text() for video in self.videos]
        lines += [f"peak memory: {self.memory / 1e9:.2f} GB"] if self.made else []
        return "\n".join([*lines, f"gallery: {self.page}"])
