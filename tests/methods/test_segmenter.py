"""The segmentation discriminator: the original's outputs and traces, and what the methods make of it."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hdtrans.common.errors import RecipeError
from hdtrans.config.loading import load_recipe
from hdtrans.config.recipe import check_recipe
from hdtrans.config.segmenter import SegmenterSection
from hdtrans.config.stage import Stage
from hdtrans.data.batch import Batch
from hdtrans.data.kinds.picture_pairs import Section as PicturePairs
from hdtrans.engine.distributed import Processes
from hdtrans.engine.precision import Precision
from hdtrans.engine.stage import StageTraining
from hdtrans.losses.features import perceptual_loss
from hdtrans.methods import pix2pixhd
from hdtrans.methods.augmentation import View
from hdtrans.methods.base import StepContext
from hdtrans.methods.segmenter import PixelJudge
from hdtrans.networks.generators import halve
from hdtrans.networks.segmenter import Segmenter
from hdtrans.networks.spectral_norm import SpectralConv2d
from tests.engine.runs import section
from tests.golden_files import Golden
from tests.losses.test_segmentation import golden_coins
from tests.methods.oasis import Generator, load, segmenter_keys, segmenter_of
from tests.methods.small import DATA, small_config, street_batch


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@torch.no_grad()
def test_the_discriminator_is_the_original_s() -> None:
    golden = Golden("oasis", "discriminator.npz")
    network = segmenter_of(golden.config).eval()
    load(network, segmenter_keys(network), golden.under("state/D"))
    worst = float((network(golden["input/x"]) - golden["output/y"]).abs().max())
    print(f"{worst:.1e}")
    assert worst < 1e-4


class GoldenCoins(PixelJudge):
    """Judge whose coins are the golden file's."""

    tossed: Tensor

    def _coins(self, *_: Any) -> Tensor:
        return self.tossed


def vgg(state: dict[str, Tensor]) -> Any:
    """Return the stand-in of VGG19 of a trace: its feature maps."""

    def features(x: Tensor) -> Any:
        for n in range(5):
            x = F.max_pool2d(x, 2) if n else x
            x = F.relu(F.conv2d(x, state[f"stages.{n}.weight"], state[f"stages.{n}.bias"], padding=1))
            yield x

    return features


@pytest.mark.parametrize("name", ["train_trace", "train_trace_vgg_no_labelmix"])
def test_the_whole_traces_of_the_original(name: str) -> None:
    """Its generator stands in the tests; discriminator, losses, coins' use and spectral norm are the package's."""
    golden = Golden("oasis", f"{name}.npz")
    c = golden.config
    generator, segmenter = Generator(c).double(), segmenter_of(c).double()
    generator.load(golden.under("state/G"))
    keys = segmenter_keys(segmenter)
    load(segmenter, keys, golden.under("state/D"))
    classes, balanced = c["semantic_nc"], not c["no_balancing_inloss"]
    section = SegmenterSection(balanced=balanced, labelmix=0 if c["no_labelmix"] else c["lambda_labelmix"])
    judge = GoldenCoins(section, classes, 0 if balanced else None)
    of_g, of_d = (
        torch.optim.Adam(network.parameters(), lr, betas=c["betas"])
        for network, lr in ((generator, c["lr_g"]), (segmenter, c["lr_d"]))
    )
    nets, worst = {"segmenter": segmenter}, 0.0
    features = vgg({k: x.double() for k, x in golden.under("state/vgg").items()})
    for step in range(c["steps"]):
        given = golden.under(f"step{step}")
        label, real = given["label"], given["photo"].double() / 127.5 - 1
        onehot = F.one_hot(label.long(), classes).permute(0, 3, 1, 2).double()
        noise = [given[z].double()[:, :, None, None].expand(-1, -1, *label.shape[1:]) for z in ("z", "z_for_D")]
        seen = judge.see(label, View(), StepContext())
        fake = generator(torch.cat([noise[0], onehot], 1))
        ours = {"G_adv": judge.generator_loss(nets, seen, fake)}
        if c["add_vgg_loss"]:
            weights = [c["lambda_vgg"] * w for w in (1 / 32, 1 / 16, 1 / 8, 1 / 4, 1)]
            ours["G_VGG"] = perceptual_loss(features, fake, real, weights)
        of_g.zero_grad()
        sum(ours.values()).backward()  # type: ignore[union-attr]
        of_g.step()
        with torch.no_grad():
            fake = generator(torch.cat([noise[1], onehot], 1))
        if "coins" in given:
            judge.tossed = golden_coins(label, given["coins"], classes)
        losses, _ = judge.losses(nets, seen, real, fake, StepContext(), 0)
        of_d.zero_grad()
        sum(losses.values()).backward()  # type: ignore[union-attr]
        of_d.step()
        ours |= {f"D_{key}": value for key, value in losses.items()}
        assert set(ours) == {key for key in given if key.startswith(("G_", "D_"))}
        worst = max(worst, *(abs(float(value.detach()) - float(given[key])) for key, value in ours.items()))
    assert worst < 1e-8, worst
    final = golden.under("final/state/D")
    apart = max(float((segmenter.state_dict()[a] - final[b]).abs().max()) for a, b in keys.items())
    expected = Generator(c).double()
    expected.load({k: x.double() for k, x in golden.under("final/state/G").items()})
    mine = dict(generator.named_parameters())
    apart = max(apart, *(float((mine[k] - x).detach().abs().max()) for k, x in expected.named_parameters()))
    print(f"losses {worst:.1e}, weights {apart:.1e}")
    assert apart < 1e-6, apart


# pix2pixHD with it


def method_of(config: pix2pixhd.Config, **stage: Any) -> pix2pixhd.Pix2pixHD:
    given = config.complete(Stage(geometry="none", batch_size=2, **stage))
    return pix2pixhd.build(config, DATA, given, pix2pixhd.build_networks(config, DATA))


def step(method: pix2pixhd.Pix2pixHD, batch: Batch, precision: str = "fp32") -> StageTraining:
    """Take one training step whose losses are finite; return the stage in training."""
    stage = Stage(geometry="none", batch_size=len(batch))
    work = StageTraining(method, stage, 5, section(precision=precision), Precision(precision, "cpu"), Processes())
    losses = work.step(batch, 0, 0)
    assert all(torch.isfinite(loss) for loss in losses.values()), losses
    return work


SEGMENTER: dict[str, Any] = {"width": 2, "downsamples": 2}
ALONE: dict[str, Any] = {"segmenter": SEGMENTER, "discriminator": {"scales": 0}}
OF_GENERATOR = {"generator/adversarial", "generator/feature_matching", "generator/segmenter"}
OF_DISCRIMINATOR = {"discriminator/real", "discriminator/fake"}
OF_SEGMENTER = {"segmenter/real", "segmenter/fake", "segmenter/labelmix"}


@pytest.mark.parametrize(
    ("changes", "losses"),
    [
        ({"segmenter": SEGMENTER}, OF_GENERATOR | OF_DISCRIMINATOR | OF_SEGMENTER),
        (ALONE, {"generator/segmenter"} | OF_SEGMENTER),
        (
            ALONE | {"segmenter": SEGMENTER | {"labelmix": 0}},
            {"generator/segmenter"} | OF_SEGMENTER - {"segmenter/labelmix"},
        ),
    ],
)
def test_it_judges_beside_patches_or_alone(changes: dict[str, Any], losses: set[str]) -> None:
    method = method_of(small_config(**changes))
    before = {name: x.clone() for name, x in method.networks.state_dict().items()}
    work = step(method, street_batch(2, 21, 30))
    assert set(work.taken.losses) == losses
    after = method.networks.state_dict()
    changed = {name.split(".")[0] for name, x in before.items() if not torch.equal(x, after[name])}
    assert changed == {name for phase in method.phases for name in phase.trains}
    assert ("segmenter" in changed) and method.networks["segmenter"].down[0].first.in_channels == 3, "the picture alone"


def test_phases_have_the_rates_of_the_recipe() -> None:
    config = small_config(
        segmenter=SEGMENTER | {"rate": 4.0}, generator={"rate": 0.5}, discriminator={"rate": 2.0, "spectral_norm": True}
    )
    method = method_of(config)
    work = step(method, street_batch(2, 16, 24))
    base = section().optimizer.learning_rate
    assert [each.learning_rate / base for each in work.taken.phases] == pytest.approx([0.5, 2.0, 4.0])
    convolutions = [m for m in method.networks["discriminator0"].modules() if isinstance(m, nn.Conv2d)]
    assert convolutions and all(isinstance(m, SpectralConv2d) for m in convolutions)


@torch.no_grad()
def test_a_stage_says_at_which_size_it_looks() -> None:
    """Halved pictures have their pixels' centres on every second pixel, and so have the labels."""
    batch, sizes = street_batch(2, 21, 30), []
    for at, divisor in (("full", 1), ("half", 2), ("quarter", 4)):
        method = method_of(small_config(**ALONE), segmenter_at=at)
        seen = method.judge.see(batch["label"], View(), StepContext())  # type: ignore[union-attr]
        assert torch.equal(seen.target, batch["label"][:, ::divisor, ::divisor].long() + 1)
        method.networks["segmenter"].register_forward_pre_hook(lambda _, x: sizes.append(tuple(x[0].shape[-2:])))
        shared = method.forward_shared(method.networks, batch, StepContext())
        losses = method.segmenter_losses(method.networks, batch, shared, StepContext(global_indices=range(2)))
        assert set(losses) == {"real", "fake", "labelmix"}
    assert sizes == [(21, 30)] * 3 + [(11, 15)] * 3 + [(6, 8)] * 3
    mean = halve(torch.arange(21.0).expand(1, 1, 30, 21))[0, 0, 0]
    assert torch.equal(mean[1:-1], torch.arange(2.0, 20, 2)), "the centres"


@torch.no_grad()
def test_a_padded_rim_counts_nothing() -> None:
    network = Segmenter(3, 4, [2, 2, 4], 1).eval()
    x = torch.randn(1, 3, 13, 21)
    wide = F.pad(x, (0, 3, 0, 3), mode="replicate")
    assert torch.equal(network(x), network(wide)[..., :13, :21]) and network(x).shape == (1, 5, 13, 21)


def test_labels_without_a_class_count_nothing_in_the_loss_of_the_generator() -> None:
    method, batch = method_of(small_config(**ALONE)), street_batch(2, 16, 24)
    batch["label"].fill_(255)
    work = step(method, batch)
    assert float(work.taken.losses["generator/segmenter"]) == float(work.taken.losses["segmenter/real"]) == 0


def test_coins_are_of_each_sample_and_fair() -> None:
    judge = PixelJudge(SegmenterSection(), 6, None)
    seen = judge.see(torch.zeros(300, 1, 1, dtype=torch.uint8), View(), StepContext())
    coins = judge._coins(seen, StepContext(images_seen=5, global_indices=range(300)), 0)
    part = judge._coins(
        judge.see(torch.zeros(2, 1, 1), View(), StepContext()),
        StepContext(images_seen=5, global_indices=range(7, 9)),
        0,
    )
    assert torch.equal(coins[7:9], part)
    assert coins.shape == (300, 7) and (coins.double().mean(0) - 0.5).abs().max() < 0.1
    assert (coins[:, 1] & ~coins[:, 2]).any() and (coins[:, 2] & ~coins[:, 1]).any()


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_has_the_losses_of_full(precision: str) -> None:
    found = [
        step(
            method_of(small_config(segmenter=SEGMENTER, discriminator={"spectral_norm": True})),
            street_batch(2, 16, 24),
            p,
        )
        for p in ("fp32", precision)
    ]
    exact, half = ({key: float(x) for key, x in work.taken.losses.items()} for work in found)
    assert half == pytest.approx(exact, rel=0.05, abs=0.02)
    assert found[1].taken.losses["segmenter/real"].dtype == torch.float32


@pytest.mark.parametrize(
    ("changes", "stage", "words"),
    [
        ({"discriminator": {"scales": 0}}, {}, "leaves no discriminator"),
        (ALONE | {"feature_matching": {"weight": 5}}, {}, "feature_matching.weight: 5 compares"),
        ({}, {"train": ("trunk", "enhancer1", "segmenter")}, "there is no segmenter"),
        (ALONE, {"train": ("trunk", "enhancer1")}, "names no discriminator; there are segmenter"),
    ],
)
def test_what_does_not_fit_is_refused(changes: dict[str, Any], stage: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        small_config(**changes).complete(Stage(geometry="none", **stage))


@pytest.mark.parametrize("method", [{"kind": "pix2pixhd"}, {"kind": "pix2pix"}])
def test_a_size_to_look_at_needs_a_segmenter(method: dict[str, Any]) -> None:
    stages = [{"name": "first", "size": "64x64", "segmenter_at": "half"}]
    values = {"name": "x", "data": {"kind": "label_maps", "root": ".", "labels": 3}, "method": method, "stages": stages}
    with pytest.raises(RecipeError, match="stage first: segmenter_at: half, but it trains no segmenter; leave it out"):
        check_recipe(values, "x")


def test_a_segmenter_that_no_stage_trains_is_refused() -> None:
    """As where it is added to a recipe whose stages name their networks."""
    wanted = "method.segmenter: no stage trains it; add segmenter to stages.global.train, stages.enhancer.train"
    with pytest.raises(RecipeError, match=wanted):
        load_recipe("pix2pixhd_toycity", ["method.segmenter={}"])
    one = "stages.joint.train=[trunk, enhancer1, segmenter]"
    recipe = load_recipe("pix2pixhd_toycity", ["method.segmenter={}", one])
    assert [stage.segmenter_at for stage in recipe.stages] == [None, None, "full"]


def test_it_needs_label_maps() -> None:
    with pytest.raises(
        ValueError, match="method.segmenter: labels pixels by class, which needs data of kind label_maps"
    ):
        small_config(segmenter=SEGMENTER, condition={"boundary": "none"}).inputs(
            PicturePairs(kind="picture_pairs", root=".")
        )


def test_its_recipe_is_the_one_of_label_maps_but_for_who_judges() -> None:
    ours, plain = (
        load_recipe(name).model_dump(mode="json") for name in ("pix2pixhd_labels_segmenter", "pix2pixhd_labels")
    )
    stages = [recipe["stages"][0] for recipe in (ours, plain)]
    assert stages[0]["segmenter_at"] == "half" and stages[0]["train"] == [*stages[1]["train"], "segmenter"]
    assert ours["method"]["segmenter"]["width"] == 128 and ours["method"]["discriminator"]["spectral_norm"]
    assert ours["data"] == plain["data"] and ours["method"]["generator"] == plain["method"]["generator"]
