"""The fixed feature networks: real weights or a clear refusal, never random ones."""

import itertools
from pathlib import Path
from typing import Any
from urllib.error import URLError

import cv2
import numpy as np
import pytest
import torch
import torchvision
from torch import Tensor

from hdtrans.common.errors import UserError
from hdtrans.config.stage import Stage
from hdtrans.data.kinds.label_maps import Section as LabelMaps
from hdtrans.methods import pix2pixhd
from hdtrans.networks.perceptual import PerceptualNetwork
from tests.golden_files import shared
from tests.methods.small import small_config


@pytest.fixture(scope="module")
def squeezenet_file() -> Path:
    return shared("data", "weights", "squeezenet1_0_torchvision_keys.pth")


@pytest.fixture(scope="module")
def squeezenet(squeezenet_file: Path) -> PerceptualNetwork:
    network = PerceptualNetwork("squeezenet", imagenet_normalisation=True)
    network.load(squeezenet_file)
    return network


def photo(path: Path) -> Tensor:
    """Return a picture as (1, 3, H, W) in [-1, 1]."""
    pixels = cv2.imread(str(path), cv2.IMREAD_COLOR_RGB)
    assert pixels is not None
    return torch.from_numpy(pixels.transpose(2, 0, 1)[None].astype(np.float32) / 127.5 - 1)


def distance(network: PerceptualNetwork, a: Tensor, b: Tensor) -> float:
    return sum(float((x - y).abs().mean()) for x, y in zip(network(a), network(b), strict=True))


def test_squeezenet_tells_photos_apart(squeezenet: PerceptualNetwork) -> None:
    files = sorted(shared("data", "facades", "trainA").glob("*.jpg"))[:2]
    first, second = (photo(file) for file in files)
    features = squeezenet(first)
    assert len(features) == len(squeezenet.weights) == 4
    sizes = [feature.shape[-2:] for feature in features]
    assert all(a > b for a, b in itertools.pairwise(sizes)), "from fine to coarse"
    for feature in features:
        assert torch.isfinite(feature).all()
        assert float(feature.std()) > 0.01
        assert (feature.flatten(2).std(dim=2) > 0).float().mean() > 0.5, "most channels see something"
    brighter, other = distance(squeezenet, first, (first + 0.02).clamp(-1, 1)), distance(squeezenet, first, second)
    assert 0 < brighter < 0.3 * other, "nearly the same picture is nearer than another one"
    mirrored = distance(squeezenet, first, first.flip(3))
    assert brighter < mirrored


def test_its_features_are_those_of_torchvision(squeezenet: PerceptualNetwork, squeezenet_file: Path) -> None:
    reference = torchvision.models.squeezenet1_0()
    state = torch.load(squeezenet_file, weights_only=True)
    reference.load_state_dict(state)
    x = torch.rand(1, 3, 40, 56) * 2 - 1
    normalised = (x / 2 + 0.5 - torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)) / torch.tensor(
        [0.229, 0.224, 0.225]
    ).view(1, 3, 1, 1)
    with torch.no_grad():
        wanted = reference.eval().features(normalised)
    # torchvision's last fire modules come after the last cut.
    deepest = squeezenet(x)[-1]
    for module in list(reference.features)[len(squeezenet.features) :]:
        deepest = module(deepest)
    assert torch.allclose(deepest, wanted, atol=1e-4)


def test_gradients_are_those_of_its_layers_and_no_place_of_a_maximum_is_kept() -> None:
    torch.manual_seed(0)
    network = PerceptualNetwork("squeezenet").double()
    x = torch.randn(1, 3, 37, 50, dtype=torch.float64)
    kept: dict[bool, list[torch.dtype]] = {}
    gradients = []
    for ours in (True, False):
        given = x.clone().requires_grad_()
        kinds = kept[ours] = []
        with torch.autograd.graph.saved_tensors_hooks(
            lambda t, kinds=kinds: (kinds.append(t.dtype), t)[1], lambda t: t
        ):
            features = network(given) if ours else [network.features[:cut](given) for cut in (2, 6, 11, 13)]
        loss = torch.stack([feature.sin().sum() for feature in features]).sum()
        gradients.append(torch.autograd.grad(loss, given)[0])
    torch.testing.assert_close(*gradients, rtol=1e-10, atol=1e-12)
    assert torch.int64 in kept[False] and torch.int64 not in kept[True]


def test_nothing_in_it_is_trained(squeezenet: PerceptualNetwork) -> None:
    squeezenet.train()
    assert not any(module.training for module in squeezenet.modules())
    assert not any(p.requires_grad for p in squeezenet.parameters())
    x = torch.zeros(1, 3, 32, 32, requires_grad=True)
    kept = x.clone()
    squeezenet(x)[-1].sum().backward()
    assert x.grad is not None and x.grad.abs().max() > 0
    assert torch.equal(x.detach(), kept), "the picture is left as it is"


def test_the_picture_is_normalised_only_where_asked(squeezenet: PerceptualNetwork, squeezenet_file: Path) -> None:
    plain = PerceptualNetwork("squeezenet")
    plain.load(squeezenet_file)
    x = torch.rand(1, 3, 32, 32)
    shift = (x + 1) / 2
    shift = (shift - squeezenet.mean) / squeezenet.deviation
    assert torch.allclose(plain(shift)[0], squeezenet(x)[0], atol=1e-5)
    assert not torch.allclose(plain(x)[0], squeezenet(x)[0], atol=1e-2)


def test_vgg19_is_built_and_cut_where_the_original_cuts(tmp_path: Path) -> None:
    network = PerceptualNetwork("vgg19")
    assert network.weights == (1 / 32, 1 / 16, 1 / 8, 1 / 4, 1.0)
    assert sum(p.numel() for p in network.parameters()) == 12_944_960
    torch.manual_seed(0)
    given = {f"features.{key}": torch.rand(value.shape) * 0.01 for key, value in network.features.state_dict().items()}
    given["classifier.0.bias"] = torch.zeros(4096)
    torch.save(given, tmp_path / "vgg19.pth")
    network.load(tmp_path / "vgg19.pth")
    assert torch.equal(network.features.state_dict()["28.bias"], given["features.28.bias"])
    shapes = [tuple(feature.shape) for feature in network(torch.zeros(1, 3, 32, 48))]
    assert shapes == [(1, 64, 32, 48), (1, 128, 16, 24), (1, 256, 8, 12), (1, 512, 4, 6), (1, 512, 2, 3)]
    assert all(float(feature.min()) >= 0 for feature in network(torch.zeros(1, 3, 32, 32))), "after their ReLU"


# Refusals


@pytest.mark.parametrize("error", [URLError("no route to host"), OSError("disk full"), RuntimeError("invalid hash")])
@pytest.mark.parametrize("kind", ["vgg19", "squeezenet"])
def test_weights_that_cannot_be_fetched(
    kind: Any, error: Exception, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def refuse(*arguments: Any, **options: Any) -> None:
        raise error

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("torch.hub.download_url_to_file", refuse)
    network = PerceptualNetwork(kind)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    with pytest.raises(UserError, match=f"the weights of {kind} are neither on this machine nor could") as raised:
        network.load(None)
    assert str(error.args[0]) in str(raised.value)
    assert "method.perceptual.weights=FILE" in str(raised.value)
    assert "method.perceptual.kind=none" in str(raised.value)
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


def test_training_without_weights_is_refused_before_the_first_step(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def refuse(*arguments: Any, **options: Any) -> None:
        raise URLError("no network")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("torch.hub.download_url_to_file", refuse)
    config = small_config(perceptual={"kind": "squeezenet"})
    data = LabelMaps(root=".", labels=3)
    stage = config.complete(Stage(geometry="none"))
    method = pix2pixhd.build(config, data, stage, pix2pixhd.build_networks(config, data))
    with pytest.raises(UserError, match="squeezenet"):
        method.load_frozen_networks()
    assert "perceptual" not in method.frozen_networks, "never one with random weights"


def test_files_that_are_not_the_weights(squeezenet_file: Path, tmp_path: Path) -> None:
    network = PerceptualNetwork("squeezenet")
    before = {key: value.clone() for key, value in network.state_dict().items()}
    data = squeezenet_file.read_bytes()
    cases: dict[str, bytes] = {
        "cut": data[: len(data) // 2],
        "empty": b"",
        "text": b"these are no weights",
        "one byte short": data[:-1],
    }
    for name, content in cases.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UserError, match="cannot be read as weights of squeezenet") as raised:
            network.load(tmp_path / name)
        assert str(tmp_path / name) in str(raised.value)
        assert "\n" not in str(raised.value)
    torch.save({"features.0.weight": torch.zeros(64, 3, 3, 3)}, tmp_path / "other")
    with pytest.raises(UserError, match="not the weights of squeezenet.*features.0.weight"):
        network.load(tmp_path / "other")
    torch.save([torch.zeros(1)], tmp_path / "list")
    with pytest.raises(UserError, match="holds no state dict"):
        network.load(tmp_path / "list")
    with pytest.raises(UserError, match="there is no such file"):
        network.load(tmp_path / "missing")
    with pytest.raises(UserError, match="not the weights of vgg19"):
        PerceptualNetwork("vgg19").load(squeezenet_file)
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


def test_a_missing_layer_is_named(squeezenet_file: Path, tmp_path: Path) -> None:
    state = torch.load(squeezenet_file, weights_only=True)
    del state["features.3.squeeze.bias"]
    torch.save(state, tmp_path / "short")
    with pytest.raises(UserError, match=r"features\.3\.squeeze\.bias"):
        PerceptualNetwork("squeezenet").load(tmp_path / "short")


def test_depths_are_chosen_by_name() -> None:
    whole = PerceptualNetwork("vgg19", depths={"pool5": 1.0})
    some = PerceptualNetwork("vgg19", depths={"relu2_2": 0.5, "conv4_4": 2.0, "relu1_1": 3.0})
    some.features.load_state_dict(whole.features[: len(some.features)].state_dict())
    x = torch.rand(1, 3, 32, 48) * 2 - 1
    assert some.weights == (3.0, 0.5, 2.0), "shallow first"
    found = some(x)
    for place, feature in zip((2, 9, 26), found, strict=True):
        assert torch.equal(feature, whole.features[:place](x))
    assert float(found[2].min()) < 0, "of a convolution, before its ReLU"
    assert isinstance(whole.features[-1], torch.nn.MaxPool2d) and isinstance(some.features[-1], torch.nn.Conv2d)
    fires = PerceptualNetwork("squeezenet", depths={"fire9": 1.0, "pool1": 2.0})
    assert [f.shape[1] for f in fires(x)] == [96, 512] and fires.weights == (2.0, 1.0)


def test_depths_that_are_none_are_refused() -> None:
    with pytest.raises(ValueError, match=r"vgg19 has no layer 'relu6_1'.*relu5_1"):
        PerceptualNetwork("vgg19", depths={"relu6_1": 1.0})
    with pytest.raises(ValueError, match="one depth at least"):
        PerceptualNetwork("vgg19", depths={})


@pytest.mark.parametrize(
    ("kind", "wanted"),
    [("vgg19", (1 / 32, 1 / 16, 1 / 8, 1 / 4, 1.0)), ("squeezenet", (1 / 44, 1 / 156, 1 / 14.4, 1 / 5.6))],
)
def test_the_depths_of_today_are_the_default(kind: Any, wanted: tuple[float, ...]) -> None:
    network = PerceptualNetwork(kind)
    assert network.weights == pytest.approx(wanted)
    assert len(network.features) == {"vgg19": 30, "squeezenet": 13}[kind]
