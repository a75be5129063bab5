"""Fixed feature networks of perceptual losses: VGG19 and SqueezeNet 1.0, trained on ImageNet, never random.

The one module of the package that imports torchvision.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal
from urllib.error import URLError

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from hdtrans.common.errors import UserError, nearest, reading_failure
from hdtrans.common.files import plain_path

PerceptualKind = Literal["vgg19", "squeezenet"]

# Depths of the loss, shallow first, and their weights.
# VGG19: as pix2pixHD weighs them.
# SqueezeNet: after the first ReLU and before each pooling, the deeper the heavier in the same manner. Its features are
# larger and differ in scale, so each is divided by its distance between two unlike street photos.
_DEPTHS: dict[str, dict[str, float]] = {
    "vgg19": {"relu1_1": 1 / 32, "relu2_1": 1 / 16, "relu3_1": 1 / 8, "relu4_1": 1 / 4, "relu5_1": 1.0},
    "squeezenet": {"relu1": 1 / 8 / 5.5, "fire4": 1 / 4 / 39, "fire8": 1 / 2 / 7.2, "fire9": 1 / 5.6},
}
SMALLEST = {"vgg19": 16, "squeezenet": 21, "none": 0}
"""Least side of a picture in pixels, at the depths of the loss."""

_IMAGENET_MEAN = (0.485, 0.456, 0.406)
_IMAGENET_DEVIATION = (0.229, 0.224, 0.225)


class PerceptualNetwork(nn.Module):
    """Feature maps of an image at several depths: (B, 3, H, W) in [-1, 1] -> one (B, C, H', W') each.

    A new one has random weights; `load` replaces them. Nothing in it is trained.

    Args:
        kind: `vgg19` or `squeezenet`.
        imagenet_normalisation: shift and scale the image as the network was trained; the original pix2pixHD feeds
            [-1, 1] unchanged.
        depths: layers whose output counts, and their weights in the loss. VGG19 has `conv1_1`, `relu1_1` ...
            `relu5_4`, and `pool1` ... `pool5`; SqueezeNet `relu1`, `pool1` ... `pool3`, `fire2` ... `fire9`. None: the
            loss of pix2pixHD.

    Attributes:
        weights: weight of each depth in the loss, shallow first.

    Raises:
        ValueError: there is no such layer, or there are no depths.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(
        self, kind: PerceptualKind, imagenet_normalisation: bool = False, depths: Mapping[str, float] | None = None
    ) -> None:
        super().__init__()
        import torchvision

        self.kind = kind
        if kind == "vgg19":  # without its classifier, whose 120 million weights take half a second
            vgg = torchvision.models.vgg
            self.features = vgg.make_layers(vgg.cfgs["E"], batch_norm=False)
        else:
            self.features = torchvision.models.squeezenet1_0().features
        places, depths = _places(kind, self.features), _DEPTHS[kind] if depths is None else depths
        if unknown := [name for name in depths if name not in places]:
            raise ValueError(f"{kind} has no layer {unknown[0]!r}.{nearest(unknown[0], list(places))}")
        if not depths:
            raise ValueError("a perceptual network needs one depth at least")
        in_order = sorted(depths, key=places.__getitem__)
        self.weights = tuple(depths[name] for name in in_order)
        self._ends = tuple(places[name] for name in in_order)  # number of layers up to each depth
        del self.features[self._ends[-1] :]
        for module in self.features:
            if isinstance(module, nn.ReLU):
                module.inplace = False
        self.imagenet_normalisation = imagenet_normalisation
        self.register_buffer("mean", torch.tensor(_IMAGENET_MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("deviation", torch.tensor(_IMAGENET_DEVIATION).view(1, 3, 1, 1), persistent=False)
        self.requires_grad_(False)
        self.eval()

    def load(self, file: Path | None) -> None:
        """Load trained weights from a file with torchvision's keys, or from torchvision itself.

        Raises:
            UserError: there are none, or they are not this network's.
        """
        state = _from_torchvision(self.kind) if file is None else _from_file(self.kind, file)
        own = self.features.state_dict()
        given = {k.removeprefix("features."): v for k, v in state.items() if k.startswith("features.")}
        given = given or state
        wrong = [k for k, v in own.items() if k not in given or given[k].shape != v.shape]
        if wrong:
            raise UserError(
                f"{file}: these are not the weights of {self.kind} with torchvision's keys "
                f"(missing or of another shape: {', '.join(f'features.{k}' for k in wrong[:3])}...)"
            )
        self.features.load_state_dict({k: given[k] for k in own})

    def forward(self, x: Tensor) -> list[Tensor]:
        return list(self.depths(x))

    def depths(self, x: Tensor) -> Iterator[Tensor]:
        """Yield the feature maps of `x` one by one: a caller that needs one at a time need not keep all."""
        if self.imagenet_normalisation:
            x = ((x + 1) / 2 - self.mean.to(x.dtype)) / self.deviation.to(x.dtype)
        for index, module in enumerate(self.features, start=1):
            if isinstance(module, nn.MaxPool2d) and x.requires_grad:
                # Indices of the largest take 8 bytes each, four times the values in half precision: computed again.
                x = checkpoint(module, x, use_reentrant=False, preserve_rng_state=False)
            else:
                x = module(x)
            if index in self._ends:
                yield x

    def train(self, mode: bool = True) -> "PerceptualNetwork":
        """Stay in evaluation mode."""
        return super().train(False)


def _places(kind: PerceptualKind, layers: nn.Sequential) -> dict[str, int]:
    """Return the number of layers up to each named one, itself included."""
    names: dict[str, int] = {}
    block, layer = 1, 0
    counts = {"fire": 1}  # the paper counts fire modules from 2
    for number, module in enumerate(layers, start=1):
        if kind == "squeezenet":
            kinds = {"MaxPool2d": "pool", "Fire": "fire", "ReLU": "relu", "Conv2d": "conv"}
            name = kinds[type(module).__name__]
            counts[name] = counts.get(name, 0) + 1
            names[f"{name}{counts[name]}"] = number
        elif isinstance(module, nn.MaxPool2d):
            names[f"pool{block}"] = number
            block, layer = block + 1, 0
        else:
            layer += isinstance(module, nn.Conv2d)
            names[f"{'conv' if isinstance(module, nn.Conv2d) else 'relu'}{block}_{layer}"] = number
    return names


_ADVICE = (
    "give a file with torchvision's ImageNet weights (method.perceptual.weights=FILE), "
    "or train without (method.perceptual.kind=none)"
)


def _from_torchvision(kind: PerceptualKind) -> dict[str, Tensor]:
    import torchvision

    choice = torchvision.models.VGG19_Weights if kind == "vgg19" else torchvision.models.SqueezeNet1_0_Weights
    try:
        return dict(choice.IMAGENET1K_V1.get_state_dict(progress=False, check_hash=True, weights_only=True))
    except (URLError, OSError, RuntimeError) as error:
        raise UserError(
            f"method.perceptual: the weights of {kind} are neither on this machine nor could torchvision fetch them "
            f"({error}); {_ADVICE}"
        ) from None


def _from_file(kind: PerceptualKind, file: Path) -> dict[str, Tensor]:
    if not file.is_file():
        raise UserError(f"method.perceptual.weights: {file}: there is no such file; {_ADVICE}")
    try:
        with plain_path(file) as plain:
            state = torch.load(plain, map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load raises many kinds for a file that is no checkpoint
        reason = reading_failure(error)
        raise UserError(
            f"method.perceptual.weights: {file}: cannot be read as weights of {kind} ({reason}); {_ADVICE}"
        ) from None
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise UserError(f"method.perceptual.weights: {file}: holds no state dict; {_ADVICE}")
    return state
