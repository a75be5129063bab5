"""Run a benchmark: measure each subject in turns with the machine's ceiling, and return plain values."""

import os
import platform
import statistics
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy.typing as npt
import torch

import hdtrans
from hdtrans.benchmark.ceiling import COPY, Ceilings
from hdtrans.benchmark.files import FileCalls, check_encoded, preparing, reading
from hdtrans.benchmark.plan import BUSY, LABELS, OURS, SUBJECTS, Plan
from hdtrans.benchmark.subjects import Inference, Training
from hdtrans.benchmark.timing import (
    BusyCall,
    LocalCall,
    Timed,
    Timings,
    add_memory,
    fair_share,
    ratios,
    spread,
    time_in_turns,
)
from hdtrans.common.cores import cores
from hdtrans.common.errors import ProcessError, UserError, nearest
from hdtrans.common.freed_memory import keep_freed_memory
from hdtrans.config.stage import Size
from hdtrans.data.dataset import EvalDataset
from hdtrans.data.folders import SampleFiles, find_samples
from hdtrans.data.geometry import Geometry
from hdtrans.data.kinds.label_maps import Section as LabelMaps
from hdtrans.engine.distributed import Processes, choose_device
from hdtrans.engine.precision import choose_precision, computes_bf16
from hdtrans.inference.memory import is_out_of_memory
from hdtrans.toycity.scenes import write_dataset

FIELDS = ("label", "instance", "photo")
MOST_FILES = 8
DTYPE_NAMES = {torch.float32: "fp32", torch.bfloat16: "bf16", torch.float16: "fp16", torch.float64: "fp64"}
_CPU = torch.device("cpu")


def benchmark(plan: Plan, progress: Callable[[str], None] = lambda line: None) -> dict[str, Any]:
    """Measure the plan's subjects; return `machine` and `subjects` as plain values in seconds and bytes.

    Args:
        plan: settings of the benchmark.
        progress: receives a line before each subject.

    Raises:
        UserError: unknown subject or device, or unusable data.
        ProcessError: memory is too small for the size.
    """
    check_subjects(plan.what)
    device = choose_device(plan.device)
    dtype = choose_precision(plan.dtype, device).compute
    ceilings, found = Ceilings(device), []
    keep_freed_memory()
    with limited_threads(plan.threads), training_folder(plan) as root:
        files = find_samples(LabelMaps(root=root, labels=255), "train", FIELDS)[:MOST_FILES]
        if {"reading", "preparing"} & set(plan.what):
            check_encoded(files)
        machine = describe_machine(plan, device)
        for name in (name for name in ("inference", "training") if name in plan.what):
            progress(f"{name} ...")
            found.append(_measure_network(name, plan, device, ceilings, dtype, make_scene(root, files, plan.size)))
        for files_of in _file_calls(plan, files, root):
            progress(f"{files_of.name} ...")
            found.append(_measure_files(files_of, plan.rounds))
        machine |= measured_ceilings(ceilings, dtype)
    return {"machine": machine, "subjects": found}


def _measure_network(
    name: str, plan: Plan, device: torch.device, ceilings: Ceilings, dtype: torch.dtype, scene: Any
) -> dict[str, Any]:
    try:
        subject = Inference(plan, device) if name == "inference" else Training(plan, Processes(device=device))
        call = LocalCall(subject.make(scene, 1), device)
        calls: dict[str, Timed] = {OURS: call} | ({BUSY: BusyCall(call, plan.busy)} if plan.busy else {})
        timings = time_in_turns(calls, plan.rounds, lambda: ceilings.probe(dtype))
        add_memory({OURS: call}, timings)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise ProcessError(f"{name}: memory is too small for {plan.size} on {device}; give a smaller size") from error
    flops, took = subject.flops(), timings[OURS]
    speeds = [flops / seconds for seconds in took.seconds]
    result = _result(name, "pictures" if name == "inference" else "steps", took, 1)
    result |= {"dtype": DTYPE_NAMES[dtype], "flops": flops}
    result["share_of_ceiling"] = spread([a / b for a, b in zip(speeds, took.ceiling, strict=True)])
    if plan.busy:
        fair = fair_share(cores(), plan.threads, plan.busy)
        kept = [ratio / fair for ratio in ratios(took, timings[BUSY])]
        result["busy"] = {"seconds": timings[BUSY].median, "share_of_fair_share": spread(kept)}
    return result


def _file_calls(plan: Plan, files: Sequence[SampleFiles], root: Path) -> Iterator[FileCalls]:
    if "reading" in plan.what:
        yield reading(plan, files, root, resize=False)
        yield reading(plan, files, root, resize=True)
    if "preparing" in plan.what:
        yield preparing(plan, files, root)


def _measure_files(files_of: FileCalls, rounds: int) -> dict[str, Any]:
    calls = {name: LocalCall(work, _CPU) for name, work in files_of.calls.items()}
    timings = time_in_turns(calls, rounds)
    add_memory(calls, timings)
    codecs = next(name for name in calls if name != OURS)
    result = _result(files_of.name, "triples", timings[OURS], files_of.each)
    return result | {"share_of_ceiling": spread(ratios(timings[codecs], timings[OURS]))}


def _result(name: str, unit: str, took: Timings, each: int) -> dict[str, Any]:
    return {
        "name": name,
        "unit": unit,
        "dtype": "",
        "flops": 0,
        "seconds": took.median,
        "per_second": each / took.median,
        "cpu_seconds": statistics.median(took.cpu_seconds),
        "memory": took.memory,
    }


def check_subjects(what: Sequence[str]) -> None:
    """Raise UserError for a name outside `SUBJECTS`."""
    for name in what:
        if name not in SUBJECTS:
            raise UserError(f"{name}: unknown subject; give one of {', '.join(SUBJECTS)}.{nearest(name, SUBJECTS)}")


def make_scene(root: Path, files: Sequence[SampleFiles], size: Size) -> dict[str, npt.NDArray[Any]]:
    """Return maps and photo of the first sample at a size, with label ids folded into [0, `LABELS`)."""
    data = LabelMaps(root=root, labels=255)
    sample = EvalDataset(files[:1], FIELDS, data, Geometry("resize", size))[0]
    label = sample["label"] % LABELS
    return {"label": label.numpy(), "instance": sample["instance"].numpy(), "photo": sample["photo"].numpy()}


@contextmanager
def training_folder(plan: Plan) -> Iterator[Path]:
    """Yield the plan's data folder, or a temporary one with four toy scenes of 2048x1024."""
    if plan.data is not None:
        yield plan.data
        return
    with tempfile.TemporaryDirectory() as folder:
        write_dataset(Path(folder) / "toycity", 4, 0, 1024, 2048)
        yield Path(folder) / "toycity"


@contextmanager
def limited_threads(count: int) -> Iterator[None]:
    """Limit torch and OpenCV to `count` threads, >= 1, inside the context."""
    before = torch.get_num_threads(), cv2.getNumThreads()
    torch.set_num_threads(count)
    cv2.setNumThreads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before[0])
        cv2.setNumThreads(before[1])


def _load() -> float | None:
    """Return the mean number of waiting processes in the last minute; None on Windows, which counts none."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else None


def describe_machine(plan: Plan, device: torch.device) -> dict[str, Any]:
    """Return processor, versions and settings, with the current load."""
    known = dict(torch.cpu.get_capabilities()) if device.type == "cpu" else {}
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else known.get("cpu_name", platform.machine())
    return {
        "device": name,
        "bf16_in_hardware": computes_bf16(device),
        "cores": cores(),
        "threads": plan.threads,
        "busy": plan.busy,
        "torch": torch.__version__,
        "hdtrans": hdtrans.__version__,
        "size": str(plan.size),
        "enhancers": plan.enhancers,
        "rounds": plan.rounds,
        "load_before": _load(),
    }


def measured_ceilings(ceilings: Ceilings, dtype: torch.dtype) -> dict[str, Any]:
    """Return the fastest convolutions by type, the fastest copy, and the load afterwards."""
    dtypes = dict.fromkeys([torch.float32, torch.bfloat16, dtype])
    return {
        "convolution": {DTYPE_NAMES[each]: ceilings.fastest(each) for each in dtypes},
        "copy": ceilings.fastest(COPY),
        "load_after": _load(),
    }
