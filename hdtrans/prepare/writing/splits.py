"""Assign items to splits: the data set's own split, or shares by a stable hash."""

import re
from collections.abc import Sequence

from hdtrans.common.errors import Advice, UserError
from hdtrans.common.hashing import name_share
from hdtrans.prepare.options import SPLITS, Options
from hdtrans.prepare.sources.source import Item

SplitItems = Sequence[tuple[Item, str]]
"""Items, each with its split."""


def assign_splits(items: Sequence[Item], options: Options) -> SplitItems:
    """Assign each item to a split.

    With `options.split`, each group has a position in [0, 1): its SHA-256 as a fraction. Positions below the share of
    `test` are the test split, the next share is `val`, the rest `train`; `test` and `val` get at least one group each.
    A group therefore keeps its split when others are added. Without `options.split`, the data set's own split is used,
    and `train` for items without one.

    Raises:
        UserError: the pattern `split_by` is invalid or does not match a name, or there are too few groups.
    """
    if not options.split:
        return [(item, item.split or "train") for item in items]
    groups = [_group(item, options.split_by) for item in items]
    positions = {group: name_share(group) for group in groups}
    ordered = sorted(positions, key=lambda group: (positions[group], group))
    if len(ordered) <= len(options.split):
        raise UserError(
            f"{len(ordered)} group(s) cannot be split into {len(options.split) + 1} parts",
            argument="split",
            advice=[Advice("split_by", "name", "or a pattern, for smaller groups")],
        )
    splits: dict[str, str] = {}
    start, taken = 0.0, 0
    for name, share in options.split:
        part = [group for group in ordered[taken:] if positions[group] < start + share] or [ordered[taken]]
        splits.update(dict.fromkeys(part, name))
        start, taken = start + share, taken + len(part)
    if taken == len(ordered):
        raise UserError(f"none of {len(ordered)} groups is left for training; give smaller shares", argument="split")
    return [(item, splits.get(group, "train")) for item, group in zip(items, groups, strict=True)]


def _group(item: Item, by: str) -> str:
    if by == "group":
        return item.group
    if by == "name":
        return item.name
    try:
        found = re.search(by, item.name)
    except re.error as error:
        finding = f"is neither group, name nor a regular expression: {error}"
        raise UserError(finding, argument="split_by", value=repr(by)) from error
    if found is None:
        finding = f"does not match the name {item.name!r}; give a pattern that all names match"
        raise UserError(finding, argument="split_by", value=repr(by))
    return found[0]


def limit_per_split(items: SplitItems, limit: int | None) -> SplitItems:
    """Return the first `limit` items of each split."""
    left = dict.fromkeys(SPLITS, len(items) if limit is None else limit)
    chosen = []
    for item, split in items:
        if left[split]:
            left[split] -= 1
            chosen.append((item, split))
    return chosen
