"""Infer the networks of the original programs from the keys and shapes of their weights."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class Guess:
    """A network inferred from its weights.

    Attributes:
        kind: generators: `unet`, `resnet` (the global generator of pix2pixHD too) or `enhanced` (with local enhancers);
            discriminators: `patch`, `pixel`, `multiscale`, or `multiscale_plain` (trained without feature matching).
        channels: input channels of the first layer.
        out_channels: output channels of the last layer.
        section: section of a recipe that describes the network.
    """

    kind: str
    channels: int
    out_channels: int
    section: dict[str, Any]


def generator(shapes: Shapes) -> Guess | None:
    """Return the generator with such weights, or None."""
    if _is_convolution(shapes, "model.model.0"):
        return _unet(shapes)
    if not _is_convolution(shapes, "model.1"):
        return None
    places = _convolutions(shapes, r"model\.(\d+)")
    blocks = _places(shapes, r"model\.(\d+)\.conv_block\..*")
    enhancers = len(_places(shapes, r"model(\d+)_1\..*"))
    if len(places) < 3:
        return None
    section = {
        "width": shapes["model.1.weight"][0],
        "downsamples": (blocks[0] - 4) // 3 if blocks else (len(places) - (1 if enhancers else 2)) // 2,
        "blocks": blocks[-1] - blocks[0] + 1 if blocks else 0,
        "norm": _norm(shapes, "model.4"),
    }
    last = f"model.{places[-1]}"
    if enhancers:
        section |= {"enhancers": enhancers, "enhancer_blocks": len(_places(shapes, r"model1_2\.(\d+)\.conv_block\..*"))}
        finest = f"model{enhancers}_2"
        last = f"{finest}.{max(_convolutions(shapes, finest + '[.]([0-9]+)'), default=0)}"
    else:  # dropout between the convolutions of a block shifts the second by one
        section["dropout"] = bool(_convolutions(shapes, r"model\.(\d+)\.conv_block\.6"))
    out_channels = shapes.get(f"{last}.weight", (0,))[0]
    return Guess("enhanced" if enhancers else "resnet", shapes["model.1.weight"][1], out_channels, section)


def encoder(shapes: Shapes) -> Guess | None:
    """Return the encoder with such weights, a global generator without blocks, or None."""
    found = generator(shapes)
    if found is None or found.kind != "resnet" or found.section["blocks"]:
        return None
    section = {"count": found.out_channels} | {key: found.section[key] for key in ("width", "downsamples")}
    return Guess("encoder", found.channels, found.out_channels, section)


def discriminator(shapes: Shapes) -> Guess | None:
    """Return the discriminator with such weights, or None."""
    if _is_convolution(shapes, "scale0_layer0.0"):
        layers = len(_convolutions(shapes, r"scale0_layer(\d+)\.0"))
        scales = len(_places(shapes, r"scale(\d+)_layer0\..*"))
        return _discriminator("multiscale", shapes, "scale0_layer0.0", "scale0_layer1.0", layers, {"scales": scales})
    for kind, start in (("multiscale_plain", "layer0"), ("pixel", "net"), ("patch", "model")):
        if not _is_convolution(shapes, f"{start}.0"):
            continue
        layers = len(_convolutions(shapes, rf"{start}\.(\d+)"))
        extra = {"scales": len(_places(shapes, r"layer(\d+)\.0\..*"))} if start == "layer0" else {"kind": kind}
        return _discriminator(kind, shapes, f"{start}.0", f"{start}.2", layers, extra)
    return None


def _discriminator(kind: str, shapes: Shapes, first: str, second: str, layers: int, extra: Mapping[str, Any]) -> Guess:
    width, channels = shapes[f"{first}.weight"][:2]
    section = {"width": width, "norm": _norm(shapes, second), **extra}
    if kind != "pixel":
        section["layers"] = layers - 2  # the first and the prediction are not counted
    return Guess(kind, channels, 1, section)


def _unet(shapes: Shapes) -> Guess:
    width, channels = shapes["model.model.0.weight"][:2]
    count = sum(len(shape) == 4 for shape in shapes.values())
    section = {"kind": "unet", "width": width, "downsamples": count // 2}
    section["norm"] = _norm(shapes, "model.model.1.model.1")
    return Guess("unet", channels, shapes.get("model.model.3.weight", (0, 0))[1], section)


def _norm(shapes: Shapes, convolution: str) -> str:
    """Return the norm after `convolution`: a bias means instance norm, but for batch norm of pix2pixHD."""
    if any(key.endswith("running_mean") for key in shapes):
        return "batch"
    return "instance" if f"{convolution}.bias" in shapes else "none"


def has_bias_before_norm(shapes: Shapes) -> bool:
    """Return True if the second layer of a ResNet has a bias: with batch norm, in pix2pixHD but not in CycleGAN."""
    return "model.4.bias" in shapes


def _is_convolution(shapes: Shapes, name: str) -> bool:
    return len(shapes.get(f"{name}.weight", ())) == 4


def _convolutions(shapes: Shapes, pattern: str) -> list[int]:
    """Return the sorted indices of the convolutions whose names match."""
    convolutions = [key for key, shape in shapes.items() if len(shape) == 4]
    return _places(convolutions, rf"{pattern}\.weight")


def _places(keys: Mapping[str, Any] | list[str], pattern: str) -> list[int]:
    """Return the sorted, unique first numbers of the keys that match."""
    return sorted({int(match[1]) for key in keys if (match := re.fullmatch(pattern, key))})
