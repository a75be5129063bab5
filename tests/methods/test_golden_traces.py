"""The real methods in the real trainer repeat the originals' training traces, in float64.

All five traces lie in tests/golden, so that a clone without ../shared proves parity too.
"""

from collections.abc import Callable, Mapping
from typing import Any

import pytest
from torch import Tensor, nn
from torch.utils.data import Dataset

from hdtrans.config.stage import Stage
from hdtrans.config.training import Adam, Training
from hdtrans.data.batch import Sample
from hdtrans.data.kinds.label_maps import Section as LabelMaps
from hdtrans.data.kinds.picture_pairs import Section as PicturePairs
from hdtrans.engine.stage import StageTraining
from hdtrans.engine.trainer import Trainer
from hdtrans.inference.originals.keys import (
    Keys,
    discriminator,
    pix2pixhd_discriminator,
    pix2pixhd_generator,
    rename,
    resnet,
    unet,
)
from hdtrans.methods import cyclegan, pix2pix, pix2pixhd
from hdtrans.methods.base import Method
from tests.golden_files import UNIT, Golden

Losses = Mapping[tuple[str, ...], tuple[str, float]]  # ours, summed: the original's, and its weight in ours


class GoldenSamples(Dataset[Sample]):
    """The inputs of a trace, one picture a counter; `fields` says how they are called there."""

    def __init__(self, golden: Golden, fields: Mapping[str, str]) -> None:
        self.golden, self.fields = golden, fields
        self.batch = len(golden[f"step0/{next(iter(fields.values()))}"])

    def __len__(self) -> int:
        return self.golden.config["steps"] * self.batch

    def __getitem__(self, counter: int) -> Sample:
        step, slot = divmod(counter, self.batch)
        inputs = {ours: self.golden[f"step{step}/{theirs}"][slot] for ours, theirs in self.fields.items()}
        if "instance" in inputs:
            inputs["instance"] = inputs["instance"][0]
        return Sample(str(counter), counter, inputs)


def repeat(
    golden: Golden,
    networks: nn.ModuleDict,
    keys: Mapping[str, Keys],
    make_method: Callable[[Stage], Method],
    samples: GoldenSamples,
    stage: Stage,
    losses: Losses,
) -> None:
    """Train from the original's weights on its inputs; hold every loss and the last weights against it.

    Args:
        keys: the key maps of the original's networks, by its letters for them.
    """
    c = golden.config
    state = {}
    for letter, names in keys.items():
        state |= rename(networks.state_dict(), names, golden.under(f"state/{letter}"))
    networks.load_state_dict(state)
    training = Training(precision="fp64", workers=0, optimizer=Adam(learning_rate=c["lr"], betas=(c["beta1"], 0.999)))
    seen: list[dict[str, Tensor]] = []
    step = StageTraining.step

    def recorded(self: StageTraining, *arguments: object) -> dict[str, Tensor]:
        seen.append(step(self, *arguments))  # type: ignore[arg-type]
        return seen[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(StageTraining, "step", recorded)
        Trainer(networks, make_method, lambda number: samples, [stage], training).run()

    assert len(seen) == c["steps"] == 4
    worst = 0.0
    for number, ours in enumerate(seen):
        assert set(ours) == {name for names in losses for name in names}
        for names, (theirs, weight) in losses.items():
            total = sum(float(ours[name]) for name in names)
            worst = max(worst, abs(total - weight * float(golden[f"step{number}/{theirs}"])))
    assert worst < 1e-8, worst
    final, expected = networks.state_dict(), {}
    for letter, names in keys.items():
        expected |= rename(final, names, golden.under(f"final/state/{letter}"))
    assert set(expected) == set(final)
    difference = max(float((final[key] - expected[key]).abs().max()) for key in final)
    assert difference < 1e-6 - UNIT, difference  # the carried final weights are rounded by half a UNIT
    print(f"losses {worst:.1e}, weights {difference:.1e}")


def one_epoch(samples: GoldenSamples) -> Stage:
    return Stage(geometry="none", epochs=1, batch_size=samples.batch)


@pytest.mark.parametrize("name", ["global", "local", "global_features"])
def test_pix2pixhd(name: str) -> None:
    golden = Golden("pix2pixhd", f"train_trace_{name}.npz")
    c = golden.config
    enhancers = c["n_local_enhancers"] if c["netG"] == "local" else 0
    config = pix2pixhd.Config.model_validate(
        {
            "condition": {"boundary": "instance"},
            "generator": {
                "width": c["ngf"] * 2**enhancers,
                "downsamples": c["n_downsample_global"],
                "blocks": c["n_blocks_global"],
                "enhancers": enhancers,
                "enhancer_blocks": c["n_blocks_local"],
            },
            "discriminator": {"width": c["ndf"], "layers": c["n_layers_D"], "scales": c["num_D"]},
            "feature_matching": {"weight": c["lambda_feat"]},
            "perceptual": {"kind": "none"},
            "features": {"count": c["feat_num"], "width": c["nef"], "downsamples": c["n_downsample_E"]}
            if c.get("instance_features")
            else None,
        }
    )
    data = LabelMaps(root=".", labels=c["label_nc"], ignore=None)
    networks = pix2pixhd.build_networks(config, data)
    keys = {
        "G": pix2pixhd_generator(networks, enhancers),
        "D": pix2pixhd_discriminator(networks, c["num_D"]),
    }
    if config.features:
        keys["E"] = resnet("encoder", networks["encoder"])
    if enhancers:
        del networks["head"]  # the original's local enhancer has none
    samples = GoldenSamples(golden, {"label": "label", "instance": "instance", "photo": "image"})
    losses = {
        ("generator/adversarial",): ("G_GAN", 1.0),
        ("generator/feature_matching",): ("G_FM", 1.0),
        ("discriminator/real",): ("D_real", 0.5),
        ("discriminator/fake",): ("D_fake", 0.5),
    }
    stage = config.complete(one_epoch(samples))
    repeat(golden, networks, keys, lambda s: pix2pixhd.build(config, data, s, networks), samples, stage, losses)


DATA = PicturePairs(kind="picture_pairs", root=".")


def test_pix2pix() -> None:
    golden = Golden("pix2pix", "train_trace.npz")
    c = golden.config
    generator: dict[str, Any] = {"kind": c["netG"], "downsamples": c["num_downs"], "width": c["ngf"]}
    config = pix2pix.Config.model_validate(
        {
            "generator": {**generator, "norm": c["norm"], "dropout": c["dropout"]},
            "discriminator": {"width": c["ndf"], "layers": c["n_layers_D"], "norm": c["norm"]},
            "adversarial": {"kind": c["gan"]},
            "l1": {"weight": c["lambda_L1"]},
        }
    )
    networks = pix2pix.build_networks(config, DATA)
    keys = {
        "G": unet("generator", networks["generator"]),
        "D": discriminator("discriminator", networks["discriminator"]),
    }
    samples = GoldenSamples(golden, {"source": "A", "photo": "B"})
    losses = {
        ("discriminator/real",): ("D_real", 0.5),
        ("discriminator/fake",): ("D_fake", 0.5),
        ("generator/adversarial",): ("G_GAN", 1.0),
        ("generator/l1",): ("G_L1", 1.0),
    }
    stage = config.complete(one_epoch(samples))
    repeat(golden, networks, keys, lambda s: pix2pix.build(config, DATA, s, networks), samples, stage, losses)


def test_cyclegan() -> None:
    golden = Golden("cyclegan", "train_trace.npz")
    c = golden.config
    config = cyclegan.Config.model_validate(
        {
            "generator": {"width": c["ngf"], "blocks": c["n_blocks"], "norm": c["norm"], "dropout": c["dropout"]},
            "discriminator": {"width": c["ndf"], "layers": c["n_layers_D"], "norm": c["norm"]},
            "adversarial": {"kind": c["gan"]},
            "cycle": {"weight_a": c["lambda_A"], "weight_b": c["lambda_B"]},
            "identity": {"weight": c["lambda_identity"]},
            "pool": {"size": c["pool_size"]},
        }
    )
    networks = cyclegan.build_networks(config, DATA)
    keys = {  # the original's D_A judges what G_A makes, pictures of B
        "G_A": resnet("generator_AtoB", networks["generator_AtoB"]),
        "G_B": resnet("generator_BtoA", networks["generator_BtoA"]),
        "D_A": discriminator("discriminator_B", networks["discriminator_B"]),
        "D_B": discriminator("discriminator_A", networks["discriminator_A"]),
    }
    samples = GoldenSamples(golden, {"source": "A", "photo": "B"})
    losses = {
        ("generators/adversarial_B",): ("G_A", 1.0),
        ("generators/adversarial_A",): ("G_B", 1.0),
        ("generators/cycle_A",): ("cycle_A", 1.0),
        ("generators/cycle_B",): ("cycle_B", 1.0),
        ("generators/identity_B",): ("idt_A", 1.0),
        ("generators/identity_A",): ("idt_B", 1.0),
        ("discriminators/real_B", "discriminators/fake_B"): ("D_A", 1.0),
        ("discriminators/real_A", "discriminators/fake_A"): ("D_B", 1.0),
    }
    stage = config.complete(one_epoch(samples))
    repeat(golden, networks, keys, lambda s: cyclegan.build(config, DATA, s, networks), samples, stage, losses)


def test_mutant_a_slightly_larger_learning_rate_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    read = Golden.__init__

    def altered(self: Golden, *parts: str) -> None:
        read(self, *parts)
        self.config["lr"] *= 1.001

    monkeypatch.setattr(Golden, "__init__", altered)
    with pytest.raises(AssertionError):
        test_cyclegan()
