"""Benchmark plan: subjects, picture size and device as plain values."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hdtrans.config.loading import load_recipe
from hdtrans.config.recipe import Recipe
from hdtrans.config.stage import Size

SUBJECTS = ("inference", "training", "reading", "preparing")
OURS, ALONE, BUSY = "hdtrans", "decoding alone", "beside busy processes"
LABELS = 35
# Recipe and index of the measured stage, by the number of enhancers.
_RECIPES = (("pix2pixhd_cityscapes_512p", 0), ("pix2pixhd_cityscapes_1024p", 2))


@dataclass(frozen=True)
class Plan:
    """Settings of one benchmark.

    Attributes:
        what: subjects to measure, from `SUBJECTS`.
        size: size of generated pictures, and the target size of scaled reading and preparing.
        enhancers: local enhancers: 0 (global generator alone) or 1.
        rounds: timed calls of each subject, >= 1.
        threads: CPU threads of torch and OpenCV, >= 1.
        busy: spinning processes beside a second measurement of the networks, >= 0; 0 leaves it out.
        dtype: compute type: `auto` (as in training and inference), `fp32`, `bf16` or `fp16`.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        data: training folder with label maps, instance maps and photos; None renders toy scenes.
        width: channels of the first generator layer, >= 1.
    """

    what: Sequence[str]
    size: Size
    enhancers: int = 0
    rounds: int = 3
    threads: int = 1
    busy: int = 0
    dtype: str = "auto"
    device: str = "auto"
    data: Path | None = None
    width: int = 64

    @property
    def recipe(self) -> Recipe:
        """The recipe whose last stage is measured."""
        name, last = _RECIPES[self.enhancers]
        width = f"method.generator.width={self.width}"
        return load_recipe(name, [f"training.precision={self.dtype}", f"stages.{last}.size={self.size}", width])
