"""Pair files by their names."""

import os
import re
from collections.abc import Mapping, Sequence

_ENDING = re.compile(r"_(?:gt(?:Fine|Coarse)_(?:label|instance)(?:Train)?Ids|leftImg8bit|label|inst|img|A|B)$")


def natural(name: str) -> tuple[list[str | int], str]:
    """Return a key for `sorted` that sorts numbers inside names by their value: `a2` before `a10`."""
    parts = re.split("([0-9]+)", name)
    return [int(part) if place % 2 else part for place, part in enumerate(parts)], name


def pair(files: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """Return the name of the sample of each file, by the first rule that pairs all files, else by the best rule.

    The rules: the same stem; the same without the endings of Cityscapes and pix2pixHD (`_gtFine_labelIds`,
    `_leftImg8bit`, `_A`, ...); the same without one ending that all files of a field share.
    """
    stems = {field: [os.path.splitext(file)[0] for file in names] for field, names in files.items()}
    best, fewest = stems, _unpaired(stems)
    if fewest:
        known = {field: [_ENDING.sub("", stem) for stem in names] for field, names in stems.items()}
        for keys in (known, _without_common_ending(stems)):
            if (unpaired := _unpaired(keys)) < fewest:
                best, fewest = keys, unpaired
    return best


def _unpaired(keys: Mapping[str, Sequence[str]]) -> int:
    sets = [set(names) for names in keys.values()]
    return len(set.union(*sets)) - len(set.intersection(*sets))


def _without_common_ending(stems: Mapping[str, list[str]]) -> dict[str, list[str]]:
    """Remove the common ending of each field's stems, except for the common start of these endings."""
    endings = {field: _common_ending(names) for field, names in stems.items()}
    kept = len(_common_start(list(endings.values())).rstrip("_-. "))
    return {field: [stem[: len(stem) - len(endings[field]) + kept] for stem in names] for field, names in stems.items()}


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
