"""The section `training` of a recipe: seed, precision, optimizer, timeouts, and how often something is written."""

from typing import Annotated, Literal

from pydantic import Field, PositiveInt

from hdtrans.config.section import Section


class Adam(Section):
    """Adam (Kingma and Ba, 2015), one for each phase, with the betas of the pix2pix family.

    `weight_decay` adds that many times the weights to their gradients (L2).
    """

    learning_rate: Annotated[float, Field(gt=0)] = 2e-4
    betas: tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]] = (0.5, 0.999)
    eps: Annotated[float, Field(gt=0)] = 1e-8
    weight_decay: Annotated[float, Field(ge=0)] = 0.0


class Ema(Section):
    """A running average of the generator's weights; `half_life` is counted in images seen."""

    half_life: Annotated[float, Field(gt=0)] = 10_000


class Timeouts(Section):
    """Seconds after which a process that does not answer ends the run.

    `step` holds for another process or a data worker in a step; `pause` where all wait for one that looks through the
    data, saves or draws sample grids.
    """

    step: Annotated[float, Field(gt=0, le=86400)] = 300
    pause: Annotated[float, Field(gt=0, le=86400)] = 1800


class Training(Section):
    """How to train: seeds, precision, optimizer, and how often something is written (all in images seen)."""

    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    precision: Literal["auto", "fp32", "bf16", "fp16", "fp64"] = "auto"
    deterministic: bool = False
    optimizer: Adam = Adam()
    ema: Ema | None = None
    non_finite: Literal["stop", "skip"] = "stop"
    bad_files: Literal["stop", "skip"] = "stop"
    workers: Annotated[int, Field(ge=0)] = 2
    device: Literal["auto", "cpu", "cuda"] = "auto"
    timeouts: Timeouts = Timeouts()
    log_every: PositiveInt = 100
    sample_every: PositiveInt = 2000
    save_every: PositiveInt = 5000
    keep: Annotated[int, Field(ge=2)] = 2
    sample_count: Annotated[int, Field(ge=0, le=64)] = 4
