"""What is measured of files: reading and preparing, each with its rivals, in one process."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from hdtrans.benchmark.plan import ALONE, ORIGINAL, OURS, Plan
from hdtrans.benchmark.timing import Work
from hdtrans.common.classes import ClassTable
from hdtrans.data.dataset import TrainingSamples
from hdtrans.data.folders import SampleFiles
from hdtrans.data.geometry import Geometry
from hdtrans.data.kinds.label_maps import Section as LabelMaps
from hdtrans.prepare.formats.folder import FolderSource
from hdtrans.prepare.options import Options
from hdtrans.prepare.writing.making import MapsMaker


@dataclass(frozen=True)
class Files:
    """Something to measure of files.

    Attributes:
        name: what it is.
        rivals: who takes turns, ours first.
        each: how many triples one call makes.
    """

    name: str
    rivals: dict[str, Work]
    each: int


def reading(plan: Plan, original: Any, files: list[SampleFiles], root: Path, resize: bool) -> Files:
    """Return triples from the disk to the tensors of a batch, as they are or scaled, against decoding them alone."""
    data = LabelMaps(root=root, labels=255)
    geometry = Geometry("resize", plan.size) if resize else Geometry()
    samples = TrainingSamples(files, sorted(files[0].paths), data, geometry, 0, 0)
    paths = [{k: Path(v) for k, v in f.paths.items()} for f in files]
    size = (plan.size.width, plan.size.height) if resize else None
    rivals: dict[str, Work] = {
        OURS: lambda: [samples[place] for place in range(len(files))],
        ALONE: lambda: [_decode(path) for each in paths for path in each.values()],
    }
    if original is not None:
        rivals[ORIGINAL] = lambda: [original.read(each, size) for each in paths]
    return Files(f"reading, to {plan.size}" if resize else "reading", rivals, len(files))


@contextmanager
def preparing(plan: Plan, original: Any, files: list[SampleFiles], root: Path) -> Iterator[Files]:
    """Yield triples from the disk to scaled files in memory, against decoding and encoding alone."""
    split, suffix = Path(files[0].paths["label"]).parent.name, ("label", "img", "inst")
    folders = [split.replace("label", part) for part in suffix]
    source = FolderSource(root, folders[0], folders[1], folders[2], ClassTable.generic(255))
    options = Options(size=(plan.size.height, plan.size.width))
    items, maker = source.items()[: len(files)], MapsMaker(source, root, options)
    paths = [{k: Path(v) for k, v in f.paths.items()} for f in files]
    made = [content for item in items for content in maker.make(item, "train").files.values()]
    small: list[Any] = [cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED) for content in made]

    def codecs() -> None:
        for each in paths:
            for path in each.values():
                _decode(path)
        for picture in small:
            cv2.imencode(".png", picture)

    rivals: dict[str, Work] = {
        OURS: lambda: [maker.make(item, "train") for item in items],
        "decoding and encoding alone": codecs,
    }
    with tempfile.TemporaryDirectory() as folder:
        if original is not None:
            size = (plan.size.width, plan.size.height)
            rivals[ORIGINAL] = lambda: [original.prepare(each, size, Path(folder)) for each in paths]
        yield Files(f"preparing, to {plan.size}", rivals, len(files))


def _decode(path: Path) -> object:
    return cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_UNCHANGED)
