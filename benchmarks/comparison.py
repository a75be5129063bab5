"""Measure hdtrans and the 2018 way in turns, each in a process of its own, and return plain values."""

import statistics
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from benchmarks.growth import Scenes, grow, grow_processes
from benchmarks.original import load_original
from benchmarks.plan import ORIGINAL, Comparison, Job
from benchmarks.processes import Child, RemoteCall, started
from hdtrans.benchmark.ceiling import Ceilings
from hdtrans.benchmark.files import FileCalls, check_encoded, preparing, reading
from hdtrans.benchmark.plan import OURS
from hdtrans.benchmark.run import (
    DTYPE_NAMES,
    FIELDS,
    MOST_FILES,
    check_subjects,
    describe_machine,
    limited_threads,
    make_scene,
    measured_ceilings,
    training_folder,
)
from hdtrans.benchmark.timing import LocalCall, Timings, add_memory, ratios, spread, time_in_turns
from hdtrans.common.errors import ProcessError
from hdtrans.data.folders import SampleFiles, find_samples
from hdtrans.data.kinds.label_maps import Section as LabelMaps
from hdtrans.engine.distributed import choose_device
from hdtrans.engine.precision import choose_precision

_CPU = torch.device("cpu")
_KEY = "against the others"


def compare(plan: Comparison, progress: Callable[[str], None] = lambda line: None) -> dict[str, Any]:
    """Measure the plan's subjects; return all figures as plain values in seconds and bytes.

    Args:
        plan: settings of the comparison.
        progress: receives a line before each subject.

    Raises:
        UserError: unknown subject or device, or unusable data.
        ProcessError: the process of a rival failed or died.
    """
    check_subjects(plan.what)
    device = choose_device(plan.device)
    dtype = choose_precision(plan.dtype, device).compute
    original = load_original(plan.original)
    with limited_threads(plan.threads), training_folder(plan) as root:
        files = find_samples(LabelMaps(root=root, labels=255), "train", FIELDS)[:MOST_FILES]
        if {"reading", "preparing"} & set(plan.what):
            check_encoded(files)
        turns = _Turns(replace(plan, device=str(device)), device, dtype, Ceilings(device), progress)
        machine = describe_machine(plan, device)
        for name in (name for name in ("inference", "training") if name in plan.what):
            turns.measure_network(name, lambda size: make_scene(root, files, size))
        with tempfile.TemporaryDirectory() as out:
            for files_of in _file_calls(plan, original, files, root, Path(out)):
                turns.measure_files(files_of)
        machine |= measured_ceilings(turns.ceilings, dtype)
    return {"machine": machine, "subjects": turns.results, "growth": turns.growth, "processes": turns.processes}


@dataclass
class _Turns:
    """Results so far, and what further measurements need.

    Attributes:
        plan: settings, with the chosen device.
        device: the chosen device.
        dtype: compute type of hdtrans.
        ceilings: ceilings of the machine.
        progress: receives a line before each subject.
    """

    plan: Comparison
    device: torch.device
    dtype: torch.dtype
    ceilings: Ceilings
    progress: Callable[[str], None]
    results: list[dict[str, Any]] = field(default_factory=list)
    growth: list[dict[str, Any]] = field(default_factory=list)
    processes: dict[str, Any] = field(default_factory=dict)

    def measure_network(self, what: str, scenes: Scenes) -> None:
        """Measure inference or training, and its growth if the plan has sizes for it."""
        self.progress(f"{what} ...")
        scene, plan = scenes(self.plan.size), self.plan
        with started([Job(plan, what, OURS)]) as (ours,):
            with started([Job(plan, what, ORIGINAL)]) as (original,):
                self.results.append(self._compare(what, {OURS: ours, ORIGINAL: original}, scene))
            if plan.growth:
                self.progress(f"{what}, from {plan.growth[0]} to {plan.growth[-1]} ...")
                self.growth += grow(what, plan, ours, scenes)
        if plan.growth and what == "training":
            self.progress("training with two processes ...")
            try:
                self.processes = grow_processes(plan, scenes, self.device)
            except ProcessError as error:  # two take more memory than one; keep the measurements so far
                self.processes = {"missing": str(error)}

    def measure_files(self, files_of: FileCalls) -> None:
        """Measure reading or preparing."""
        self.progress(f"{files_of.name} ...")
        calls = {name: LocalCall(work, _CPU) for name, work in files_of.calls.items()}
        timings = time_in_turns(calls, self.plan.rounds)
        add_memory(calls, timings)
        self.results.append(_result(files_of.name, "triples", files_of.each, timings))

    def _compare(self, what: str, children: dict[str, Child], scene: Mapping[str, Any]) -> dict[str, Any]:
        for child in children.values():
            child.ask("add", _KEY, scene, 1)
        calls = {name: RemoteCall([child], _KEY) for name, child in children.items()}
        timings = time_in_turns(calls, self.plan.rounds, lambda: self.ceilings.probe(self.dtype))
        # Before the profilers, which take memory of their own.
        processes = {name: child.ask("resident") for name, child in children.items()}
        add_memory(calls, timings)
        result = _result(what, "pictures" if what == "inference" else "steps", 1, timings)
        for name, memory in processes.items():
            result["times"][name]["process"] = memory
        flops = children[OURS].ask("flops")
        shares = shares_of_ceiling(flops, timings)
        result |= {"dtype": DTYPE_NAMES[self.dtype], "flops": flops, "share_of_ceiling": spread(shares)}
        if what == "training":
            held, estimate = children[OURS].ask("memory")
            result["dry_run"] = {"estimated": estimate, "measured": held + timings[OURS].memory}
        return result | children[OURS].ask("shares", _KEY)


def shares_of_ceiling(flops: int, timings: Mapping[str, Timings]) -> list[float]:
    """Return, round by round, the speed of hdtrans relative to the fastest convolution in the same round."""
    fastest = [max(speeds) for speeds in zip(*(each.ceiling for each in timings.values()), strict=True)]
    return [flops / seconds / speed for seconds, speed in zip(timings[OURS].seconds, fastest, strict=True)]


def _file_calls(
    plan: Comparison, original: Any, files: Sequence[SampleFiles], root: Path, out: Path
) -> Iterator[FileCalls]:
    """Yield the subjects that read files, each with the 2018 way as a rival, which writes to `out`."""
    paths = [{name: Path(path) for name, path in each.paths.items()} for each in files]
    size = (plan.size.width, plan.size.height)
    if "reading" in plan.what:
        plain, scaled = (reading(plan, files, root, resize) for resize in (False, True))
        plain.calls[ORIGINAL] = lambda: [original.read(each, None) for each in paths]
        scaled.calls[ORIGINAL] = lambda: [original.read(each, size) for each in paths]
        yield from (plain, scaled)
    if "preparing" in plan.what:
        prepared = preparing(plan, files, root)
        prepared.calls[ORIGINAL] = lambda: [original.prepare(each, size, out) for each in paths]
        yield prepared


def _result(name: str, unit: str, each: int, timings: Mapping[str, Timings]) -> dict[str, Any]:
    ours, others = timings[OURS], [rival for rival in timings if rival != OURS]
    return {
        "name": name,
        "unit": unit,
        "dtype": "",
        "flops": 0,
        "times": {rival: _plain(took, each) for rival, took in timings.items()},
        "faster_than": {rival: spread(ratios(timings[rival], ours)) for rival in others},
        "faster_than_by_cpu_time": {rival: spread(ratios(timings[rival], ours, cpu=True)) for rival in others},
        "share_of_ceiling": {},
        "dry_run": {},
        "by_part": {},
        "by_kind": {},
    }


def _plain(took: Timings, each: int) -> dict[str, Any]:
    cpu = statistics.median(took.cpu_seconds)
    speed = each / took.median
    return {"seconds": took.median, "per_second": speed, "cpu_seconds": cpu, "memory": took.memory, "process": 0}
