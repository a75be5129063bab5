"""pix2pix as a method: which data and sizes it takes, its losses, its noise, and how it translates."""

from typing import Any

import pytest
import torch
from torch import Tensor

from hdtrans.config.data import Data
from hdtrans.config.loading import load_recipe
from hdtrans.config.stage import Size, Stage
from hdtrans.data.batch import Batch, collate
from hdtrans.data.kinds.label_maps import Section as LabelMaps
from hdtrans.data.kinds.picture_pairs import Section as PicturePairs
from hdtrans.data.kinds.unpaired import Section as Unpaired
from hdtrans.engine.distributed import Processes
from hdtrans.engine.estimate import describe
from hdtrans.engine.precision import Precision
from hdtrans.engine.stage import StageTraining
from hdtrans.methods import pix2pix
from hdtrans.methods.base import StepContext
from hdtrans.networks.context import ForwardContext
from tests.engine.runs import section
from tests.engine.toys import ToySamples
from tests.methods.small import DATA as LABEL_MAPS
from tests.methods.small import street_batch

PAIRS = PicturePairs(kind="picture_pairs", root=".")
STAGE = Stage(size=Size(height=8, width=8), batch_size=2)


def small_config(**changes: Any) -> pix2pix.Config:
    """Return the config of a small model that drops features; `changes` replace sections."""
    values: dict[str, Any] = {
        "generator": {"width": 2, "downsamples": 6},
        "discriminator": {"width": 2, "layers": 1},
    }
    return pix2pix.Config.model_validate(values | changes)


def method_of(config: pix2pix.Config, data: Data = PAIRS) -> pix2pix.Pix2pix:
    """Return the method over new networks, their weights large enough for the noise to show."""
    networks = pix2pix.build_networks(config, data)
    with torch.no_grad():
        for parameter in networks.parameters():
            parameter *= 5
    return pix2pix.build(config, data, config.complete(STAGE), networks)


def pairs(count: int = 2) -> Batch:
    samples = ToySamples(count)
    return collate([samples[k] for k in range(count)])


def step(method: pix2pix.Pix2pix, batch: Batch, precision: str = "fp32") -> dict[str, float]:
    """Take one training step; return the losses, which are finite."""
    stage = method.config.complete(STAGE.model_copy(update={"batch_size": len(batch)}))
    work = StageTraining(method, stage, 2, section(precision=precision), Precision(precision, "cpu"), Processes())
    losses = {name: float(loss) for name, loss in work.step(batch, 0, 0).items()}
    assert all(value == value and abs(value) < 1e4 for value in losses.values()), losses
    return losses


SMALL_RESNET = {"kind": "resnet", "width": 2, "downsamples": 1, "blocks": 1}
USUAL = ["discriminator/fake", "discriminator/real", "generator/adversarial", "generator/l1"]


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize(
    ("changes", "more"),
    [
        ({}, []),
        ({"generator": SMALL_RESNET, "discriminator": {"kind": "pixel", "width": 2}}, []),
        ({"adversarial": {"kind": "lsgan"}, "discriminator": {"width": 2, "layers": 1, "norm": "none"}}, []),
        ({"adversarial": {"kind": "hinge"}}, []),
        (
            {"adversarial": {"kind": "wgangp"}, "discriminator": {"width": 2, "layers": 1, "norm": "instance"}},
            ["discriminator/penalty"],
        ),
    ],
)
def test_it_trains(changes: dict[str, Any], more: list[str], precision: str) -> None:
    assert sorted(step(method_of(small_config(**changes)), pairs(), precision)) == sorted([*USUAL, *more])


def test_label_maps_are_a_condition_too() -> None:
    config = small_config(condition={"boundary": "instance"}, generator=SMALL_RESNET)
    method = method_of(config, LABEL_MAPS)
    assert method.reads == {"label", "instance", "photo"}
    assert sorted(step(method, street_batch(2, 8, 12))) == USUAL


def test_the_discriminator_steps_first_and_the_generator_faces_the_updated_one() -> None:
    method = method_of(small_config(generator=SMALL_RESNET))
    assert [phase.trains for phase in method.phases] == [("discriminator",), ("generator",)]
    seen: list[tuple[str, Tensor]] = []

    def note(module: Any, inputs: tuple[Tensor, ...]) -> None:
        seen.append((str(module.training), inputs[0].detach().clone()))

    method.networks["discriminator"].register_forward_pre_hook(note)
    batch = pairs()
    step(method, batch)
    fake, real, again = (x[:, 3:] for _, x in seen)
    assert torch.equal(fake, again) and not torch.equal(fake, real), "fake, true, then fake; one generated picture"
    assert all(len(x) == len(batch) for _, x in seen), "never joined: batch norm would mix them"
    assert {training for training, _ in seen} == {"True"}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"adversarial": {"kind": "wgangp"}}, "wgangp needs a discriminator that judges each picture for itself"),
        ({"generator": {"kind": "resnet", "recompute": True}}, "batch norm would count the batch twice"),
    ],
)
def test_impossible_recipes_are_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        small_config(**changes)


def test_data_and_stages_that_do_not_fit_are_refused() -> None:
    config = small_config()
    with pytest.raises(ValueError, match="unpaired has no true picture"):
        config.reads(Unpaired(kind="unpaired", root="."))
    with pytest.raises(ValueError, match="labels needs data of kind label_maps"):
        small_config(condition={"boundary": "labels"}).reads(PAIRS)
    residual = small_config(generator={"kind": "resnet", "residual": True})
    assert residual.reads(PAIRS) == {"source", "photo"}
    for data in (LabelMaps(root=".", labels=3), PAIRS.model_copy(update={"photo_channels": 1})):
        with pytest.raises(ValueError, match=r"method\.generator\.residual: adds to the input picture, but"):
            residual.reads(data)
    with pytest.raises(ValueError, match="none trains without the others"):
        config.complete(STAGE.model_copy(update={"train": ("generator",)}))
    with pytest.raises(ValueError, match="there is no head; there are generator"):
        config.complete(STAGE.model_copy(update={"output": "head"}))


def test_dropout_in_training_is_the_same_for_a_slot_whoever_draws_it() -> None:
    method, batch = method_of(small_config(generator=SMALL_RESNET | {"norm": "instance"})), pairs(2)
    nets = dict(method.networks.items())
    both = method.forward_shared(nets, batch, StepContext(40, 7, (40, 41), range(2))).fake
    second = collate([ToySamples(2)[1]])
    alone = method.forward_shared(nets, second, StepContext(40, 7, (41,), range(1, 2))).fake
    torch.testing.assert_close(both[1:], alone, atol=1e-5, rtol=0)
    later = method.forward_shared(nets, batch, StepContext(42, 7, (42, 43), range(2))).fake
    assert not torch.equal(both, later)


@pytest.mark.parametrize("norm", ["running", "image"])
@pytest.mark.parametrize("dropout", [True, False])
def test_a_translated_picture_does_not_depend_on_its_batch(norm: str, dropout: bool) -> None:
    method = method_of(small_config(translate={"norm": norm, "dropout": dropout}))
    step(method, pairs(4))  # running statistics that are not the first ones
    translate = method.translator(method.networks).eval().requires_grad_(False)
    x = torch.randint(0, 256, (3, 3, 37, 70), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    seeds = torch.tensor([3, 4, 5])
    batch = translate(source=x, seeds=seeds)
    assert batch.shape == (3, 3, 37, 70)
    for k in range(3):
        alone = translate(source=x[k : k + 1], seeds=seeds[k : k + 1])
        torch.testing.assert_close(batch[k : k + 1], alone, atol=1e-4, rtol=0)
    assert method.noisy() == dropout
    assert torch.equal(batch, translate(source=x, seeds=seeds + 10)) is not dropout
    assert torch.equal(translate(source=x), translate(source=x, seeds=torch.zeros(3, dtype=torch.int64)))


def test_statistics_of_training_and_of_the_picture_differ() -> None:
    made = []
    for norm in ("running", "image"):
        method = method_of(small_config(translate={"norm": norm}))
        step(method, pairs(4))
        made.append(method.translator(method.networks).eval()(source=pairs()["source"]).detach())
    assert not torch.allclose(*made, atol=1e-3)


@pytest.mark.parametrize("size", [(1, 1), (5, 130), (64, 64)])
@pytest.mark.parametrize("generator", [{"width": 2, "downsamples": 6}, SMALL_RESNET])
@torch.no_grad()
def test_any_size_comes_back_as_it_was(size: tuple[int, int], generator: dict[str, Any]) -> None:
    method = method_of(small_config(generator=generator))
    picture = method.translator(method.networks).eval()(source=torch.zeros((1, 3, *size), dtype=torch.uint8))
    assert picture.shape == (1, 3, *size)


@torch.no_grad()
def test_a_unet_is_not_padded_where_the_size_fits() -> None:
    method = method_of(small_config(generator={"width": 2, "downsamples": 6, "dropout": False}))
    x = torch.randint(0, 256, (1, 3, 64, 128), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    picture = method.translator(method.networks).eval()(source=x)
    assert torch.equal(picture, method.networks["generator"](x / 127.5 - 1, ForwardContext("image")))


@torch.no_grad()
def test_the_sample_grid_shows_input_result_and_truth() -> None:
    method = method_of(small_config(generator=SMALL_RESNET))
    assert list(method.previews(method.networks.eval(), pairs(1), StepContext())) == ["source", "result", "photo"]
    labels = method_of(small_config(generator=SMALL_RESNET), LabelMaps(root=".", labels=3))
    assert list(labels.previews(labels.networks.eval(), street_batch(1, 8, 8), StepContext())) == [
        "label",
        "result",
        "photo",
    ]


@pytest.mark.parametrize("name", ["pix2pix_facades", "cyclegan"])
@pytest.mark.parametrize("kind", ["lsgan", "wgangp"])
def test_costs_are_counted(name: str, kind: str) -> None:
    small = ["method.generator.width=2", "method.generator.dropout=true", "stages.0.batch_size=2"]
    judge = ["method.discriminator.width=2", "method.discriminator.norm=instance", f"method.adversarial.kind={kind}"]
    told = describe(load_recipe(name, [*small, *judge, "training.precision=fp32"]))
    assert "GFLOP a step (256x256, batch 2)" in told
