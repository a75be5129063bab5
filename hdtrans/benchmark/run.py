"""A whole benchmark: the scenes, the subjects in their order, the machine, and what came out as plain values."""

import os
import platform
import statistics
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import cv2
import numpy.typing as npt
import torch

import hdtrans
from hdtrans.benchmark.ceiling import Ceilings
from hdtrans.benchmark.files import Files, preparing, reading
from hdtrans.benchmark.growth import Scenes, grow, grow_processes
from hdtrans.benchmark.original import load_original
from hdtrans.benchmark.plan import LABELS, ORIGINAL, OURS, SUBJECTS, Plan
from hdtrans.benchmark.processes import Child, There, started
from hdtrans.benchmark.timing import Here, Took, ratios, spread, take_memory, take_turns
from hdtrans.benchmark.worker import Job
from hdtrans.common.errors import ProcessError, UserError
from hdtrans.config.stage import Size
from hdtrans.data.dataset import EvalDataset
from hdtrans.data.folders import SampleFiles, find_samples
from hdtrans.data.geometry import Geometry
from hdtrans.data.kinds.label_maps import Section as LabelMaps
from hdtrans.engine.distributed import choose_device
from hdtrans.engine.precision import choose_precision, computes_bf16
from hdtrans.toycity.scenes import write_dataset

_FIELDS = ("label", "instance", "photo")
_MOST_FILES = 8
_CPU = torch.device("cpu")
_KEY = "against the others"
_NAMES = {torch.float32: "fp32", torch.bfloat16: "bf16", torch.float16: "fp16", torch.float64: "fp64"}


def benchmark(plan: Plan, tell: Callable[[str], None] = lambda line: None) -> dict[str, Any]:
    """Measure, and return all figures as plain values; times are seconds, memory is bytes.

    Raises:
        UserError: no such subject, device, data or file.
        ProcessError: a process in which a rival computes failed or died.
    """
    wrong = [name for name in plan.what if name not in SUBJECTS]
    if wrong:
        raise UserError(f"there is no {', '.join(wrong)}; there are {', '.join(SUBJECTS)}")
    device = choose_device(plan.device)
    dtype = choose_precision(plan.dtype, device).compute
    original = load_original(plan.original) if plan.original or plan.width == 64 else None
    with _threads(plan.threads), _data(plan) as root:
        data = LabelMaps(root=root, labels=255)
        files = find_samples(data, "train", _FIELDS)[:_MOST_FILES]
        if {"reading", "preparing"} & set(plan.what):
            _check_encoded(files)
        bench = _Bench(replace(plan, device=str(device)), device, dtype, original, Ceilings(device), tell)
        machine = _machine(plan, device)
        for name in (name for name in ("inference", "training") if name in plan.what):
            bench.compute(name, lambda size: _scene(data, files, size))
        if "reading" in plan.what:
            bench.of_files(reading(plan, original, files, root, resize=False))
            bench.of_files(reading(plan, original, files, root, resize=True))
        if "preparing" in plan.what:
            with preparing(plan, original, files, root) as ready:
                bench.of_files(ready)
        dtypes = dict.fromkeys([torch.float32, torch.bfloat16, dtype])
        machine["convolution"] = {_NAMES[each]: bench.ceilings.fastest_convolution(each) for each in dtypes}
        machine["copy"] = bench.ceilings.fastest_copy()
        machine["load_after"] = os.getloadavg()[0]
    return {"machine": machine, "subjects": bench.results, "growth": bench.growth, "processes": bench.processes}


@dataclass
class _Bench:
    """What was found so far, and what it takes to go on.

    Attributes:
        plan: its device is the one that was chosen.
        device: the same.
        dtype: that ours computes in.
        original: the module of the original's way, or None.
        ceilings: what the machine can do.
        tell: takes a line about what is done.
    """

    plan: Plan
    device: torch.device
    dtype: torch.dtype
    original: Any
    ceilings: Ceilings
    tell: Callable[[str], None]
    results: list[dict[str, Any]] = field(default_factory=list)
    growth: list[dict[str, Any]] = field(default_factory=list)
    processes: dict[str, Any] = field(default_factory=dict)

    def compute(self, what: str, scenes: Scenes) -> None:
        """Measure inference or training, and how it grows where that is asked for."""
        self.tell(f"{what} ...")
        scene, plan = scenes(self.plan.size), self.plan
        with started([Job(plan, what, OURS)]) as (ours,):
            with started([Job(plan, what, ORIGINAL)] if self.original is not None else []) as others:
                children = dict(zip((OURS, ORIGINAL), (ours, *others), strict=False))
                self.results.append(self._measure(what, children, scene))
            if plan.growth:
                self.tell(f"{what}, from {plan.growth[0]} to {plan.growth[-1]} ...")
                self.growth += grow(what, plan, ours, scenes)
        if plan.growth and what == "training":
            self.tell("training with two processes ...")
            try:
                self.processes = grow_processes(plan, scenes, self.device)
            except ProcessError as error:  # two take more memory than one; what was measured before stays
                self.processes = {"missing": str(error)}

    def of_files(self, files: Files) -> None:
        """Measure reading or preparing."""
        self.tell(f"{files.name} ...")
        rivals = {name: Here(work, _CPU) for name, work in files.rivals.items()}
        took = take_turns(rivals, self.plan.rounds)
        take_memory(rivals, took)
        self.results.append(_result(files.name, "triples", files.each, took))

    def _measure(self, what: str, children: dict[str, Child], scene: Mapping[str, Any]) -> dict[str, Any]:
        for child in children.values():
            child.ask("add", _KEY, scene, 1)
        rivals = {name: There([child], _KEY) for name, child in children.items()}
        took = take_turns(rivals, self.plan.rounds, lambda: self.ceilings.look(self.dtype))
        # Before what looks closer, which takes memory of its own.
        processes = {name: child.ask("resident") for name, child in children.items()}
        take_memory(rivals, took)
        result = _result(what, "pictures" if what == "inference" else "steps", 1, took)
        for name, memory in processes.items():
            result["times"][name]["process"] = memory
        facts = children[OURS].ask("facts")
        shares = _shares_of_ceiling(facts["flops"], took)
        result |= {"dtype": _NAMES[self.dtype], "flops": facts["flops"], "share_of_ceiling": spread(shares)}
        if facts["estimate"]:
            result["dry_run"] = {"estimated": facts["estimate"], "measured": facts["held"] + took[OURS].memory}
        return result | children[OURS].ask("shares", _KEY)


def _shares_of_ceiling(flops: int, took: Mapping[str, Took]) -> list[float]:
    """Return, round by round, the speed of ours as a share of the fastest convolution in the same round."""
    fastest = [max(speeds) for speeds in zip(*(each.machine for each in took.values()), strict=True)]
    return [flops / seconds / speed for seconds, speed in zip(took[OURS].seconds, fastest, strict=True)]


def _result(name: str, unit: str, each: int, took: Mapping[str, Took]) -> dict[str, Any]:
    others = [rival for rival in took if rival != OURS]
    return {
        "name": name,
        "unit": unit,
        "dtype": "",
        "flops": 0,
        "times": {rival: _plain(times, each) for rival, times in took.items()},
        "faster_than": {rival: spread(ratios(took[rival], took[OURS])) for rival in others},
        "faster_than_by_cpu_time": {rival: spread(ratios(took[rival], took[OURS], cpu=True)) for rival in others},
        "share_of_ceiling": {},
        "dry_run": {},
        "by_part": {},
        "by_kind": {},
    }


def _scene(data: LabelMaps, files: list[SampleFiles], size: Size) -> dict[str, npt.NDArray[Any]]:
    """Return the maps and the photo of the first sample at a size, its ids folded into the classes of the recipe."""
    sample = EvalDataset(files[:1], _FIELDS, data, Geometry("resize", size))[0]
    label = sample["label"] % LABELS
    return {"label": label.numpy(), "instance": sample["instance"].numpy(), "photo": sample["photo"].numpy()}


def _check_encoded(files: list[SampleFiles]) -> None:
    """Raise UserError unless cv2 decodes all files: how long that takes is what reading is held to."""
    for path in (str(path) for each in files for path in each.paths.values()):
        if not cv2.haveImageReader(path):
            raise UserError(
                f"{path}: is no encoded picture in a file of its own, as reading and preparing are compared on; give "
                "--data a folder of PNG or JPEG files, or ask for inference and training alone"
            )


@contextmanager
def _data(plan: Plan) -> Iterator[Path]:
    if plan.data is not None:
        yield plan.data
        return
    with tempfile.TemporaryDirectory() as folder:
        write_dataset(Path(folder) / "toycity", 4, 0, 1024, 2048)
        yield Path(folder) / "toycity"


@contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads(), cv2.getNumThreads()
    torch.set_num_threads(count)
    cv2.setNumThreads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before[0])
        cv2.setNumThreads(before[1])


def _machine(plan: Plan, device: torch.device) -> dict[str, Any]:
    known = dict(torch.cpu.get_capabilities()) if device.type == "cpu" else {}
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else known.get("cpu_name", platform.machine())
    return {
        "device": name,
        "bf16_in_hardware": computes_bf16(device),
        "cores": os.cpu_count(),
        "threads": plan.threads,
        "torch": torch.__version__,
        "hdtrans": hdtrans.__version__,
        "size": str(plan.size),
        "enhancers": plan.enhancers,
        "rounds": plan.rounds,
        "load_before": os.getloadavg()[0],
    }


def _plain(took: Took, each: int) -> dict[str, Any]:
    cpu = statistics.median(took.cpu)
    speed = each / took.median
    return {"seconds": took.median, "per_second": speed, "cpu_seconds": cpu, "memory": took.memory, "process": 0}
