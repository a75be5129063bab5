"""Our networks with the originals' weights give the originals' outputs."""

import json

import pytest
import torch
from torch import nn

from hdtrans.inference.originals.keys import (
    Keys,
    discriminator,
    pix2pixhd_discriminator,
    pix2pixhd_generator,
    rename,
    resnet,
    unet,
)
from hdtrans.networks.condition import Condition
from hdtrans.networks.discriminators import PatchDiscriminator, PixelDiscriminator, multiscale
from hdtrans.networks.encoder import Encoder, pool
from hdtrans.networks.generators import Enhancer, Head, Trunk, coarse_to_fine
from hdtrans.networks.resnet import ResNet
from hdtrans.networks.unet import UNet
from tests.golden_files import Golden, shared

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


@pytest.mark.parametrize("name", ["global", "local", "global_features"])
@torch.no_grad()
def test_first_picture_of_a_pix2pixhd_trace(name: str) -> None:
    """Condition, encoder, pooling and both stages' generators, on a golden file that every clone carries."""
    golden = Golden("pix2pixhd", f"train_trace_{name}.npz")
    c = golden.config
    enhancers = c["n_local_enhancers"] if c["netG"] == "local" else 0
    features = c["feat_num"] if c["instance_features"] else 0
    condition = Condition(c["label_nc"], 0, None, "zeros", "instance", features)
    channels, width = condition.channels + features, c["ngf"] * 2**enhancers
    networks = nn.ModuleDict({"trunk": Trunk(channels, width, c["n_downsample_global"], c["n_blocks_global"])})
    if enhancers:
        networks["enhancer1"] = Enhancer(channels, width // 2, c["n_blocks_local"], out_channels=3)
    else:
        networks["head"] = Head(width)
    state = rename(networks.state_dict(), pix2pixhd_generator(networks, enhancers), golden.under("state/G"))
    label, instance, image = (golden[f"step0/{field}"] for field in ("label", "instance", "image"))
    pooled = None
    if features:
        networks["encoder"] = Encoder(3, features, c["nef"], c["n_downsample_E"])
        keys = resnet("encoder", networks["encoder"])
        state |= rename(networks.state_dict(), keys, golden.under("state/E"))
    networks.load_state_dict(state)
    if features:
        pooled = pool(networks["encoder"](image), instance[:, 0])
    x = condition(label, instance[:, 0], None, torch.float32, pooled)
    picture = coarse_to_fine(networks, x, "enhancer1" if enhancers else "head")
    assert difference(picture, golden["step0/fake"].float()) < TOLERANCE


@torch.no_grad()
def test_feature_encoder() -> None:
    golden = Golden("pix2pixhd", "feature_encoder.npz")
    c = golden.config
    networks = nn.ModuleDict({"encoder": Encoder(c["input_nc"], c["output_nc"], c["nef"], c["n_downsampling"])})
    keys = resnet("encoder", networks["encoder"])
    networks.load_state_dict(rename(networks.state_dict(), keys, golden.under("state/E")))
    raw = networks["encoder"](golden["input/image"])
    assert difference(raw, golden["output/raw"]) < TOLERANCE
    assert difference(pool(raw, golden["input/instance"][:, 0]), golden["output/features"]) < TOLERANCE


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
        {f"discriminator{n}": PatchDiscriminator(c["input_nc"], c["ndf"], c["n_layers"]) for n in range(c["num_D"])}
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


def hold(golden: Golden, network: nn.Module, keys: Keys, letter: str) -> None:
    """Give a network called `x` the original's weights, and compare what it makes in evaluation mode."""
    networks = nn.ModuleDict({"x": network}).eval()
    networks.load_state_dict(rename(networks.state_dict(), keys, golden.under(f"state/{letter}")))
    with torch.no_grad():
        output = network(golden["input/x"])
    worst = difference(output if letter == "G" else output[-1], golden["output/y"])
    print(f"{worst:.1e}")
    assert worst < TOLERANCE


@pytest.mark.parametrize("name", ["unet_256", "unet_128_instance"])
def test_unet(name: str) -> None:
    golden = Golden("pix2pix", f"{name}.npz")
    c = golden.config
    network = UNet(c["input_nc"], c["output_nc"], c["ngf"], c["num_downs"], c["norm"])
    hold(golden, network, unet("x", network), "G")


@torch.no_grad()
def test_first_picture_of_the_pix2pix_trace() -> None:
    """The U-Net in training mode: batch norm over both pictures of the batch."""
    golden = Golden("pix2pix", "train_trace.npz")
    c = golden.config
    network = UNet(3, 3, c["ngf"], c["num_downs"], c["norm"], dropout=c["dropout"])
    networks = nn.ModuleDict({"x": network})
    networks.load_state_dict(rename(networks.state_dict(), unet("x", network), golden.under("state/G")))
    assert difference(network.train()(golden["step0/A"]), golden["step0/fake"].float()) < TOLERANCE


@pytest.mark.parametrize(("letter", "given", "made"), [("A", "A", "B"), ("B", "B", "A")])
def test_first_picture_of_the_cyclegan_trace(letter: str, given: str, made: str) -> None:
    golden = Golden("cyclegan", "train_trace.npz")
    c = golden.config
    network = ResNet(3, 3, c["ngf"], 2, c["n_blocks"], c["norm"], c["dropout"])
    networks = nn.ModuleDict({"x": network})
    keys = resnet("x", network)
    networks.load_state_dict(rename(networks.state_dict(), keys, golden.under(f"state/G_{letter}")))
    with torch.no_grad():
        picture = network(golden[f"step0/{given}"])
    assert difference(picture, golden[f"step0/fake_{made}"].float()) < TOLERANCE


@pytest.mark.parametrize("name", ["resnet_6blocks", "resnet_9blocks", "resnet_6blocks_dropout_eval"])
def test_resnet(name: str) -> None:
    golden = Golden("cyclegan", f"{name}.npz")
    c = golden.config
    network = ResNet(c["input_nc"], c["output_nc"], c["ngf"], 2, c["n_blocks"], c["norm"], c["dropout"])
    hold(golden, network, resnet("x", network), "G")


@pytest.mark.parametrize("layers", [1, 3])
def test_patch_discriminator(layers: int) -> None:
    golden = Golden("pix2pix", f"patch_discriminator_{layers}.npz")
    c = golden.config
    width = c["ndf"]
    network = PatchDiscriminator(c["input_nc"], width, c["n_layers"], c["norm"], 1, 8 * width, bias=False)
    hold(golden, network, discriminator("x", network), "D")


def test_pixel_discriminator() -> None:
    golden = Golden("pix2pix", "pixel_discriminator.npz")
    network = PixelDiscriminator(golden.config["input_nc"], golden.config["ndf"], golden.config["norm"])
    hold(golden, network, discriminator("x", network), "D")


@pytest.mark.parametrize("letter", ["G", "D"])
def test_a_published_cyclegan_has_the_keys_expected_of_it(letter: str) -> None:
    file = shared("data", "weights", "truncated_cyclegan", f"latest_net_{letter}_A_keys.json")
    shapes = json.loads(file.read_text(encoding="utf-8"))
    with torch.device("meta"):
        published = {key: torch.empty(shape) for key, shape in shapes.items()}
        generator, judge = ResNet(3), PatchDiscriminator(3, padding=1)
    network, keys = (generator, resnet("x", generator)) if letter == "G" else (judge, discriminator("x", judge))
    ours = nn.ModuleDict({"x": network}).state_dict()
    assert set(rename(ours, keys, published)) == set(ours)
