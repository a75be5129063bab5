"""`hdtrans train_segmenter DATA --out FILE.pt`: train the network of the segmentation score."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from hdtrans.common.classes import ClassTable
from hdtrans.common.errors import Advice, UserError
from hdtrans.data.kinds.label_maps import Section as LabelMaps


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line and train; exit codes: see `hdtrans.cli.run_tool`."""
    parser = argparse.ArgumentParser(
        prog="hdtrans train_segmenter",
        description="Train a small U-Net to segment real photos, in about ten minutes on two cores. hdtrans evaluate "
        "--segmenter FILE then segments generated pictures with it and scores the maps.",
    )
    parser.add_argument("data", type=Path, help="training folder with train_label/ train_img/")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.pt", help="file to write")
    parser.add_argument("--labels", type=int, help="number of classes (default: from dataset.json)")
    parser.add_argument("--ignore", type=int, help="ignored id (default: from dataset.json, else 255)")
    parser.add_argument("--size", metavar="WxH", help="input size (default: the first photo's aspect, 256 pixels long)")
    parser.add_argument("--steps", type=int, default=1000, help="batches of 8 photos (1000)")
    parser.add_argument("--seed", type=int, default=0, help="seed of weights, order and crops (0)")
    parser.add_argument("--held-back", type=float, default=0.1, help="share of the photos for scoring (0.1)")
    parser.add_argument("--train", default="train", help="start of the folders' names (train)")
    parser.add_argument("--workers", type=int, default=1, help="reading processes (1)")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    given = parser.parse_args(arguments)
    if given.out.exists():
        parser.error(f"--out {given.out}: exists already; give another name, or remove the file")
    if not 0 < given.held_back < 1 or given.steps < 1 or not 1 <= (given.labels or 1) <= 65535:
        parser.error("--held-back must be in (0, 1), --steps 1 or more, --labels in [1, 65535]")

    from hdtrans.config.stage import read_size
    from hdtrans.evaluation.judges.train_segmenter import SegmenterTraining, describe, train_segmenter

    table = ClassTable.read(given.data / "dataset.json") if (given.data / "dataset.json").is_file() else None
    if given.labels is None and table is None:
        raise UserError("no dataset.json", path=given.data, advice=[Advice("labels", "NUMBER")])
    labels = given.labels or (len(table) if table else 0)
    ignore = given.ignore if given.ignore is not None else table.ignore if table else 255
    data = LabelMaps(root=given.data, labels=labels, ignore=ignore, train=given.train, validation=given.held_back)
    size = None if given.size is None else read_size(given.size, "size")
    training = SegmenterTraining(
        data, given.out, size, given.steps, seed=given.seed, device=given.device, workers=given.workers
    )
    scores = train_segmenter(training, _show)
    print(describe(scores, given.out, "on the held-back photos"))
    return 0


def _show(step: int, steps: int, loss: float) -> None:
    """Rewrite one line on a terminal; elsewhere print every 50th step and the last."""
    if sys.stderr.isatty():
        print(f"\r{step}/{steps} loss {loss:.3f} ", end="\n" if step == steps else "", file=sys.stderr, flush=True)
    elif step % 50 == 0 or step == steps:
        print(f"{step}/{steps} loss {loss:.3f}", file=sys.stderr)
