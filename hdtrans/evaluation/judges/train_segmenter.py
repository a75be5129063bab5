"""Train a small segmentation network on real pairs of label map and photo, for the segmentation score."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

import hdtrans
from hdtrans.common.classes import ClassTable
from hdtrans.common.errors import Advice, UserError, shown
from hdtrans.common.files import whole_file
from hdtrans.config.stage import Size
from hdtrans.data.batch import Batch
from hdtrans.data.dataset import EvalDataset, TrainingSamples, make_loader
from hdtrans.data.fields import as_floats
from hdtrans.data.folders import SampleFiles, find_samples
from hdtrans.data.geometry import Geometry
from hdtrans.data.holdout import hold_back
from hdtrans.data.io.header import probe
from hdtrans.data.kinds.label_maps import Section as LabelMaps
from hdtrans.data.order import BatchOrder
from hdtrans.data.preflight import class_table, preflight
from hdtrans.engine.distributed import choose_device
from hdtrans.engine.precision import choose_precision
from hdtrans.evaluation.judges.small_segmenter import SMALLEST_MAP, SegmentationNetwork
from hdtrans.evaluation.metrics.labels import confusion, label_scores

FORMAT = 1
_FIELDS = ("label", "photo")
_LONGEST = 256  # default of the longer side in pixels
_MARGIN = 1.125  # size before the crop, relative to the size after it
_WARM_UP = 0.05
_NO_CLASS = -100  # ignore_index of cross_entropy


@dataclass(frozen=True)
class SegmenterTraining:
    """Settings for training a segmentation network.

    Attributes:
        data: data section with label maps; the share `validation` is held back and scored at the end.
        out: file to write.
        size: input size; None for the first photo's aspect with 256 pixels on its longer side.
        steps: number of batches, >= 1.
        batch_size: photos per batch, >= 1.
        learning_rate: peak of AdamW's learning rate; linear warm-up over the first 5 %, then cosine decay to 0.
        width: channels of the network at half the size.
        seed: seed of weights, order, crops and mirroring, >= 0.
        device: `auto`, `cpu` or `cuda`.
        workers: processes that read, >= 0.
    """

    data: LabelMaps
    out: Path
    size: Size | None = None
    steps: int = 1000
    batch_size: int = 8
    learning_rate: float = 2e-3
    width: int = 24
    seed: int = 0
    device: str = "auto"
    workers: int = 1


Progress = Callable[[int, int, float], None]


def train_segmenter(given: SegmenterTraining, progress: Progress = lambda step, steps, loss: None) -> dict[str, Any]:
    """Train, write the file, and return the scores on the held-back photos.

    Args:
        given: settings.
        progress: called after each step with its number from 1, the number of steps and the loss.

    Raises:
        UserError: unusable data, a non-finite loss, or an unwritable file.
    """
    data = given.data
    everything = find_samples(data, data.train, _FIELDS)
    preflight(everything, _FIELDS, data)
    files, held = hold_back(data, everything, _FIELDS)
    size = given.size or _size_for(files[0])
    if given.batch_size * -(-size.height // SMALLEST_MAP) * -(-size.width // SMALLEST_MAP) < 2:
        raise UserError(
            "leaves one value to normalise in a batch of 1",
            argument="size",
            value=size,
            advice=[f"give more than {SMALLEST_MAP} pixels one way", Advice("batch_size", 2)],
        )
    classes = class_table(data) or ClassTable.generic(data.labels, data.ignore)
    device = choose_device(given.device)
    torch.manual_seed(given.seed)
    network = SegmentationNetwork(data.labels, given.width).to(memory_format=torch.channels_last).to(device)
    load = Size(height=round(size.height * _MARGIN), width=round(size.width * _MARGIN))
    samples = TrainingSamples(files, _FIELDS, data, Geometry("resize_and_crop", size, load), given.seed, 0)
    order = BatchOrder(0, given.steps * given.batch_size, given.batch_size)
    _fit(network, make_loader(samples, order, given.workers, False), given, progress)
    scores = _score(network, held, data, size, classes)
    state = {
        "hdtrans_segmenter": FORMAT,
        "version": hdtrans.__version__,
        "classes": classes.to_dict(),
        "size": [size.height, size.width],
        "width": given.width,
        "training": {
            "photos": len(files),
            "steps": given.steps,
            "batch_size": given.batch_size,
            "learning_rate": given.learning_rate,
            "seed": given.seed,
        },
        "held_back": {"photos": len(held), **{k: v for k, v in scores.items() if k != "classes"}},
        "weights": {name: tensor.cpu().contiguous() for name, tensor in network.state_dict().items()},
    }
    with whole_file(given.out) as file:
        torch.save(state, file)
    return scores


def _size_for(sample: SampleFiles) -> Size:
    """Return a size with the first photo's aspect, in multiples of 16 pixels."""
    header = probe(sample.paths["photo"])
    scale = min(1.0, _LONGEST / max(header.height, header.width))
    height, width = (max(16, 16 * round(side * scale / 16)) for side in (header.height, header.width))
    return Size(height=height, width=width)


def _fit(network: SegmentationNetwork, batches: Any, given: SegmenterTraining, progress: Progress) -> None:
    device = next(network.parameters()).device
    precision = choose_precision("auto", device)
    optimizer = torch.optim.AdamW(network.parameters(), given.learning_rate, weight_decay=1e-4)
    network.train()
    for step, batch in enumerate(batches, start=1):
        share = step / given.steps
        height = min(1.0, share / _WARM_UP) * (0.5 + 0.5 * np.cos(np.pi * share))
        optimizer.param_groups[0]["lr"] = given.learning_rate * height
        photos, target = _tensors(batch, given.data.labels)
        with precision.autocast():
            scores = network(photos.to(device, memory_format=torch.channels_last))
        loss = F.cross_entropy(scores.float(), target.to(device), ignore_index=_NO_CLASS)
        if not torch.isfinite(loss):
            where = ", ".join(batch.names[:3])
            raise UserError(
                f"the loss is not finite at step {step} (photos {where})", advice=["give a smaller learning_rate"]
            )
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        progress(step, given.steps, loss.item())


def _tensors(batch: Batch, labels: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return photos in [0, 255], and classes with `_NO_CLASS` where ignored: (B, 3, H, W), (B, H, W)."""
    photos = (as_floats(batch["photo"], torch.float32) + 1) * 127.5
    target = batch["label"].long()
    return photos, torch.where(target < labels, target, _NO_CLASS)


def _score(
    network: SegmentationNetwork, held: Sequence[SampleFiles], data: LabelMaps, size: Size, classes: ClassTable
) -> dict[str, Any]:
    """Return the scores on the held-back photos at the training size."""
    counts = np.zeros((data.labels, data.labels + 1), np.int64)
    network.eval()
    device = next(network.parameters()).device
    samples = EvalDataset(held, _FIELDS, data, Geometry("resize", size))
    with torch.inference_mode():
        for place in range(len(samples)):
            sample = samples[place]
            photo = (as_floats(sample["photo"], torch.float32) + 1) * 127.5
            found = network(photo[None].to(device)).argmax(1)[0].cpu().numpy()
            counts += confusion(sample["label"].numpy(), found, data.labels)
    return label_scores(counts, classes.names)


def describe(scores: dict[str, Any], out: Path, held: str) -> str:
    """Return the scores and the written file as text."""
    named = ("pixel_accuracy", "mean_class_accuracy", "mean_iou")
    values = ", ".join(f"{name.replace('_', ' ')} {scores[name]:.3f}" for name in named if scores[name] is not None)
    return f"{held}: {values or 'no photo was held back'}\nwritten: {shown(out)}"
