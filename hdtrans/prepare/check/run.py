"""Data check: read all files once, in parallel, report all findings, and propose recipe lines."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path

from hdtrans.common.classes import CITYSCAPES, ClassTable
from hdtrans.common.errors import UserError, shown
from hdtrans.common.progress import progress
from hdtrans.config.recipe import Recipe
from hdtrans.data.folders import SampleFiles, find_everything
from hdtrans.data.index import Index, slashed
from hdtrans.data.kinds.base import PHOTO, DataKind, data_of
from hdtrans.data.preflight import class_table
from hdtrans.prepare.check.facts import Facts
from hdtrans.prepare.check.findings import find_all
from hdtrans.prepare.check.guess import guess
from hdtrans.prepare.check.recipe_lines import class_file, fitting_recipe
from hdtrans.prepare.check.report import Report
from hdtrans.prepare.check.samples import SampleFacts, read_sample

_CITYSCAPES_NAME = "_labelIds"  # in names of files with the 35 ids
_AHEAD = 4  # samples queued for each thread


def check_data(given: Recipe | Path, workers: int = 4) -> Report:
    """Check every file of a recipe's data, or of a training folder whose kind is guessed.

    Args:
        given: recipe or folder.
        workers: number of reading threads, >= 1.

    Raises:
        UserError: the folder does not exist, does not look like training data, or has no training files.
    """
    recipe = given if isinstance(given, Recipe) else None
    root = recipe.data.root if recipe else Path(str(given))
    if recipe is None and not root.is_dir():
        raise UserError(f"{shown(root)}: there is no such folder")
    index = Index(root)
    data = data_of(recipe) if recipe else guess(index)
    fields = recipe.method.reads(data, optional=False) if recipe else frozenset(_guessed_fields(data))
    optional = recipe.method.reads(data) - fields if recipe else frozenset()
    wanted, jobs, left, rules = {}, [], [], []
    for split in _splits(data):
        samples, more, rule = find_everything(data, split, data.fields, index)
        if split == data.train and not samples:
            raise UserError(_nothing(data, index))
        if samples:
            there = {role for sample in samples for role in sample.paths}
            found = {field for field in optional if there.issuperset(data.made_from(field))}
            wanted[split] = data.files_for((fields if split == data.train else fields - {PHOTO}) | found)
            jobs += [(sample, split) for sample in samples]
            left += more
            rules += [rule] if rule else []
    facts = _read(jobs, data, workers)
    if recipe is None and data.classes is not None:
        data = _with_labels(data, facts)
    everything = Facts(data, index, recipe, _classes(data), wanted, facts, left, rules)
    return Report(everything, tuple(find_all(everything)), fitting_recipe(everything))


def _guessed_fields(data: DataKind) -> list[str]:
    """Return the fields that every sample must have: all but instance maps."""
    return [field for field, spec in data.fields.items() if spec.values != "instances"]


def _splits(data: DataKind) -> list[str]:
    named = [data.train, data.test, *([data.validation] if isinstance(data.validation, str) else [])]
    return list(dict.fromkeys(named))


def _nothing(data: DataKind, index: Index) -> str:
    folders = slashed(data.folders(data.train, index).values())
    there = slashed(index.folders) or "no folder"
    return (
        f"data.root {data.root}: no pictures to train on; data.kind: {data.kind} with the split {data.train!r} "
        f"(data.train) reads {folders}; there is {there}"
    )


def _read(jobs: Sequence[tuple[SampleFiles, str]], data: DataKind, workers: int) -> list[SampleFacts]:
    """Read all samples, in order; few are queued at a time, so that Ctrl-C takes effect at once."""
    threads = ThreadPoolExecutor(workers)
    try:
        rest = iter(jobs)
        tasks = [threads.submit(read_sample, *job, data) for job in islice(rest, _AHEAD * workers)]
        facts = []
        with progress(total=len(jobs), unit=" samples") as bar:
            for place in range(len(jobs)):
                facts.append(tasks[place].result())
                tasks += [threads.submit(read_sample, *job, data) for job in islice(rest, 1)]
                bar.update()
        return facts
    finally:
        threads.shutdown(cancel_futures=True)


def _with_labels(data: DataKind, facts: Sequence[SampleFacts]) -> DataKind:
    """Set the number of classes by dataset.json, else by the files' names, else by the highest id."""
    if table := class_file(data.root):
        return _labels(data, len(table), table)
    ids = {number for sample in facts for number in sample.pixels}
    highest = max(ids - {255}, default=0)
    names = (sample.files["label"].path for sample in facts if "label" in sample.files)
    if highest < len(CITYSCAPES) and any(_CITYSCAPES_NAME in Path(name).stem for name in names):
        return _labels(data, len(CITYSCAPES))
    return _labels(data, min(highest + 1, 65535))


def _labels(data: DataKind, labels: int, table: ClassTable | None = None) -> DataKind:
    """Return the section with so many classes; keys at their defaults stay unset."""
    model, values = type(data), {"root": data.root} | data.proposed(labels)
    values |= {"test": data.test} if data.test != "test" else {}
    usual = model.model_validate(values)
    if table is None or table.ignore == usual.ignore:
        return usual
    return model.model_validate(values | {"ignore": table.ignore})


def _classes(data: DataKind) -> ClassTable | None:
    """Return the classes; numbered ones if dataset.json is invalid or has another number of classes."""
    labels = data.classes
    try:
        table = class_table(data)
    except UserError:
        table = None
    if labels is None or (table is not None and len(table) == labels):
        return table
    return ClassTable.generic(labels, data.ignore)
