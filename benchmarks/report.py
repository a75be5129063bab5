"""Figures of a comparison as text, and as an HTML page with plots."""

from typing import Any

from hdtrans.benchmark.plan import OURS
from hdtrans.benchmark.report import machine_lines, text_rows
from hdtrans.common.pages import line_chart, page, section, table

_SHOWN = 0.01  # smaller shares are left out


def report_text(found: dict[str, Any]) -> str:
    """Return the figures as text."""
    lines = machine_lines(found["machine"])
    for subject in found["subjects"]:
        lines += ["", *text_rows(_subject_table(subject)), *_details(subject)]
    for rows in _growth_tables(found):
        lines += ["", *text_rows(rows)]
    return "\n".join(lines)


def report_page(found: dict[str, Any]) -> str:
    """Return the figures as an HTML page."""
    machine = "\n".join(machine_lines(found["machine"]))
    parts = []
    for subject in found["subjects"]:
        details = "".join(f"<p>{line.strip()}</p>" for line in _details(subject))
        parts.append(section(subject["name"], table(_subject_table(subject)), details))
    if found["growth"]:
        parts.append(section("growth", *(table(rows) for rows in _growth_tables(found)), *_charts(found)))
    return page("Comparison with the 2018 way", f"<pre>{machine}</pre>", *parts)


def _subject_table(subject: dict[str, Any]) -> list[list[str]]:
    name, unit = f"{subject['name']} ({subject['dtype']})" if subject["flops"] else subject["name"], subject["unit"]
    rows = [[name, "seconds", f"{unit}/s", "memory", "process", "hdtrans is faster by", "by time of cores"]]
    for rival, took in subject["times"].items():
        faster = subject["faster_than"].get(rival)
        by_cpu = subject["faster_than_by_cpu_time"].get(rival)
        rows.append(
            [
                rival,
                f"{took['seconds']:.3f}",
                f"{took['per_second']:.2f}",
                f"{took['memory'] / 2**30:.2f} GiB",
                f"{took['process'] / 2**30:.2f} GiB" if took["process"] else "",
                "" if faster is None else f"{faster['median']:.2f} ({faster['least']:.2f} to {faster['most']:.2f})",
                "" if by_cpu is None else f"{by_cpu['median']:.2f}",
            ]
        )
    return rows


def _details(subject: dict[str, Any]) -> list[str]:
    lines = []
    if subject["flops"]:
        speed = subject["flops"] / subject["times"][OURS]["seconds"]
        share = subject["share_of_ceiling"]
        lines.append(
            f"  {subject['flops'] / 1e9:,.0f} GFLOP, {speed / 1e9:,.0f} GFLOP/s: {share['median']:.0%} "
            f"({share['least']:.0%} to {share['most']:.0%}) of what a large convolution reaches in {subject['dtype']} "
            "in the same round"
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


def _growth_tables(found: dict[str, Any]) -> list[list[list[str]]]:
    if not found["growth"]:
        return []
    rows = [["growth, of one picture", "size", "batch", "seconds", "microseconds a pixel", "bytes a pixel"]]
    for entry in found["growth"]:
        time, memory = 1e6 * entry["seconds"] / entry["pixels"], entry["memory"] / entry["pixels"]
        known = [entry["name"], entry["size"], str(entry["batch"]), f"{entry['seconds']:.3f}"]
        rows.append([*known, f"{time:.2f}", f"{memory:.0f}"])
    return [rows, *([_processes_table(found["processes"])] if found["processes"] else [])]


def _processes_table(processes: dict[str, Any]) -> list[list[str]]:
    if "missing" in processes:
        return [["training with two processes", processes["missing"]]]
    rows = [["training, pictures/s", "one process", "two", "of two apart", "of twice one", "by time of cores"]]
    for entry in processes["sizes"]:
        speeds = [f"{speed:.3f}" for speed in entry["per_second"].values()]
        shares = [entry[name] for name in ("of_two_apart", "of_twice_one")]
        cells = [f"{share['median']:.0%} ({share['least']:.0%} to {share['most']:.0%})" for share in shares]
        rows.append([entry["size"], *speeds, *cells, f"{entry['of_twice_one_by_cpu_time']['median']:.0%}"])
    return rows


def _charts(found: dict[str, Any]) -> list[str]:
    charts = [
        line_chart("time a pixel", _a_pixel(found, "seconds", 1e6), "pixels", "microseconds", from_zero=True),
        line_chart(
            "memory a pixel, beyond the model", _a_pixel(found, "memory", 1.0), "pixels", "bytes", from_zero=True
        ),
    ]
    of_processes = found["processes"].get("sizes")
    if of_processes:
        speeds = of_processes[-1]["per_second"]
        measured = [(float(name), speed) for name, speed in speeds.items()]
        proportional = [(count, count * speeds["1"]) for count, _ in measured]
        lines = {"training": measured, "as many times one process": proportional}
        title = f"pictures of {of_processes[-1]['size']} a second"
        charts.append(line_chart(title, lines, "processes, one core or GPU each", "1/s", from_zero=True))
        shares = {
            words: [(entry["pixels"], 100 * entry[key]["median"]) for entry in of_processes]
            for words, key in (("two apart", "of_two_apart"), ("twice one", "of_twice_one"))
        }
        charts.append(line_chart("training with two processes", shares, "pixels", "% of", from_zero=True))
    return charts


def _a_pixel(found: dict[str, Any], key: str, scale: float) -> dict[str, list[tuple[float, float]]]:
    """Return the points of each subject over the pixels of a picture, at batch 1."""
    lines: dict[str, list[tuple[float, float]]] = {}
    for entry in found["growth"]:
        if entry["batch"] == 1:
            lines.setdefault(entry["name"], []).append((entry["pixels"], scale * entry[key] / entry["pixels"]))
    return lines
