"""The section `training` of a recipe: seed, precision, optimizer, timeouts, and how often something is written."""

from typing import Annotated, Literal

from pydantic import Field, PositiveInt

from hdtrans.config.section import Section


class Adam(Section):
    """Adam (Kingma and Ba 2015), one for each phase."""

    learning_rate: Annotated[float, Field(gt=0, description="Learning rate of all stages that set none.")] = 2e-4
    betas: Annotated[
        tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]],
        Field(description="Decay rates beta1 and beta2 of the gradient's first and second moments, each in [0, 1)."),
    ] = (0.5, 0.999)
    eps: Annotated[float, Field(gt=0, description="Term added to the denominator for stability.")] = 1e-8
    weight_decay: Annotated[
        float, Field(ge=0, description="Multiple of the weights that is added to their gradients (L2 penalty).")
    ] = 0.0


class Ema(Section):
    """Exponential moving average of the generator's weights."""

    half_life: Annotated[
        float, Field(gt=0, description="Images seen after which a weight's part in the average has halved.")
    ] = 10_000


class Timeouts(Section):
    """Seconds after which a process that does not answer ends the run."""

    step: Annotated[
        float, Field(gt=0, le=86400, description="Seconds to wait in a step for another process or a data worker.")
    ] = 300
    pause: Annotated[
        float,
        Field(
            gt=0,
            le=86400,
            description="Seconds to wait while one process alone checks the data, saves or draws previews.",
        ),
    ] = 1800


class Training(Section):
    """Training: seed, precision, optimizer, faults, and intervals in images seen."""

    seed: Annotated[int, Field(ge=0, lt=2**32, description="Seed of every random draw of the run.")] = 0
    precision: Annotated[
        Literal["auto", "fp32", "bf16", "fp16", "fp64"],
        Field(
            description="Number format of the networks. `auto`: bf16 where the device computes it in hardware (GPUs "
            "since Ampere, CPUs with AVX512-BF16 or AMX), else fp32."
        ),
    ] = "auto"
    deterministic: Annotated[bool, Field(description="The same bits in every run on a GPU too; slower.")] = False
    optimizer: Adam = Adam()
    ema: Annotated[
        Ema | None, Field(description="Moving average of the generator, used in translating. Unset: none.")
    ] = None
    non_finite: Annotated[
        Literal["stop", "skip"],
        Field(
            description="A step with a NaN or an infinity changes no weight; then the run stops with exit code 3, or "
            "goes on without the batch (`skip`: at most 5 in a row and 50 of the last 1000)."
        ),
    ] = "stop"
    bad_files: Annotated[
        Literal["stop", "skip"],
        Field(
            description="An unreadable training file ends the run, or the next sample takes its place (`skip`) and "
            "bad_files.txt lists it."
        ),
    ] = "stop"
    check_content: Annotated[
        bool,
        Field(
            description="A run that goes on compares the content of its training files with that of its last start; "
            "else their sizes and times of change. Reads every file at each start."
        ),
    ] = False
    workers: Annotated[int, Field(ge=0, description="Processes that read files, for each training process.")] = 2
    device: Annotated[
        Literal["auto", "cpu", "cuda"], Field(description="Device of the networks. `auto`: a GPU if there is one.")
    ] = "auto"
    timeouts: Timeouts = Timeouts()
    log_every: Annotated[PositiveInt, Field(description="Images seen between two lines of losses.")] = 100
    sample_every: Annotated[PositiveInt, Field(description="Images seen between two grids of previews.")] = 2000
    save_every: Annotated[PositiveInt, Field(description="Images seen between two checkpoints.")] = 5000
    keep: Annotated[
        int, Field(ge=2, description="Latest checkpoints to keep; those at the end of a stage always stay.")
    ] = 2
    sample_count: Annotated[int, Field(ge=0, le=64, description="Rows of a grid of previews, one test file each.")] = 4
