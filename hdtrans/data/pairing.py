"""Pair files by their names."""

import difflib
import os
import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

Names = dict[str, list[str]]
"""Names by field, in the order of its files."""

_ENDING = re.compile(r"_(?:gt(?:Fine|Coarse)_(?:label|instance)(?:Train)?Ids|leftImg8bit|label|inst|img|A|B)$")
_KIND = (
    r"(?:masks?|labels?|lbls?|segs?|segmentations?|gt|ground_?truths?|annotations?|annos?|maps?|ids|imgs?|images?|"
    r"photos?|pics?|pictures?|rgb|colou?rs?|inst|instances?|edges?|sketch|sketches|depth|inputs?|targets?)"
)
_KIND_WORD = re.compile(_KIND, re.IGNORECASE)
_KIND_FIRST = re.compile(rf"(?:(?<=/)|^){_KIND}(?:[_\-. ]+|(?=[0-9]))(?=[^/]+$)", re.IGNORECASE)
_KIND_LAST = re.compile(rf"(?<=[^/])(?:[_\-. ]+|(?<=[0-9])){_KIND}$", re.IGNORECASE)
_LONE_NUMBER = re.compile(r"(?<![^\W_])[0-9]+(?:\.[0-9]+)*(?![^\W_])")
_SEPARATORS = "_-. "


@dataclass(frozen=True)
class Pairing:
    """Names of the samples that files belong to.

    Attributes:
        names: name of the sample of each file, by field.
        rule: rule that found them, as the end of "paired by"; '' for equal names.
    """

    names: Names
    rule: str = ""


def natural(name: str) -> tuple[list[str | int], str]:
    """Return a key for `sorted` that sorts numbers inside names by their value: `a2` before `a10`."""
    parts = re.split("([0-9]+)", name)
    return [int(part) if place % 2 else part for place, part in enumerate(parts)], name


def composed(name: str) -> str:
    """Return a name in its composed Unicode form (NFC), in which names of all systems compare equal."""
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def closest(name: str, others: Sequence[str], likeness: float) -> str:
    """Return the name among others most like a name, in upper or lower case; '' where none is.

    Args:
        name: name without a partner.
        others: names to choose from.
        likeness: least similarity, in [0, 1].
    """
    by_form = {composed(other).casefold(): other for other in others}
    close = difflib.get_close_matches(composed(name).casefold(), by_form, n=1, cutoff=likeness)
    return by_form[close[0]] if close else ""


def pair(files: Mapping[str, Sequence[str]]) -> Pairing:
    """Return the name of the sample of each file, by the first rule that pairs all files, else by the best rule.

    The rules: the same stem; the same without the endings of Cityscapes and pix2pixHD (`_gtFine_labelIds`,
    `_leftImg8bit`, `_A`, ...); the same without one ending that all files of a field share; the same without a word for
    the kind of file (`0001_mask` and `0001_photo`, `lbl_1` and `img_1`). Names that differ in their Unicode form alone
    are the same. No rule cuts a number, or leaves out numbers that differ, so frames 10 and 15 are never a pair.
    """
    stems = {field: [os.path.splitext(file)[0] for file in names] for field, names in files.items()}
    best, fewest = Pairing(stems), _unpaired(stems)
    for found in _by_other_rules(stems) if fewest else ():
        if (unpaired := _unpaired(found.names)) < fewest:
            best, fewest = found, unpaired
            if not fewest:
                break
    return best


def _by_other_rules(stems: Names) -> Iterator[Pairing]:
    same_form = {field: [composed(name) for name in names] for field, names in stems.items()}
    for names in [stems] if same_form == stems else [stems, same_form]:
        if names is not stems:
            yield Pairing(names, "names in composed Unicode form (NFC)")
        known = {field: [_ENDING.sub("", name) for name in each] for field, each in names.items()}
        yield Pairing(known, "names without the endings of their kind (_gtFine_labelIds, _leftImg8bit, _A, ...)")
        single = all(len(each) == 1 for each in names.values())
        for endings in [_single_endings(names)] if single else _common_endings(names):
            yield _without(names, endings)
        kinds = _without_kinds(names)
        if all(len(set(kinds[field])) == len(set(each)) for field, each in names.items()):
            yield Pairing(kinds, "names without a word for the kind of file (mask, label, image, photo, ...)")


def _unpaired(keys: Mapping[str, Sequence[str]]) -> int:
    sets = [set(names) for names in keys.values()]
    return len(set.union(*sets)) - len(set.intersection(*sets))


def _without_kinds(names: Names) -> Names:
    """Remove words for the kind of file, first and last in the names; a word that two fields have there is no kind."""
    for pattern in (_KIND_FIRST, _KIND_LAST):
        words = [
            {found[0].casefold().strip(_SEPARATORS) for name in each if (found := pattern.search(name))}
            for each in names.values()
        ]
        if len(set().union(*words)) == sum(map(len, words)):
            names = {field: [pattern.sub("", name) for name in each] for field, each in names.items()}
    return names


def _without(names: Names, endings: Mapping[str, str]) -> Pairing:
    """Remove an ending of each field."""
    cut = {field: [name[: len(name) - len(endings[field])] for name in each] for field, each in names.items()}
    listed = ", ".join(f"{ending!r} ({field})" for field, ending in endings.items() if ending)
    return Pairing(cut, f"names without a common ending: {listed}")


def _single_endings(names: Names) -> dict[str, str]:
    """Return what each name has beyond the shortest, if that is the start of all and a proper ending follows."""
    alone = {field: each[0] for field, each in names.items()}
    start = min(alone.values(), key=len)
    endings = {field: name.removeprefix(start) for field, name in alone.items()}
    sound = all(
        name.startswith(start)
        and (_parts(name, len(start)) or _KIND_WORD.fullmatch(endings[field]))
        and not _inside_number(name, len(start))
        and not _LONE_NUMBER.search(endings[field])
        for field, name in alone.items()
        if name != start
    )
    return endings if sound else dict.fromkeys(names, "")


def _common_endings(names: Names) -> Iterator[dict[str, str]]:
    """Yield endings to remove: those that all files of a field share, without the common start of these endings.

    First the longest, if they leave out no different numbers and no part of a number or word; then the longest that
    consist of whole words.
    """
    longest = {field: _common_ending(each) for field, each in names.items()}
    whole = {field: _whole_words(names[field], ending) for field, ending in longest.items()}
    for endings, check in ((longest, _is_sound), (whole, _always)):
        kept = len(_common_start(list(endings.values())).rstrip(_SEPARATORS))
        if check(names, endings, kept):
            yield {field: ending[kept:] for field, ending in endings.items()}


def _always(names: Names, endings: Mapping[str, str], kept: int) -> bool:
    return True


def _is_sound(names: Names, endings: Mapping[str, str], kept: int) -> bool:
    """Return True if files are the same without their endings from some place on, at most `kept` characters in.

    The characters up to `kept` are common to all endings, so that it does not matter for the pairs where the cut lies
    among them: one place between words is enough.
    """
    kinds = {field for field, ending in endings.items() if _KIND_WORD.fullmatch(ending[kept:].strip(_SEPARATORS))}
    for place in range(kept, -1, -1):
        left = {field: ending[place:] for field, ending in endings.items()}
        numbers = [found for ending in left.values() if (found := _LONE_NUMBER.findall(ending))]
        if any(found != numbers[0] for found in numbers) and any(len(n) > 1 for found in numbers for n in found):
            continue  # one figure may be that of a side or view: a_1 and a_2
        one_is_whole = not all(left.values())
        if all(
            _fits(names[field], ending, place, _parts_or_word if one_is_whole or field in kinds else _parts)
            for field, ending in left.items()
            if ending
        ):
            return True
    return False


def _whole_words(names: Sequence[str], ending: str) -> str:
    """Return the longest part at the end of a common ending that starts between words and has no lone number."""
    for place in range(len(ending)):
        part = ending[place:]
        if not _LONE_NUMBER.search(part) and _fits(names, part, place, _parts):
            return part
    return ""


def _fits(names: Sequence[str], part: str, place: int, rule: Callable[[str, int], bool]) -> bool:
    """Return True if a rule lets every name be cut before `part`, which starts at a place of their common ending."""
    different = names if place == 0 else names[:1]  # further in, all names are alike on both sides of the cut
    return all(rule(name, len(name) - len(part)) for name in different)


def _parts(name: str, place: int) -> bool:
    """Return True if two words, or a word and a number, meet at a place: before a separator, `1|mask`, `cat|Mask`."""
    before, after = name[place - 1 : place], name[place : place + 1]
    if _inside_number(name, place):
        return False
    if not (before.isalnum() and after.isalnum()):
        return True
    if after.isdecimal():
        return False
    without_case = any(letter.upper() == letter.lower() for letter in (before, after))  # figures, and many scripts
    return without_case or (before.islower() and after.isupper())


def _parts_or_word(name: str, place: int) -> bool:
    """Return True unless a place lies inside a number."""
    return not _inside_number(name, place)


def _inside_number(name: str, place: int) -> bool:
    """Return True between two figures, and beside the point between them."""
    around = re.sub("[0-9]", "0", name[max(0, place - 2) : place]), re.sub("[0-9]", "0", name[place : place + 2])
    before, after = around
    return (before[-1:] == "0" and (after[:1] == "0" or after == ".0")) or (before == "0." and after[:1] == "0")


def _common_ending(stems: list[str]) -> str:
    """Return the longest common ending of the stems that is shorter than each; '' for a single stem."""
    if len(stems) < 2:
        return ""
    ending = _common_start([stem[::-1] for stem in stems])[::-1]
    return ending if len(ending) < min(len(stem) for stem in stems) else ending[1:]


def _common_start(texts: list[str]) -> str:
    first, last = min(texts), max(texts)
    differs = (place for place, pair in enumerate(zip(first, last, strict=False)) if pair[0] != pair[1])
    return first[: next(differs, len(first))]
