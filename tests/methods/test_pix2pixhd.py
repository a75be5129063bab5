"""pix2pixHD as a method: what its stages train, which inputs and sizes it takes, what its options do."""

import copy
import itertools
import json
import warnings
import weakref
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from hdtrans.common.errors import RecipeError
from hdtrans.config.networks import CoarseToFineSection, MultiscaleSection
from hdtrans.config.recipe import check_recipe
from hdtrans.config.stage import Size, Stage
from hdtrans.data.batch import Batch, collate
from hdtrans.data.fields import as_floats
from hdtrans.data.kinds.label_maps import Section as LabelMaps
from hdtrans.data.kinds.picture_pairs import Section as PicturePairs
from hdtrans.engine import checkpoint
from hdtrans.engine.distributed import Processes
from hdtrans.engine.precision import Precision
from hdtrans.engine.stage import StageTraining
from hdtrans.engine.trainer import Trainer
from hdtrans.methods import pix2pixhd
from hdtrans.methods.base import StepContext
from hdtrans.networks.condition import pad_to_stride
from hdtrans.networks.generators import coarse_to_fine
from hdtrans.networks.initialise import initialise
from tests.engine.runs import Notes, section
from tests.methods.small import DATA, LABELS, RandomFeatures, SmallStreets, small_config, small_stages, street_batch


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def method_of(
    config: pix2pixhd.Config,
    stage: Stage | None = None,
    data: LabelMaps | PicturePairs = DATA,
    perceptual: nn.Module | None = None,
) -> pix2pixhd.Pix2pixHD:
    """Return the method over new networks, in a stage or in the one that makes the finest picture."""
    stage = config.complete(stage or Stage(geometry="none"))
    return pix2pixhd.Pix2pixHD(config, data, stage, pix2pixhd.build_networks(config, data), perceptual)


def step(method: pix2pixhd.Pix2pixHD, batch: Batch, precision: str = "fp32") -> dict[str, float]:
    """Take one training step; return the losses, which are finite."""
    stage = Stage(geometry="none", output=method.output, train=tuple(method.phases[0].trains), batch_size=len(batch))
    training = section(precision=precision)
    work = StageTraining(method, stage, len(batch), training, Precision(precision, "cpu"), Processes())
    losses = {name: float(loss) for name, loss in work.step(batch, 0, 0).items()}
    assert all(value == value and abs(value) < 1e4 for value in losses.values()), losses
    return losses


def copies(networks: nn.ModuleDict) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in networks.state_dict().items()}


def changed(before: dict[str, Tensor], after: nn.ModuleDict) -> set[str]:
    """Return the networks of which any tensor changed."""
    return {name.split(".")[0] for name, tensor in after.state_dict().items() if not torch.equal(tensor, before[name])}


# Stages


@pytest.mark.parametrize(
    ("enhancers", "scales", "given", "output", "train"),
    [
        (0, 2, {}, "head", ("trunk", "head", "discriminator0", "discriminator1")),
        (1, 2, {}, "enhancer1", ("trunk", "enhancer1", "discriminator0", "discriminator1")),
        (1, 3, {"output": "head"}, "head", ("trunk", "head", "discriminator0", "discriminator1")),
        (
            2,
            3,
            {"output": "enhancer1"},
            "enhancer1",
            ("trunk", "enhancer1", "enhancer1_head", "discriminator0", "discriminator1"),
        ),
        (
            2,
            3,
            {},
            "enhancer2",
            ("trunk", "enhancer1", "enhancer2", "discriminator0", "discriminator1", "discriminator2"),
        ),
        (2, 1, {"output": "head"}, "head", ("trunk", "head", "discriminator0")),
        (1, 2, {"train": ("enhancer1", "discriminator1")}, "enhancer1", ("enhancer1", "discriminator1")),
    ],
)
def test_stages_fill_in_output_and_train(
    enhancers: int, scales: int, given: dict[str, Any], output: str, train: tuple[str, ...]
) -> None:
    config = small_config(generator={"enhancers": enhancers}, discriminator={"scales": scales})
    stage = config.complete(Stage(geometry="none", **given))
    assert (stage.output, stage.train) == (output, train)
    assert config.complete(stage) == stage


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"output": "enhancer2"}, "there is no enhancer2; there are head, enhancer1"),
        (
            {"train": ("head", "discriminator0")},
            "there is no head; there are trunk, enhancer1, discriminator0, discriminator1",
        ),
        ({"output": "head", "train": ("trunk", "enhancer1", "discriminator0")}, "there is no enhancer1"),
        ({"train": ("discriminator0",)}, "names no network of the generator"),
        ({"train": ("trunk",)}, "names no discriminator"),
        ({"train": ("trunk", "trunk", "discriminator0")}, "names a network twice"),
    ],
)
def test_stages_that_cannot_be_are_refused(given: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        small_config().complete(Stage(geometry="none", **given))


def test_the_global_part_stands_still_and_then_moves_with_a_falling_learning_rate() -> None:
    config = small_config()
    networks, stages = pix2pixhd.build_networks(config, DATA), small_stages(config)
    moved, rates, notes = [], [], Notes()
    before = copies(networks)
    for number in range(3):
        sizes = [stage.size for stage in stages]
        Trainer(
            networks,
            lambda stage: pix2pixhd.build(config, DATA, stage, networks),
            lambda place, sizes=sizes, number=number: SmallStreets(
                4, sizes[number].height, sizes[number].width, number
            ),
            [stages[number]],
            section(log_every=1),
            reporter=notes,  # type: ignore[arg-type]
        ).run()
        moved.append(changed(before, networks))
        before = copies(networks)
    assert moved == [
        {"trunk", "head", "discriminator0"},
        {"enhancer1", "discriminator0", "discriminator1"},
        {"trunk", "enhancer1", "discriminator0", "discriminator1"},
    ]
    rates = [record["learning_rate"] for record in notes.records]
    assert rates == pytest.approx([0.01] * 2 + [0.01] * 2 + [0.01, 0.01, 0.01, 0.005])


@pytest.mark.parametrize(
    ("enhancers", "output"),
    [(n, level) for n in range(3) for level in range(n + 1)],
)
def test_every_output_of_every_depth_trains_and_translates(enhancers: int, output: int) -> None:
    config = small_config(generator={"enhancers": enhancers}, discriminator={"scales": enhancers + 1})
    name = config.outputs[output]
    method = method_of(config, Stage(geometry="none", output=name), perceptual=RandomFeatures())
    before = copies(method.networks)
    losses = step(method, street_batch(2, 16, 24))
    assert set(losses) == {
        *(f"generator/{loss}" for loss in ("adversarial", "feature_matching", "perceptual")),
        *(f"discriminator/{loss}" for loss in ("real", "fake")),
    }
    trained = {part for phase in method.phases for part in phase.trains}
    assert changed(before, method.networks) == trained
    batch = street_batch(1, 16, 24)
    picture = method.translator(method.networks)(label=batch["label"], instance=batch["instance"])
    assert picture.shape == (1, 3, 16, 24)
    assert picture.abs().max() <= 1


# Sizes


@pytest.mark.parametrize(("height", "width"), [(70, 131), (33, 17), (16, 16), (1, 5), (3, 90)])
@pytest.mark.parametrize("enhancers", [0, 2])
def test_any_size_translates_to_itself_and_trains(height: int, width: int, enhancers: int) -> None:
    config = small_config(
        generator={"enhancers": enhancers, "downsamples": 3, "width": 4}, discriminator={"layers": 2, "scales": 2}
    )
    method = method_of(config)
    batch = street_batch(1, height, width)
    picture = method.translator(method.networks)(label=batch["label"], instance=batch["instance"])
    assert picture.shape == (1, 3, height, width)
    assert torch.isfinite(picture).all()
    if min(height, width) > 8:
        step(method, batch)


@torch.no_grad()
def test_padding_repeats_the_edge_and_is_cut_off() -> None:
    config = small_config(generator={"downsamples": 3})
    method = method_of(config)  # stride 16
    translator = method.translator(method.networks)
    batch = street_batch(1, 40, 70)
    assert batch["label"] is not None and batch["instance"] is not None
    maps = {"label": batch["label"], "instance": batch["instance"]}
    wide = {name: torch.cat([x, x[:, -1:].expand(-1, 8, -1)], 1) for name, x in maps.items()}
    wide = {name: torch.cat([x, x[:, :, -1:].expand(-1, -1, 10)], 2) for name, x in wide.items()}
    assert wide["label"].shape == (1, 48, 80)
    assert torch.equal(translator(**maps), translator(**wide)[..., :40, :70])
    direct = coarse_to_fine(method.networks, method.condition(**wide), "enhancer1")
    assert torch.equal(translator(**wide), direct), "a size that fits takes the same way without padding"
    assert all(x is pad_to_stride(x, 16) for x in wide.values())


@torch.no_grad()
def test_training_makes_the_picture_that_translation_makes() -> None:
    method = method_of(small_config(generator={"downsamples": 2}))
    for height, width in ((16, 24), (21, 13)):
        batch = street_batch(2, height, width)
        shared = method.forward_shared(method.networks, batch, StepContext())
        translated = method.translator(method.networks)(label=batch["label"], instance=batch["instance"])
        assert torch.equal(shared.fake, translated)
        assert torch.equal(shared.condition, method.condition(batch["label"], batch["instance"])), (
            "for the discriminators"
        )


# Inputs


@pytest.mark.parametrize("ignored", ["zeros", "channel"])
@pytest.mark.parametrize("boundary", ["instance", "labels", "none"])
@pytest.mark.parametrize("ignore", [255, 7, None])
def test_every_label_is_legal(ignored: str, boundary: str, ignore: int | None) -> None:
    config = small_config(condition={"boundary": boundary, "ignored": ignored})
    data = LabelMaps(root=".", labels=5, ignore=ignore)
    own_channel = ignored == "channel" and ignore is not None
    channels = 5 + own_channel + (boundary != "none")
    condition = config.channels(data)
    assert condition.channels == channels
    ids = [0, 1, 2, 3, 4] + ([] if ignore is None else [ignore])
    label = torch.tensor(ids, dtype=torch.uint8).view(1, 1, -1).repeat(1, 16, 3)
    instance = torch.full_like(label, 9, dtype=torch.int32)
    instance[:, 8:] = 2**31 - 1
    x = condition(label, instance if boundary == "instance" else None)
    assert x.shape == (1, channels, 16, 3 * len(ids))
    for place, value in enumerate(ids):
        column = x[0, :, 4, place]
        wanted = torch.zeros(channels)
        if value != ignore:
            wanted[value] = 1
        elif own_channel:
            wanted[5] = 1
        if boundary == "labels":
            wanted[-1] = 1  # every column is one pixel wide
        assert torch.equal(column, wanted)
    if boundary == "instance":
        assert x[0, -1].nonzero()[:, 0].unique().tolist() == [7, 8]
    method = method_of(config, data=data)
    photo = torch.zeros(1, 3, *label.shape[1:], dtype=torch.uint8)
    assert method.reads == {"label", "photo", *(["instance"] if boundary == "instance" else [])}
    fields = {"label": label, "photo": photo} | ({"instance": instance} if boundary == "instance" else {})
    step(method, Batch(("a",), (0,), fields))


@pytest.mark.parametrize("boundary", ["instance", "none"])
@pytest.mark.parametrize(
    ("channels", "dtype"), [(3, torch.uint8), (1, torch.uint8), (4, torch.int32), (3, torch.float32)]
)
def test_pictures_as_input(boundary: str, channels: int, dtype: torch.dtype) -> None:
    config = small_config(condition={"boundary": boundary})
    data = PicturePairs(kind="picture_pairs", root=".", source_channels=channels)
    method = method_of(config, data=data)
    streets = street_batch(2, 19, 26)
    source = streets["photo"][:, :1].repeat(1, channels, 1, 1).to(dtype)
    if dtype == torch.float32:
        source = source / 128 - 1
    inputs = {"source": source} | ({"instance": streets["instance"]} if boundary == "instance" else {})
    batch = Batch(streets.names, streets.sample_indices, {**inputs, "photo": streets["photo"]})
    step(method, batch)
    picture = method.translator(method.networks)(**inputs)
    assert picture.shape == (2, 3, 19, 26)
    columns = method.previews(method.networks, batch, StepContext())
    assert set(columns) == {"source", "result", "photo"}
    assert torch.equal(columns["result"], picture)
    assert torch.equal(columns["source"], as_floats(source, torch.float32))
    assert all(column.abs().max() <= 1 for column in columns.values())


def test_label_boundaries_of_pictures_are_refused() -> None:
    with pytest.raises(ValueError, match="use instance or none"):
        small_config(condition={"boundary": "labels"}).reads(PicturePairs(kind="picture_pairs", root="."))


# Losses


@pytest.mark.parametrize("weights", list(itertools.product((0.0, 2.0), repeat=3)))
def test_weights_of_the_losses(weights: Sequence[float]) -> None:
    names = ("adversarial", "feature_matching", "perceptual")
    weighted = small_config(**{name: {"weight": weight} for name, weight in zip(names, weights, strict=True)})
    plain = small_config(**{name: {"weight": 1.0} for name in names})
    batch = street_batch(2, 16, 24)
    losses, reference = (step(method_of(config, perceptual=RandomFeatures()), batch) for config in (weighted, plain))
    for name, weight in zip(names, weights, strict=True):
        assert losses.get(f"generator/{name}", 0.0) == pytest.approx(weight * reference[f"generator/{name}"], rel=1e-6)
    if not any(weights):
        assert sum(losses[name] for name in losses if name.startswith("generator")) == 0


@pytest.mark.parametrize("kind", ["lsgan", "hinge", "vanilla"])
def test_kinds_of_adversarial_loss(kind: str) -> None:
    method = method_of(small_config(adversarial={"kind": kind}))
    losses = step(method, street_batch(2, 16, 24))
    assert losses["discriminator/real"] > 0


def test_both_phases_see_one_picture_and_the_generator_steps_first() -> None:
    """No loss of the first step knows of it: each meets the other as it was."""
    method = method_of(small_config())
    batch = street_batch(2, 16, 24)
    with torch.no_grad():
        given = method.networks, batch, method.forward_shared(method.networks, batch, StepContext()), StepContext()
        wanted = {f"generator/{name}": float(loss) for name, loss in method.generator_losses(*given).items()}
        wanted |= {f"discriminator/{name}": float(loss) for name, loss in method.discriminator_losses(*given).items()}
    assert step(method, batch) == pytest.approx(wanted, rel=1e-6)


def test_the_discriminator_gives_the_generator_no_gradient() -> None:
    method = method_of(small_config())
    batch = street_batch(2, 16, 24)
    shared = method.forward_shared(method.networks, batch, StepContext())
    torch.stack(
        list(method.discriminator_losses(method.networks, batch, shared, StepContext()).values())
    ).sum().backward()
    reached = {
        name for name, network in method.networks.items() if any(p.grad is not None for p in network.parameters())
    }
    assert reached == {"discriminator0", "discriminator1"}


def test_features_of_the_perceptual_loss_are_gone_when_the_discriminators_begin() -> None:
    """Memory: together they would be the most that a step holds."""
    made, gone, kept = itertools.count(), itertools.count(), []

    class Watched(RandomFeatures):
        def depths(self, x: Tensor) -> Iterator[Tensor]:
            for feature in super().depths(x):
                next(made)
                weakref.finalize(feature.untyped_storage(), next, gone)
                yield feature

    method = method_of(small_config(), perceptual=Watched())
    method.networks["discriminator0"].register_forward_pre_hook(lambda *_: kept.append((next(made), next(gone))))
    shared = method.forward_shared(method.networks, street_batch(2, 16, 24), StepContext())
    assert shared.perceptual is not None and shared.perceptual.requires_grad
    assert kept == [(4, 4)]


def test_a_perceptual_loss_of_no_weight_reads_no_weights() -> None:
    for change in ({"kind": "none"}, {"kind": "vgg19", "weight": 0.0}):
        method = method_of(small_config(perceptual=change))
        method.load_frozen_networks()
        assert not method.frozen_networks


# Options of the generator


def gradients(config: pix2pixhd.Config, batch: Batch) -> dict[str, Tensor]:
    """Return the gradients of the generator's parameters, and all buffers after the step."""
    method = method_of(config)
    method.networks.requires_grad_(True)
    shared = method.forward_shared(method.networks, batch, StepContext())
    torch.stack(list(method.generator_losses(method.networks, batch, shared, StepContext()).values())).sum().backward()
    found = {name: p.grad for name, p in method.networks.named_parameters() if p.grad is not None}
    return found | {f"buffer {name}": b for name, b in method.networks.named_buffers()}


@pytest.mark.parametrize("upsampling", ["deconv", "resize"])
def test_recomputing_changes_no_gradient(upsampling: str) -> None:
    batch = street_batch(2, 16, 24)
    kept, recomputed = (
        gradients(small_config(generator={"recompute": recompute, "upsampling": upsampling}), batch)
        for recompute in (False, True)
    )
    assert set(kept) == set(recomputed)
    assert any(name.startswith("trunk") for name in kept)
    for name, gradient in kept.items():
        assert torch.equal(gradient, recomputed[name]), name
        assert name.startswith("discriminator") or gradient.abs().max() > 0 or name.endswith("bias"), name


def test_recomputing_keeps_less() -> None:
    batch = street_batch(1, 32, 48)

    def kept(recompute: bool) -> int:
        method = method_of(small_config(generator={"recompute": recompute, "blocks": 6}))
        storages: dict[int, int] = {}

        def pack(tensor: Tensor) -> Tensor:
            storages[tensor.data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            padded = method.condition(batch["label"], batch["instance"])
            picture = coarse_to_fine(method.networks, padded, "enhancer1")
        assert picture.requires_grad
        return sum(storages.values())

    assert kept(True) < 0.6 * kept(False)


def test_recomputing_is_refused_with_batch_norm() -> None:
    with pytest.raises(ValueError, match="batch norm would count the batch twice"):
        small_config(generator={"recompute": True, "norm": "batch"})


@pytest.mark.parametrize("norm", ["instance", "batch"])
@pytest.mark.parametrize("upsampling", ["deconv", "resize"])
def test_norms_and_upsampling_train(norm: str, upsampling: str) -> None:
    config = small_config(generator={"norm": norm, "upsampling": upsampling}, discriminator={"norm": norm})
    method = method_of(config)
    names = {type(module).__name__ for module in method.networks.modules()}
    assert ("ConvTranspose2d" in names) == (upsampling == "deconv")
    assert ("BatchNorm2d" in names) == (norm == "batch")
    before = copies(method.networks)
    step(method, street_batch(2, 16, 24))
    assert changed(before, method.networks) == {"trunk", "enhancer1", "discriminator0", "discriminator1"}


def test_a_discriminator_without_norm_trains() -> None:
    step(method_of(small_config(discriminator={"norm": "none"})), street_batch(2, 16, 24))


# Weights


def test_old_names_of_discriminators_are_aliases(tmp_path: Path) -> None:
    """A recipe and a checkpoint that say `scale0` are read as `discriminator0`; its initial weights are the same."""
    stages = [stage.model_dump(mode="json") for stage in small_stages(small_config())]
    values = {"name": "old", "data": DATA.model_dump(), "method": small_config().model_dump(), "stages": stages}
    values = check_recipe(json.loads(json.dumps(values, default=str)), "new").model_dump(mode="json")
    was = json.loads(json.dumps(values).replace('"discriminator0"', '"scale0"').replace('"discriminator1"', '"scale1"'))
    assert was != values and check_recipe(was, "old").model_dump(mode="json") == values
    was["stages"][0]["train"].append("discriminator0")
    with pytest.raises(RecipeError, match="names a network twice"):
        check_recipe(was, "old")

    networks = pix2pixhd.build_networks(small_config(), DATA, seed=3)
    old = {key.replace("discriminator", "scale"): x for key, x in networks.state_dict().items()}
    checkpoint.save(tmp_path / "old.pt", {"recipe": values, "networks": old, "ema": dict(old)})
    state = checkpoint.load(tmp_path / "old.pt")
    for part in ("networks", "ema"):
        assert state[part].keys() == networks.state_dict().keys() != old.keys()
    fresh = copy.deepcopy(networks["discriminator1"])
    initialise(fresh, "scale1", 3)
    assert all(torch.equal(x, networks["discriminator1"].state_dict()[key]) for key, x in fresh.state_dict().items())


def test_initial_weights_follow_from_the_seed_and_the_name_alone() -> None:
    def weights(seed: int = 0, **changes: Any) -> dict[str, Tensor]:
        torch.manual_seed(torch.randint(1000, ()).item())  # the global generator has no say
        return pix2pixhd.build_networks(small_config(**changes), DATA, seed).state_dict()

    one, more = weights(), weights(generator={"enhancers": 2}, discriminator={"scales": 3})
    same = {name for name in one if name in more and one[name].shape == more[name].shape}
    assert {name.split(".")[0] for name in same} >= {"trunk", "head", "discriminator0", "discriminator1"}
    for name in same:
        if not name.startswith("enhancer1.head"):
            assert torch.equal(one[name], more[name]), name
    other = weights(seed=1)
    assert all(not torch.equal(one[name], other[name]) for name in one)
    assert not torch.equal(
        one["discriminator0.segments.0.convolution.weight"], one["discriminator1.segments.0.convolution.weight"]
    )
    large = pix2pixhd.build_networks(small_config(generator={"width": 32}), DATA).state_dict()
    weight = large["trunk.segments.2.first.convolution.weight"]
    assert float(weight.std()) == pytest.approx(0.02, rel=0.02)
    assert abs(float(weight.mean())) < 5e-4


def test_sizes_are_those_of_the_originals() -> None:
    def count(networks: nn.ModuleDict, prefixes: tuple[str, ...]) -> int:
        chosen = [network for name, network in networks.items() if name.startswith(prefixes)]
        return sum(p.numel() for network in chosen for p in network.parameters())

    data = LabelMaps(root=".", labels=35)
    config = {"kind": "pix2pixhd", "condition": {"boundary": "instance"}, "perceptual": {"kind": "none"}}
    with torch.device("meta"):
        whole = pix2pixhd.Config.model_validate(config)
        global_only = pix2pixhd.build_networks(whole, data)
        local = pix2pixhd.build_networks(
            whole.model_copy(
                update={
                    "generator": CoarseToFineSection(enhancers=1),
                    "discriminator": MultiscaleSection(scales=3),
                }
            ),
            data,
        )
    assert whole.channels(data).channels == 36
    assert count(global_only, ("trunk", "head")) == 182_546_755
    assert count(global_only, ("discriminator",)) == 5_603_202
    assert count(local, ("trunk", "enhancer")) == 182_857_059
    assert count(local, ("discriminator",)) == 8_404_803


# Warnings and precision


@pytest.mark.parametrize("precision", ["fp32", "fp64", "bf16", "fp16"])
@pytest.mark.parametrize("recompute", [False, True])
def test_no_step_warns(precision: str, recompute: bool) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        method = method_of(small_config(generator={"recompute": recompute}), perceptual=RandomFeatures())
        Precision(precision, "cpu").prepare(method.networks, torch.device("cpu"))
        Precision(precision, "cpu").prepare(method.frozen_networks, torch.device("cpu"), fixed=True)
        step(method, street_batch(2, 19, 26), precision)
        batch = street_batch(1, 33, 17)
        with Precision(precision, "cpu").autocast(), torch.no_grad():
            method.translator(method.networks)(label=batch["label"], instance=batch["instance"])


def test_half_precision_is_near_to_full() -> None:
    batch = street_batch(2, 16, 24)
    full = step(method_of(small_config(), perceptual=RandomFeatures()), batch)
    for precision, tolerance in (("bf16", 0.05), ("fp16", 0.01)):
        half = step(method_of(small_config(), perceptual=RandomFeatures()), batch, precision)
        assert half == pytest.approx(full, rel=tolerance)


def test_a_recipe_of_it_is_checked_whole() -> None:
    values = {
        "name": "x",
        "data": {"kind": "label_maps", "root": ".", "labels": LABELS},
        "method": {"kind": "pix2pixhd", "generator": {"width": 6, "enhancers": 2}},
        "stages": [{"size": str(Size(height=16, width=32))}],
    }
    with pytest.raises(ValueError, match="width 6 must be a multiple of 4"):
        check_recipe(values, "recipe")


def test_samples_of_one_street_differ_from_the_next() -> None:
    """The made-up streets of these tests are worth training on."""
    batch = collate([SmallStreets(3, 16, 24)[counter] for counter in range(3)])
    assert batch["label"] is not None and batch["photo"] is not None
    assert len({row.numpy().tobytes() for row in batch["label"]}) == 3
    assert len({row.numpy().tobytes() for row in batch["photo"]}) == 3
