"""Differentiable augmentation of what discriminators see, with an adaptive probability.

Colour, translation and cutout after Zhao et al., "Differentiable Augmentation for Data-Efficient GAN Training", 2020;
the probability after Karras et al., "Training Generative Adversarial Networks with Limited Data", 2020, section 3.
True and generated picture of a sample get the same change, so that feature maps of both can be compared; condition and
target of a sample are moved with its pictures. All draws are from the sample's own generator.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from hdtrans.config.augmentation import AugmentationSection
from hdtrans.methods.base import Stateful, StepContext

_EVERY = 4  # batches between two changes of the probability
_NUMBERS = 10  # drawn for each sample, in the order of `View`


@dataclass(frozen=True)
class View:
    """Augmentation of one batch.

    Attributes:
        section: its section of the recipe; None changes nothing.
        draws: uniform numbers in [0, 1), (B, 10) float64: coin, brightness, saturation, contrast; coin, shift down,
            shift right; coin, row and column of the cutout.
        probability: probability of each coin, a float64 scalar.
    """

    section: AugmentationSection | None = None
    draws: Tensor | None = None
    probability: Tensor | None = None

    def picture(self, x: Tensor) -> Tensor:
        """Return pictures (B, C, H, W) in [-1, 1], recoloured and moved; blank pixels are 0."""
        return self.moved(self._recoloured(x), 0.0)

    def moved(self, x: Tensor, blank: float) -> Tensor:
        """Return (B, C, H, W) shifted and cut out; pixels without a value become `blank`."""
        if self.section is None or not (self.section.translation or self.section.cutout):
            return x
        (batch, channels, height, width), device = x.shape, x.device
        down, up_to_row, first_row, rows = self._along(height, 5, 8, device)
        right, up_to_column, first_column, columns = self._along(width, 6, 9, device)
        from_row, from_column = rows - down, columns - right  # (B, H), (B, W)
        there = _inside(from_row, height)[:, :, None] & _inside(from_column, width)[:, None, :]
        in_rows = (rows >= first_row) & (rows < up_to_row)
        in_columns = (columns >= first_column) & (columns < up_to_column)
        there &= ~(in_rows[:, :, None] & in_columns[:, None, :])  # (B, H, W)
        x = x.gather(2, from_row.clamp(0, height - 1)[:, None, :, None].expand(batch, channels, height, width))
        x = x.gather(3, from_column.clamp(0, width - 1)[:, None, None, :].expand(batch, channels, height, width))
        return torch.where(there[:, None], x, blank)

    def ids(self, x: Tensor, blank: int) -> Tensor:
        """Return maps (B, H, W) of integers, moved as their pictures are."""
        return self.moved(x[:, None], blank)[:, 0]

    def at(self, sample: int) -> "View":
        """Return the augmentation of one sample, as a batch of one."""
        return self if self.draws is None else View(self.section, self.draws[sample : sample + 1], self.probability)

    def _recoloured(self, x: Tensor) -> Tensor:
        """Return pictures with another brightness (+-0.5), saturation (0 to 2) and contrast (0.5 to 1.5)."""
        if self.section is None or not self.section.colour:
            return x
        on, brightness, saturation, contrast = (self._number(place).view(-1, 1, 1, 1) for place in range(4))
        changed = x + (brightness - 0.5).to(x.dtype)
        grey = changed.mean(1, keepdim=True)
        changed = grey + (changed - grey) * (2 * saturation).to(x.dtype)
        mean = changed.mean((1, 2, 3), keepdim=True)
        changed = mean + (changed - mean) * (contrast + 0.5).to(x.dtype)
        return torch.where(on < self._chance, changed, x)

    def _along(self, length: int, shift: int, cut: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return along one side: shift, end and start of the cutout, each (B, 1), and all places, (1, length)."""
        assert self.section is not None
        most, side = int(length * self.section.translation + 0.5), int(length * self.section.cutout + 0.5)
        shifts = (self._number(shift) * (2 * most + 1)).floor() - most
        shifts = torch.where(self._number(4) < self._chance, shifts, 0.0).long()
        # Any place of the centre, also near the edge, where part of the rectangle lies outside.
        starts = (self._number(cut) * (length + 1 - side % 2)).floor().long() - side // 2
        ends = torch.where(self._number(7) < self._chance, starts + side, starts)
        return shifts[:, None], ends[:, None], starts[:, None], torch.arange(length, device=device)[None]

    def _number(self, place: int) -> Tensor:
        assert self.draws is not None
        return self.draws[:, place]

    @property
    def _chance(self) -> Tensor:
        assert self.probability is not None
        return self.probability


def _inside(places: Tensor, length: int) -> Tensor:
    return (places >= 0) & (places < length)


class Augmentation:
    """Augmentation with its probability: fixed, or adapted to how far the discriminators overfit.

    The measure is r_t = E sign(D(x)) over true pictures x of four batches (Karras et al., equation 1, right). Above
    `target` the probability rises, else it falls, by the images seen meanwhile over `span`. It is the same on all
    processes, for sums are over all of them.

    Args:
        section: its section of the recipe; None augments nothing.
    """

    def __init__(self, section: AugmentationSection | None) -> None:
        self.section = section
        self.adaptive = section is not None and section.probability == "adaptive"
        fixed = 0.0 if section is None or section.probability == "adaptive" else section.probability
        self.probability = torch.tensor(fixed, dtype=torch.float64, device="cpu")
        self._seen = torch.zeros(3, dtype=torch.float64, device="cpu")  # signs, predictions, images
        self._batches = 0

    def view(self, context: StepContext, purpose: int, device: torch.device) -> View:
        """Return the augmentation of a batch.

        Args:
            context: context of the step.
            purpose: purpose of its random numbers.
            device: device of the pictures.
        """
        if self.section is None or (not self.adaptive and self.section.probability == 0):
            return View()
        like = torch.empty((), dtype=torch.float64, device=device)
        self.probability = self.probability.to(device)
        return View(self.section, context.uniform(purpose, _NUMBERS, like=like), self.probability)

    @torch.no_grad()
    def observe(self, predictions: Sequence[Tensor], boundary: float, context: StepContext) -> None:
        """Take in the predictions for true pictures of a batch; nothing waits for the device.

        Args:
            predictions: tensors (B, ...), one for each discriminator.
            boundary: predictions above it stand for true pictures.
            context: context of the step.
        """
        if not self.adaptive or self.section is None:
            return
        signs = torch.stack([(p.double() - boundary).sign().sum() for p in predictions]).sum()
        count = math.fsum(p.numel() for p in predictions)
        here = torch.stack([signs, signs.new_tensor(count), signs.new_tensor(float(len(predictions[0])))])
        self._seen = self._seen.to(here.device) + context.total(here)
        self._batches += 1
        if self._batches % _EVERY == 0:
            signs, count, images = self._seen
            step = (signs / count - self.section.target).sign() * images / self.section.span
            self.probability = (self.probability.to(here.device) + step).clamp(0, 1)
            self._seen = torch.zeros_like(self._seen)

    def state(self, name: str) -> dict[str, Stateful]:
        """Return the part of a method's `state` that keeps the probability, if it adapts."""
        return {name: self} if self.adaptive else {}

    def state_dict(self, indices: range) -> dict[str, Any]:
        """Return probability and counts, the same for each index."""
        state = {"probability": self.probability, "seen": self._seen, "batches": self._batches}
        return {str(index): state for index in indices}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from the union of the states of all processes."""
        for kept in list(state.values())[:1]:
            self.probability, self._seen, self._batches = kept["probability"], kept["seen"], kept["batches"]
