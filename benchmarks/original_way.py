"""pix2pixHD in the way of the 2018 programs, written anew: the rival in `compare_with_original.py`.

Eager, float32, channels first, nn.InstanceNorm2d, a float one-hot tensor, three discriminator passes per step (with
gradients for their weights in the generator's phase too), Adam weight by weight, PIL. This file imports nothing of
hdtrans, and nothing in hdtrans imports it. Weights are random: only time and memory are compared.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

Array = npt.NDArray[Any]


class Translation:
    """Translate a label and an instance map to a picture with a generator of full width.

    Args:
        labels: number of classes.
        enhancers: 0 for the global generator alone, 1 for a local enhancer above it.
        device: device to compute on.
    """

    def __init__(self, labels: int, enhancers: int, device: str = "cpu") -> None:
        self.labels, self.device = labels, device
        self.generator = _generator(labels + 1, enhancers).eval().to(device)

    @torch.no_grad()
    def __call__(self, label: Array, instance: Array) -> Array:
        """Return an (H, W, 3) uint8 picture for (H, W) maps."""
        picture = self.generator(_condition(label, instance, self.labels, self.device))[0].cpu().float().numpy()
        return np.clip((np.transpose(picture, (1, 2, 0)) + 1) / 2.0 * 255.0, 0, 255).astype(np.uint8)


class Training:
    """Train generator and discriminators with VGG19 and two optimizers.

    Args:
        labels: number of classes.
        enhancers: as in `Translation`.
        scales: number of discriminators.
        device: device to compute on.
    """

    def __init__(self, labels: int, enhancers: int, scales: int, device: str = "cpu") -> None:
        self.labels, self.device = labels, device
        self.generator = _generator(labels + 1, enhancers).to(device)
        self.discriminators = nn.ModuleList(_discriminator(labels + 4) for _ in range(scales)).to(device)
        self.vgg = _vgg_parts().to(device)
        self.generator_adam = torch.optim.Adam(self.generator.parameters(), 2e-4, (0.5, 0.999), foreach=False)
        self.discriminator_adam = torch.optim.Adam(self.discriminators.parameters(), 2e-4, (0.5, 0.999), foreach=False)

    def step(self, label: Array, instance: Array, photo: Array) -> None:
        """Take one step of generator and discriminators on (H, W) maps and an (H, W, 3) photo."""
        condition = _condition(label, instance, self.labels, self.device)
        real = torch.from_numpy(photo).permute(2, 0, 1).unsqueeze(0).float().to(self.device) / 127.5 - 1
        fake = self.generator(condition)
        for_discriminator = self._discriminate(condition, fake.detach())
        on_real = self._discriminate(condition, real)
        for_generator = self._discriminate(condition, fake)
        loss_fake, loss_real, loss = _lsgan(for_discriminator, 0), _lsgan(on_real, 1), _lsgan(for_generator, 1)
        for made, true in zip(for_generator, on_real, strict=True):
            weight = 10 * 4 / (len(made) - 1) / len(self.discriminators)
            for a, b in zip(made[:-1], true[:-1], strict=True):
                loss = loss + weight * F.l1_loss(a, b.detach())
        x, y = fake, real
        for part, weight in zip(self.vgg, (1 / 32, 1 / 16, 1 / 8, 1 / 4, 1.0), strict=True):
            x, y = part(x), part(y)
            loss = loss + 10 * weight * F.l1_loss(x, y.detach())
        self.generator_adam.zero_grad()
        loss.backward()
        self.generator_adam.step()
        self.discriminator_adam.zero_grad()
        ((loss_fake + loss_real) * 0.5).backward()
        self.discriminator_adam.step()

    def _discriminate(self, condition: Tensor, picture: Tensor) -> list[list[Tensor]]:
        x = torch.cat([condition, picture], 1)
        found = []
        for discriminator in self.discriminators:
            maps = [x]
            for part in discriminator.children():
                maps.append(part(maps[-1]))
            found.append(maps[1:])
            x = _halve(x)
        return found


def _lsgan(outputs: Sequence[Sequence[Tensor]], value: float) -> Tensor:
    return torch.stack([F.mse_loss(maps[-1], torch.full_like(maps[-1], value)) for maps in outputs]).sum()


def read(files: Mapping[str, Path], size: tuple[int, int] | None) -> dict[str, Tensor]:
    """Read a triple as floats, scaled to `size` (width, height) unless it is None."""
    made = {}
    for name, file in files.items():
        picture: Image.Image = Image.open(file)
        if name == "photo":
            picture = picture.convert("RGB")
        if size is not None:
            picture = picture.resize(size, Image.Resampling.BICUBIC if name == "photo" else Image.Resampling.NEAREST)
        array = np.array(picture)
        if name == "photo":
            made[name] = (torch.from_numpy(array).permute(2, 0, 1).contiguous().float() / 255 - 0.5) / 0.5
        else:
            made[name] = torch.from_numpy(array.astype(np.int64)).unsqueeze(0).float()
    return made


def prepare(files: Mapping[str, Path], size: tuple[int, int], out: Path) -> None:
    """Scale a triple to `size` (width, height) and write it as PNG."""
    for name, file in files.items():
        method = Image.Resampling.BICUBIC if name == "photo" else Image.Resampling.NEAREST
        Image.open(file).resize(size, method).save(out / f"{name}.png")


def _condition(label: Array, instance: Array, labels: int, device: str) -> Tensor:
    """Return one-hot label map and instance boundaries as (1, labels + 1, H, W) floats."""
    ids = torch.from_numpy(label.astype(np.int64))[None, None].to(device)
    one_hot = torch.zeros(1, labels, *label.shape, device=device).scatter_(1, ids, 1.0)
    things = torch.from_numpy(instance.astype(np.int64))[None, None].to(device)
    edge = torch.zeros_like(things, dtype=torch.bool)
    across, below = things[..., 1:] != things[..., :-1], things[..., 1:, :] != things[..., :-1, :]
    edge[..., 1:] |= across
    edge[..., :-1] |= across
    edge[..., 1:, :] |= below
    edge[..., :-1, :] |= below
    return torch.cat([one_hot, edge.float()], 1)


def _generator(channels: int, enhancers: int) -> nn.Module:
    trunk = _trunk(channels)
    if not enhancers:
        return nn.Sequential(trunk, *_head(64))
    return _Enhanced(channels, trunk)


class _Enhanced(nn.Module):
    """Local enhancer of width 32 over the trunk."""

    def __init__(self, channels: int, trunk: nn.Module) -> None:
        super().__init__()
        self.trunk = trunk
        self.before = nn.Sequential(
            nn.ReflectionPad2d(3), nn.Conv2d(channels, 32, 7), *_norm(32), nn.Conv2d(32, 64, 3, 2, 1), *_norm(64)
        )
        blocks = [_Block(64) for _ in range(3)]
        self.after = nn.Sequential(*blocks, nn.ConvTranspose2d(64, 32, 3, 2, 1, 1), *_norm(32), *_head(32))

    def forward(self, x: Tensor) -> Tensor:
        return self.after(self.before(x) + self.trunk(_halve(x)))


def _trunk(channels: int) -> nn.Module:
    layers: list[nn.Module] = [nn.ReflectionPad2d(3), nn.Conv2d(channels, 64, 7), *_norm(64)]
    for width in (64, 128, 256, 512):
        layers += [nn.Conv2d(width, 2 * width, 3, 2, 1), *_norm(2 * width)]
    layers += [_Block(1024) for _ in range(9)]
    for width in (512, 256, 128, 64):
        layers += [nn.ConvTranspose2d(2 * width, width, 3, 2, 1, 1), *_norm(width)]
    return nn.Sequential(*layers)


class _Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        first = [nn.ReflectionPad2d(1), nn.Conv2d(width, width, 3), *_norm(width)]
        self.layers = nn.Sequential(*first, nn.ReflectionPad2d(1), nn.Conv2d(width, width, 3), nn.InstanceNorm2d(width))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x)


def _norm(width: int) -> Sequence[nn.Module]:
    return nn.InstanceNorm2d(width), nn.ReLU(True)


def _head(width: int) -> Sequence[nn.Module]:
    return nn.ReflectionPad2d(3), nn.Conv2d(width, 3, 7), nn.Tanh()


def _discriminator(channels: int) -> nn.ModuleList:
    layers: list[nn.Module] = [nn.Sequential(nn.Conv2d(channels, 64, 4, 2, 2), nn.LeakyReLU(0.2, True))]
    for width, wider, stride in ((64, 128, 2), (128, 256, 2), (256, 512, 1)):
        convolution = nn.Conv2d(width, wider, 4, stride, 2)
        layers.append(nn.Sequential(convolution, nn.InstanceNorm2d(wider), nn.LeakyReLU(0.2, True)))
    return nn.ModuleList([*layers, nn.Conv2d(512, 1, 4, 1, 2)])


def _vgg_parts() -> nn.ModuleList:
    """Return VGG19 up to relu5_1 in five parts, frozen."""
    parts, channels = [], 3
    for widths in (
        (64,),
        (64, "pool", 128),
        (128, "pool", 256),
        (256, 256, 256, "pool", 512),
        (512,) * 3 + ("pool", 512),
    ):
        layers: list[nn.Module] = []
        for width in widths:
            if isinstance(width, int):
                layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()]
                channels = width
            else:
                layers.append(nn.MaxPool2d(2, 2))
        parts.append(nn.Sequential(*layers))
    return nn.ModuleList(parts).requires_grad_(False)


def _halve(x: Tensor) -> Tensor:
    return F.avg_pool2d(x, 3, stride=2, padding=1, count_include_pad=False)
