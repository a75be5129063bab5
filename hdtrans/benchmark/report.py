"""The figures of a benchmark for people: a table, and a page with plots."""

from typing import Any

from hdtrans.benchmark.subjects import OURS
from hdtrans.common.pages import line_chart, page, section, table

_SHOWN = 0.01  # shares below are left out


def report_text(found: dict[str, Any]) -> str:
    """Return the figures as text."""
    machine = found["machine"]
    ceilings = ", ".join(f"{name} {speed / 1e9:,.0f} GFLOP/s" for name, speed in machine["convolution"].items())
    lines = [
        f"{machine['device']}, {machine['threads']} thread(s) of {machine['cores']} cores, torch {machine['torch']}, "
        f"load {machine['load_before']:.1f} before and {machine['load_after']:.1f} after",
        f"at most: {ceilings} (3x3 convolution), {machine['copy'] / 1e9:.1f} GB/s (copy)",
        f"pictures of {machine['size']}, {machine['enhancers']} enhancer(s), {machine['rounds']} round(s)",
    ]
    for subject in found["subjects"]:
        lines += ["", *_rows(_subject_table(subject)), *_details(subject)]
    if found["growth"]:
        lines += ["", *_rows(_growth_table(found))]
    return "\n".join(lines)


def report_page(found: dict[str, Any]) -> str:
    """Return the figures as an HTML page."""
    parts = []
    for subject in found["subjects"]:
        details = "".join(f"<p>{line.strip()}</p>" for line in _details(subject))
        parts.append(section(subject["name"], table(_subject_table(subject)), details))
    if found["growth"]:
        charts = [
            line_chart(title, _lines(found, key), "pixels", unit)
            for title, key, unit in (("time of a picture", "seconds", "s"), ("memory beyond the model", "memory", "B"))
        ]
        parts.append(section("growth", table(_growth_table(found)), *charts))
    return page("hdtrans benchmark", f"<pre>{report_text(found).split(chr(10) * 2)[0]}</pre>", *parts)


def _subject_table(subject: dict[str, Any]) -> list[list[str]]:
    name, unit = f"{subject['name']} ({subject['dtype']})" if subject["flops"] else subject["name"], subject["unit"]
    rows = [[name, "seconds", f"{unit}/s", "memory", "hdtrans is faster by", "by time of cores"]]
    for rival, took in subject["times"].items():
        faster = subject["faster_than"].get(rival)
        by_cpu = subject["faster_than_by_cpu_time"].get(rival)
        rows.append(
            [
                rival,
                f"{took['seconds']:.3f}",
                f"{took['per_second']:.2f}",
                f"{took['memory'] / 2**30:.2f} GiB",
                "" if faster is None else f"{faster['median']:.2f} ({faster['least']:.2f} to {faster['most']:.2f})",
                "" if by_cpu is None else f"{by_cpu['median']:.2f}",
            ]
        )
    return rows


def _details(subject: dict[str, Any]) -> list[str]:
    lines = []
    if subject["flops"]:
        speed = subject["flops"] / subject["times"][OURS]["seconds"]
        lines.append(
            f"  {subject['flops'] / 1e9:,.0f} GFLOP, {speed / 1e9:,.0f} GFLOP/s: {subject['share_of_ceiling']:.0%} of "
            f"what a large convolution reaches in {subject['dtype']}"
        )
    if subject["dry_run"]:
        estimated, measured = subject["dry_run"]["estimated"], subject["dry_run"]["measured"]
        lines.append(
            f"  memory of a process: {estimated / 2**30:.2f} GiB by --dry-run, {measured / 2**30:.2f} GiB measured "
            f"({estimated / measured - 1:+.0%})"
        )
    for key, words in (("by_part", "by part"), ("by_kind", "by kind")):
        shares = [f"{name} {share:.0%}" for name, share in subject[key].items() if share >= _SHOWN]
        if shares:
            lines.append(f"  {words}: {', '.join(shares)}")
    return lines


def _growth_table(found: dict[str, Any]) -> list[list[str]]:
    rows = [["growth", "size", "seconds", "microseconds a pixel", "bytes a pixel"]]
    for entry in found["growth"]:
        a_pixel = entry["seconds"] / entry["pixels"]
        memory = entry["memory"] / entry["pixels"]
        rows.append([entry["name"], entry["size"], f"{entry['seconds']:.3f}", f"{1e6 * a_pixel:.2f}", f"{memory:.0f}"])
    return rows


def _lines(found: dict[str, Any], key: str) -> dict[str, list[tuple[float, float]]]:
    lines: dict[str, list[tuple[float, float]]] = {}
    for entry in found["growth"]:
        lines.setdefault(entry["name"], []).append((entry["pixels"], entry[key]))
    return lines


def _rows(rows: list[list[str]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join(
            cell.ljust(w) if n == 0 else cell.rjust(w) for n, (cell, w) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
