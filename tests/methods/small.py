"""A pix2pixHD of a few hundred weights, made-up streets for it, and random features for its perceptual loss."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from hdtrans.config.stage import Size, Stage
from hdtrans.data.batch import Batch, Sample, collate
from hdtrans.data.kinds.label_maps import Section as LabelMaps
from hdtrans.data.order import file_index, sample_random
from hdtrans.methods import pix2pixhd
from hdtrans.networks.initialise import initialise

LABELS = 3
DATA = LabelMaps(root=".", labels=LABELS)


def small_config(**changes: dict[str, Any]) -> pix2pixhd.Config:
    """Return the config of a small model; `changes` are merged into its sections."""
    values: dict[str, Any] = {
        "condition": {"boundary": "instance"},
        "generator": {"width": 4, "downsamples": 1, "blocks": 1, "enhancers": 1, "enhancer_blocks": 1},
        "discriminator": {"width": 4, "layers": 1, "scales": 2},
        "perceptual": {"kind": "none"},
    }
    for section, change in changes.items():
        values[section] = values.get(section, {}) | change
    return pix2pixhd.Config.model_validate(values)


def small_stages(config: pix2pixhd.Config, batch_size: int = 2, epochs: float = 1) -> list[Stage]:
    """Return the three stages of the paper, small: the global part, the enhancer above it, both together.

    An encoder trains in the first two, as the original's does, and is frozen in the last. A segmenter trains in all,
    and looks at half the size in the second.
    """
    common: dict[str, Any] = {"batch_size": batch_size, "epochs": epochs}
    global_part, both = ("trunk", "head", "discriminator0"), ("enhancer1", "discriminator0", "discriminator1")
    encoder = ("encoder",) if config.features else ()
    judge = ("segmenter",) if config.segmenter else ()
    global_part, both = global_part + judge, both + judge
    half: dict[str, Any] = {"segmenter_at": "half"} if judge else {}
    stages = [
        Stage(name="global", size=Size(height=8, width=12), output="head", train=global_part + encoder, **common),
        Stage(
            name="enhancer", size=Size(height=16, width=24), output="enhancer1", train=both + encoder, **half, **common
        ),
        Stage(name="joint", size=Size(height=16, width=24), train=("trunk", *both), decay_epochs=epochs, **common),
    ]
    return [config.complete(stage) for stage in stages]


class SmallStreets(Dataset[Sample]):
    """Made-up label and instance maps and photos: every sample is a pure function of its stage and counter.

    Args:
        count: how many files there seem to be.
        height, width: size of every sample.
        stage: the number of the stage.
        labels: class ids from 0 to labels-1.
    """

    def __init__(self, count: int, height: int, width: int, stage: int = 0, labels: int = LABELS) -> None:
        self.count, self.height, self.width, self.stage, self.labels = count, height, width, stage, labels

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, counter: int) -> Sample:
        place = file_index(0, self.stage, counter, self.count)
        random = sample_random(0, self.stage, place, "street")
        blocks = random.integers(0, self.labels, (-(-self.height // 4), -(-self.width // 4)))
        label = torch.from_numpy(blocks).repeat_interleave(4, 0).repeat_interleave(4, 1)[: self.height, : self.width]
        noise = torch.from_numpy(random.integers(0, 100, (3, self.height, self.width)))
        photo = noise + 70 * label % 156
        instance = (1000 * label).to(torch.int32)
        fields = {"label": label.to(torch.uint8), "instance": instance, "photo": photo.to(torch.uint8)}
        return Sample(f"street{place}", counter, fields)


def street_batch(count: int, height: int, width: int, labels: int = LABELS) -> Batch:
    """Return a batch of different streets."""
    streets = SmallStreets(count, height, width, labels=labels)
    return collate([streets[counter] for counter in range(count)])


class RandomFeatures(nn.Module):
    """A stand-in for a perceptual network: (B, 3, H, W) -> two feature maps; fixed random weights."""

    weights = (0.5, 1.0)

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3, stride=2, padding=1)
        self.second = nn.Conv2d(4, 6, 3, stride=2, padding=1)
        initialise(self, "features", 0)
        self.requires_grad_(False)

    def depths(self, x: Tensor) -> Iterator[Tensor]:
        yield (first := torch.tanh(20 * self.first(x)))
        yield torch.tanh(20 * self.second(first))
