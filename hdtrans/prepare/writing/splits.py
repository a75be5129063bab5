"""Which items train, validate and test: the data set's own split, or shares by a hash that never changes."""

import hashlib
import re
from collections.abc import Sequence

from hdtrans.common.errors import UserError
from hdtrans.prepare.options import SPLITS, Options
from hdtrans.prepare.sources.source import Item

Work = Sequence[tuple[Item, str]]
"""Items and the splits they go to."""


def with_splits(items: Sequence[Item], options: Options) -> Work:
    """Return the items with their splits.

    With shares, groups whose hash (SHA-256, as a fraction of its range) is below the share of `test` are tests, then
    come those of `val`; each gets at least one group. So a group stays where it is when others are added. Without
    shares the data set's own split is kept; items that have none train.

    Raises:
        UserError: the pattern of `split_by` is wrong or matches nothing in a name, or there are too few groups.
    """
    if not options.split:
        return [(item, item.split or "train") for item in items]
    groups = [_group(item, options.split_by) for item in items]
    places = {group: _place(group) for group in groups}
    ordered = sorted(places, key=lambda group: (places[group], group))
    if len(ordered) <= len(options.split):
        raise UserError(
            f"--split: {len(ordered)} group(s) cannot be split into {len(options.split) + 1} parts; "
            "--split-by name or a pattern makes smaller groups"
        )
    splits: dict[str, str] = {}
    start, taken = 0.0, 0
    for name, share in options.split:
        part = [group for group in ordered[taken:] if places[group] < start + share] or [ordered[taken]]
        splits.update(dict.fromkeys(part, name))
        start, taken = start + share, taken + len(part)
    if taken == len(ordered):
        raise UserError(f"--split: of {len(ordered)} groups none is left to train on; give smaller shares")
    return [(item, splits.get(group, "train")) for item, group in zip(items, groups, strict=True)]


def _group(item: Item, by: str) -> str:
    if by == "group":
        return item.group
    if by == "name":
        return item.name
    try:
        found = re.search(by, item.name)
    except re.error as error:
        raise UserError(f"--split-by {by!r}: is neither group, name nor a regular expression: {error}") from error
    if found is None:
        raise UserError(f"--split-by {by!r}: matches nothing in the name {item.name!r}")
    return found[0]


def _place(group: str) -> float:
    return int.from_bytes(hashlib.sha256(group.encode("utf-8", "surrogateescape")).digest()[:8], "big") / 2**64


def limited(work: Work, limit: int | None) -> Work:
    """Return the first `limit` items of each split."""
    left = dict.fromkeys(SPLITS, len(work) if limit is None else limit)
    chosen = []
    for item, split in work:
        if left[split]:
            left[split] -= 1
            chosen.append((item, split))
    return chosen
