"""The U-Net, the ResNet, their discriminators: sizes, parameters, dropout as noise, each picture's own statistics."""

import pytest
import torch
from torch import Tensor, nn

from hdtrans.config.networks import PatchSection, PixelSection, ResNetSection, UNetSection
from hdtrans.networks.build import build_discriminator, build_generator
from hdtrans.networks.context import ForwardContext
from hdtrans.networks.dropout import Dropout
from hdtrans.networks.initialise import initialise
from hdtrans.networks.norm import Norm
from hdtrans.networks.resnet import ResNet
from hdtrans.networks.unet import UNet


def count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize(
    ("section", "parameters"),
    [
        (UNetSection(), 54_413_955),
        (UNetSection(downsamples=7), 41_828_995),
        (ResNetSection(norm="instance"), 11_378_179),
        (ResNetSection(norm="instance", blocks=6), 7_837_699),
    ],
)
def test_generators_have_as_many_parameters_as_the_originals(
    section: UNetSection | ResNetSection, parameters: int
) -> None:
    with torch.device("meta"):
        assert count(build_generator(section, 3, 3)) == parameters


@pytest.mark.parametrize(
    ("section", "channels", "parameters"),
    [
        (PatchSection(), 6, 2_768_705),
        (PatchSection(norm="instance"), 3, 2_764_737),
        (PixelSection(), 6, 9_024),
    ],
)
def test_discriminators_have_as_many_parameters_as_the_originals(
    section: PatchSection | PixelSection, channels: int, parameters: int
) -> None:
    with torch.device("meta"):
        assert count(build_discriminator(section, channels)) == parameters


def test_three_layers_judge_patches_of_70_pixels() -> None:
    network = build_discriminator(PatchSection(width=1, norm="none"), 1)
    for parameter in network.parameters():
        nn.init.constant_(parameter, 0.1)
    x = torch.ones(1, 1, 256, 256, requires_grad=True)
    prediction = network(x)[-1]
    assert prediction.shape == (1, 1, 30, 30)
    prediction[0, 0, 15, 15].backward()
    assert x.grad is not None
    rows, columns = x.grad[0, 0].nonzero(as_tuple=True)
    assert (int(rows.max() - rows.min()) + 1, int(columns.max() - columns.min()) + 1) == (70, 70)


@pytest.mark.parametrize("downsamples", [2, 5, 7])
def test_a_unet_drops_as_the_original_does(downsamples: int) -> None:
    network = UNet(3, 3, 1, downsamples)
    assert len(network.dropouts) == max(0, downsamples - 5)
    assert network(torch.zeros(2, 3, 2**downsamples, 2 ** (downsamples + 1))).shape[-2:] == (
        2**downsamples,
        2 ** (downsamples + 1),
    )


def generator(kind: str) -> nn.Module:
    """Return a generator with dropout, its weights large enough for the noise to show."""
    network: nn.Module = UNet(3, 3, 2, 6, "batch") if kind == "unet" else ResNet(3, 3, 2, 1, 2, "batch", True)
    initialise(network, kind, 0, zero_biases=True)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter *= 5
    return network.double().eval()


def pictures(number: int = 3) -> Tensor:
    return torch.randn((number, 3, 64, 64), generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize("kind", ["unet", "resnet"])
@torch.no_grad()
def test_noise_follows_from_each_picture_s_seed(kind: str) -> None:
    network, x = generator(kind), pictures()
    seeds = torch.tensor([5, 2**62 + 1, 5])
    both = network(x, ForwardContext(seeds=seeds))
    for place in range(3):
        alone = network(x[place : place + 1], ForwardContext(seeds=seeds[place : place + 1]))
        torch.testing.assert_close(both[place : place + 1], alone, atol=1e-9, rtol=0)
    assert torch.equal(both, network(x, ForwardContext(seeds=seeds)))
    same = network(x[:1].repeat(2, 1, 1, 1), ForwardContext(seeds=torch.tensor([1, 2])))
    assert float((same[0] - same[1]).abs().max()) > 1e-4
    assert not torch.equal(both, network(x))


@pytest.mark.parametrize("kind", ["unet", "resnet"])
@torch.no_grad()
def test_a_picture_s_own_statistics_are_those_of_a_batch_of_one_in_training(kind: str) -> None:
    network, x = generator(kind), pictures()
    own = network(x, ForwardContext("image"))
    network.train()
    for place in range(3):
        alone = network(x[place : place + 1])
        torch.testing.assert_close(own[place : place + 1], alone, atol=1e-9, rtol=0)
    assert not torch.allclose(own, network(x), atol=1e-3), "a batch has statistics of its own"


def test_half_of_the_features_are_dropped_and_the_others_doubled() -> None:
    x, noise = torch.ones(4, 8, 50, 50), ForwardContext(seeds=torch.arange(4))
    dropped = Dropout(3)(x, noise)
    assert set(dropped.unique().tolist()) == {0.0, 2.0}
    assert abs(float(dropped.mean()) - 1) < 0.02
    flat = (dropped.flatten(1) - 1).double()
    others = (Dropout(4)(x, noise).flatten(1) - 1).double()
    shifted = flat.roll(1, 1)
    for a, b in ((flat[0], flat[1]), (flat[0], others[0]), (flat[0], shifted[0]), (flat[2], flat[3])):
        assert abs(float((a * b).mean())) < 0.03, "seeds, layers and places are independent"
    assert torch.equal(Dropout(3)(x), x)
    assert torch.equal(Dropout(3)(x.bfloat16(), noise).float(), dropped)


def test_statistics_of_the_picture_keep_the_weights_of_batch_norm() -> None:
    norm = Norm(2, "batch", "none").eval()
    assert norm.batch is not None
    with torch.no_grad():
        norm.batch.weight.copy_(torch.tensor([2.0, 3.0]))
        norm.batch.bias.copy_(torch.tensor([0.5, -0.5]))
    x = torch.randn((2, 2, 4, 5), generator=torch.Generator().manual_seed(0))
    variance, mean = torch.var_mean(x, (2, 3), correction=0, keepdim=True)
    torch.testing.assert_close(norm(x, ForwardContext("image")), norm(x, ForwardContext((mean, variance))))
    assert torch.equal(Norm(2, "none", "none")(x, ForwardContext("image")), x)


@torch.no_grad()
def test_a_residual_generator_adds_to_its_input() -> None:
    section = ResNetSection(width=2, downsamples=1, blocks=1, norm="none", residual=True)
    network = build_generator(section, 4, 3)
    x = torch.rand(2, 4, 8, 8) * 2 - 1
    change = build_generator(section.model_copy(update={"residual": False}), 4, 3)
    change.load_state_dict(network.state_dict())
    made = network(x)
    assert torch.equal(made, (x[:, :3] + change(x)).clamp(-1, 1)) and not torch.equal(made, x[:, :3])
    for weight in network.get_submodule("last").parameters():
        nn.init.zeros_(weight)
    assert torch.equal(network(x), x[:, :3])
