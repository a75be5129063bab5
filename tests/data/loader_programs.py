"""Programs that go over the batches of a loader while signals arrive, for tests/data/test_dataset.py."""

import signal
import sys
import time
from pathlib import Path

from hdtrans.config.stage import Size
from hdtrans.data import dataset
from hdtrans.data.dataset import TrainingSamples
from hdtrans.data.folders import find_samples
from hdtrans.data.geometry import Geometry
from hdtrans.data.kinds.label_maps import Section as LabelMaps
from hdtrans.data.order import BatchOrder

FIELDS = ("label", "instance", "photo")
CROP = Geometry("crop", Size(height=8, width=12))


def samples(root: Path) -> TrainingSamples:
    """Return the training samples under a folder."""
    data = LabelMaps(root=root, labels=7)
    return TrainingSamples(find_samples(data, "train", FIELDS), FIELDS, data, CROP, 0, stage=0)


def signalled_at_work(root: Path) -> None:
    """Take SIGTERM and SIGINT between the first batch and the others; print how many follow."""
    stopped: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, frame: stopped.append(number))
    batches = iter(dataset.make_loader(samples(root), BatchOrder(0, 400, 2), 2, False))
    next(batches)
    print("ready", flush=True)
    while len(stopped) < 2:
        time.sleep(0.01)
    print(sum(1 for _ in batches), flush=True)


def signalled_at_the_start(root: Path) -> None:
    """Take SIGTERM while workers start, which takes half a second; print how many batches follow."""
    start, stopped = dataset._start_worker, []
    dataset._start_worker = lambda number: time.sleep(0.5) or start(number)  # type: ignore[func-returns-value]
    signal.signal(signal.SIGTERM, lambda number, frame: stopped.append(number))
    batches = iter(dataset.make_loader(samples(root), BatchOrder(0, 400, 2), 2, False))
    print("ready", flush=True)
    print(sum(1 for _ in batches), len(stopped), flush=True)


def forgotten(root: Path) -> None:
    """End with a loader in a circle of references."""
    batches = iter(dataset.make_loader(samples(root), BatchOrder(0, 400, 2), 2, False))
    next(batches)
    circle = [batches]
    circle.append(circle)  # type: ignore[arg-type]
    raise SystemExit(3)


if __name__ == "__main__":
    forgotten(Path(sys.argv[1]))
