"""The segmentation discriminator in a stage: its targets, its losses, and the generator's (Sushko et al., 2021)."""

from dataclasses import dataclass

import torch
from torch import Tensor

from hdtrans.config.segmenter import SegmenterSection
from hdtrans.losses.segmentation import (
    class_targets,
    class_weights,
    fake_pixels_loss,
    labelled_loss,
    labelmix_loss,
    labelmix_mask,
    real_votes,
)
from hdtrans.methods.augmentation import View
from hdtrans.methods.base import Losses, Nets, StepContext
from hdtrans.networks.generators import halve
from hdtrans.networks.initialise import initialise
from hdtrans.networks.segmenter import Segmenter, segmenter_widths

SEGMENTER = "segmenter"
"""Name of the network."""

_HALVINGS = {None: 0, "full": 0, "half": 1, "quarter": 2}


@dataclass(frozen=True)
class Seen:
    """Targets of a batch, at the size at which the segmenter looks.

    Attributes:
        target: 1 + class of each pixel, 0 without a class, (B, h, w) int64.
        weights: weight of each target, (1 + N,) float64.
        there: (B, h, w) bool, false where augmentation left a pixel blank; None where it left none.
    """

    target: Tensor
    weights: Tensor
    there: Tensor | None = None


class PixelJudge:
    """The segmenter's losses in one stage.

    Args:
        section: its section of the recipe.
        classes: N, classes of the label maps.
        ignore: id of pixels without a class, or None.
        at: share of the size at which it looks: `full`, `half`, `quarter`.
    """

    def __init__(self, section: SegmenterSection, classes: int, ignore: int | None, at: str | None = None) -> None:
        self.section = section
        self.classes = classes
        self.ignore = ignore
        self.halvings = _HALVINGS[at]

    def see(self, label: Tensor, view: View, context: StepContext) -> Seen:
        """Return targets and weights for maps (B, H, W) of class ids, moved as their pictures are."""
        target = class_targets(label, self.ignore)
        there = None if view.section is None else self._shrunk_map(view.ids(torch.ones_like(label), 0) > 0)
        target = self._shrunk_map(view.ids(target, 0))
        weights = class_weights(target, self.classes, self.section.balanced, context.total)
        return Seen(target, weights, there)

    def generator_loss(self, nets: Nets, seen: Seen, fake: Tensor) -> Tensor:
        """Return the weighted generator loss (equation 3): generated pixels should be labelled as their class."""
        return self.section.weight * labelled_loss(self._logits(nets, self._shrunk(fake)), seen.target, seen.weights)

    def losses(
        self, nets: Nets, seen: Seen, real: Tensor, fake: Tensor, context: StepContext, purpose: int
    ) -> tuple[Losses, Tensor]:
        """Return the segmenter's losses (equations 1 and 4), and its log-odds that true pixels are true.

        Args:
            nets: networks by name.
            seen: of `see`.
            real, fake: pictures (B, C, H, W), without a graph.
            context: context of the step.
            purpose: purpose of LabelMix's coins.
        """
        real, fake = self._shrunk(real), self._shrunk(fake)
        fake_logits, real_logits = self._logits(nets, fake), self._logits(nets, real)
        losses = {
            "fake": fake_pixels_loss(fake_logits, seen.there),
            "real": labelled_loss(real_logits, seen.target, seen.weights),
        }
        if self.section.labelmix:
            mask = labelmix_mask(seen.target, self._coins(seen, context, purpose))
            mixed = self._logits(nets, torch.where(mask, real, fake))
            losses["labelmix"] = self.section.labelmix * labelmix_loss(mask, real_logits, fake_logits, mixed)
        return losses, real_votes(real_logits.detach())

    def _coins(self, seen: Seen, context: StepContext, purpose: int) -> Tensor:
        """Return fair coins, (B, 1 + N) bool: of pixels without a class, then of each class."""
        like = torch.empty((), dtype=torch.float64, device=seen.target.device)
        return context.uniform(purpose, 1 + self.classes, like=like) < 0.5

    def _logits(self, nets: Nets, picture: Tensor) -> Tensor:
        made: Tensor = nets[SEGMENTER](picture)
        return made

    def _shrunk_map(self, ids: Tensor) -> Tensor:
        step = 2**self.halvings  # a pixel of a halved picture has its centre on every second one
        return ids[:, ::step, ::step].contiguous()

    def _shrunk(self, picture: Tensor) -> Tensor:
        for _ in range(self.halvings):
            picture = halve(picture)
        return picture


def build_segmenter(section: SegmenterSection, channels: int, classes: int, seed: int) -> Segmenter:
    """Return the segmenter of pictures with so many channels, with weights drawn from `seed`.

    The original draws fifty times smaller ones. Spectral norm takes such a factor out, but Adam's first steps are then
    as large as the weights, and it learns classes later.
    """
    network = Segmenter(channels, classes, *segmenter_widths(section.width, section.downsamples))
    initialise(network, SEGMENTER, seed, zero_biases=True, weights="xavier", gain=1.0)
    return network
