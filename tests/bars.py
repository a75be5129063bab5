"""Bars of reliability: tests say which they hold, and by how much; `make test-faults` ends with a table of them."""

from collections import defaultdict
from collections.abc import Callable
from typing import Any

import pytest

Figure = Callable[[str], None]


@pytest.fixture
def figure(record_property: Callable[[str, object], None]) -> Figure:
    """Return a function that notes what was measured."""
    return lambda text: record_property("figure", text)


def note_bars(item: pytest.Item) -> None:
    """Let the reports of a test say which bars it holds."""
    for mark in item.iter_markers("bar"):
        item.user_properties.append(("bar", mark.args))


def print_bars(reporter: Any) -> None:
    """Print a line for each bar: its figures and a verdict; nothing where no test holds one."""
    rows: dict[tuple[str, str], list[tuple[str, str]]] = defaultdict(list)
    for outcome in ("passed", "failed", "error", "skipped"):
        for report in reporter.stats.get(outcome, []):
            noted = getattr(report, "user_properties", [])
            reason = report.longrepr[2] if outcome == "skipped" and isinstance(report.longrepr, tuple) else ""
            text = "; ".join([str(value) for key, value in noted if key == "figure"] or [reason] * bool(reason))
            for key, value in noted:
                if key == "bar":
                    rows[tuple(value)].append((outcome, text))
    if not rows:
        return
    reporter.section("bars")
    for (number, what), tests in sorted(rows.items(), key=lambda row: [int(n) for n in row[0][0][1:].split(".")]):
        outcomes = [outcome for outcome, _ in tests]
        broken, skipped = len({"failed", "error"} & set(outcomes)), outcomes.count("skipped")
        verdict = "BROKEN" if broken else "not tried" if skipped == len(tests) else "holds"
        texts = list(dict.fromkeys(text for _, text in tests if text))
        count = f"{len(tests)} tests" if len(tests) > 1 else "1 test"
        more = f", {skipped} skipped" if 0 < skipped < len(tests) else ""
        reporter.line(f"{number:<5} {verdict:<9} {what}: {'; '.join(texts) or count}{more}")
