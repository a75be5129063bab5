"""OASIS for its golden traces: keys of the original, and its generator, which the package has not."""

import itertools
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hdtrans.networks.context import ForwardContext, Pyramid
from hdtrans.networks.modulation import SpadeModulation
from hdtrans.networks.norm import Norm
from hdtrans.networks.segmenter import Segmenter
from hdtrans.networks.spectral_norm import SpectralConv2d


def segmenter_of(config: Mapping[str, Any]) -> Segmenter:
    return Segmenter(3, config["semantic_nc"], config["channels_D_list"], config["channels_D_last"])


def segmenter_keys(network: Segmenter) -> dict[str, str]:
    """Return the original's key of each tensor of the discriminator."""
    keys = {f"last.{leaf}": f"layer_up_last.{leaf}" for leaf in ("weight", "bias")}
    for side, blocks in (("down", network.down), ("up", network.up)):
        for n, block in enumerate(blocks):
            places = {"down": 1 if n else 0, "up": 2}
            modules = {"first": f"conv1.{places[side]}", "second": "conv2.1", "shortcut": "conv_s"}
            for ours, theirs in modules.items():
                if getattr(block, ours) is not None:
                    keys |= spectral(f"{side}.{n}.{ours}", f"body_{side}.{n}.{theirs}")
    return keys


def spectral(ours: str, theirs: str, bias: bool = True) -> dict[str, str]:
    leaves = {"weight": "weight_orig", "u": "weight_u", "v": "weight_v"} | ({"bias": "bias"} if bias else {})
    return {f"{ours}.{leaf}": f"{theirs}.{other}" for leaf, other in leaves.items()}


def load(network: nn.Module, keys: Mapping[str, str], state: Mapping[str, Tensor]) -> None:
    """Load the original's weights, all of them."""
    assert set(keys.values()) == set(state), set(keys.values()) ^ set(state)
    network.load_state_dict({ours: state[theirs] for ours, theirs in keys.items()})


class Block(nn.Module):
    """SPADE's residual block."""

    def __init__(self, channels: int, out_channels: int, condition: int, norm: Any, hidden: int) -> None:
        super().__init__()
        middle = min(channels, out_channels)

        def made(width: int, activation: Any) -> Norm:
            return Norm(width, norm, activation, SpadeModulation(width, condition, hidden))

        self.norm_0, self.conv_0 = made(channels, "leaky_relu"), SpectralConv2d(channels, middle, 3, padding=1)
        self.norm_1, self.conv_1 = made(middle, "leaky_relu"), SpectralConv2d(middle, out_channels, 3, padding=1)
        if channels != out_channels:
            self.norm_s, self.conv_s = made(channels, "none"), SpectralConv2d(channels, out_channels, 1, bias=False)

    def forward(self, x: Tensor, context: ForwardContext) -> Tensor:
        shortcut = self.conv_s(self.norm_s(x, context)) if hasattr(self, "conv_s") else x
        y = self.conv_0(self.norm_0(x, context))
        return shortcut + self.conv_1(self.norm_1(y, context))


class Generator(nn.Module):
    """OASIS's generator: (B, z + labels, H, W) -> (B, 3, H, W)."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        width, condition = config["channels_G"], config["z_dim"] + config["semantic_nc"]
        norm = "instance" if config["param_free_norm"] == "instance" else "batch"
        widths = [16 * width, 16 * width, 16 * width, 8 * width, 4 * width, 2 * width, width]
        self.fc = nn.Conv2d(condition, widths[0], 3, padding=1)
        self.body = nn.ModuleList(Block(a, b, condition, norm, config["hidden"]) for a, b in itertools.pairwise(widths))
        self.conv_img = nn.Conv2d(width, 3, 3, padding=1)

    def forward(self, condition: Tensor) -> Tensor:
        pyramid = ForwardContext(condition=Pyramid(condition))
        height, width = (length // 32 for length in condition.shape[-2:])
        x = self.fc(F.interpolate(condition, size=(height, width), mode="nearest"))
        for n, block in enumerate(self.body):
            x = block(F.interpolate(x, scale_factor=2, mode="nearest") if n else x, pyramid)
        return torch.tanh(self.conv_img(F.leaky_relu(x, 0.2)))

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Load the original's weights; one convolution of ours makes its gamma and beta."""
        ours, left = self.state_dict(), dict(state)
        for key in ours:
            module, _, leaf = key.rpartition(".")
            if key.endswith(("affine.weight", "affine.bias")) and "modulation" in module:
                norm = module.removesuffix(".modulation.affine")
                ours[key] = torch.cat([left.pop(f"{norm}.mlp_{part}.{leaf}") for part in ("gamma", "beta")])
                continue
            theirs = module.replace(".modulation.shared", ".mlp_shared.0").replace(".batch", ".first_norm")
            spectral_leaf = {"weight": "weight_orig", "u": "weight_u", "v": "weight_v"}.get(leaf, leaf)
            name = f"{theirs}.{spectral_leaf}"
            ours[key] = left.pop(name if name in left else f"{theirs}.{leaf}")
        assert not left, list(left)
        self.load_state_dict(ours)
