"""Facts of all files of a data check, and the form of its findings."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from hdtrans.common.classes import ClassTable
from hdtrans.config.recipe import Recipe
from hdtrans.data.index import Index
from hdtrans.data.kinds.base import DataKind
from hdtrans.prepare.check.samples import FileFacts, SampleFacts

ERROR, WARNING, NOTE = "error", "warning", "note"
"""Levels: refused by training, likely a mistake, good to know. A folder with notes alone is clean."""


@dataclass(frozen=True)
class Finding:
    """One finding.

    Attributes:
        kind: short name, such as `unpaired`.
        level: `ERROR`, `WARNING` or `NOTE`.
        words: description and advice.
        places: files (or samples, or stages) concerned, each with a detail or ''.
    """

    kind: str
    level: str
    words: str
    places: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Facts:
    """Facts of all files.

    Attributes:
        data: section `data` of the recipe, with the number of classes.
        index: index of its root.
        recipe: recipe; None for a bare folder.
        classes: classes of the label maps, or None.
        wanted: roles of the files that every sample must have, by split.
        samples: samples of all splits.
        left: files beside others of the same name, in all splits.
        rules: sentences on rules of pairing other than equal names, one for each split that needs one.
    """

    data: DataKind
    index: Index
    recipe: Recipe | None
    classes: ClassTable | None
    wanted: Mapping[str, Sequence[str]]
    samples: Sequence[SampleFacts]
    left: Sequence[str]
    rules: Sequence[str] = ()

    def of(self, split: str) -> list[SampleFacts]:
        """Return the samples of a split."""
        return [sample for sample in self.samples if sample.split == split]

    def role(self, values: str) -> str:
        """Return the role of the files with such values (`classes`, `instances`); '' if there are none."""
        return next((role for role, spec in self.data.files.items() if spec.values == values), "")

    def files(self) -> Iterator[tuple[SampleFacts, str, FileFacts]]:
        """Yield sample, role and facts of all files."""
        for sample in self.samples:
            for name, file in sample.files.items():
                yield sample, name, file
