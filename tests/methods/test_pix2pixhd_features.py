"""pix2pixHD with an encoder: what trains it, who sees its features, and that pictures are made with them."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from hdtrans.config.recipe import check_recipe
from hdtrans.config.stage import Stage
from hdtrans.data.batch import Batch
from hdtrans.data.fields import as_floats
from hdtrans.data.kinds.label_maps import Section as LabelMaps
from hdtrans.data.kinds.picture_pairs import Section as PicturePairs
from hdtrans.engine.distributed import Processes
from hdtrans.engine.precision import Precision
from hdtrans.engine.stage import StageTraining
from hdtrans.methods import pix2pixhd
from hdtrans.methods.base import StepContext
from tests.engine.runs import section
from tests.methods.small import DATA, LABELS, small_config, small_stages, street_batch
from tests.methods.test_pix2pixhd import changed, copies, method_of, step

COUNT = 2


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def config_with(features: dict[str, Any] | None = None, **changes: dict[str, Any]) -> pix2pixhd.Config:
    """Return the config of a small model with an encoder."""
    small = {"count": COUNT, "width": 2, "downsamples": 2}
    return small_config(features=small | (features or {}), **changes)


def encoded(method: pix2pixhd.Pix2pixHD, batch: Batch) -> Tensor:
    """Return the features of a batch's photos."""
    module = method.encoder(method.networks)
    features = module(batch["photo"], batch[method.style.ids])
    assert isinstance(features, Tensor)
    return features


# Stages


def test_the_encoder_trains_unless_a_stage_leaves_it_out() -> None:
    config = config_with()
    stage = config.complete(Stage(geometry="none"))
    assert stage.train == ("trunk", "enhancer1", "encoder", "discriminator0", "discriminator1")
    assert config.complete(Stage(geometry="none", output="head")).train == (
        "trunk",
        "head",
        "encoder",
        "discriminator0",
    )
    with pytest.raises(ValueError, match="there is no encoder; there are trunk"):
        small_config().complete(Stage(geometry="none", train=("trunk", "encoder", "discriminator0")))


@pytest.mark.parametrize("number", range(3))
def test_each_stage_trains_the_networks_it_names(number: int) -> None:
    """Below a frozen trunk too; every parameter has a gradient, for which several processes would wait for ever."""
    stage = small_stages(config_with())[number]
    method = method_of(config_with(), stage)
    before = copies(method.networks)
    work = StageTraining(method, stage, 2, section(), Precision("fp32", "cpu"), Processes())
    work.step(street_batch(2, 16, 24), 0, 0)
    assert stage.train is not None and changed(before, method.networks) == set(stage.train)
    for worker in work.phase_optimizers:
        assert all(p.grad is not None for p in worker.parameters.values())
    roles = {line.split()[0]: line for line in work.table().splitlines()[1:]}
    assert roles["encoder"].endswith("trained (generator)" if number < 2 else "frozen")


def test_it_can_train_alone() -> None:
    method = method_of(config_with(), Stage(geometry="none", train=("encoder", "discriminator0", "discriminator1")))
    before = copies(method.networks)
    work = StageTraining(method, method_stage(method), 2, section(), Precision("fp32", "cpu"), Processes())
    work.step(street_batch(2, 16, 24), 0, 0)
    assert changed(before, method.networks) == {"encoder", "discriminator0", "discriminator1"}


def test_a_photo_that_is_not_finite_changes_nothing() -> None:
    method = method_of(config_with())
    streets = street_batch(2, 16, 24)
    photo = as_floats(streets["photo"], torch.float32)
    photo[1, 0, 3, 4] = torch.nan
    batch = replace(streets, fields={**streets.fields, "photo": photo})
    before = copies(method.networks)
    work = StageTraining(method, method_stage(method), 2, section(), Precision("fp32", "cpu"), Processes())
    work.step(batch, 0, 0)
    assert changed(before, method.networks) == set()
    work.undo(work.taken, 0)
    work.step(streets, 0, 0)
    assert changed(before, method.networks) == set(method.networks) - {"head"}, "which this stage does not use"


def method_stage(method: pix2pixhd.Pix2pixHD) -> Stage:
    train = tuple(name for phase in method.phases for name in phase.trains)
    return Stage(geometry="none", output=method.output, train=train, batch_size=2)


# Inputs


def test_fields_that_are_read() -> None:
    pairs = PicturePairs(kind="picture_pairs", root=".")
    none = {"boundary": "none"}
    assert config_with(condition=none).reads(DATA) == {"label", "instance", "photo"}
    assert config_with({"pool": "label"}, condition=none).reads(DATA) == {"label", "photo"}
    assert config_with(condition=none).reads(pairs) == {"source", "instance", "photo"}
    with pytest.raises(ValueError, match=r"method\.features\.pool: label needs data of kind label_maps"):
        config_with({"pool": "label"}).reads(pairs)
    values = {"name": "x", "data": {"kind": "unpaired", "root": "."}, "stages": [{"geometry": "none"}]}
    with pytest.raises(ValueError, match=r"features.*count"):
        check_recipe(values | {"method": {"kind": "pix2pixhd", "features": {"count": 0}}}, "x")


def test_pictures_as_input() -> None:
    method = method_of(config_with(), data=PicturePairs(kind="picture_pairs", root="."))
    streets = street_batch(2, 19, 26)
    fields = {"instance": streets["instance"], "source": streets["photo"], "photo": streets["photo"]}
    batch = replace(streets, fields=fields)
    step(method, batch)
    columns = method.previews(method.networks, batch, StepContext())
    assert set(columns) == {"source", "result", "photo"}


@torch.no_grad()
def test_features_of_classes() -> None:
    method = method_of(config_with({"pool": "label"}, condition={"boundary": "none"}))
    batch = street_batch(2, 16, 24)
    features = encoded(method, batch)
    for picture, label in zip(features, batch["label"], strict=True):
        values = [picture[:, label == number].unique(dim=1).shape[1] for number in label.unique()]
        assert values == [1] * len(values)


# Who sees them


@torch.no_grad()
def test_discriminators_do_not_see_features() -> None:
    method = method_of(config_with())
    batch = street_batch(2, 16, 24)
    one = method.forward_shared(method.networks, batch, StepContext())
    assert one.condition.shape[1] == LABELS + 1
    for parameter in method.networks["encoder"].parameters():
        parameter.mul_(-3)
    other = method.forward_shared(method.networks, batch, StepContext())
    assert not torch.equal(one.fake, other.fake)
    for ours, theirs in zip(one.real_features, other.real_features, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


def test_their_phase_gives_the_encoder_no_gradient() -> None:
    method = method_of(config_with())
    batch = street_batch(2, 16, 24)
    shared = method.forward_shared(method.networks, batch, StepContext())
    losses = method.discriminator_losses(method.networks, batch, shared, StepContext())
    torch.stack(list(losses.values())).sum().backward()
    assert all(p.grad is None for name in ("encoder", "trunk") for p in method.networks[name].parameters())


# Pictures


@torch.no_grad()
@pytest.mark.parametrize("size", [(16, 24), (21, 13), (40, 70), (1, 5)])
def test_training_makes_the_picture_that_translation_makes(size: tuple[int, int]) -> None:
    method = method_of(config_with({"downsamples": 3}, generator={"downsamples": 2}))
    batch = street_batch(2, *size)
    features = encoded(method, batch)
    assert features.shape == (2, COUNT, *size)
    inputs = {"label": batch["label"], "instance": batch["instance"]}
    translated = method.translator(method.networks)(**inputs, features=features)
    if min(size) > 8:  # what a discriminator takes
        assert torch.equal(method.forward_shared(method.networks, batch, StepContext()).fake, translated)
    assert torch.equal(method.previews(method.networks, batch, StepContext())["result"], translated)


@torch.no_grad()
def test_features_are_padded_as_maps_are() -> None:
    method = method_of(config_with(generator={"downsamples": 3}))  # stride 16
    translator = method.translator(method.networks)
    batch = street_batch(1, 40, 70)
    fields = {"label": batch["label"], "instance": batch["instance"], "features": encoded(method, batch)}
    wide: dict[str, Tensor] = {}
    for name, x in fields.items():
        assert x is not None
        rows, columns = torch.arange(48).clamp(max=39), torch.arange(80).clamp(max=69)
        wide[name] = x.index_select(-2, rows).index_select(-1, columns)
    assert torch.equal(translator(**fields), translator(**wide)[..., :40, :70])


@torch.no_grad()
def test_without_features_they_are_0() -> None:
    method = method_of(config_with())
    batch = street_batch(1, 16, 24)
    inputs = {"label": batch["label"], "instance": batch["instance"]}
    translator = method.translator(method.networks)
    plain = translator(**inputs)
    assert torch.equal(plain, translator(**inputs, features=torch.zeros(1, COUNT, 16, 24)))
    assert not torch.equal(plain, translator(**inputs, features=encoded(method, batch)))
    still = Batch(batch.names, batch.sample_indices, inputs)
    columns = method.previews(method.networks, still, StepContext())
    assert set(columns) == {"label", "result"} and torch.equal(columns["result"], plain)


@torch.no_grad()
def test_batch_norm_of_the_encoder_takes_the_statistics_of_each_picture() -> None:
    config = config_with(generator={"norm": "batch"}, translate={"norm": "image"})
    method = method_of(config)
    method.networks.eval()
    batch = street_batch(2, 16, 24)
    together = encoded(method, batch)
    assert batch["photo"] is not None and batch["instance"] is not None
    alone = [method.encoder(method.networks)(batch["photo"][n : n + 1], batch["instance"][n : n + 1]) for n in range(2)]
    torch.testing.assert_close(together, torch.cat(alone), rtol=0, atol=1e-5)
    running = pix2pixhd.Pix2pixHD(config_with(generator={"norm": "batch"}), DATA, method_stage(method), method.networks)
    assert not torch.allclose(together, encoded(running, batch), atol=1e-3)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_trains(precision: str) -> None:
    step(method_of(config_with()), street_batch(2, 16, 24), precision)


def test_other_weights_stay_as_they_are_without_an_encoder() -> None:
    """Weights follow from names, so an encoder changes only what reads its features."""
    data = LabelMaps(root=".", labels=LABELS)
    plain = pix2pixhd.build_networks(small_config(), data).state_dict()
    more = pix2pixhd.build_networks(config_with(), data).state_dict()
    reads = {key for key in plain if plain[key].shape != more[key].shape}
    assert reads == {f"{name}.0.convolution.weight" for name in ("trunk.segments", "enhancer1.before")}
    for network in ("head", "discriminator0", "discriminator1"):
        assert all(torch.equal(plain[key], more[key]) for key in plain if key.startswith(f"{network}."))
