"""Every tensor is on the right device, checked on a fake GPU: torch refuses operators across two devices.

Gradients are zeros here, for torch's engine wants the GPU's driver; what makes them follows from what was computed.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from hdtrans.common.planned import as_on_gpu
from hdtrans.config.inputs import translated
from hdtrans.config.loading import load_recipe
from hdtrans.config.recipe import Recipe
from hdtrans.config.registry import method_module
from hdtrans.config.stage import Size, Stage
from hdtrans.data.batch import Batch
from hdtrans.data.fields import kind_of
from hdtrans.data.kinds.base import data_of
from hdtrans.engine import ema, estimate, stage
from hdtrans.engine.distributed import Processes
from hdtrans.engine.precision import Precision

GPU = torch.device("cuda", 0)
RECIPES = sorted((Path(__file__).resolve().parents[2] / "options").glob("*.yaml"))
STAGES = [(file.stem, each.name) for file in RECIPES for each in load_recipe(str(file)).stages]


@pytest.fixture(autouse=True)
def _a_gpu_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda.amp.common, "amp_definitely_not_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda *_: True)
    monkeypatch.setattr(torch.autograd, "grad", lambda outputs, inputs, **_: tuple(map(torch.zeros_like, inputs)))


@contextmanager
def shapes_alone(recipe: Recipe, part: Stage, precision: Precision) -> Iterator[tuple[Any, Batch]]:
    """Yield the method of a stage on the GPU, and a batch on the host."""
    module = method_module(recipe.method.kind)
    with FakeTensorMode(), as_on_gpu(True):
        with torch.device(GPU):
            networks = module.build_networks(recipe.method, recipe.data, 0)
            method = module.build(recipe.method, recipe.data, part, networks)
            with estimate._default_type(precision.compute):
                method.load_frozen_networks(weights=False)
        yield method, estimate._batch(recipe, part)


def small(name: str, stage_name: str) -> tuple[Recipe, Stage]:
    """Return a recipe with one residual block in a row, and a stage at 256x256."""
    recipe = load_recipe(name)
    if hasattr(recipe.method.generator, "blocks"):
        recipe = load_recipe(name, ["method.generator.blocks=1"])
    part = next(each for each in recipe.stages if each.name == stage_name)
    return recipe, part.model_copy(update={"size": Size(width=256, height=256)})


def step(
    recipe: Recipe, part: Stage, precision: Precision, device: torch.device, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Take two steps with a batch on a device."""
    with shapes_alone(recipe, part, precision) as (method, batch):
        work = stage.StageTraining(method, part, 1, recipe.training, precision, Processes(device=GPU))
        with torch.device(GPU):
            again = method_module(recipe.method.kind).build_networks(recipe.method, recipe.data, 0)
        same = {id(network): again[name] for name, network in method.networks.items()}
        monkeypatch.setattr(ema.copy, "deepcopy", lambda network: same[id(network)])  # fake tensors cannot be copied
        averages = ema.Ema(method.networks, method.averaged, 1000)

        def backward(total: Tensor) -> None:
            assert total.device == GPU
            for worker in work.phase_optimizers:
                for parameter in worker.parameters.values():
                    parameter.grad = torch.zeros_like(parameter)

        monkeypatch.setattr(Tensor, "backward", backward)
        for number in range(2):
            work.step(batch.to(device), number, number)
            averages.update(work.trained, 1, number + 1, work.guard.frozen)
        assert {loss.device for loss in work.taken.losses.values()} == {GPU}


@pytest.mark.parametrize(("name", "stage_name"), STAGES)
def test_a_step(name: str, stage_name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    step(*small(name, stage_name), Precision("fp16", "cuda"), GPU, monkeypatch)


def test_a_batch_left_on_the_host_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    # Some operators of older torch let it pass, and their losses are on the host.
    with pytest.raises((RuntimeError, AssertionError), match="same device|device\\(type='cpu'\\) == device"):
        step(*small(*STAGES[0]), Precision("fp32", "cuda"), torch.device("cpu"), monkeypatch)


@pytest.mark.parametrize(("name", "stage_name"), [pair for pair in STAGES if pair[1] in ("train", "joint")])
def test_a_picture(name: str, stage_name: str) -> None:
    recipe, part = small(name, stage_name)
    chosen = Precision("bf16", "cuda")
    with shapes_alone(recipe, part, chosen) as (method, _), torch.no_grad(), chosen.autocast():
        inputs = {
            spec.name: kind_of(spec).placeholder(spec, part.batch_size, 256, 256).to(GPU)
            for spec in translated(method.inputs(method.directions[0]))
        }
        inputs = {name: x.float() if name == "features" else x for name, x in inputs.items()}
        picture = method.translator(method.networks)(**inputs)[0]
        sent = data_of(recipe).to_host(picture)
        assert picture.device == sent.device == GPU
        assert sent.shape[:2] == picture.shape[1:]
