"""What a benchmark measures, and how: plain values, from which every process builds what it needs."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hdtrans.config.loading import load_recipe
from hdtrans.config.recipe import Recipe
from hdtrans.config.stage import Size

SUBJECTS = ("inference", "training", "reading", "preparing")
OURS, ORIGINAL, ALONE = "hdtrans", "original", "decoding alone"
LABELS = 35
_RECIPES = (("pix2pixhd_cityscapes_512p", 0), ("pix2pixhd_cityscapes_1024p", 2))  # by enhancers; the last stage
_SMALLEST = (256, 128)  # width and height


@dataclass(frozen=True)
class Plan:
    """What to measure, and how.

    Attributes:
        what: of `SUBJECTS`.
        size: of the pictures that are made, and of what is read and prepared at a smaller size.
        enhancers: 0 for the global generator alone, 1 with a local enhancer.
        rounds: how often all rivals take their turn.
        threads: of torch.
        dtype: what ours computes in; `auto` as in training and inference.
        device: `auto`, `cpu` or `cuda`.
        data: a training folder with label maps, instance maps and photos; None renders toy scenes.
        original: the file of the original's way; None for the checkout's.
        growth: sizes at which ours is also measured, smallest first; the first two in batches too, and training with
            two processes where there are any.
        width: of the trunk; the checkout's original has 64 alone.
    """

    what: Sequence[str]
    size: Size
    enhancers: int = 0
    rounds: int = 3
    threads: int = 1
    dtype: str = "auto"
    device: str = "auto"
    data: Path | None = None
    original: Path | None = None
    growth: Sequence[Size] = ()
    width: int = 64

    @property
    def recipe(self) -> Recipe:
        """Return the recipe whose last stage is measured."""
        name, last = _RECIPES[self.enhancers]
        width = f"method.generator.width={self.width}"
        return load_recipe(name, [f"training.precision={self.dtype}", f"stages.{last}.size={self.size}", width])


def sizes_up_to(size: Size) -> tuple[Size, ...]:
    """Return a size and its halves down to 256x128, smallest first."""
    sizes = [size]
    while sizes[0].width >= 2 * _SMALLEST[0] and sizes[0].height >= 2 * _SMALLEST[1]:
        sizes.insert(0, Size(width=sizes[0].width // 2, height=sizes[0].height // 2))
    return tuple(sizes)
