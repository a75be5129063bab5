"""The dry run: its numbers against hand counts and measurements; it allocates and writes nothing."""

import itertools
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.profiler import ProfilerActivity, profile

from hdtrans.common.planned import planned_for_gpu
from hdtrans.config.loading import load_recipe
from hdtrans.config.recipe import Recipe, check_recipe
from hdtrans.config.registry import method_module
from hdtrans.engine.distributed import Processes
from hdtrans.engine.estimate import GPU_SIZES, Cost, count_step, describe, largest_batches
from hdtrans.engine.precision import Precision
from hdtrans.engine.stage import StageTraining
from tests.conftest import needs_bf16
from tests.methods.small import street_batch


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def recipe(size: str = "8x8", labels: int = 2, batch_size: int = 1, **method: Any) -> Recipe:
    """Return a recipe of one stage on data that does not exist."""
    sections: dict[str, Any] = {
        "kind": "pix2pixhd",
        "generator": {"width": 2, "downsamples": 1, "blocks": 0},
        "discriminator": {"width": 2, "layers": 1, "scales": 1},
        "perceptual": {"kind": "none"},
    }
    values = {
        "name": "tiny",
        "data": {"kind": "label_maps", "root": "nowhere", "labels": labels},
        "method": sections | method,
        "stages": [{"size": size, "batch_size": batch_size}],
        "training": {"precision": "fp32", "device": "cpu"},
    }
    return check_recipe(values, "test")


def cost(of: Recipe) -> Cost:
    return count_step(of, of.stages[0], Precision(of.training.precision, "cpu"))[1]


@pytest.mark.parametrize("batch_size", [1, 3])
def test_operations_of_a_network_counted_by_hand(batch_size: int) -> None:
    # Two for each multiplication: 2 * channels in * channels out * kernel * pixels out (in, where it doubles the size).
    first = 2 * 2 * 2 * 49 * 64
    generator = first + 2 * 2 * 4 * 9 * 16 + 2 * 4 * 2 * 9 * 16 + 2 * 2 * 3 * 49 * 64
    finest = 2 * 5 * 2 * 16 * 25  # 8 + 4 - 4 over stride 2, and one: 5x5
    discriminator = finest + 2 * 2 * 4 * 16 * 36 + 2 * 4 * 1 * 16 * 49
    # The generator once forth, and back for weights and inputs, but for the first input. The discriminator forth for
    # the true picture, for the generator, for itself; back once for the generator and twice for itself.
    wanted = (3 * generator - first) + (3 + 1 + 2 + 2) * discriminator - 2 * finest
    assert cost(recipe(batch_size=batch_size)).flops == batch_size * wanted


def test_operations_of_an_encoder_counted_by_hand() -> None:
    """The encoder trains with the generator, whose first input then has a gradient too."""
    features = 3
    first = 2 * 3 * 2 * 49 * 64
    encoder = first + 2 * 2 * 4 * 9 * 16 + 2 * 4 * 2 * 9 * 16 + 2 * 2 * features * 49 * 64
    labels, more = 2 * 2 * 2 * 49 * 64, 2 * features * 2 * 49 * 64  # of the first convolution of the trunk
    without = cost(recipe()).flops
    with_features = cost(recipe(features={"count": features, "width": 2, "downsamples": 1}))
    assert with_features.flops == without + (3 * encoder - first) + labels + 3 * more
    weights = 3 * 2 * 49 + 2 + 2 * 4 * 9 + 4 + 4 * 2 * 9 + 2 + 2 * features * 49 + features + features * 2 * 49
    assert with_features.optimizers - cost(recipe()).optimizers == 3 * 4 * weights


def test_double_precision_has_twice_the_bytes() -> None:
    single = recipe()
    double = count_step(single, single.stages[0], Precision("fp64", "cpu"))[1]
    assert (double.weights, double.optimizers) == (2 * cost(single).weights, 2 * cost(single).optimizers)
    assert double.flops == cost(single).flops
    assert torch.get_default_dtype() == torch.float32


def test_weights_and_optimizers_counted_by_hand() -> None:
    generator = (2 * 2 * 49 + 2) + (2 * 4 * 9 + 4) + (4 * 2 * 9 + 2) + (2 * 3 * 49 + 3)
    discriminator = (5 * 2 * 16 + 2) + (2 * 4 * 16 + 4) + (4 * 16 + 1)
    found = cost(recipe())
    assert found.weights == 4 * (generator + discriminator)
    assert found.optimizers == 3 * found.weights, "a gradient and two moments for each"


def measured(of: Recipe, precision: str, stage_number: int = 0) -> int:
    """Return the peak bytes of a process in a real step on the CPU that is not the first."""
    stage, module = of.stages[stage_number], method_module("pix2pixhd")
    networks = module.build_networks(of.method, of.data)
    built = module.build(of.method, of.data, stage, networks)
    built.load_frozen_networks(weights=False)
    chosen = Precision(precision, "cpu")
    chosen.prepare(networks, torch.device("cpu"))
    chosen.prepare(built.frozen_networks, torch.device("cpu"), fixed=True)
    work = StageTraining(built, stage, 2, of.training, chosen, Processes())
    assert stage.size is not None
    batch = street_batch(stage.batch_size, stage.size.height, stage.size.width)
    work.step(batch, 0, 0)
    for worker in work.phase_optimizers:  # the profiler does not know older tensors: weights and moments
        worker.optimizer.zero_grad(set_to_none=True)
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        for _ in range(2):
            work.step(batch, 0, 0)
    results: Any = profiler.profiler
    changes = [event for event in results.kineto_results.events() if event.name() == "[memory]"]
    sizes = [event.nbytes() for event in sorted(changes, key=lambda event: event.start_ns())]
    trained = 4 * sum(p.numel() for worker in work.phase_optimizers for p in worker.parameters.values())
    weights = sum(p.numel() * p.itemsize for part in (networks, built.frozen_networks) for p in part.parameters())
    return weights + 2 * trained + max(itertools.accumulate(sizes))


LARGER: dict[str, Any] = {
    "generator": {"width": 8, "downsamples": 2, "blocks": 3, "enhancers": 1, "enhancer_blocks": 2},
    "discriminator": {"width": 8, "layers": 2, "scales": 2},
}


FEATURES = {"features": {"width": 8, "downsamples": 2}}
VGG = {"perceptual": {"kind": "vgg19"}}


def differs(size: str, batch_size: int, precision: str, generator: dict[str, Any], more: dict[str, Any]) -> float:
    """Return the error of the estimate against a real step, as a share of the tolerance.

    A CPU's operators make tensors of their own inside, as of weights laid out otherwise, which a GPU's do not; in half
    precision more of them, of float16 most of all.
    """
    sections = {**LARGER, **more, "generator": {**LARGER["generator"], **generator}}
    tried = recipe(size, 3, batch_size, **sections)
    estimated = count_step(tried, tried.stages[0], Precision(precision, "cpu"))[1].total
    most = measured(tried, precision)
    print(
        f"{size} x {batch_size}, {precision}: estimated {estimated:,}, measured {most:,} ({estimated / most - 1:+.1%})"
    )
    return abs(estimated / most - 1) / (0.1 if precision == "fp32" else 0.15)


@pytest.mark.parametrize(
    ("precision", "generator", "more"),
    [
        ("fp32", {}, {}),
        ("fp32", {"recompute": True}, {}),
        ("fp32", {"norm": "batch"}, {}),
        ("fp32", {}, FEATURES),
        pytest.param("bf16", {}, {}, marks=needs_bf16),
        pytest.param("bf16", {"recompute": True}, {}, marks=needs_bf16),
    ],
)
def test_the_estimate_matches_a_real_step(precision: str, generator: dict[str, Any], more: dict[str, Any]) -> None:
    assert differs("64x48", 2, precision, generator, more) < 1


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", pytest.param("bf16", marks=needs_bf16)])
@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize(("size", "batch_size"), [("256x128", 1), ("256x128", 2), ("512x256", 1)])
def test_the_estimate_at_larger_sizes(size: str, batch_size: int, recompute: bool, precision: str) -> None:
    assert differs(size, batch_size, precision, {"width": 16, "recompute": recompute}, VGG) < 1


def test_a_gpu_keeps_less_where_its_norms_are_fused() -> None:
    tried = recipe("64x48", generator={"width": 8, "downsamples": 1, "blocks": 1})
    found = {
        (name, device): count_step(tried, tried.stages[0], Precision(name, device))[1]
        for name in ("bf16", "fp32")
        for device in ("cpu", "cuda")
    }
    assert found["fp32", "cuda"] == found["fp32", "cpu"]
    assert found["bf16", "cuda"].activations < 0.95 * found["bf16", "cpu"].activations
    assert not planned_for_gpu()


def test_the_largest_batch_of_each_gpu() -> None:
    totals = {count: (6 + 6 * count) * 2**30 for count in (1, 2, 9, 33)}
    fits = [next(n for n in itertools.count() if 6 + 6 * (n + 1) > 0.9 * size - 1) for size in GPU_SIZES]
    assert fits == [0, 1, 2, 6, 10, 19]
    for counts in ((1, 2), (1, 33), (1, 2, 9, 33)):
        assert largest_batches({count: totals[count] for count in counts}) == fits
    assert largest_batches({1: 12 * 2**30, 9: 12 * 2**30, 33: 12 * 2**30}) == [0, 33, 33, 33, 33, 33]
    assert largest_batches({1: 12 * 2**30, 9: 12 * 2**30, 33: 36 * 2**30}) == [0, 10, 17, 39, 68, 122]


@pytest.mark.parametrize("size", ["256x128", "1024x512"])
def test_the_largest_batch_fits_and_few_more_do_not(size: str) -> None:
    """For networks that take more memory than one small picture."""
    generator = {"width": 128, "downsamples": 3, "blocks": 2}
    tried = recipe(size, 3, generator=generator, discriminator={"width": 16, "layers": 2, "scales": 1})
    stage, precision = tried.stages[0], Precision("bf16", "cuda")

    def total(batch_size: int) -> int:
        return count_step(tried, stage.model_copy(update={"batch_size": batch_size}), precision)[1].total

    found = largest_batches({count: total(count) for count in (1, 9, 33)})
    for gigabytes, most in zip(GPU_SIZES[:2], found, strict=False):
        usable = 0.9 * gigabytes * 2**30 - 2**30
        assert total(most) <= 1.01 * usable and usable < total(most + 1 + most // 50)


def test_a_dry_run_for_a_gpu_that_is_not_there() -> None:
    values = recipe("32x16").model_dump(mode="json")
    values["training"].update(device="cuda", precision="bf16", ema={"half_life": 1000})
    text = describe(check_recipe(values, "test"))
    assert "a process on a GPU: weights" in text and "averages 0.00 GiB" in text
    assert "GB (with 10% and 1 GiB to spare)" in text


def test_recomputing_and_small_batches_keep_less() -> None:
    sections = {**LARGER, "generator": {**LARGER["generator"], "blocks": 6}}
    kept = cost(recipe("64x48", 3, 2, **sections)).activations
    recomputed = {**sections, "generator": {**sections["generator"], "recompute": True}}
    assert cost(recipe("64x48", 3, 2, **recomputed)).activations < 0.9 * kept
    one, three = (cost(recipe("64x48", 3, count, **sections)).activations for count in (1, 3))
    assert three - kept == pytest.approx(kept - one, rel=0.05)


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_half_precision_takes_fewer_bytes_for_the_same_work(precision: str) -> None:
    tried = recipe("64x48", generator={"width": 8, "downsamples": 1, "blocks": 1})
    found, full = count_step(tried, tried.stages[0], Precision(precision, "cpu"))[1], cost(tried)
    assert (found.flops, found.weights, found.optimizers) == (full.flops, full.weights, full.optimizers)
    assert found.activations < 0.8 * full.activations


def test_a_dry_run_touches_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    values = recipe("32x16", perceptual={"kind": "vgg19"}).model_dump(mode="json")
    values["data"]["root"], values["out"] = str(tmp_path / "missing"), str(tmp_path / "run")
    text = describe(check_recipe(values, "test"))
    assert list(tmp_path.iterdir()) == []
    assert "GFLOP a step (32x16, batch 1)" in text
    assert "trunk" in text and "trained (generator)" in text
    assert "width: 2" in text, "the resolved recipe"
    with_vgg, without = cost(check_recipe(values, "test")), cost(recipe())
    assert with_vgg.weights - without.weights == 4 * 12_944_960, "the fixed network, down to relu5_1"
    assert with_vgg.optimizers == without.optimizers


def test_the_networks_of_the_paper_are_counted_without_their_memory() -> None:
    paper = load_recipe("pix2pixhd_cityscapes_1024p", ["training.precision=fp32", "training.device=cpu"])
    stage = paper.stages[-1]
    found = count_step(paper, stage, Precision("fp32", "cpu"))[1]
    trained = 4 * (182_857_059 + 8_404_803)
    assert trained <= found.weights < 1.2 * trained + 4 * 15_000_000
    assert found.optimizers <= 3 * trained
    assert found.flops > 1e12


def test_a_stage_without_a_size_reports_its_assumption() -> None:
    values = recipe().model_dump(mode="json")
    values["stages"] = [{"geometry": "none"}]
    assert "files of 1024x512 assumed" in describe(check_recipe(values, "test"))
