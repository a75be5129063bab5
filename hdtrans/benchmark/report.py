"""Benchmark figures as a text table and as an HTML page."""

from collections.abc import Sequence
from typing import Any

from hdtrans.common.pages import page, section, table


def report_text(found: dict[str, Any]) -> str:
    """Return the figures as text."""
    return "\n".join([*machine_lines(found["machine"]), "", *text_rows(_rows(found))])


def report_page(found: dict[str, Any]) -> str:
    """Return the figures as an HTML page."""
    machine = "\n".join(machine_lines(found["machine"]))
    return page("hdtrans benchmark", f"<pre>{machine}</pre>", section("Figures", table(_rows(found))))


def machine_lines(machine: dict[str, Any]) -> list[str]:
    """Return lines about the machine, its ceilings and the settings."""
    ceilings = ", ".join(f"{name} {speed / 1e9:,.0f} GFLOP/s" for name, speed in machine["convolution"].items())
    before, after = machine["load_before"], machine["load_after"]
    load = "" if before is None else f", load {before:.1f} before and {after:.1f} after"
    return [
        f"{machine['device']}, {machine['threads']} thread(s) of {machine['cores']} cores, "
        f"torch {machine['torch']}{load}",
        f"ceiling: {ceilings} (3x3 convolution), {machine['copy'] / 1e9:.1f} GB/s (copy)",
        "operations are counted as the networks are written: hdtrans may need fewer, so a share can exceed 100%",
        f"pictures of {machine['size']}, {machine['enhancers']} enhancer(s), {machine['rounds']} round(s)",
    ]


def text_rows(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return a table as lines of text: first column to the left, all others to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join(
            cell.ljust(w) if n == 0 else cell.rjust(w) for n, (cell, w) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]


def _rows(found: dict[str, Any]) -> list[list[str]]:
    rows = [["", "seconds", "per second", "memory", "share of the ceiling"]]
    busy = found["machine"]["busy"]
    if busy:
        rows[0] += [f"seconds beside {busy} busy processes", "share of the fair share"]
    for subject in found["subjects"]:
        share = subject["share_of_ceiling"]
        ceiling = f"a {subject['dtype']} convolution" if subject["flops"] else "the codecs alone"
        rows.append(
            [
                f"{subject['name']} ({subject['dtype']})" if subject["dtype"] else subject["name"],
                f"{subject['seconds']:.3f}",
                f"{subject['per_second']:.2f} {subject['unit']}",
                f"{subject['memory'] / 2**30:.2f} GiB",
                f"{_spread(share)} of {ceiling}",
            ]
        )
        if busy:
            kept = subject.get("busy")
            rows[-1] += [f"{kept['seconds']:.3f}", _spread(kept["share_of_fair_share"])] if kept else ["", ""]
    return rows


def _spread(share: dict[str, float]) -> str:
    return f"{share['median']:.0%} ({share['least']:.0%} to {share['most']:.0%})"
