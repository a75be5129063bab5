"""Feature networks with random weights against torch-fidelity and torchmetrics; sources of weights."""

from pathlib import Path

import pytest
import torch
import torchvision
from torch import nn
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
from torchmetrics.functional.image.lpips import _LPIPS

from hdtrans.common.errors import UserError
from hdtrans.evaluation.judges import features, weights
from hdtrans.evaluation.judges.weights import WeightFiles, Weights

SHARED = Path(__file__).resolve().parents[4] / "shared" / "data" / "weights"


def _random(network: nn.Module, prefix: str = "") -> Weights:
    """Return random weights of a network, with norms other than the identity."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    return Weights(Path("random.pth"), "", {f"{prefix}{key}": value for key, value in network.state_dict().items()})


def test_inception_is_the_network_of_fid(tmp_path: Path) -> None:
    given = _random(features._inception())
    head = {"fc.weight": torch.zeros(1008, 2048), "fc.bias": torch.zeros(1008)}
    torch.save({**given.state, **head}, tmp_path / "inception.pth")
    theirs = FeatureExtractorInceptionV3("inception", ["2048"], str(tmp_path / "inception.pth"))
    pictures = torch.randint(0, 256, (1, 3, 299, 299), dtype=torch.uint8)  # a size that neither scales
    with torch.inference_mode():
        torch.testing.assert_close(features.InceptionFeatures(given)(pictures), theirs(pictures)[0], atol=1e-6, rtol=0)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["alex", "squeeze"])
def test_lpips_as_torchmetrics(kind: str) -> None:
    theirs = _LPIPS(net=kind, pnet_rand=True)  # with the published heads
    build = {"alex": torchvision.models.alexnet, "squeeze": torchvision.models.squeezenet1_1}[kind]
    keys = [f"features.{key}" for key in build().features.state_dict()]
    backbone = dict(zip(keys, theirs.net.state_dict().values(), strict=True))
    heads = {key: value for key, value in theirs.state_dict().items() if key.startswith("lin") and "lins" not in key}
    ours = features.Lpips(kind, Weights(Path("b"), "", backbone), Weights(Path("h"), "", heads))
    pictures = torch.randint(0, 256, (2, 2, 3, 64, 80), dtype=torch.uint8)
    with torch.inference_mode():
        expected = theirs(*(pictures.float() / 127.5 - 1)).flatten()
        torch.testing.assert_close(ours(*pictures), expected, atol=1e-6, rtol=1e-5)


def test_weights_of_another_network_are_refused() -> None:
    with pytest.raises(UserError, match="not the weights of this network"):
        features.SqueezeNetFeatures(Weights(Path("x.pth"), "", {"features.0.weight": torch.zeros(1)}))


def test_only_published_bytes_are_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file with the right name and keys but random weights is refused."""
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    name = weights.PUBLISHED["inception"].name
    torch.save(features._inception().state_dict(), tmp_path / name)
    with pytest.raises(
        UserError,
        match=r"no given file has SHA-256 .*; fetch https://.* and save it as .* give weights=FILE, or download=True",
    ):
        WeightFiles([tmp_path]).find("inception")
    weights.fetched_folder().mkdir(parents=True)
    (tmp_path / name).rename(weights.fetched_folder() / name)
    with pytest.raises(
        UserError, match=r"SHA-256 .* expected 6726825d\.\.\. of the Inception network of FID and KID; remove"
    ):
        WeightFiles().find("inception")
    with pytest.raises(UserError, match="no such file"):
        WeightFiles([tmp_path / "nothing"])


def test_real_weights() -> None:
    if not SHARED.is_dir():
        pytest.skip("needs ../shared/data/weights")
    known = WeightFiles([SHARED, SHARED / "lpips_linear" / "v0.1"])
    assert set(known.find("lpips_alex").state) == {f"lin{place}.model.1.weight" for place in range(5)}
    network = features.SqueezeNetFeatures(known.find("squeezenet1_0"))
    assert network(torch.zeros(1, 3, 64, 64, dtype=torch.uint8)).shape == (1, 512)
    with pytest.raises(UserError, match="weights of SqueezeNet 1.1 .for LPIPS. are missing"):
        known.find("squeeze")
