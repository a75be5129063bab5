"""Reading and preparing of (label map, instance map, photo) triples, each beside the codecs alone."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from hdtrans.benchmark.plan import ALONE, OURS, Plan
from hdtrans.benchmark.timing import Work
from hdtrans.common.classes import ClassTable
from hdtrans.common.errors import Advice, UserError
from hdtrans.data.dataset import TrainingSamples
from hdtrans.data.folders import SampleFiles
from hdtrans.data.geometry import Geometry
from hdtrans.data.kinds.label_maps import Section as LabelMaps
from hdtrans.prepare.formats.folder import FolderSource
from hdtrans.prepare.options import Options
from hdtrans.prepare.writing.making import MapsMaker


@dataclass(frozen=True)
class FileCalls:
    """One subject that reads files.

    Attributes:
        name: name of the subject.
        calls: calls by name: `OURS`, then the codecs alone.
        each: triples per call.
    """

    name: str
    calls: dict[str, Work]
    each: int


def reading(plan: Plan, files: Sequence[SampleFiles], root: Path, resize: bool) -> FileCalls:
    """Return reading from disk to batch tensors, at the files' size or scaled to the plan's, beside decoding alone."""
    data = LabelMaps(root=root, labels=255)
    geometry = Geometry("resize", plan.size) if resize else Geometry()
    samples = TrainingSamples(files, sorted(files[0].paths), data, geometry, 0, 0)
    calls: dict[str, Work] = {
        OURS: lambda: [samples[place] for place in range(len(files))],
        ALONE: lambda: [_decode(path) for each in files for path in each.paths.values()],
    }
    return FileCalls(f"reading, to {plan.size}" if resize else "reading", calls, len(files))


def preparing(plan: Plan, files: Sequence[SampleFiles], root: Path) -> FileCalls:
    """Return preparing from disk to scaled files in memory, beside decoding and encoding alone."""
    split = Path(files[0].paths["label"]).parent.name
    folders = [split.replace("label", part) for part in ("label", "img", "inst")]
    source = FolderSource(root, folders[0], folders[1], folders[2], ClassTable.generic(255))
    items = source.items()[: len(files)]
    maker = MapsMaker(source, root, Options(size=(plan.size.height, plan.size.width)))
    made = [content for item in items for content in maker.make(item, "train").files.values()]
    small: list[Any] = [cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED) for content in made]

    def codecs() -> None:
        for each in files:
            for path in each.paths.values():
                _decode(path)
        for picture in small:
            cv2.imencode(".png", picture)

    calls: dict[str, Work] = {
        OURS: lambda: [maker.make(item, "train") for item in items],
        "decoding and encoding alone": codecs,
    }
    return FileCalls(f"preparing, to {plan.size}", calls, len(files))


def check_encoded(files: Sequence[SampleFiles]) -> None:
    """Raise UserError unless OpenCV decodes all files: reading is compared with decoding alone."""
    for path in (str(path) for each in files for path in each.paths.values()):
        if not cv2.haveImageReader(path):
            raise UserError(
                "not an encoded picture in a file of its own",
                path=path,
                advice=[Advice("data", "DIR", "with PNG or JPEG files"), "measure inference and training alone"],
            )


def _decode(path: str) -> object:
    return cv2.imdecode(np.frombuffer(Path(path).read_bytes(), np.uint8), cv2.IMREAD_UNCHANGED)
