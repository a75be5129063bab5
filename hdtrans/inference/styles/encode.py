"""Encode the objects of training pictures and cluster their features by class (Wang et al. 2018, section 3.4)."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hdtrans.common.apart import check_apart
from hdtrans.common.errors import UserError
from hdtrans.common.progress import progress
from hdtrans.data.dataset import EvalDataset
from hdtrans.data.folders import SampleFiles, find_samples
from hdtrans.data.geometry import Geometry
from hdtrans.data.holdout import hold_back
from hdtrans.data.index import Index
from hdtrans.data.kinds.base import PHOTO, DataKind
from hdtrans.engine.distributed import Processes
from hdtrans.inference.publish.published import FORMS
from hdtrans.inference.run_data import current_data
from hdtrans.inference.styles.clustering import assigned, k_means
from hdtrans.inference.styles.clusters import Clusters, Styles
from hdtrans.inference.styles.objects import Objects
from hdtrans.inference.styles.page import Patch, write_page
from hdtrans.inference.translator import Translator

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Options:
    """Options of the clustering.

    Attributes:
        clusters: clusters of each class, at most; >= 1.
        min_area: least share of its picture that an object covers to be counted, in [0, 1); the original's default. A
            class without such objects counts all.
        seed: seed of the clustering, in [0, 2**63).
    """

    clusters: int = 10
    min_area: float = 1 / 64
    seed: int = 0

    def check(self) -> None:
        """Raise UserError if a number is out of its range."""
        if self.clusters < 1:
            raise UserError("is a number from 1", argument="clusters", value=self.clusters)
        if not 0 <= self.min_area < 1:
            raise UserError("is a share of the picture, from 0 to below 1", argument="min_area", value=self.min_area)
        if not 0 <= self.seed < 2**63:
            raise UserError("a seed is a number from 0 to 2**63 - 1", argument="seed", value=self.seed)


@dataclass(frozen=True)
class Table:
    """All objects of all pictures, one row each.

    Attributes:
        pictures: (N,) int64, index of the picture.
        ids: (N,) int64, id in the picture.
        classes: (N,) int64, class id.
        shares: (N,) float64, share of the picture that the object covers.
        features: (N, F) float64 in [-1, 1].
    """

    pictures: Array
    ids: Array
    classes: Array
    shares: Array
    features: Array

    @classmethod
    def joined(cls, tables: Sequence[Table]) -> Table:
        """Return the rows of all tables, sorted by picture and id."""
        columns = [np.concatenate([getattr(t, name) for t in tables]) for name in cls.__dataclass_fields__]
        order = np.lexsort((columns[1], columns[0]))
        return cls(*(column[order] for column in columns))

    def rows(self, which: Array) -> Table:
        """Return the rows at an index or mask."""
        return Table(*(getattr(self, name)[which] for name in self.__dataclass_fields__))


def encode_styles(
    translator: Translator,
    checkpoint: Path,
    options: Options,
    root: Path | None = None,
    processes: Processes | None = None,
) -> list[str]:
    """Write the styles of a model beside its checkpoint, and a page of them; return a summary of both, line by line.

    Training pictures are encoded at the size and in the geometry of the model's stage, without flips or random crops.

    Args:
        translator: model.
        checkpoint: its file.
        options: options of the clustering.
        root: training folder; None: `data.root` of the recipe.
        processes: processes that share the pictures; the first one writes. None: this one alone.

    Raises:
        UserError: the model was trained without features, its training files cannot be read, or the disk refuses.
    """
    options.check()
    if checkpoint.suffix in FORMS:
        finding = "is published; make styles of the run or checkpoint, and publish it with them"
        raise UserError(finding, path=checkpoint)
    style = translator.method.style
    if style is None or style.prior != "clusters":
        raise UserError("was trained without features (method.features), so it has no styles", path=checkpoint)
    processes = processes or Processes()
    data = current_data(translator, checkpoint, root)
    files: list[SampleFiles] = processes.on_first(lambda: _training_files(translator, data))
    searched = {Path(path).parent for file in files for path in file.paths.values()}
    check_apart(page_folder(checkpoint), searched, argument="model")
    samples = _samples(translator, data, files)
    numbers = range(processes.rank, len(files), processes.world)
    parts = processes.agree(
        lambda: [_encoded(translator, samples, n) for n in progress(numbers, unit=" pictures", show=processes.first)]
    )
    gathered = processes.gather(parts)
    lines = processes.on_first(lambda: _write(translator, checkpoint, options, samples, gathered))
    return [*([] if data.root == translator.data.root else [f"data: {data.root}"]), *lines]


def _training_files(translator: Translator, data: DataKind) -> list[SampleFiles]:
    method, index = translator.recipe.method, Index(data.root)
    needed, optional = method.reads(data, optional=False), method.reads(data)
    return hold_back(data, find_samples(data, data.train, needed, optional, index), needed, index, optional)[0]


def _samples(translator: Translator, data: DataKind, files: Sequence[SampleFiles]) -> EvalDataset:
    fields = translator.recipe.method.reads(data)
    return EvalDataset(files, fields, data, Geometry.of(translator.recipe.stages[translator.stage]))


def read_maps(samples: EvalDataset, number: int) -> tuple[Array, dict[str, Array]]:
    """Return a training photo, (H, W, C), and its maps of ids (H, W) by name."""
    sample = samples[number]
    maps = {  # (H, W); points are (N, 2) too, and floats
        name: field.numpy()
        for name, field in sample.fields.items()
        if field.ndim == 2 and not field.is_floating_point()
    }
    return sample[PHOTO].permute(1, 2, 0).numpy(), maps


def _encoded(translator: Translator, samples: EvalDataset, number: int) -> Table | UserError:
    """Return the objects of one picture; the error of a bad one, if training skipped bad files."""
    try:
        photo, maps = read_maps(samples, number)
    except UserError as error:
        if translator.recipe.training.bad_files != "skip":
            raise
        return copy(error)  # without a traceback, which would keep arrays alive
    encoded = translator.encode_style(photo, maps)
    objects = encoded.objects
    shares = objects.areas / objects.places.size
    return Table(np.full(len(objects), number), objects.ids, objects.classes, shares, encoded.features)


def cluster(table: Table, options: Options) -> tuple[dict[int, Clusters], dict[int, list[tuple[int, int]]]]:
    """Cluster the objects of each class.

    Returns:
        Clusters by class id, and for each cluster the picture and id of the object nearest to its centre.
    """
    clusters, nearest = {}, {}
    for label in np.unique(table.classes).tolist():
        there = table.rows(table.classes == label)
        large = there.shares >= options.min_area
        there = there.rows(large) if large.any() else there
        centres = k_means(there.features, there.shares, options.clusters, options.seed)
        which = assigned(there.features, centres)
        areas = np.bincount(which, there.shares, len(centres))
        order = np.argsort(-areas, kind="stable")
        groups = [there.rows(which == number) for number in order]
        clusters[label] = Clusters(
            centres[order].astype(np.float32),
            np.stack([_spread(group) for group in groups]).astype(np.float32),
            np.array([len(group.ids) for group in groups]),
            areas[order].astype(np.float32),
        )
        nearest[label] = [_nearest(group) for group in groups]
    return clusters, nearest


def _spread(group: Table) -> Array:
    mean = np.average(group.features, 0, group.shares)
    return np.sqrt(np.average((group.features - mean) ** 2, 0, group.shares))


def _nearest(group: Table) -> tuple[int, int]:
    mean = np.average(group.features, 0, group.shares)
    place = int(((group.features - mean) ** 2).sum(1).argmin())
    return int(group.pictures[place]), int(group.ids[place])


def _write(
    translator: Translator,
    checkpoint: Path,
    options: Options,
    samples: EvalDataset,
    parts: Sequence[Sequence[Table | UserError]],
) -> list[str]:
    tables = [table for part in parts for table in part if isinstance(table, Table)]
    bad = [problem for part in parts for problem in part if isinstance(problem, UserError)]
    if not tables:
        raise UserError(f"no training picture can be used. The first: {bad[0]}")
    table = Table.joined(tables)
    clusters, nearest = cluster(table, options)
    made = {"clusters": options.clusters, "min_area": options.min_area, "seed": options.seed, "pictures": len(tables)}
    styles = Styles(translator.style_size, translator.weights, made, clusters)
    patches = {label: [_patch(translator, samples, *place) for place in nearest[label]] for label in nearest}
    name = f"{translator.recipe.name}, {checkpoint.stem}"
    file = styles.save(checkpoint)
    page = write_page(page_folder(checkpoint), name, styles, translator.classes, patches)
    counted, total = sum(int(one.counts.sum()) for one in clusters.values()), sum(map(len, clusters.values()))
    return [
        *(f"left out: {problem}" for problem in bad),
        f"{len(tables)} pictures with {len(table.ids)} objects; {counted} of them make {total} clusters of "
        f"{len(clusters)} classes",
        f"styles: {file}",
        f"page: {page}",
    ]


def _patch(translator: Translator, samples: EvalDataset, number: int, object_id: int) -> Patch:
    photo, maps = read_maps(samples, number)
    objects = Objects.of(maps[translator.style_encoder.spec.ids])
    return Patch(photo, objects.places == np.searchsorted(objects.ids, object_id))


def page_folder(checkpoint: Path) -> Path:
    """Return the folder of the page: `styles/` in the run folder, or beside a checkpoint outside of one."""
    run = checkpoint.parent.parent if checkpoint.parent.name == "checkpoints" else checkpoint.parent
    return run / "styles"
