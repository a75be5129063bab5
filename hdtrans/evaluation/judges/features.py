"""Feature networks: Inception (FID, KID), SqueezeNet 1.0, LPIPS; and the segmentation networks of torchvision.

The only importer of torchvision besides `hdtrans.networks.perceptual`, which this room may not import.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hdtrans.common.errors import UserError
from hdtrans.evaluation.judges.weights import Weights

_INCEPTION_SIDE = 299
_IMAGENET_MEAN, _IMAGENET_DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_LPIPS_SHIFT, _LPIPS_SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
# Number of layers before each feature map of LPIPS: after the last ReLU of a stage (SqueezeNet: and late fire modules).
_LPIPS_CUTS = {
    "alex": (2, 5, 8, 10, 12),
    "vgg": (4, 9, 16, 23, 30),
    "squeeze": (2, 5, 8, 10, 11, 12, 13),
}
_SEGMENTERS = (
    "deeplabv3_resnet50",
    "deeplabv3_resnet101",
    "deeplabv3_mobilenet_v3_large",
    "fcn_resnet50",
    "fcn_resnet101",
    "lraspp_mobilenet_v3_large",
)


class InceptionFeatures(nn.Module):
    """Features of FID (Heusel et al. 2017): (B, 3, H, W) uint8 in [0, 255] -> (B, 2048).

    Inception v3 as converted by pytorch-fid, which pools differently from torchvision's. As there, pictures are
    resized to 299x299, bilinear without antialiasing, and scaled to [-1, 1].

    Args:
        weights: weights published by pytorch-fid.

    Raises:
        UserError: weights of another network.
    """

    width = 2048
    how = "299x299, bilinear, not antialiased (as pytorch-fid)"

    def __init__(self, weights: Weights) -> None:
        super().__init__()
        self.network = _inception()
        _load(self.network, weights)
        self.requires_grad_(False).eval()

    def forward(self, pictures: Tensor) -> Tensor:
        x = F.interpolate(pictures.float() / 255, (_INCEPTION_SIDE, _INCEPTION_SIDE), mode="bilinear")
        return self.network(2 * x - 1)


class SqueezeNetFeatures(nn.Module):
    """Spatial means of the last features of SqueezeNet 1.0: (B, 3, H, W) uint8 in [0, 255] -> (B, 512).

    For `squeezenet_distance`, which is ours and not FID. Pictures keep their size; ImageNet normalisation.

    Args:
        weights: ImageNet weights with torchvision's keys.

    Raises:
        UserError: weights of another network.
    """

    width = 512
    how = "at the picture's size"

    def __init__(self, weights: Weights) -> None:
        super().__init__()
        import torchvision

        self.network = torchvision.models.squeezenet1_0().features
        _load(self.network, weights, "features.")
        self.requires_grad_(False).eval()

    def forward(self, pictures: Tensor) -> Tensor:
        return self.network(_normalised(pictures.float() / 255, _IMAGENET_MEAN, _IMAGENET_DEVIATION)).mean((2, 3))


class Lpips(nn.Module):
    """LPIPS version 0.1: d(x, x0) of Zhang et al. 2018, eq. 1.

    Two (B, 3, H, W) uint8 in [0, 255] -> (B,), >= 0; lower is more similar.

    Args:
        kind: `alex`, `vgg` or `squeeze`.
        backbone: ImageNet weights with torchvision's keys.
        heads: weights w_l of the linear layers.

    Raises:
        UserError: weights of another network.
    """

    def __init__(self, kind: str, backbone: Weights, heads: Weights) -> None:
        super().__init__()
        import torchvision

        models = torchvision.models
        build = {"alex": models.alexnet, "vgg": models.vgg16, "squeeze": models.squeezenet1_1}[kind]
        self.network = build(weights=None).features
        _load(self.network, backbone, "features.")
        self.cuts = _LPIPS_CUTS[kind]
        names = [f"lin{place}.model.1.weight" for place in range(len(self.cuts))]
        if set(heads.state) != set(names):
            raise UserError(f"{heads.file}: not the LPIPS heads of {kind}")
        self.heads = [heads.state[name].flatten() for name in names]
        for module in self.network:
            if isinstance(module, nn.ReLU):
                module.inplace = False
        self.requires_grad_(False).eval()

    def forward(self, truth: Tensor, found: Tensor) -> Tensor:
        sides = [_normalised(x.float() / 127.5 - 1, _LPIPS_SHIFT, _LPIPS_SCALE) for x in (truth, found)]
        total = torch.zeros(len(truth), device=truth.device)
        for place, module in enumerate(self.network, start=1):
            sides = [module(x) for x in sides]
            if place in self.cuts:
                a, b = (x / (x.square().sum(1, keepdim=True).sqrt() + 1e-10) for x in sides)
                # w_l * (y_l - y0_l)^2, summed over channels, mean over positions: (B, C_l, H_l, W_l) -> (B,)
                head = self.heads[self.cuts.index(place)].to(total)
                total += ((a - b).square() * head.view(1, -1, 1, 1)).sum(1).mean((1, 2))
        return total


def _normalised(x: Tensor, mean: Sequence[float], deviation: Sequence[float]) -> Tensor:
    shift, scale = (torch.tensor(values, device=x.device).view(1, 3, 1, 1) for values in (mean, deviation))
    return (x - shift) / scale


def _load(network: nn.Module, weights: Weights, prefix: str = "") -> None:
    """Load all weights of a network; raise UserError if one is missing or has another shape."""
    own = network.state_dict()
    given = {key.removeprefix(prefix): value for key, value in weights.state.items() if key.startswith(prefix)}
    counted = "num_batches_tracked"  # a counter that older files lack
    wrong = [k for k, v in own.items() if counted not in k and (k not in given or given[k].shape != v.shape)]
    if wrong:
        raise UserError(
            f"{weights.file}: not the weights of this network (missing or of another shape: "
            f"{', '.join(prefix + key for key in wrong[:3])}...)"
        )
    network.load_state_dict({key: given.get(key, value) for key, value in own.items()})


def _inception() -> nn.Module:
    """Return the Inception v3 of FID up to its pooled features, with random weights."""
    import torchvision
    from torchvision.models import inception as blocks

    def branch_pool(block: Any, x: Tensor) -> Tensor:
        # TensorFlow excludes the padding from the average.
        return block.branch_pool(F.avg_pool2d(x, 3, 1, 1, count_include_pad=False))

    class A(blocks.InceptionA):  # type: ignore[misc]
        def _forward(self, x: Tensor) -> list[Tensor]:
            double = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
            return [self.branch1x1(x), self.branch5x5_2(self.branch5x5_1(x)), double, branch_pool(self, x)]

    class C(blocks.InceptionC):  # type: ignore[misc]
        def _forward(self, x: Tensor) -> list[Tensor]:
            single = self.branch7x7_3(self.branch7x7_2(self.branch7x7_1(x)))
            double = self.branch7x7dbl_3(self.branch7x7dbl_2(self.branch7x7dbl_1(x)))
            double = self.branch7x7dbl_5(self.branch7x7dbl_4(double))
            return [self.branch1x1(x), single, double, branch_pool(self, x)]

    class E(blocks.InceptionE):  # type: ignore[misc]
        largest = False

        def _forward(self, x: Tensor) -> list[Tensor]:
            single, double = self.branch3x3_1(x), self.branch3x3dbl_2(self.branch3x3dbl_1(x))
            pooled = self.branch_pool(F.max_pool2d(x, 3, 1, 1)) if self.largest else branch_pool(self, x)
            return [
                self.branch1x1(x),
                torch.cat([self.branch3x3_2a(single), self.branch3x3_2b(single)], 1),
                torch.cat([self.branch3x3dbl_3a(double), self.branch3x3dbl_3b(double)], 1),
                pooled,
            ]

    network = torchvision.models.inception_v3(weights=None, num_classes=1008, aux_logits=False, init_weights=False)
    replaced: Mapping[str, nn.Module] = {
        "Mixed_5b": A(192, pool_features=32),
        "Mixed_5c": A(256, pool_features=64),
        "Mixed_5d": A(288, pool_features=64),
        **{f"Mixed_6{x}": C(768, channels_7x7=n) for x, n in (("b", 128), ("c", 160), ("d", 160), ("e", 192))},
        "Mixed_7b": E(1280),
        "Mixed_7c": E(2048),
    }
    for name, block in replaced.items():
        setattr(network, name, block)
    network.Mixed_7c.largest = True
    network.dropout = network.fc = nn.Identity()
    return network


def torchvision_segmenter(weights: Mapping[str, Any]) -> tuple[str, nn.Module] | None:
    """Return name and segmentation network of torchvision with these weights; None if no network fits.

    (B, 3, H, W), ImageNet normalisation -> {"out": scores (B, classes, H, W)}. The auxiliary classifier, for training
    alone, is dropped.
    """
    import torchvision

    own = {key: value for key, value in weights.items() if not str(key).startswith("aux_classifier.")}
    last = own.get("classifier.4.weight", own.get("classifier.high_classifier.weight"))
    if not isinstance(last, Tensor):
        return None
    for name in _SEGMENTERS:
        with torch.device("meta"):
            network: nn.Module = torchvision.models.get_model(
                name, weights=None, weights_backbone=None, num_classes=len(last)
            )
        wanted = network.state_dict()
        if wanted.keys() == own.keys() and all(wanted[key].shape == own[key].shape for key in wanted):
            network.load_state_dict(own, assign=True)
            return name, network
    return None
