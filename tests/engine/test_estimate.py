"""The dry run: its numbers against ones counted by hand and measured, and that it touches nothing."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from hdtrans.config import Recipe, check_recipe, load_recipe, method_module
from hdtrans.engine.distributed import Processes
from hdtrans.engine.estimate import Cost, count_step, describe
from hdtrans.engine.precision import Precision
from hdtrans.engine.stage import StageTraining
from tests.methods.small import street_batch


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def recipe(size: str = "8x8", labels: int = 2, batch_size: int = 1, **method: Any) -> Recipe:
    """Return a recipe of one stage on data that is not there."""
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
    """It trains with the generator, which then has a gradient for its first input too."""
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


class Measured:
    """Counts the bytes of tensors that autograd keeps at once, each storage once."""

    def __init__(self, weights: set[int]) -> None:
        self.weights = weights
        self.kept: dict[int, list[int]] = {}
        self.now = self.most = 0

    def pack(self, tensor: Tensor) -> "Keep":
        return Keep(self, tensor)


class Keep:
    """One tensor that is kept, until it is let go."""

    def __init__(self, measured: Measured, tensor: Tensor) -> None:
        self.measured, self.tensor = measured, tensor
        self.address = tensor.untyped_storage().data_ptr()
        if self.address in measured.weights:
            return
        entry = measured.kept.setdefault(self.address, [tensor.untyped_storage().nbytes(), 0])
        entry[1] += 1
        measured.now += entry[0] if entry[1] == 1 else 0
        measured.most = max(measured.most, measured.now)

    def __del__(self) -> None:
        if self.address not in self.measured.weights:
            entry = self.measured.kept[self.address]
            entry[1] -= 1
            if not entry[1]:
                self.measured.now -= entry[0]
                del self.measured.kept[self.address]


def measured_bytes(of: Recipe, precision: str) -> int:
    """Return the most bytes that autograd keeps in a real step on the CPU, without the weights."""
    stage, module = of.stages[0], method_module("pix2pixhd")
    networks = module.build_networks(of.method, of.data)
    built = module.build(of.method, of.data, stage, networks)
    work = StageTraining(built, stage, 2, of.training, Precision(precision, "cpu"), Processes())
    measured = Measured({p.untyped_storage().data_ptr() for p in networks.parameters()})
    with torch.autograd.graph.saved_tensors_hooks(measured.pack, lambda keep: keep.tensor):
        work.step(street_batch(2, 48, 64), 0, 0)
    return measured.most


LARGER: dict[str, Any] = {
    "generator": {"width": 8, "downsamples": 2, "blocks": 3, "enhancers": 1, "enhancer_blocks": 2},
    "discriminator": {"width": 8, "layers": 2, "scales": 2},
}


FEATURES = {"features": {"width": 8, "downsamples": 2}}


@pytest.mark.parametrize(
    ("norm", "recompute", "more"),
    [("instance", False, {}), ("instance", True, {}), ("batch", False, {}), ("instance", False, FEATURES)],
)
def test_what_is_kept_for_the_backward_pass_is_what_a_real_step_keeps(
    norm: str, recompute: bool, more: dict[str, Any]
) -> None:
    method = {**LARGER, **more, "generator": {**LARGER["generator"], "recompute": recompute, "norm": norm}}
    tried = recipe("64x48", 3, 2, **method)
    estimated = cost(tried).activations
    most = measured_bytes(tried, "fp32")
    print(f"{norm}, recompute {recompute}: estimated {estimated:,}, measured {most:,}")
    assert estimated == pytest.approx(most, rel=0.3)


def test_recomputing_and_small_batches_keep_less() -> None:
    sections = {**LARGER, "generator": {**LARGER["generator"], "blocks": 6}}
    kept = cost(recipe("64x48", 3, 2, **sections)).activations
    recomputed = {**sections, "generator": {**sections["generator"], "recompute": True}}
    assert cost(recipe("64x48", 3, 2, **recomputed)).activations < 0.9 * kept
    assert cost(recipe("64x48", 3, 1, **sections)).activations == pytest.approx(kept / 2, rel=0.05)


@pytest.mark.parametrize(("precision", "recompute"), [("fp16", False), ("bf16", True)])
def test_half_precision_keeps_what_a_real_step_keeps(precision: str, recompute: bool) -> None:
    method = {**LARGER, "generator": {**LARGER["generator"], "recompute": recompute}}
    tried = recipe("64x48", 3, 2, **method)
    found = count_step(tried, tried.stages[0], Precision(precision, "cpu"))[1]
    full = cost(tried)
    assert (found.flops, found.weights, found.optimizers) == (full.flops, full.weights, full.optimizers)
    assert found.activations < 0.8 * full.activations
    most = measured_bytes(tried, precision)
    print(f"{precision}, recompute {recompute}: estimated {found.activations:,}, measured {most:,}")
    assert found.activations == pytest.approx(most, rel=0.3)


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


def test_a_stage_without_a_size_says_what_it_assumes() -> None:
    values = recipe().model_dump(mode="json")
    values["stages"] = [{"geometry": "none"}]
    assert "files of 1024x512 assumed" in describe(check_recipe(values, "test"))
