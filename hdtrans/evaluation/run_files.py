"""What of a run's training folder is translated to score the run, and what it is scored against."""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from hdtrans.common.errors import UserError
from hdtrans.config.data import Data, LabelMaps, Photos, PhotosToMaps, Unpaired
from hdtrans.data.contents import result_channels
from hdtrans.data.folders import SampleFiles, find_samples, side_paths
from hdtrans.data.holdout import hold_back
from hdtrans.evaluation.pairs import Places


@dataclass(frozen=True)
class RunFiles:
    """The files to translate, the folder of their instance maps where they are read, and what is scored."""

    inputs: list[Path]
    instances: Path | None
    places: Places


def run_files(data: Data, reads: Collection[str], route: str, split: str | None, out: Path) -> RunFiles:
    """Return the files of a split.

    Args:
        data: the section of the model's recipe.
        reads: what the model needs of a sample.
        route: the direction in which it translates.
        split: what folders' names start with, or `validation` for what the recipe holds back; None for `data.test`.
        out: where the results will be.

    Raises:
        UserError: there are no such files.
    """
    samples = _samples(data, reads, data.test if split is None else split)
    inputs, truth = _sides(data, samples, route)
    results = "pictures"
    if isinstance(data, PhotosToMaps):
        results = "labels" if data.target == "labels" else "boundaries"
    labels = inputs if isinstance(data, LabelMaps) else None
    instances = Path(samples[0].paths["instance"]).parent if "instance" in reads else None
    channels = result_channels(data, route) or 3
    places = Places(out, truth, labels, results, data, route, channels, paired=not isinstance(data, Unpaired))
    return RunFiles(inputs, instances, places)


def _samples(data: Data, reads: Collection[str], split: str) -> list[SampleFiles]:
    if split == "validation" and data.validation is not None:
        return hold_back(data, find_samples(data, data.train, {*reads, "photo"}), {*reads, "photo"})[1]
    if isinstance(data, LabelMaps):
        return find_samples(data, split, reads, optional=["photo"])
    return find_samples(data, split, {*reads, "photo"})


def _sides(data: Data, samples: list[SampleFiles], route: str) -> tuple[list[Path], list[Path] | None]:
    """Return the inputs, and the files that hold the true pictures or maps."""
    if isinstance(data, Unpaired):
        sides = [[Path(path) for path in side_paths(samples, side)] for side in ("source", "photo")]
        return (sides[1], sides[0]) if route == "BtoA" else (sides[0], sides[1])
    paths = [sample.paths for sample in samples]
    first = paths[0]
    if "pair" in first or isinstance(data, Photos):
        files = [Path(one["pair" if "pair" in first else "photo"]) for one in paths]
        return files, files
    given = "label" if isinstance(data, LabelMaps) else "source"
    wanted = next((name for name in ("photo", "label", "instance") if name in first and name != given), None)
    if isinstance(data, PhotosToMaps):
        wanted = "instance" if data.target == "instance_boundaries" else "label"
    if wanted is None or (isinstance(data, LabelMaps) and wanted != "photo"):
        return [Path(one[given]) for one in paths], None
    if wanted not in first:
        raise UserError(f"data.root {data.root}: has no {wanted} files to score against")
    return [Path(one[given]) for one in paths], [Path(one[wanted]) for one in paths]
