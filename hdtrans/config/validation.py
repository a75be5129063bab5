"""The section `validate` of a recipe: how good pictures are while training goes on, and what follows from it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal, cast

from pydantic import Field, PositiveInt, field_serializer

from hdtrans.config.data import Data
from hdtrans.config.section import Section

Better = Literal["lower", "higher"]
Metric = Literal[
    "l1",
    "psnr",
    "ssim",
    "ms_ssim",
    "lpips",
    "segmentation",
    "fid",
    "kid",
    "squeezenet_distance",
    "labels",
    "boundaries",
]

FIGURES: Mapping[Metric, Mapping[str, Better]] = {
    "l1": {"l1": "lower"},
    "psnr": {"psnr": "higher"},
    "ssim": {"ssim": "higher"},
    "ms_ssim": {"ms_ssim": "higher"},
    "lpips": {"lpips": "lower"},
    "segmentation": {
        "segmentation_mean_iou": "higher",
        "segmentation_pixel_accuracy": "higher",
        "segmentation_mean_class_accuracy": "higher",
    },
    "fid": {"fid": "lower"},
    "kid": {"kid": "lower"},
    "squeezenet_distance": {"squeezenet_distance": "lower"},
    "labels": {"mean_iou": "higher", "pixel_accuracy": "higher", "mean_class_accuracy": "higher"},
    "boundaries": {"boundary_f_measure": "higher", "boundary_precision": "higher", "boundary_recall": "higher"},
}
"""The metrics there are, and which way the figures of each are better; the first tells most."""

SET_METRICS: tuple[Metric, ...] = ("fid", "kid", "squeezenet_distance")
"""Distances between two sets of pictures, which need not be pairs."""

_SMALLEST: Mapping[Metric, int] = {"ssim": 11, "ms_ssim": 176}  # the shortest side in pixels


class Validate(Section):
    """Validation on fixed pictures during training: metrics, the best checkpoint, and an early end of a stage."""

    every: Annotated[PositiveInt, Field(description="Images seen between two validations.")] = 5000
    metrics: Annotated[
        Annotated[tuple[Metric, ...], Field(min_length=1)] | None,
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
            data: what is trained on.
            shortest_side: in pixels, of the smallest stage; None where files decide.

        Raises:
            ValueError: a line for each thing that cannot be: a metric that does not fit the data or lacks what it
                needs, or a figure that none of them gives.
        """
        allowed = metrics_for(data)
        metrics = self.metrics or self._fitting(allowed)
        problems = [
            f"validate.metrics: {name} does not fit data of kind {data.kind}; what fits: {', '.join(allowed)}"
            for name in metrics
            if name not in allowed
        ]
        if not metrics:
            problems.append(f"validate.metrics: say which, of {', '.join(allowed)}; data of this kind has no default")
        if ("segmentation" in metrics) != (self.segmenter is not None):
            problems.append(
                "validate: the metric segmentation and the key segmenter belong together: a file of hdtrans "
                "train_segmenter, weights of torchvision, or ONNX"
            )
        problems += [
            f"validate.metrics: {name} needs sides of {_SMALLEST[name]} pixels, and a stage has {shortest_side}"
            for name in metrics
            if shortest_side is not None and shortest_side < _SMALLEST.get(name, 0)
        ]
        figures = [figure for name in metrics for figure in FIGURES[name]]
        if self.best is not None and self.best not in figures:
            problems.append(f"validate.best: there is no figure {self.best!r}; these metrics give {', '.join(figures)}")
        if problems:
            raise ValueError("\n".join(problems))
        return self.model_copy(update={"metrics": metrics, "best": self.best or figures[0]})

    def _fitting(self, allowed: Sequence[Metric]) -> tuple[Metric, ...]:
        """Return what needs no weights and no long time, of the metrics that fit the data."""
        wanted: list[Metric] = ["l1", "ssim", "labels", "boundaries"]
        if self.segmenter is not None:
            wanted.insert(0, "segmentation")
        return tuple(name for name in wanted if name in allowed)

    @property
    def better(self) -> Better:
        """Which way the figure `best` is better, of a completed section."""
        return next(
            figures[self.best] for figures in FIGURES.values() if self.best is not None and self.best in figures
        )

    @property
    def needs_truth(self) -> bool:
        """Whether a metric of a completed section compares with true pictures."""
        return any(name != "segmentation" for name in self.metrics or ())


def metrics_for(data: Data) -> tuple[Metric, ...]:
    """Return the metrics that fit the results of such data."""
    return cast(tuple[Metric, ...], data.metrics)
