"""Section `validate` of a recipe: metrics during training, the best checkpoint, early stopping."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, PositiveInt, field_serializer

from hdtrans.config.data import Data
from hdtrans.config.metrics import BETTER, METRICS, Better, MetricName, fitting
from hdtrans.config.section import Section


class Validate(Section):
    """Validation on fixed pictures during training: metrics, the best checkpoint, and an early end of a stage."""

    every: Annotated[PositiveInt, Field(description="Images seen between two validations.")] = 5000
    metrics: Annotated[
        Annotated[tuple[MetricName, ...], Field(min_length=1)] | None,
        Field(
            description="Metrics. Unset: `l1` and `ssim`, with `segmentation` if there is a segmenter; `labels` or "
            "`boundaries` where maps are made; unpaired data have no default."
        ),
    ] = None
    pictures: Annotated[PositiveInt, Field(description="Pictures to measure, spread over the files.")] = 50
    best: Annotated[
        str | None,
        Field(description="Figure by which the best checkpoint is kept. Unset: the first of the first metric."),
    ] = None
    patience: Annotated[
        PositiveInt | None,
        Field(description="Validations without a better figure after which a stage ends. Unset: it never ends early."),
    ] = None
    segmenter: Annotated[
        Path | None,
        Field(
            description="File of the network of the metric `segmentation`: of `hdtrans train_segmenter`, of "
            "torchvision, or ONNX."
        ),
    ] = None
    segmenter_input: Annotated[
        Literal["imagenet", "unit", "symmetric", "bytes"],
        Field(
            description="Pixel values that the segmenter takes, unless it is of `hdtrans train_segmenter`: ImageNet's "
            "normalisation, [0, 1], [-1, 1] or [0, 255]."
        ),
    ] = "imagenet"
    protocol: Annotated[
        Literal["labels", "cityscapes_512x256", "cityscapes_full"],
        Field(
            description="Classes and size of the segmentation score: those of the label maps, or the 19 classes of "
            "Cityscapes at 512x256 or at full size."
        ),
    ] = "labels"
    weights: Annotated[
        tuple[Path, ...], Field(description="Files or folders of published weights, which `lpips`, `fid`, `kid` need.")
    ] = ()
    lpips: Annotated[Literal["alex", "vgg", "squeeze"], Field(description="Network of LPIPS.")] = "alex"

    @field_serializer("segmenter")
    def _file_text(self, file: Path | None) -> str | None:
        return None if file is None else str(file)

    @field_serializer("weights")
    def _files_text(self, files: tuple[Path, ...]) -> list[str]:
        return [str(file) for file in files]

    def complete(self, data: Data, shortest_side: int | None) -> "Validate":
        """Return the section with `metrics` and `best` filled in.

        Args:
            data: data of the recipe.
            shortest_side: shortest side of the smallest stage in pixels; None for the files' own sizes.

        Raises:
            ValueError: a line for each problem: a metric that does not fit the data or lacks what it needs, or a figure
                of none of the metrics.
        """
        allowed = metrics_for(data)
        metrics = self.metrics or self._defaults(allowed)
        problems = [
            f"validate.metrics: {name} does not fit data of kind {data.kind}; what fits: {', '.join(allowed)}"
            for name in metrics
            if name not in allowed
        ]
        if not metrics:
            problems.append(
                f"validate.metrics: no default for data of kind {data.kind}; give some of {', '.join(allowed)}"
            )
        judged = [name for name in metrics if "segmenter" in METRICS[name].needs]
        if bool(judged) != (self.segmenter is not None):
            problems.append(
                "validate: the metric segmentation and the key segmenter belong together; segmenter is a file of "
                "hdtrans train_segmenter, weights of torchvision, or ONNX"
            )
        problems += [
            f"validate.metrics: {name} needs sides of {METRICS[name].smallest} pixels, and a stage has {shortest_side}"
            for name in metrics
            if shortest_side is not None and shortest_side < METRICS[name].smallest
        ]
        figures = [figure for name in metrics for figure in METRICS[name].figures]
        if self.best is not None and self.best not in figures:
            problems.append(
                f"validate.best: no figure {self.best!r}; the figures of these metrics are {', '.join(figures)}"
            )
        if problems:
            raise ValueError("\n".join(problems))
        return self.model_copy(update={"metrics": metrics, "best": self.best or figures[0]})

    def _defaults(self, allowed: tuple[str, ...]) -> tuple[str, ...]:
        """Return the default metrics that fit the data: fast ones without weights, after those of a given segmenter."""
        wanted = [METRICS[name] for name in allowed if METRICS[name].validates]
        judged = tuple(info.name for info in wanted if "segmenter" in info.needs)
        others = tuple(info.name for info in wanted if "segmenter" not in info.needs)
        return (*judged, *others) if self.segmenter is not None else others

    @property
    def better(self) -> Better:
        """Direction of the figure `best` of a completed section."""
        assert self.best is not None, "the section is completed"
        return BETTER[self.best]

    @property
    def needs_truth(self) -> bool:
        """True if a metric of a completed section compares with true pictures."""
        return any(METRICS[name].needs_truth for name in self.metrics or ())


def metrics_for(data: Data) -> tuple[str, ...]:
    """Return the metrics that fit the results of such data."""
    labels = any(spec.values == "classes" for spec in data.fields.values())
    return fitting(data.results, paired=data.paired, labels=labels)
