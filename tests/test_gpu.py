"""On a GPU: the numbers of a CPU, a step without host-device syncs, memory as estimated; skipped without one."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from hdtrans.benchmark.plan import Plan
from hdtrans.benchmark.run import benchmark
from hdtrans.cli import run_tool
from hdtrans.config.recipe import Recipe, check_recipe
from hdtrans.config.registry import method_module
from hdtrans.config.stage import Size
from hdtrans.data.batch import collate
from hdtrans.data.io.read import read_instance, read_label
from hdtrans.engine.distributed import Processes
from hdtrans.engine.ema import Ema
from hdtrans.engine.estimate import count_step
from hdtrans.engine.precision import Precision, set_up_backend
from hdtrans.engine.prefetch import prefetch
from hdtrans.engine.stage import StageTraining
from hdtrans.inference.translator import Translator
from tests.engine.runs import (
    PICTURE_METHODS,
    PIX2PIXHD,
    Notes,
    final_state,
    fingerprint,
    make_trainer,
    run_to_the_end,
    section,
    subject,
)
from tests.engine.toys import TOYS
from tests.methods.small import street_batch
from tests.small_runs import made_checkpoint, small_recipe, toy_data, train_values

GPU = torch.device("cuda", 0)
NAMES = [*TOYS, *PICTURE_METHODS, *PIX2PIXHD]

if not torch.cuda.is_available():
    pytest.skip("there is no GPU", allow_module_level=True)


@pytest.fixture(autouse=True)
def _same_numbers() -> Iterator[None]:
    """Turn TF32 off: by default, cuDNN rounds the inputs of convolutions to 10 bits."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    yield
    torch.backends.cudnn.allow_tf32 = before
    set_up_backend(deterministic=False, equal_sizes=False)


# Training


@pytest.mark.parametrize("name", NAMES)
def test_in_float64_it_trains_what_a_cpu_trains(name: str, tmp_path: Path) -> None:
    states = {
        device: run_to_the_end(name, section(precision="fp64", device=device), tmp_path / device)
        for device in ("cpu", "cuda")
    }
    for kind in ("networks", "ema"):
        wanted, found = states["cpu"][kind], states["cuda"][kind]
        assert wanted.keys() == found.keys()
        for key, value in wanted.items():
            assert torch.allclose(found[key], value, rtol=1e-6, atol=1e-9), key


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("name", NAMES)
def test_the_first_losses_are_those_of_a_cpu(name: str, precision: str) -> None:
    wanted, found = first_losses(name, "fp32", "cpu"), first_losses(name, precision, "cuda")
    assert wanted.keys() == found.keys()
    for key, loss in wanted.items():
        tolerance = 1e-4 if precision == "fp32" else 0.05
        assert found[key] == pytest.approx(loss, rel=tolerance, abs=tolerance), key


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
@pytest.mark.parametrize("name", ["pix2pixhd", "cyclegan"])
def test_a_run_that_was_stopped_ends_with_the_same_bytes(name: str, precision: str, tmp_path: Path) -> None:
    training = section(precision=precision, device="cuda", deterministic=True)
    straight = run_to_the_end(name, training, tmp_path / "straight")
    stopped = tmp_path / "stopped"
    with pytest.raises(Exception, match="SIGTERM"):
        make_trainer(subject(name), training, stopped, Notes(signal_after=2)).run()
    assert final_state(stopped)["images_seen"] < straight["images_seen"]
    assert fingerprint(run_to_the_end(name, training, stopped)) == fingerprint(straight)


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
@pytest.mark.parametrize("name", ["adversarial", *PICTURE_METHODS, *PIX2PIXHD])
def test_a_step_does_not_wait_for_the_gpu(name: str, precision: str) -> None:
    """From the copy of the batch to that of the figures."""
    work, averages, batches = at_work(name, precision, "cuda")
    warm, *others = prefetch(iter(batches), GPU)
    work.step(warm, 0, 0)  # kernels are tried and compiled here, which waits
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        for number, batch in enumerate(others, 1):
            work.step(batch, 2 * number, 2 * number)
            work.taken.send()
            averages.update(work.trained, 2, 2 * number + 2, work.guard.frozen)
        with pytest.raises(RuntimeError, match="synchroni"):
            work.taken.losses.popitem()[1].item()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    reports, _ = work.taken.read()
    assert reports and not any(report.bad_losses for report in reports)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("recompute", [False, True])
def test_the_estimate_matches_a_step(recompute: bool, precision: str) -> None:
    recipe = street_recipe(recompute)
    stage, chosen = recipe.stages[0], Precision(precision, "cuda")
    estimated = count_step(recipe, stage, chosen)[1].total
    measured = bytes_of_a_step(recipe, chosen)
    text = f"estimated {estimated:,}, measured {measured:,} ({estimated / measured - 1:+.1%})"
    print(text)
    assert estimated == pytest.approx(measured, rel=0.15), text


def test_a_recipe_trains_and_goes_on(tmp_path: Path) -> None:
    """With workers, pinned memory, samples and checkpoints, as in real use."""
    values = small_recipe(toy_data(tmp_path / "city"), tmp_path / "run")
    values["training"] |= {"device": "cuda", "precision": "auto", "workers": 2, "log_every": 2}
    run = train_values(values)
    values["stages"][0]["epochs"] = 2
    assert train_values(values) == run
    out, given = tmp_path / "out", str(tmp_path / "city" / "test_label")
    assert run_tool("infer", [str(run), "--input", given, "--device", "cuda", "--out", str(out)]) == 0
    assert len(list(out.glob("*.png"))) == 3


# Inference


KINDS: dict[str, dict[str, Any]] = {
    "pix2pixhd": {
        "kind": "pix2pixhd",
        "condition": {"boundary": "instance"},
        "generator": {"width": 8, "downsamples": 2, "blocks": 2, "enhancers": 1, "enhancer_blocks": 1},
    },
    "pix2pix": {"kind": "pix2pix", "generator": {"kind": "unet", "width": 8, "downsamples": 5, "norm": "instance"}},
}


@pytest.mark.parametrize(("dtype", "levels"), [("fp32", 1), ("fp16", 4), ("bf16", 24)])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [(64, 32), (75, 41)])
def test_pictures_are_those_of_a_cpu(kind: str, size: tuple[int, int], dtype: str, levels: int, tmp_path: Path) -> None:
    """At most `levels` of 255 apart, and a sixth of that on average."""
    data = {"kind": "label_maps", "root": ".", "labels": 12}
    checkpoint = made_checkpoint(tmp_path / "random.pt", data, KINDS[kind])
    random = np.random.default_rng(0)
    label = random.integers(0, 12, (size[1], size[0])).astype(np.uint8)
    instance = label.astype(np.int32) * 1000
    made = []
    for device, chosen in (("cpu", "fp32"), ("cuda", dtype)):
        translator = Translator.load(checkpoint, device, chosen)
        made.append(translator(label, instance if "instance" in translator.reads else None).astype(int))
    assert made[0].std() > 5, "it shows something"
    apart = np.abs(made[0] - made[1])
    print(f"at most {apart.max()} levels apart, {apart.mean():.2f} on average")
    assert apart.max() <= levels and apart.mean() <= levels / 6


def test_a_folder_of_several_sizes_equals_single_calls(tmp_path: Path) -> None:
    city = toy_data(tmp_path / "city", test_count=5)
    for number, file in enumerate(sorted((city / "test_label").glob("*.png"))[:2]):
        for folder in ("test_label", "test_inst"):
            image = cv2.imread(str(city / folder / file.name), cv2.IMREAD_UNCHANGED)
            cv2.imwrite(str(city / folder / file.name), image[: 24 + number, : 40 + 3 * number])
    run = train_values(small_recipe(city, tmp_path / "run"))
    given = ["--input", str(city / "test_label"), "--device", "cuda", "--dtype", "fp32", "--batch-size", "2"]
    assert run_tool("infer", [str(run), *given, "--out", str(tmp_path / "out")]) == 0
    translator = Translator.load(run, "cuda", "fp32")
    files = sorted((city / "test_label").glob("*.png"))
    assert len(files) == 5
    for file in files:
        instance = read_instance(city / "test_inst" / file.name)
        wanted = translator(read_label(file), instance)
        found = cv2.imread(str(tmp_path / "out" / file.name))[..., ::-1]
        assert np.abs(found.astype(int) - wanted).max() <= 1


def test_the_host_waits_for_no_picture_in_progress(tmp_path: Path) -> None:
    """Not even during copies of inputs and results; every picture belongs to its inputs."""
    data = {"kind": "label_maps", "root": ".", "labels": 12}
    checkpoint = made_checkpoint(tmp_path / "random.pt", data, KINDS["pix2pixhd"])
    translator = Translator.load(checkpoint, "cuda", "bf16")
    random = np.random.default_rng(0)
    given = []
    for _ in range(8):
        label = random.integers(0, 12, (256, 512)).astype(np.uint8)
        given.append(translator.transfers.pinned(translator.check(label, label.astype(np.int32) * 1000)))
    wanted = [translator.translate([inputs])[0] for inputs in given]
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        begun = [finish for inputs in given for finish in translator.begin([inputs])]
    finally:
        torch.cuda.set_sync_debug_mode("default")
    for a, finish in zip(wanted, begun, strict=True):
        assert np.array_equal(a, finish())


def test_the_benchmark_measures_it(tmp_path: Path) -> None:
    city = toy_data(tmp_path / "city")
    size = Size(width=64, height=32)
    found = benchmark(Plan(("inference", "training"), size, rounds=2, device="cuda", data=city, width=4))
    for subject_found in found["subjects"]:
        assert subject_found["seconds"] > 0 and subject_found["memory"] > 0
    assert found["machine"]["device"] == torch.cuda.get_device_name(GPU)


# What tests share


def at_work(name: str, precision: str, device: str) -> tuple[StageTraining, Ema, list[Any]]:
    """Return a subject's first stage in training on a device, its averages, and four batches of two on the host."""
    what, place = subject(name), torch.device(device)
    chosen = Precision(precision, place.type)
    chosen.prepare(what.networks, place)
    method = what.make_method(what.stages[0])
    chosen.prepare(method.frozen_networks, place, fixed=True)
    work = StageTraining(method, what.stages[0], 5, section(), chosen, Processes(device=place))
    samples: Any = what.make_samples(0)
    batches = [collate([samples[counter] for counter in (2 * n, 2 * n + 1)]) for n in range(4)]
    if place.type == "cuda":
        batches = [batch.pin_memory() for batch in batches]
    return work, Ema(what.networks, method.averaged, 10), batches


def first_losses(name: str, precision: str, device: str) -> dict[str, float]:
    """Return the losses of the first step."""
    work, _, batches = at_work(name, precision, device)
    losses = work.step(batches[0].to(work.processes.device), 0, 0)
    return {key: float(loss) for key, loss in losses.items()}


def street_recipe(recompute: bool) -> Recipe:
    """Return a recipe of one stage, so large that tensors outweigh the memory of libraries."""
    generator = {"width": 16, "downsamples": 3, "blocks": 4, "enhancers": 1, "enhancer_blocks": 2}
    values = {
        "name": "streets",
        "data": {"kind": "label_maps", "root": "nowhere", "labels": 3},
        "method": {
            "kind": "pix2pixhd",
            "generator": generator | {"recompute": recompute},
            "discriminator": {"width": 16, "layers": 3, "scales": 3},
        },
        "stages": [{"size": "1024x512", "batch_size": 2}],
        "training": {"device": "cuda"},
    }
    return check_recipe(values, "test")


def bytes_of_a_step(recipe: Recipe, precision: Precision) -> int:
    """Return the peak bytes of tensors of a process in a step that is not the first."""
    stage, module = recipe.stages[0], method_module(recipe.method.kind)
    torch.cuda.empty_cache()
    before = torch.cuda.memory_allocated(GPU)
    networks = module.build_networks(recipe.method, recipe.data)
    method = module.build(recipe.method, recipe.data, stage, networks)
    method.load_frozen_networks(weights=False)
    precision.prepare(networks, GPU)
    precision.prepare(method.frozen_networks, GPU, fixed=True)
    work = StageTraining(method, stage, 2, recipe.training, precision, Processes(device=GPU))
    assert stage.size is not None
    batch = street_batch(stage.batch_size, stage.size.height, stage.size.width).to(GPU)
    for number in range(3):
        if number == 2:
            torch.cuda.reset_peak_memory_stats(GPU)
        work.step(batch, 0, 0)
    return torch.cuda.max_memory_allocated(GPU) - before
