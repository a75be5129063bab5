"""Find the files of a training folder and pair them by name, never by luck of sorting."""

import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from hdtrans.common.errors import MissingPartner, SizeMismatch, UserError, nearest
from hdtrans.common.remarks import DataNote, remark
from hdtrans.data.index import Folder, Index, nothing_found, remark_left_out, scan, slashed
from hdtrans.data.io.header import FilePath, shown
from hdtrans.data.io.shards import is_folder
from hdtrans.data.io.tables import is_table
from hdtrans.data.kinds.base import DataKind
from hdtrans.data.pairing import closest, composed, natural, pair

_MOST_SHOWN = 10
_MOST_COMPARED = 1000  # names, when looking for the nearest one
_LIKENESS = 0.6  # least similarity of the nearest name


@dataclass(frozen=True, slots=True)
class SampleFiles:
    """Files of one sample: the common part of their names, with the sub-folder, and the path of each role.

    Roles (`label`, `pair`, ...) are those of the data kind.
    """

    name: str
    paths: Mapping[str, str]


class Everything(NamedTuple):
    """All samples of a split, incomplete ones too.

    Attributes:
        samples: samples, in natural order.
        left: files left over because another of their folder has the same name.
        rule: sentence on the rule of pairing, with an example; '' where names are equal.
    """

    samples: list[SampleFiles]
    left: list[str]
    rule: str = ""


def find_samples(
    data: DataKind, split: str, fields: Iterable[str], optional: Iterable[str] = (), index: Index | None = None
) -> list[SampleFiles]:
    """Find the samples of a split, in natural order of their names (`a2` before `a10`).

    Each role of file has its folder (`train_label/`, `train_img/`, ...), searched with its sub-folders, or its table.
    Files belong together if their sub-folder and stem are the same, or by another rule of `pairing.pair`, which is
    remarked. Files that are not read are counted in a warning.
    Unpaired data have as many samples as the longer folder has files; the shorter one starts again at its end.

    Args:
        data: section of the recipe.
        split: start of the names of the folders: `data.train` or `data.test`.
        fields: fields of a batch that every sample must have files for.
        optional: fields whose folders may be missing or empty; otherwise they too must have a file for every sample.
        index: index of `data.root`, if it was scanned before.

    Raises:
        MissingPartner: a file lacks a partner; the first ten are listed for each folder, with the nearest names.
        UserError: a folder is missing or has no pictures, or two files of a folder have the same name.
    """
    wanted = data.files_for(fields)
    more = [role for role in data.files_for(optional) if role not in wanted] if optional else []
    index = index or Index(data.root)
    if loose := data.loose_files(split, index):
        folder = index.scan("")
        if folder.files:
            remark_left_out([folder])
            return _samples({loose: folder}, {loose: [os.path.splitext(file)[0] for file in folder.files]})
    names = data.folders(split, index)
    _check_folders(data, split, {role: names[role] for role in wanted}, index)
    folders = {role: index.scan(names[role]) for role in wanted}
    for folder in folders.values():
        if not folder.files:
            raise UserError(nothing_found(folder))
    for role in more:
        if index.has(names[role]) and (folder := index.scan(names[role])).files:
            folders[role] = folder
    remark_left_out(folders.values())
    if not data.paired:
        return side_samples([_alone(role, folder) for role, folder in folders.items()])
    return _samples(folders, _pair(folders))


def find_everything(data: DataKind, split: str, fields: Iterable[str], index: Index | None = None) -> Everything:
    """Find all samples, incomplete ones too, which `find_samples` refuses, without a remark.

    Args:
        data: section of the recipe.
        split: start of the names of the folders.
        fields: fields of a batch whose files are to be found.
        index: index of `data.root`, if it was scanned before.

    Returns:
        The samples, paired as in `find_samples`. Unpaired samples have one file each.

    Raises:
        UserError: the root does not exist, or a folder in it cannot be searched.
    """
    index = index or Index(data.root)
    names = data.folders(split, index)
    found = {role: index.scan(names[role]) for role in data.files_for(fields) if index.has(names[role])}
    if (loose := data.loose_files(split, index)) and not found:
        found = {loose: index.scan("")}
    found = {role: folder for role, folder in found.items() if folder.files}
    if not data.paired or not found:
        return Everything([sample for role, folder in found.items() for sample in _alone(role, folder)], [])
    samples: dict[str, dict[str, str]] = {}
    left = []
    by_role, rule = _paired(found)
    forms: dict[str, str] = {}
    for role, keys in by_role.items():
        for given, file in sorted(zip(keys, found[role].files, strict=True)):
            key = forms.setdefault(composed(given), given)
            if samples.setdefault(key, {}).setdefault(role, place := found[role].place(file)) != place:
                left.append(place)
    return Everything([SampleFiles(key, samples[key]) for key in sorted(samples, key=natural)], left, rule)


def _pair(folders: Mapping[str, Folder]) -> dict[str, list[str]]:
    """Return the name of the sample of each file, by field, with a remark on any rule but equal names."""
    names, rule = _paired(folders)
    if rule:
        remark(rule, DataNote)
    return names


def _paired(folders: Mapping[str, Folder]) -> tuple[dict[str, list[str]], str]:
    """Return the name of the sample of each file, by field, and the rule: see `Everything`."""
    found = pair({field: folder.files for field, folder in folders.items()})
    by_name = [dict(zip(found.names[field], folder.files, strict=True)) for field, folder in folders.items()]
    complete = set.intersection(*map(set, by_name)) if by_name else set()
    if not found.rule or not complete:
        return found.names, ""
    first = min(complete, key=natural)
    example = " with ".join(dict.fromkeys(shown(files[first]) for files in by_name))
    places = ", ".join(dict.fromkeys(shown(folder.path) for folder in folders.values()))
    return found.names, f"{places}: files are paired by {found.rule}; {example}"


def _samples(folders: Mapping[str, Folder], keys: Mapping[str, list[str]]) -> list[SampleFiles]:
    """Return the samples of files with the names in `keys`, checked."""
    for name, folder in folders.items():
        _check_twins(folder, keys[name])
    _check_partners(next(iter(folders.values())).path.parent, folders, keys)
    places = {name: dict(zip(keys[name], folder.files, strict=True)) for name, folder in folders.items()}
    return [
        SampleFiles(key, {name: folder.place(places[name][key]) for name, folder in folders.items()})
        for key in sorted(keys[next(iter(folders))], key=natural)
    ]


def _alone(name: str, folder: Folder) -> list[SampleFiles]:
    """Return one sample for each file of a folder, in natural order."""
    files = sorted(folder.files, key=natural)
    return [SampleFiles(os.path.splitext(f)[0], {name: folder.place(f)}) for f in files]


def side_paths(files: Sequence[SampleFiles], side: str) -> list[str]:
    """Return the files of one side of unpaired samples, each once."""
    return list(dict.fromkeys(sample.paths[side] for sample in files))


def side_samples(sides: Sequence[Sequence[SampleFiles]]) -> list[SampleFiles]:
    """Combine unpaired files to samples, as many as the longest side has files."""
    samples = []
    for place in range(max(len(side) for side in sides)):
        together = [side[place % len(side)] for side in sides]
        paths = {name: path for sample in together for name, path in sample.paths.items()}
        samples.append(SampleFiles(", ".join(dict.fromkeys(sample.name for sample in together)), paths))
    return samples


def grouped_files(places: Mapping[str, Path]) -> list[tuple[str, list[tuple[str, str]]]]:
    """Return each sample's name with its files, (field, name in the folder), in natural order, incomplete ones too.

    Args:
        places: folder of each field, searched with its sub-folders; it may have no pictures.
    """
    folders = {field: folder for field, place in places.items() if (folder := scan(place)).files}
    remark_left_out(folders.values())
    found: dict[str, list[tuple[str, str]]] = {}
    for field, keys in (_pair(folders) if folders else {}).items():
        for key, file in zip(keys, folders[field].files, strict=True):
            found.setdefault(key, []).append((field, file))
    return sorted(found.items(), key=lambda sample: natural(sample[0]))


def check_sizes(paths: Mapping[str, FilePath], sizes: Mapping[str, tuple[int, int]]) -> None:
    """Raise SizeMismatch if the files of one sample differ in (height, width)."""
    if len(set(sizes.values())) > 1:
        raise SizeMismatch(paths, {field: (width, height) for field, (height, width) in sizes.items()})


def partners_of(lead: str, places: Mapping[str, Path | Sequence[Path]]) -> list[SampleFiles]:
    """Return a sample for every file of the field `lead`, with its partners in the other fields.

    Samples are named as the file of `lead`, without its extension; partners are found as in `find_samples`. They come
    in natural order of their names, those of files in the order of the files.

    Args:
        lead: field whose files all become samples.
        places: folder of each field, searched with its sub-folders, or one file, or several.

    Raises:
        UserError: `lead` has no pictures, or two files of the same name but for the extension.
    """
    folders = {field: _folder_of(place) for field, place in places.items()}
    if not folders[lead].files:
        raise UserError(nothing_found(folders[lead]))
    remark_left_out(folders.values())
    stems = [os.path.splitext(file)[0] for file in folders[lead].files]
    _check_twins(folders[lead], stems)
    keys = _pair(folders)
    alone = all(len(folder.files) == 1 for folder in folders.values())
    found: dict[str, dict[str, str]] = {
        field: {key: folder.place(file) for key, file in zip(keys[field], folder.files, strict=True)}
        for field, folder in folders.items()
    }
    samples = []
    for stem, key, file in zip(stems, keys[lead], folders[lead].files, strict=True):
        paths = {lead: folders[lead].place(file)}
        for field in folders.keys() - {lead}:
            if alone or key in found[field]:
                paths[field] = next(iter(found[field].values())) if alone else found[field][key]
        samples.append(SampleFiles(stem, paths))
    return samples if isinstance(places[lead], Sequence) else sorted(samples, key=lambda sample: natural(sample.name))


def gather(places: Mapping[str, Path]) -> list[SampleFiles]:
    """Return a sample for every name in any folder, with all files of that name, in natural order.

    Args:
        places: folder of each field, searched with its sub-folders; files are paired as in `find_samples`.

    Raises:
        UserError: a folder has no pictures, or two files of the same name.
    """
    folders = {field: scan(place) for field, place in places.items()}
    if empty := [folder for folder in folders.values() if not folder.files]:
        raise UserError(nothing_found(empty[0]))
    remark_left_out(folders.values())
    keys = _pair(folders)
    found: dict[str, dict[str, str]] = {}
    for field, folder in folders.items():
        _check_twins(folder, keys[field])
        for key, file in zip(keys[field], folder.files, strict=True):
            found.setdefault(key, {})[field] = folder.place(file)
    return [SampleFiles(key, found[key]) for key in sorted(found, key=natural)]


def _folder_of(place: Path | Sequence[Path]) -> Folder:
    """Return the pictures in a folder, or the given files, relative to their common folder."""
    if isinstance(place, Path) and (is_folder(place) or is_table(place)):
        return scan(place)
    files = [place] if isinstance(place, Path) else place
    parents = {file.parent for file in files}
    parent = parents.pop() if len(parents) == 1 else Path(os.path.commonpath([os.path.abspath(p) for p in parents]))
    return Folder(parent, tuple(os.path.relpath(file, parent) for file in files), Counter(), Counter())


def _check_folders(data: DataKind, split: str, names: Mapping[str, str], index: Index) -> None:
    """Raise UserError if a required folder is missing; the message lists the folders found."""
    missing = {role: name for role, name in names.items() if not index.has(name)}
    if not missing:
        return
    found = slashed(shown(name) for name in index.folders[: 2 * _MOST_SHOWN]) or "no folder"
    other = data.folders_elsewhere(split) if len(missing) == len(names) else ""
    raise UserError(
        f"data.root {shown(data.root)}: {slashed(missing.values())} not found; data.kind: {data.kind} with the split "
        f"{split!r} (data.train, data.test) reads {slashed(names.values())}{other}. There is {found}."
        f"{nearest(next(iter(missing.values())), index.folders)}{data.missing_hint(missing)}"
    )


def _check_twins(folder: Folder, keys: Sequence[str]) -> None:
    """Raise UserError if two files of a folder belong to one sample, by the same name in any Unicode form."""
    forms = [composed(key) for key in keys]
    twins = [key for key, count in Counter(forms).items() if count > 1]
    if not twins:
        return
    lines = []
    for twin in sorted(twins, key=natural)[:_MOST_SHOWN]:
        own = [(file, key) for file, key, form in zip(folder.files, keys, forms, strict=True) if form == twin]
        alike = " (in two Unicode forms)" if len({key for _, key in own}) > 1 else ""
        lines.append(f"\n  {shown(twin)}{alike}: " + " and ".join(shown(folder.place(file)) for file, _ in sorted(own)))
    more = f"\n  and {len(twins) - _MOST_SHOWN} more" if len(twins) > _MOST_SHOWN else ""
    raise UserError(
        f"{len(twins)} sample(s) have more than one file; keep one of each:{''.join(lines)}{more}", path=folder.path
    )


def _check_partners(root: Path, folders: Mapping[str, Folder], keys: Mapping[str, Sequence[str]]) -> None:
    """Raise MissingPartner if a sample lacks the file of a field, with a list for each folder."""
    files = {field: dict(zip(keys[field], folder.files, strict=True)) for field, folder in folders.items()}
    everything = set().union(*files.values())
    complete = set.intersection(*(set(names) for names in files.values()))
    if everything == complete:
        return
    lines = [
        f"{len(everything - complete)} of {len(everything)} samples lack a file; files are paired by sub-folder and "
        "name, without extension and without the ending of their kind:"
    ]
    missing = {}
    for field, folder in folders.items():
        lacking = sorted(everything - files[field].keys(), key=natural)
        if not lacking:
            continue
        missing[field] = lacking
        lines.append(f"  {slashed([folder.path.name])} ({field}) lacks the partner of {len(lacking)} file(s):")
        alone = sorted(files[field].keys() - complete)[:_MOST_COMPARED]
        for key in lacking[:_MOST_SHOWN]:
            owner = next(other for other in folders if key in files[other])
            close = closest(key, alone, _LIKENESS)
            there = f"; nearest: {shown(files[field][close])}" if close else ""
            lines.append(f"    {folders[owner].path.name}/{shown(files[owner][key])}{there}")
        if len(lacking) > _MOST_SHOWN:
            lines.append(f"    and {len(lacking) - _MOST_SHOWN} more")
    raise MissingPartner("\n".join(lines), missing, path=root)
