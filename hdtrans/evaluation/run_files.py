"""Files of a run's training folder that are translated to score the run, and what they are scored against."""

import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from hdtrans.common.errors import UserError
from hdtrans.config.inputs import Inputs, lead, read_fields, translated
from hdtrans.config.metrics import METRICS
from hdtrans.config.validation import metrics_for
from hdtrans.data.folders import SampleFiles, find_samples, side_paths
from hdtrans.data.holdout import hold_back
from hdtrans.data.index import Index
from hdtrans.data.io.tables import split_row
from hdtrans.data.kinds.base import DataKind
from hdtrans.evaluation.pairs import Places


@dataclass(frozen=True)
class RunFiles:
    """The files to translate, the folders of the further inputs by name, and what is scored."""

    inputs: list[Path]
    extra: dict[str, Path]
    places: Places


def run_files(data: DataKind, inputs: Inputs, direction: str, split: str | None, out: Path) -> RunFiles:
    """Return the files of a split.

    Args:
        data: the section of the model's recipe.
        inputs: the inputs of the model in this direction.
        direction: the direction in which it translates.
        split: start of the folders' names, or `validation` for the files that the recipe holds back; None for
            `data.test`.
        out: folder of the results.

    Raises:
        UserError: there are no such files.
    """
    first = lead(inputs)
    target = next(each for each in inputs if each.role == "target")
    fields, needed = (data.needed(read_fields(translated(inputs), optional)) for optional in (True, False))
    index, split = Index(data.root), data.test if split is None else split
    samples = _samples(data, needed, fields - needed, target.field, split, index)
    given, truth = _sides(data, samples, first.field, target.field)
    labels = given if first.values == "classes" else None
    extra = {
        each.name: _place([sample.paths[each.field] for sample in samples])
        for each in inputs
        if each.field in fields and each.name != first.name and each.field in samples[0].paths
    }
    places = Places(
        out, truth, labels, data.results, data, direction, target, data.result(target).size or 3, paired=data.paired
    )
    return RunFiles(given, extra, places)


def _samples(
    data: DataKind, needed: Collection[str], optional: Collection[str], wanted: str, split: str, index: Index
) -> list[SampleFiles]:
    fields = {*needed, wanted}
    if split == "validation" and data.validation is not None:
        return hold_back(data, find_samples(data, data.train, fields, optional, index), fields, index, optional)[1]
    if _scored_without_truth(data):
        return find_samples(data, split, needed, {wanted, *optional}, index)
    return find_samples(data, split, fields, optional, index)


def _place(paths: Sequence[str]) -> Path:
    """Return the table, or the folder, that holds all files of one role, as deep as the inputs' own lies."""
    table, _ = split_row(paths[0])
    return Path(table or os.path.commonpath({os.path.dirname(path) for path in paths}))


def _sides(data: DataKind, samples: list[SampleFiles], given: str, wanted: str) -> tuple[list[Path], list[Path] | None]:
    """Return the inputs, and the files that hold the true pictures or maps; None where there are none."""
    if not data.paired:
        inputs, truth = ([Path(path) for path in side_paths(samples, side)] for side in (given, wanted))
        return inputs, truth
    paths = [sample.paths for sample in samples]
    role, true_role = data.made_from(given)[0], data.made_from(wanted)[0]
    inputs = [Path(one[role]) for one in paths]
    if true_role in paths[0]:
        return inputs, [Path(one[true_role]) for one in paths]
    if _scored_without_truth(data):
        return inputs, None
    raise UserError(f"data.root {data.root}: has no {true_role} files to score against")


def _scored_without_truth(data: DataKind) -> bool:
    """Return True if a metric that fits the data needs no true pictures."""
    return any(not METRICS[name].needs_truth for name in metrics_for(data))
