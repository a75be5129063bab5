"""Findings of the data check: errors that training would refuse, likely mistakes, and notes."""

import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby

import numpy as np

from hdtrans.common.errors import shown
from hdtrans.config.stage import Stage
from hdtrans.data.geometry import Geometry, plan
from hdtrans.data.header_notes import HeaderNote, depth_finding, float_finding, header_notes
from hdtrans.data.index import counted, left_out
from hdtrans.data.label_ids import advice, mask_finding
from hdtrans.data.pairing import closest
from hdtrans.data.preflight import class_problems, geometry_problems
from hdtrans.prepare.check.facts import ERROR, NOTE, WARNING, Facts, Finding
from hdtrans.prepare.check.samples import SampleFacts

_MOST_CLASSES = 1000  # more are reported as unusual
_MOST_IDS = 20  # listed
_LIKE = 0.85  # least similarity of names: other numbers of the same length are no misspelling
_MOST_COMPARED = 500  # names, when looking for the nearest one
_CHANGE_OF_ASPECT = 1.05


def find_all(facts: Facts) -> list[Finding]:
    """Return all findings, errors first."""
    looks: Iterable[Callable[[Facts], Iterable[Finding]]] = (
        _of_folders,
        _of_left_out,
        _of_pairs,
        _of_files,
        _of_sizes,
        _of_ids,
        _of_classes,
        _of_instances,
        _of_constants,
        _of_bits,
        _of_headers,
        _of_alpha,
        _of_floats,
        _of_copies,
        _of_stages,
    )
    found = [finding for look in looks for finding in look(facts)]
    return sorted(found, key=lambda finding: (ERROR, WARNING, NOTE).index(finding.level))


def _of_folders(facts: Facts) -> Iterator[Finding]:
    """Find folders without pictures, and a class table that does not fit the recipe."""
    for split, wanted in facts.wanted.items():
        there = {name for sample in facts.of(split) for name in sample.files}
        names = facts.data.folders(split, facts.index)
        for name in wanted:
            if name not in there:
                words = f"{split}: there are no pictures in {names[name]}/, which hold {name} of every sample"
                level = ERROR if split == facts.data.train else WARNING  # training works without the others
                yield Finding("missing folder", level, words, ((os.fspath(facts.data.root / names[name]), ""),))
    if facts.classes is not None or facts.recipe is not None:
        for place, words in class_problems(facts.data):
            yield Finding("class table", ERROR, f"{place}: {words}")


def _of_left_out(facts: Facts) -> Iterator[Finding]:
    """Find files that are not read: pictures of other formats, and unknown ones; and files of other purposes."""
    if words := left_out(facts.index.scanned.values()):
        yield Finding("left out", WARNING, words)
    for name, folder in facts.index.scanned.items():
        if name and folder.others:  # beside the folders lie dataset.json and the like
            words = f"{shown(folder.path)}: files beside the pictures, which are not read: {counted(folder.others)}"
            yield Finding("other files", NOTE, words)


def _of_pairs(facts: Facts) -> Iterator[Finding]:
    """Find samples without all their files, files of one name, and rules of pairing other than equal names."""
    yield from (Finding("pairing", NOTE, rule) for rule in facts.rules)
    for split in facts.wanted:
        samples = facts.of(split)
        if facts.data.paired and samples:
            names = facts.data.folders(split, facts.index)
            wanted = [n for n in names if any(n in sample.files for sample in samples)]
            for name in wanted:
                lacking = [sample for sample in samples if name not in sample.files]
                spare = [s.name for s in samples if name in s.files and len(s.files) < len(wanted)][:_MOST_COMPARED]
                if lacking:
                    words = f"{len(lacking)} of {len(samples)} samples of {split} have no file in {names[name]}/"
                    level = ERROR if name in facts.wanted[split] else WARNING
                    yield Finding("unpaired", level, words, tuple(_with_nearest(lacking, spare)))
    if facts.left:
        words = "files beside another of the same name (in any Unicode form) in the same folder; keep one of each"
        yield Finding("same name", ERROR, words, tuple((path, "") for path in facts.left))


def _with_nearest(lacking: Sequence[SampleFacts], spare: Sequence[str]) -> Iterator[tuple[str, str]]:
    for place, sample in enumerate(lacking):
        close = closest(sample.name, spare, _LIKE) if place < _MOST_IDS else ""
        yield next(iter(sample.files.values())).path, f"nearest: {shown(close)}" if close else ""


def _of_files(facts: Facts) -> Iterator[Finding]:
    """Find files that cannot be read, and valid files of a wrong kind."""
    broken = [(f.path, f.problem) for _, _, f in facts.files() if f.problem and not f.wrong_kind]
    if broken:
        yield Finding("unreadable", ERROR, "files that cannot be read as what they should be", tuple(broken))
    for name in facts.data.files:
        wrong = [(f.path, f.problem) for _, n, f in facts.files() if n == name and f.wrong_kind]
        if wrong:
            yield Finding("wrong kind", ERROR, f"files of {name} that are of another kind", tuple(wrong))


def _of_sizes(facts: Facts) -> Iterator[Finding]:
    differ = [(next(iter(s.files.values())).path, s.size_problem) for s in facts.samples if s.size_problem]
    if differ:
        yield Finding("sizes differ", ERROR, "samples whose files differ in size", tuple(differ))


def _of_ids(facts: Facts) -> Iterator[Finding]:
    """Find ids that are no class, and label maps that are masks of grey values."""
    if facts.classes is None:
        return
    wrong: Counter[int] = Counter()
    images: Counter[int] = Counter()
    pixels: Counter[int] = Counter()
    places = []
    for sample in facts.samples:
        pixels.update(sample.pixels)
        ids = {n: c for n, c in sample.pixels.items() if n >= len(facts.classes) and n != facts.data.ignore}
        if ids:
            wrong.update(ids)
            images.update(ids.keys())
            listed = [f"{number} ({count} pixels)" for number, count in sorted(ids.items())[:_MOST_IDS]]
            places.append(
                (
                    sample.files[facts.role("classes")].path,
                    ", ".join(listed) + (", ..." if len(ids) > _MOST_IDS else ""),
                )
            )
    if wrong:
        table = [f"{n} ({wrong[n]} pixels in {images[n]} maps)" for n in sorted(wrong)[:_MOST_IDS]]
        more = f" and {len(wrong) - _MOST_IDS} more, up to {max(wrong)}" if len(wrong) > _MOST_IDS else ""
        words = f"ids that are no class: {', '.join(table)}{more}; classes are 0 to {len(facts.classes) - 1}. "
        yield Finding("ids", ERROR, words + advice(sorted(wrong), pixels), tuple(places))
    if facts.recipe is None and len(facts.classes) > _MOST_CLASSES:
        words = f"ids of label maps go up to {len(facts.classes) - 1}; are they instance maps (class*1000 + number)?"
        yield Finding("ids", WARNING, words)
    elif mask := mask_finding(pixels, facts.data.ignore):
        yield Finding("ids", WARNING if mask.values else NOTE, f"label maps: {mask}")


def _of_classes(facts: Facts) -> Iterator[Finding]:
    """Find classes without training pixels."""
    if facts.classes is None:
        return
    train, others = _present(facts.of(facts.data.train)), _present(facts.samples)
    names = facts.classes.names
    wanted = set(range(len(names))) - {facts.data.ignore}
    if unseen := sorted(wanted & others - train) if train else []:
        words = f"classes of other splits that are never in {facts.data.train}: {_ranges(unseen)}"
        yield Finding("untrained classes", WARNING, words, tuple((f"{n} {names[n]}", "") for n in unseen))
    if absent := sorted(wanted - others) if train else []:
        words = f"classes that are never present, of {len(names)}: {_ranges(absent)}"
        yield Finding("absent classes", WARNING, words, tuple((f"{n} {names[n]}", "") for n in absent))


def _present(samples: Iterable[SampleFacts]) -> set[int]:
    return {number for sample in samples for number in sample.pixels}


def _ranges(numbers: Sequence[int]) -> str:
    """Return sorted numbers as ranges: `1, 4-7`."""
    runs = [list(run) for _, run in groupby(enumerate(numbers), key=lambda pair: pair[1] - pair[0])]
    texts = [str(run[0][1]) if len(run) == 1 else f"{run[0][1]}-{run[-1][1]}" for run in runs]
    return ", ".join(texts[:_MOST_IDS]) + (f" and more, up to {numbers[-1]}" if len(texts) > _MOST_IDS else "")


def _of_instances(facts: Facts) -> Iterator[Finding]:
    """Find instance maps that contradict the label maps, or add nothing to them."""
    role = facts.role("instances")
    with_both = [s for s in facts.samples if s.pixels and role in s.files and s.size and s.instances]
    if not with_both:
        return
    total = sum(sum(sample.pixels.values()) for sample in with_both)
    torn = [(s, sum(s.torn.values())) for s in with_both if s.torn]
    if torn:
        share = sum(count for _, count in torn) / total
        words = (
            f"instances that cover several classes: {share:.2%} of the pixels lie outside the class that their "
            "instance has most of; the boundaries of such maps are wrong there"
        )
        details = [
            (s.files[role].path, f"{count} pixels, ids {_ranges(sorted(s.torn))}")
            for s, count in sorted(torn, key=lambda pair: -pair[1])
        ]
        yield Finding("instances", WARNING, words, tuple(details))
    if background := [s for s in with_both if s.torn_background]:
        share = sum(s.torn_background for s in background) / total
        words = (
            f"instance 0 covers several classes in {len(background)} of {len(with_both)} samples ({share:.1%} of the "
            "pixels lie outside its largest class): instance maps have no boundaries between those classes"
        )
        yield Finding("instances", NOTE, words)
    if all(sample.instances <= len(sample.pixels) for sample in with_both):
        words = "instance maps have no more ids than there are classes: they add nothing to the label maps"
        yield Finding("instances", NOTE, words)


def _of_constants(facts: Facts) -> Iterator[Finding]:
    for name, spec in facts.data.files.items():
        places = [(f.path, "") for _, n, f in facts.files() if n == name and f.constant]
        if places:
            what = "maps" if spec.kind == "ids" else "pictures, or a side of them,"
            words = f"{name}: {what} whose pixels are all equal"
            yield Finding("constant", NOTE if spec.values == "instances" else WARNING, words, tuple(places))


def _of_bits(facts: Facts) -> Iterator[Finding]:
    """Find pictures that differ in bits or channels, and 16-bit pictures that do not use their range."""
    for name in (role for role, spec in facts.data.files.items() if spec.kind == "image"):
        files = [f for _, n, f in facts.files() if n == name and f.header and not f.problem]
        for what in ("bits", "channels"):
            groups: dict[int, list[str]] = defaultdict(list)
            for file in files:
                assert file.header is not None
                groups[3 if what == "channels" and file.header.palette else getattr(file.header, what)].append(
                    file.path
                )
            if len(groups) > 1:
                most = max(groups, key=lambda number: len(groups[number]))
                counts = ", ".join(f"{len(group)} with {number}" for number, group in sorted(groups.items()))
                level = WARNING if what == "bits" else NOTE
                words = f"{name}: files differ in {what} ({counts}); these have others than {most}"
                others = [(path, str(number)) for number, group in groups.items() for path in group if number != most]
                yield Finding(f"mixed {what}", level, words, tuple(others))
        if finding := depth_finding([f.highest for f in files if f.highest is not None]):
            places = tuple((f.path, "") for f in files if f.highest is not None)
            yield Finding("bit depth", WARNING, f"{name}: {finding}", places)


def _of_alpha(facts: Facts) -> Iterator[Finding]:
    """Find pictures whose alpha, which is dropped, hides pixels."""
    for name in facts.data.files:
        files = [f for _, n, f in facts.files() if n == name and f.transparent]
        if files:
            words = (
                f"{name}: transparent pixels in {_many(files)}: alpha is dropped, and the colours stored under them "
                "are used. Lay the pictures on a background, or keep alpha as a channel (data.photo_channels=4 for "
                "pictures that come out, data.source_channels=4 for those that go in)"
            )
            yield Finding("alpha", NOTE, words, tuple((f.path, f"{f.transparent:.1%} of the pixels") for f in files))


def _of_headers(facts: Facts) -> Iterator[Finding]:
    """Find what headers tell of usable files."""
    places: dict[tuple[str, HeaderNote], list[tuple[str, str]]] = defaultdict(list)
    for sample in facts.samples:
        headers = {role: f.header for role, f in sample.files.items() if f.header and not f.problem}
        for role, note in header_notes(headers, facts.data.files, facts.data.paired, facts.data.ignore):
            places[role, note].append((sample.files[role].path, ""))
    for (role, note), files in places.items():
        if note.name != "alpha":  # counted by its pixels
            yield Finding(note.name, NOTE, f"{role}: {_many(files)} {note.words}", tuple(files))


def _of_floats(facts: Facts) -> Iterator[Finding]:
    """Find floating point pictures that are scaled to [0, 1]."""
    for name in facts.data.files:
        files = [f for _, n, f in facts.files() if n == name and f.lowest is not None]
        if finding := float_finding([f.lowest for f in files if f.lowest is not None]):
            yield Finding("float range", WARNING, f"{name}: {finding}", tuple((f.path, "") for f in files))


def _of_copies(facts: Facts) -> Iterator[Finding]:
    """Find files with the same content: in one split, in training and another split, or in one sample."""
    owners: dict[tuple[str, bytes], dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for sample, name, file in facts.files():
        if file.digest and name != facts.role("instances") and not file.constant and not file.problem:
            owners[name, file.digest][sample.split].append(file.path)
    copies: dict[tuple[str, str], list[tuple[str, str]]] = defaultdict(list)
    overlap: dict[tuple[str, str], list[tuple[str, str]]] = defaultdict(list)
    for (name, _), splits in owners.items():
        for split, paths in splits.items():
            copies[split, name] += [(path, f"is {shown(paths[0])}") for path in paths[1:]]
            if split != facts.data.train and facts.data.train in splits:
                overlap[split, name] += [(path, f"is {shown(splits[facts.data.train][0])}") for path in paths]
    for (split, name), places in copies.items():
        if places:
            words = f"{name}: {_many(places)} of {split} with the content of another"
            yield Finding("duplicates", WARNING, words, tuple(places))
    for (split, name), places in overlap.items():
        words = f"{name}: {_many(places)} of {split} with the content of one of {facts.data.train}"
        yield Finding("overlap", WARNING, words, tuple(places))
    for one, other, level in (("label", "instance", NOTE), ("source", "photo", WARNING)):
        pairs = [s.files for s in facts.samples if {one, other} <= s.files.keys() and s.files[one].digest]
        same = [(files[one].path, "") for files in pairs if files[one].digest == files[other].digest]
        if same:
            yield Finding("same file", level, f"{one} and {other} of a sample are the same file", tuple(same))


def _many(places: Sequence[object]) -> str:
    return f"{len(places)} file{'s' * (len(places) != 1)}"


def _of_stages(facts: Facts) -> Iterator[Finding]:
    """Find crops that do not fit, and stages that pad, enlarge or distort the files."""
    if facts.recipe is None:
        return
    sizes: dict[tuple[int, int], list[str]] = defaultdict(list)
    for sample in facts.of(facts.data.train):
        if sample.size:
            sizes[sample.size].append(next(iter(sample.files.values())).path)
    for stage in facts.recipe.stages:
        where = f"stages.{stage.name}"
        wrong = {size: next((words for _, words in geometry_problems([stage], *size)), "") for size in sizes}
        places = tuple((path, wrong[size]) for size, paths in sizes.items() if wrong[size] for path in paths)
        if places:
            yield Finding("crop", ERROR, f"{where}: files that do not fit its geometry", places)
        seen = {size: _seen(stage, *size) for size in sizes if not wrong[size]}
        yield from _of_stride(where, facts.recipe.method.stride(stage), set(seen.values()))
        small = tuple((p, "") for s, out in seen.items() if out[0] > s[0] and out[1] > s[1] for p in sizes[s])
        if small and stage.geometry in ("resize", "scale_width"):
            yield Finding("enlarged", NOTE, f"{where}: {_many(small)} smaller than {stage.size}", small)
        bent = {s for s, out in seen.items() if _bend(s, out) > _CHANGE_OF_ASPECT}
        if bent and stage.geometry == "resize":
            words = f"{where}: geometry: resize changes the aspect; scale_width_and_crop keeps it"
            yield Finding("aspect", NOTE, words, tuple((p, f"{s[1]}x{s[0]}") for s in bent for p in sizes[s]))


def _seen(stage: Stage, height: int, width: int) -> tuple[int, int]:
    """Return the (height, width) of a file after the geometry of a stage."""
    drawn = plan(Geometry.of(stage), height, width, False, None)
    return drawn.crop[2:] if drawn.crop else drawn.resize or (height, width)


def _bend(before: tuple[int, int], after: tuple[int, int]) -> float:
    change = before[0] * after[1] / (before[1] * after[0])
    return max(change, 1 / change)


def _of_stride(where: str, stride: int, sizes: Iterable[tuple[int, int]]) -> Iterator[Finding]:
    odd = sorted(size for size in sizes if size[0] % stride or size[1] % stride)
    if odd:
        height, width = odd[0]
        padded = [int(np.ceil(side / stride)) * stride for side in (width, height)]
        words = (
            f"{where}: the network's stride is {stride}; {len(odd)} size(s), such as {width}x{height}, are no multiple "
            f"of it and are filled up inside (to {padded[0]}x{padded[1]}): a size of multiples is cheaper"
        )
        yield Finding("stride", NOTE, words)
