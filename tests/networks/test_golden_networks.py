"""Our networks with the originals' weights give the originals' outputs."""

import pytest
import torch
from torch import nn

from hdtrans.inference.original_keys import pix2pixhd_discriminator, pix2pixhd_generator, rename
from hdtrans.networks.condition import Condition
from hdtrans.networks.discriminators import PatchDiscriminator, multiscale
from hdtrans.networks.generators import Enhancer, Head, Trunk, coarse_to_fine
from tests.golden_files import Golden

TOLERANCE = 1e-4


def difference(ours: torch.Tensor, golden: torch.Tensor) -> float:
    assert ours.shape == golden.shape
    return float((ours - golden).abs().max())


@pytest.mark.parametrize("name", ["global_generator", "global_generator_batchnorm_eval"])
@torch.no_grad()
def test_global_generator(name: str) -> None:
    golden = Golden("pix2pixhd", f"{name}.npz")
    c = golden.config
    networks = nn.ModuleDict(
        {"trunk": Trunk(c["input_nc"], c["ngf"], c["n_downsampling"], c["n_blocks"], c["norm"]), "head": Head(c["ngf"])}
    ).eval()
    state = rename(networks.state_dict(), pix2pixhd_generator(networks, 0), golden.under("state/G"))
    networks.load_state_dict(state)
    assert difference(coarse_to_fine(networks, golden["input/x"], "head"), golden["output/y"]) < TOLERANCE


@pytest.mark.parametrize("enhancers", [1, 2])
@torch.no_grad()
def test_local_enhancers(enhancers: int) -> None:
    golden = Golden("pix2pixhd", f"local_enhancer_{enhancers}.npz")
    c = golden.config
    channels, width = c["input_nc"], c["ngf"] * 2**enhancers
    networks = nn.ModuleDict({"trunk": Trunk(channels, width, c["n_downsample_global"], c["n_blocks_global"])})
    for n in range(1, enhancers + 1):
        out = 3 if n == enhancers else None
        networks[f"enhancer{n}"] = Enhancer(channels, width // 2**n, c["n_blocks_local"], out_channels=out)
    networks.load_state_dict(
        rename(networks.state_dict(), pix2pixhd_generator(networks, enhancers), golden.under("state/G"))
    )
    picture = coarse_to_fine(networks, golden["input/x"], f"enhancer{enhancers}")
    assert difference(picture, golden["output/y"]) < TOLERANCE


@pytest.mark.parametrize("features", [True, False])
@torch.no_grad()
def test_multiscale_discriminator(features: bool) -> None:
    name = "multiscale_discriminator" + ("" if features else "_no_features")
    golden = Golden("pix2pixhd", f"{name}.npz")
    c = golden.config
    networks = nn.ModuleDict(
        {f"scale{n}": PatchDiscriminator(c["input_nc"], c["ndf"], c["n_layers"]) for n in range(c["num_D"])}
    )
    keys = pix2pixhd_discriminator(networks, c["num_D"], features)
    networks.load_state_dict(rename(networks.state_dict(), keys, golden.under("state/D")))
    outputs = multiscale(networks, range(c["num_D"]), golden["input/x"])
    checked = 0
    for level, maps in enumerate(outputs):
        for layer, output in enumerate(maps if features else maps[-1:]):
            assert difference(output, golden[f"output/scale{level}_layer{layer}"]) < TOLERANCE
            checked += 1
    assert checked == len(golden.under("output"))


def test_label_encoding() -> None:
    golden = Golden("pix2pixhd", "label_encoding.npz")
    labels = golden.config["label_nc"]
    condition = Condition(labels, 0, None, "zeros", "instance")
    x = condition(golden["input/label"], golden["input/instance"][:, 0])
    assert torch.equal(x[:, :labels], golden["output/onehot"])
    assert torch.equal(x[:, labels:], golden["output/edges"])
