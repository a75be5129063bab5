"""The real method in the real trainer repeats the originals' training traces, in float64."""

import pytest
import torch
from torch.utils.data import Dataset

from hdtrans.config import Adam, LabelMaps, Stage, Training
from hdtrans.data.batch import Sample
from hdtrans.engine.stage import StageTraining
from hdtrans.engine.trainer import Trainer
from hdtrans.inference.original_keys import pix2pixhd_discriminator, pix2pixhd_generator, rename
from hdtrans.methods import pix2pixhd
from tests.golden_files import Golden

LOSSES = {  # ours: the original's, and its weight in ours
    "generator/adversarial": ("G_GAN", 1.0),
    "generator/feature_matching": ("G_FM", 1.0),
    "discriminator/real": ("D_real", 0.5),
    "discriminator/fake": ("D_fake", 0.5),
}


class GoldenSamples(Dataset[Sample]):
    """The inputs of a trace, one picture a counter."""

    def __init__(self, golden: Golden, batch: int) -> None:
        self.golden, self.batch = golden, batch

    def __len__(self) -> int:
        return self.golden.config["steps"] * self.batch

    def __getitem__(self, counter: int) -> Sample:
        step, slot = divmod(counter, self.batch)
        label, instance, image = (self.golden[f"step{step}/{name}"][slot] for name in ("label", "instance", "image"))
        return Sample(str(counter), counter, label=label, instance=instance[0], photo=image)


@pytest.mark.parametrize("name", ["global", "local"])
def test_trace(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
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
        }
    )
    data = LabelMaps(root=".", labels=c["label_nc"], ignore=None)
    networks = pix2pixhd.build_networks(config, data)
    keys = {
        **pix2pixhd_generator(networks, enhancers),
    }
    if enhancers:
        del networks["head"]  # the original's local enhancer has none
    scales = pix2pixhd_discriminator(networks, c["num_D"])
    state = rename(networks.state_dict(), keys, golden.under("state/G"))
    state |= rename(networks.state_dict(), scales, golden.under("state/D"))
    networks.load_state_dict(state)
    batch = len(golden["step0/label"])
    stage = config.complete(Stage(geometry="none", epochs=1, batch_size=batch))
    training = Training(precision="fp64", workers=0, optimizer=Adam(learning_rate=c["lr"], betas=(c["beta1"], 0.999)))

    seen: list[dict[str, torch.Tensor]] = []
    step = StageTraining.step

    def recorded(self: StageTraining, *arguments: object) -> dict[str, torch.Tensor]:
        seen.append(step(self, *arguments))  # type: ignore[arg-type]
        return seen[-1]

    monkeypatch.setattr(StageTraining, "step", recorded)
    Trainer(
        networks,
        lambda stage: pix2pixhd.build(config, data, stage, networks),
        lambda number: GoldenSamples(golden, batch),
        [stage],
        training,
    ).run()

    assert len(seen) == c["steps"] == 4
    worst = 0.0
    for number, losses in enumerate(seen):
        assert set(losses) == set(LOSSES)
        for ours, (theirs, weight) in LOSSES.items():
            worst = max(worst, abs(float(losses[ours]) - weight * float(golden[f"step{number}/{theirs}"])))
    assert worst < 1e-8, worst
    final = networks.state_dict()
    expected = rename(final, keys, golden.under("final/state/G"))
    expected |= rename(final, scales, golden.under("final/state/D"))
    assert set(expected) == set(final)
    difference = max(float((final[key] - expected[key]).abs().max()) for key in final)
    assert difference < 1e-6, difference
    print(f"{name}: losses {worst:.1e}, weights {difference:.1e}")
