"""A whole benchmark: the scenes, the subjects in their order, the machine, and what came out as plain values."""

import os
import platform
import statistics
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import torch

import hdtrans
from hdtrans.benchmark import subjects
from hdtrans.benchmark.ceiling import convolution_ceiling, copy_ceiling
from hdtrans.benchmark.original import load_original
from hdtrans.benchmark.profile import by_kind, by_part
from hdtrans.benchmark.subjects import OURS, Subject, Wanted
from hdtrans.benchmark.timing import Took, ratios, take_turns
from hdtrans.common.errors import UserError
from hdtrans.config import LabelMaps, Size
from hdtrans.data.dataset import StillSamples
from hdtrans.data.folders import SampleFiles, find_samples
from hdtrans.data.geometry import Geometry
from hdtrans.data.toycity import write_dataset
from hdtrans.engine.distributed import choose_device
from hdtrans.engine.precision import choose_precision, computes_bf16

SUBJECTS = ("inference", "training", "reading", "preparing")
_FIELDS = ("label", "instance", "photo")
_MOST_FILES = 8


@dataclass(frozen=True)
class Plan:
    """What to measure, and how.

    Attributes:
        what: of `SUBJECTS`.
        size: of the pictures that are made, and of what is read and prepared at a smaller size.
        enhancers: 0 for the global generator alone, 1 with a local enhancer.
        rounds: how often all rivals take their turn.
        threads: of torch.
        dtype: what ours computes in; `auto` as in training and inference.
        device: `auto`, `cpu` or `cuda`.
        data: a training folder with label maps, instance maps and photos; None renders toy scenes.
        original: the file of the original's way; None for the checkout's.
        growth: whether time and memory are also measured from a sixteenth of the pixels up.
        width: of the trunk; the checkout's original has 64 alone.
    """

    what: Sequence[str]
    size: Size
    enhancers: int = 0
    rounds: int = 3
    threads: int = 1
    dtype: str = "auto"
    device: str = "auto"
    data: Path | None = None
    original: Path | None = None
    growth: bool = False
    width: int = 64


def benchmark(plan: Plan, tell: Callable[[str], None] = lambda line: None) -> dict[str, Any]:
    """Measure, and return all figures as plain values; times are seconds, memory is bytes.

    Raises:
        UserError: no such subject, device, data or file.
    """
    wrong = [name for name in plan.what if name not in SUBJECTS]
    if wrong:
        raise UserError(f"benchmark: there is no {', '.join(wrong)}; there are {', '.join(SUBJECTS)}")
    device = choose_device(plan.device)
    original = load_original(plan.original) if plan.original or plan.width == 64 else None
    wanted = Wanted(plan.size, plan.enhancers, plan.dtype, device, original, plan.width)
    with _threads(plan.threads), _data(plan) as root:
        data = LabelMaps(root=root, labels=255)
        files = find_samples(data, "train", _FIELDS)[:_MOST_FILES]
        machine = _machine(plan, device)
        results = []
        for subject in _subjects(plan, wanted, data, files):
            with subject as ready:
                tell(f"{ready.name} ...")
                results.append(_measure(ready, plan, device))
        dtypes = dict.fromkeys([torch.float32, torch.bfloat16, choose_precision(plan.dtype, device).compute])
        machine["convolution"] = {_name(dtype): convolution_ceiling(dtype, device) for dtype in dtypes}
        machine["copy"] = copy_ceiling(device)
        for result in results:
            if result["flops"]:
                speed = result["flops"] / result["times"][OURS]["seconds"]
                result["share_of_ceiling"] = speed / machine["convolution"][result["dtype"]]
        machine["load_after"] = os.getloadavg()[0]
        growth = _growth(plan, wanted, data, files, tell) if plan.growth else []
    return {"machine": machine, "subjects": results, "growth": growth}


def _subjects(plan: Plan, wanted: Wanted, data: LabelMaps, files: list[SampleFiles]) -> Iterator[Any]:
    scene = _scene(data, files, plan.size)
    if "inference" in plan.what:
        yield nullcontext(subjects.inference(wanted, scene))
    if "training" in plan.what:
        yield nullcontext(subjects.training(wanted, scene))
    if "reading" in plan.what:
        yield nullcontext(subjects.reading(wanted, files, data.root, resize=False))
        yield nullcontext(subjects.reading(wanted, files, data.root, resize=True))
    if "preparing" in plan.what:
        yield subjects.preparing(wanted, files, data.root)


def _measure(subject: Subject, plan: Plan, device: torch.device) -> dict[str, Any]:
    took = take_turns(subject.rivals, plan.rounds, device)
    others = [name for name in took if name != OURS]
    measured = subject.held + took[OURS].memory
    return {
        "name": subject.name,
        "unit": subject.unit,
        "dtype": _name(subject.dtype),
        "flops": subject.flops,
        "times": {name: _plain(times, subject.each) for name, times in took.items()},
        "faster_than": {name: _spread(ratios(took[name], took[OURS])) for name in others},
        "faster_than_by_cpu_time": {name: _spread(ratios(took[name], took[OURS], cpu=True)) for name in others},
        "dry_run": {"estimated": subject.estimate, "measured": measured} if subject.estimate else {},
        "by_part": by_part(subject, device) if subject.parts else {},
        "by_kind": by_kind(subject, device) if subject.parts else {},
    }


def _growth(
    plan: Plan, wanted: Wanted, data: LabelMaps, files: list[SampleFiles], tell: Callable[[str], None]
) -> list[dict[str, Any]]:
    """Measure ours from a sixteenth of the pixels up to the whole size."""
    found = []
    for name in (name for name in ("inference", "training") if name in plan.what):
        for part in (4, 2, 1):
            size = Size(width=plan.size.width // part, height=plan.size.height // part)
            tell(f"{name} at {size} ...")
            make = subjects.inference if name == "inference" else subjects.training
            subject = make(replace(wanted, size=size, original=None), _scene(data, files, size))
            took = take_turns(subject.rivals, plan.rounds, wanted.device)[OURS]
            pixels = size.width * size.height
            found.append({"name": name, "size": str(size), "pixels": pixels, **_plain(took, 1)})
    return found


def _scene(data: LabelMaps, files: list[SampleFiles], size: Size) -> dict[str, Any]:
    """Return the maps and the photo of the first sample at a size, its ids folded into the classes of the recipe."""
    sample = StillSamples(files[:1], _FIELDS, data, Geometry("resize", size))[0]
    assert sample.label is not None and sample.instance is not None and sample.photo is not None
    label = sample.label % 35
    maps = {"label": label.numpy(), "instance": sample.instance.numpy(), "photo": sample.photo.numpy()}
    return {**maps, "sample": replace(sample, label=label)}


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
    return {"seconds": took.median, "per_second": each / took.median, "cpu_seconds": cpu, "memory": took.memory}


def _spread(values: Sequence[float]) -> dict[str, float]:
    return {"median": statistics.median(values), "least": min(values), "most": max(values)}


def _name(dtype: torch.dtype) -> str:
    return {torch.float32: "fp32", torch.bfloat16: "bf16", torch.float16: "fp16"}.get(dtype, "fp64")
