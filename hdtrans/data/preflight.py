"""Check every file of a training folder before the first step, and report all problems at once."""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from itertools import chain
from os.path import dirname
from typing import NamedTuple

import numpy as np

from hdtrans.common.classes import CITYSCAPES, ClassTable
from hdtrans.common.errors import UserError, WrongIds
from hdtrans.common.remarks import DataNote, DataWarning, remark
from hdtrans.config.data import Data
from hdtrans.config.stage import Stage
from hdtrans.data.fields import kind_of
from hdtrans.data.folders import SampleFiles, check_sizes, side_paths
from hdtrans.data.geometry import Geometry, plan
from hdtrans.data.header_notes import HeaderNote, has_range, header_notes, remark_headers, values_finding
from hdtrans.data.io.header import Header, probe, shown
from hdtrans.data.kinds.base import DataKind
from hdtrans.data.label_ids import advice, count_ids, mask_finding

_MOST_SHOWN = 20
_MOST_LABELS = 500
_MOST_RANGED = 16  # pictures read
_MOST_LABEL_FILES = 3  # listed, where many have ids that are no class
_THREADS = 8  # mostly waiting for the disk
_CLASS_FILE = "dataset.json"

Problem = tuple[str, str]  # place and finding


class BadFiles(UserError):
    """Files that cannot be trained on, with a valid recipe and dataset.json."""


def preflight(
    files: Sequence[SampleFiles],
    fields: Iterable[str],
    data: DataKind,
    stages: Sequence[Stage] = (),
    too_small: Callable[[Stage, int, int], Iterable[str]] = lambda stage, height, width: (),
) -> None:
    """Check the header of every file, the ids of up to 500 label maps spread over the set, and dataset.json.

    What headers tell of usable files is remarked (alpha that is dropped, colour profiles), and so are floating point
    pictures in [0, 1], dark ones of 16 bits, and label maps that look like masks of grey values.

    Args:
        files: samples, as `find_samples` returns them.
        fields: fields that will be loaded.
        data: section `data` of the recipe.
        stages: stages whose crops must fit into the files.
        too_small: returns the reasons why the networks of a stage cannot be trained on pictures of a height and width.

    Raises:
        BadFiles: files cannot be read, differ in size within a sample, have a wrong kind, are smaller than a crop, or
            hold ids that are no class. The first 20 problems are listed.
        UserError: the same, or dataset.json is unusable or has another number of classes than `data.labels`.
    """
    wanted = set(data.files_for(fields))
    check = partial(_size_problems, stages, too_small)
    if not data.paired:  # each file by itself, and once
        files = [SampleFiles(path, {side: path}) for side in files[0].paths for path in side_paths(files, side)]
    problems = of_classes = [*class_problems(data), *point_problems(data, fields)]
    with ThreadPoolExecutor(_THREADS) as threads:
        parts = [files[first : first + 64] for first in range(0, len(files), 64)]
        checked = threads.map(lambda part: [_headers(sample, wanted, data, check) for sample in part], parts)
        by_sample = list(chain.from_iterable(checked))
        problems = [*problems, *chain.from_iterable(sample.problems for sample in by_sample)]
        remark_headers(chain.from_iterable(sample.notes for sample in by_sample))
        for role in (role for role in data.files if role in wanted and _has_content_to_check(data, role)):
            places = np.unique(np.linspace(0, len(files) - 1, min(len(files), _MOST_LABELS)).round().astype(int))
            sound = [
                path
                for place in places
                if not by_sample[place].problems and (path := files[place].paths.get(role)) is not None
            ]
            read = list(threads.map(lambda path, role=role: _read(data, role, path), sound))
            problems += _content_problems(read)
            _remark_masks(read, data)
        if not problems:
            _remark_ranges([each for sample in by_sample for each in sample.ranged], data)
    if problems:
        lines = _grouped(problems)
        more = f"\n  and {len(lines) - _MOST_SHOWN} more" if len(lines) > _MOST_SHOWN else ""
        listed = "".join(f"\n  {line}" for line in lines[:_MOST_SHOWN])
        raise (UserError if of_classes else BadFiles)(
            f"data.root {shown(data.root)}: {len(problems)} problem(s) in {len(files)} samples:{listed}{more}"
        )


def _grouped(problems: Sequence[Problem]) -> list[str]:
    """Return one line for each different finding, with the number of its files."""
    places: dict[str, list[str]] = {}
    for place, words in problems:
        places.setdefault(words, []).append(place)
    lines = []
    for words, where in places.items():
        others = f" and {len(where) - 1} more" if len(where) > 1 else ""
        lines.append(f"{where[0]}{others}: {words}")
    return lines


def class_table(data: Data) -> ClassTable | None:
    """Return the classes of label maps: those of dataset.json in the root, else Cityscapes' if 35, else numbered.

    None for data without classes. Raises UserError if dataset.json exists and is invalid.
    """
    labels = data.classes
    if labels is None:
        return None
    file = data.root / _CLASS_FILE
    if file.exists():
        return ClassTable.read(file)
    if labels == len(CITYSCAPES):
        return replace(CITYSCAPES, ignore=data.ignore)
    return ClassTable.generic(labels, data.ignore)


def class_problems(data: Data) -> list[Problem]:
    """Return the problems of dataset.json, or of the number of classes in the recipe."""
    try:
        table = class_table(data)
    except UserError as error:
        return [("data.root", str(error))]
    if table is None or len(table) == data.classes:
        return []
    words = f"is {data.classes}, but {shown(data.root / _CLASS_FILE)} has {len(table)} classes"
    return [("data.labels", f"{words}; set data.labels={len(table)}, or correct the file")]


def point_problems(data: DataKind, fields: Iterable[str]) -> list[Problem]:
    """Return a problem for each field of points without a mirrored order, if training mirrors."""
    found: list[Problem] = []
    for name in sorted(set(fields)):
        if data.flip and kind_of(data.fields[name]).mirrored and data.mirrored_points(name) is None:
            words = (
                f"mirrors pictures, but {shown(data.root / _CLASS_FILE)} has no order of mirrored {name} "
                '("points": {"mirror": [...]}); add it, or set data.flip=false'
            )
            found.append(("data.flip", words))
    return found


class _Headers(NamedTuple):
    """Facts of a sample from its headers: problems, notes by path, and pictures that `has_range` as role and path."""

    problems: list[Problem]
    notes: Sequence[tuple[str, HeaderNote]] = ()
    ranged: Sequence[tuple[str, str]] = ()


class _Content(NamedTuple):
    """Result of reading a file: an error, or the number of pixels by id of a label map."""

    path: str
    error: UserError | None
    pixels: dict[int, int]


def _headers(
    sample: SampleFiles, fields: Collection[str], data: DataKind, check: Callable[[int, int], Iterable[Problem]]
) -> _Headers:
    """Return what the headers of one sample show."""
    problems = []
    headers = {}
    paths = {field: path for field, path in sample.paths.items() if field in fields}
    for role, path in paths.items():
        if not kind_of(data.files[role]).has_file:
            continue
        try:
            header = probe(path)
        except UserError as error:
            problems.append(_split(error, path))
            continue
        if problem := kind_problem(role, header, data):
            problems.append((shown(path), problem))
        headers[role] = header
    if problems:
        return _Headers(problems)
    sizes = {role: (header.height, data.width_of(role, header.width)) for role, header in headers.items()}
    try:
        check_sizes({role: paths[role] for role in sizes}, sizes)
    except UserError as error:
        return _Headers([_split(error, next(iter(paths.values())))])
    first = next(iter(sizes))
    place = shown(paths[first])
    found = [(place, f"{stage}: {finding}") for stage, finding in check(*sizes[first])]
    notes = [(paths[role], note) for role, note in header_notes(headers, data.files, data.paired, data.ignore)]
    ranged = [(role, paths[role]) for role, header in headers.items() if has_range(header, data.files[role])]
    return _Headers(found, notes, ranged)


def _size_problems(
    stages: Sequence[Stage], too_small: Callable[[Stage, int, int], Iterable[str]], height: int, width: int
) -> Iterator[Problem]:
    """Yield key and finding of each stage that a file of this size does not fit, or whose networks it does not."""
    yield from geometry_problems(stages, height, width)
    for stage in stages:
        if stage.size is None:
            yield from ((f"stages.{stage.name}", finding) for finding in too_small(stage, height, width))


def _remark_masks(read: Sequence[_Content], data: DataKind) -> None:
    pixels = _all_pixels([one for one in read if one.error is None])
    if finding := mask_finding(pixels, data.ignore):
        remark(f"{shown(dirname(read[0].path))}: label maps: {finding}", DataWarning if finding.values else DataNote)


def _remark_ranges(files: Sequence[tuple[str, str]], data: DataKind) -> None:
    """Remark floating point pictures in [0, 1] and dark ones of 16 bits, from some of each role."""
    for name in dict.fromkeys(role for role, _ in files):
        paths = [path for role, path in files if role == name]
        some = paths[:: -(-len(paths) // _MOST_RANGED)]
        if finding := values_finding(data.read(name, path) for path in some):
            remark(f"{shown(paths[0])}: {len(paths)} file(s): {finding}")


def _all_pixels(read: Sequence[_Content]) -> Counter[int]:
    pixels: Counter[int] = Counter()
    for one in read:
        pixels.update(one.pixels)
    return pixels


def _split(error: UserError, path: str) -> Problem:
    """Return the place and the finding of an error in a file."""
    return shown(path), error.without_place()


def kind_problem(role: str, header: Header, data: DataKind) -> str:
    """Return the reason why a file with this header cannot have this role, or ''."""
    spec = data.files[role]
    return kind_of(spec).problem(spec, header) or data.width_problem(role, header.width)


def geometry_problems(stages: Sequence[Stage], height: int, width: int) -> Iterator[Problem]:
    """Yield key and finding of each stage that a file of this size does not fit."""
    for stage in stages:
        try:
            plan(Geometry.of(stage), height, width, False, None)
        except UserError as error:
            yield f"stages.{stage.name}", str(error)


def _has_content_to_check(data: DataKind, role: str) -> bool:
    """Return True for files whose header does not suffice: ids of classes, rows of tables."""
    spec = data.files[role]
    return (spec.values == "classes" and spec.size is not None) or not kind_of(spec).has_file


def _read(data: DataKind, role: str, path: str) -> _Content:
    try:
        array = data.read(role, path)
    except WrongIds as error:
        return _Content(path, error, count_ids(kind_of(data.files[role]).read(data.files[role], path)))
    except UserError as error:
        return _Content(path, error, {})
    return _Content(path, None, count_ids(array) if data.files[role].values == "classes" else {})


def _content_problems(checked: Sequence[_Content]) -> list[Problem]:
    """Return the problems of label maps and tables; ids that are no class are pooled if many maps have them."""
    wrong = [(path, error) for path, error, _ in checked if isinstance(error, WrongIds)]
    problems = [_split(error, path) for path, error, _ in checked if error and not isinstance(error, WrongIds)]
    if len(wrong) > _MOST_LABEL_FILES:
        ids = sorted({number for _, error in wrong for number in error.ids})
        listed = ", ".join(map(str, ids[:_MOST_SHOWN])) + (f", ... {ids[-1]}" if len(ids) > _MOST_SHOWN else "")
        words = f"{len(wrong)} of {len(checked)} checked maps hold ids that are no class: {listed}. "
        words += advice(ids, _all_pixels([one for one in checked if isinstance(one.error, WrongIds)]))
        problems.append(("label maps", words))
    return problems + [_split(error, path) for path, error in wrong[:_MOST_LABEL_FILES]]
