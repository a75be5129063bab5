"""Short runs of toys and of a small pix2pixHD: made, stopped, continued and compared."""

import hashlib
import os
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import Dataset

from hdtrans.config.stage import Size, Stage
from hdtrans.config.training import Adam, Ema, Training
from hdtrans.data.batch import Batch, Sample
from hdtrans.data.kinds.picture_pairs import Section as PicturePairs
from hdtrans.engine import checkpoint
from hdtrans.engine.checkpoint import Checkpoints
from hdtrans.engine.distributed import Processes
from hdtrans.engine.hooks import Preview, Save
from hdtrans.engine.trainer import Trainer
from hdtrans.engine.validation import Validation
from hdtrans.methods import cyclegan, pix2pix, pix2pixhd
from hdtrans.methods.base import Method
from tests.engine.toys import HEIGHT, TOYS, WIDTH, ToySamples, toy_method, toy_networks, toy_stages
from tests.methods.small import DATA, RandomFeatures, SmallStreets, small_config, small_stages

TOY_SIZE = Size(height=HEIGHT, width=WIDTH)
COUNT = 5  # training files: batches of 2 run across the edges of epochs


@dataclass
class Subject:
    """Networks, method, samples and stages of a trainer."""

    networks: nn.ModuleDict
    make_method: Callable[[Stage], Method]
    make_samples: Callable[[int], Dataset[Sample]]
    stages: Sequence[Stage]


def subject(name: str, batch_size: int = 2, epochs: float = 1.2, count: int = COUNT) -> Subject:
    """Return a new toy or small pix2pix or CycleGAN with two stages, or small pix2pixHD with three."""
    if name in TOYS:
        networks = toy_networks(name)
        return Subject(
            networks,
            lambda stage: toy_method(name, networks),
            lambda number: ToySamples(count, number),
            toy_stages(epochs, epochs, batch_size=batch_size),
        )
    if name in PICTURE_METHODS:
        return _picture_method(name, batch_size, epochs, count)
    config = small_config(**(PIX2PIXHD | JUDGED)[name])
    networks, stages = pix2pixhd.build_networks(config, DATA), small_stages(config, batch_size, epochs)
    sizes = [stage.size for stage in stages]
    return Subject(
        networks,
        lambda stage: pix2pixhd.Pix2pixHD(config, DATA, stage, networks, RandomFeatures()),
        lambda number: SmallStreets(count, sizes[number].height, sizes[number].width, number),  # type: ignore[union-attr]
        stages,
    )


def hide_batch_norm(network: nn.Module) -> None:
    """Let a network normalise its input over the batch, without a module that would be refused."""
    network.register_forward_pre_hook(lambda _, given: (F.batch_norm(given[0], None, None, training=True), *given[1:]))


PIX2PIXHD: dict[str, dict[str, Any]] = {
    "pix2pixhd": {},
    "pix2pixhd_features": {"features": {"count": 2, "width": 2, "downsamples": 2}},
}

# With all that a discriminator can be: coins, class counts, augmentation, spectral norm, rates.
JUDGED: dict[str, dict[str, Any]] = {
    "pix2pixhd_segmenter": {
        "segmenter": {"width": 2, "downsamples": 2, "rate": 2.0},
        "discriminator": {"spectral_norm": True, "rate": 2.0},
        "generator": {"rate": 0.5},
        "augmentation": {"span": 10, "target": -0.95},
    },
}

# With all per-process random draws: dropout, a gradient penalty, history pools.
PICTURE_METHODS: dict[str, tuple[Any, dict[str, Any]]] = {
    "pix2pix": (
        pix2pix,
        {
            "generator": {"kind": "resnet", "width": 4, "downsamples": 1, "blocks": 1, "norm": "instance"},
            "discriminator": {"width": 4, "layers": 1, "norm": "instance"},
            "adversarial": {"kind": "wgangp"},
        },
    ),
    "cyclegan": (
        cyclegan,
        {
            "generator": {"width": 4, "downsamples": 1, "blocks": 1},
            "discriminator": {"width": 4, "layers": 1},
            "pool": {"size": 2},
        },
    ),
}


def _picture_method(name: str, batch_size: int, epochs: float, count: int) -> Subject:
    module, values = PICTURE_METHODS[name]
    config, data = module.Config.model_validate(values), PicturePairs(kind="picture_pairs", root=".")
    networks = module.build_networks(config, data)
    for parameter in networks.parameters():
        parameter.data *= 3  # from very small weights, rounding grows to something else within 20 steps
    return Subject(
        networks,
        lambda stage: module.build(config, data, stage, networks),
        lambda number: ToySamples(count, number),
        [
            config.complete(
                Stage(name=f"stage{n}", size=TOY_SIZE, epochs=epochs, batch_size=batch_size, learning_rate=0.002)
            )
            for n in range(2)
        ],
    )


def section(**changes: Any) -> Training:
    """Return a training section for short runs on the CPU."""
    values: dict[str, Any] = {
        "precision": "fp32",
        "workers": 0,
        "device": "cpu",
        "optimizer": Adam(learning_rate=0.01),
        "ema": Ema(half_life=8),
        "log_every": 2,
        "save_every": 1,
        "sample_every": 1000,
        "keep": 100,
    }
    return Training(**(values | changes))


class Interrupted(Exception):
    """Death of a run, in these tests."""


@dataclass
class Notes:
    """Fake Reporter that records its calls, and stops the run on demand.

    Attributes:
        stop_after: steps after which the run dies, its last step unsaved; 0 for never.
        signal_after: steps after which the process gets a signal; 0 for never.
    """

    stop_after: int = 0
    signal_after: int = 0
    signal_number: int = signal.SIGTERM
    steps: int = 0
    records: list[dict[str, Any]] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)
    grids: list[tuple[int, dict[str, Any]]] = field(default_factory=list)
    validations: list[tuple[int, str, dict[str, float], str | None]] = field(default_factory=list)
    on_step: Callable[[int], None] = lambda steps: None

    def advance(self, images_seen: int, waiting_share: float | None = None) -> None:
        self.steps += 1
        self.on_step(self.steps)
        if self.steps == self.signal_after:
            os.kill(os.getpid(), self.signal_number)
        if self.steps == self.stop_after:
            raise Interrupted

    def log(self, record: dict[str, Any]) -> None:
        self.records.append(record)

    def message(self, text: str) -> None:
        self.messages.append(text)

    def validated(self, images_seen: int, stage: str, figures: dict[str, float], best: str | None = None) -> None:
        self.validations.append((images_seen, stage, figures, best))

    def samples(self, images_seen: int, stage: str, names: Sequence[str], pictures: dict[str, Any]) -> None:
        self.grids.append((images_seen, pictures))

    def page(self) -> None:
        pass


def make_trainer(
    what: Subject,
    training: Training,
    folder: Path | None = None,
    notes: Notes | None = None,
    processes: Processes | None = None,
    preview_batches: Sequence[Batch] = (),
    validation: Validation | None = None,
) -> Trainer:
    """Return a trainer of a subject, restored from the latest checkpoint in `folder`, if any."""
    checkpoints = None if folder is None else Checkpoints(folder, training.keep)
    trainer = Trainer(
        what.networks,
        what.make_method,
        what.make_samples,
        what.stages,
        training,
        processes,
        notes,  # type: ignore[arg-type]
        Save(checkpoints, {"recipe": {}, "version": "test"}),
        Preview(lambda number: preview_batches),
        validation,
    )
    latest = None if checkpoints is None else checkpoints.latest(warn=print)
    if latest is not None:
        trainer.restore(checkpoint.load(latest))
    return trainer


def final_state(folder: Path) -> dict[str, Any]:
    """Return the latest checkpoint of a run folder."""
    return checkpoint.load(Checkpoints(folder, 2).files()[0])


def fingerprint(state: Any) -> str:
    """Return the SHA-256 over type, shape and bytes of every tensor of a state, and over its plain values."""
    digest = hashlib.sha256()

    def add(value: Any) -> None:
        if isinstance(value, Tensor):
            digest.update(f"{value.dtype} {tuple(value.shape)}".encode())
            digest.update(value.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
        elif isinstance(value, dict):
            for key in sorted(value, key=str):
                digest.update(f"key {key}".encode())
                add(value[key])
        elif isinstance(value, list | tuple):
            digest.update(f"list {len(value)}".encode())
            for each in value:
                add(each)
        else:
            digest.update(f"value {value!r}".encode())

    add(state)
    return digest.hexdigest()


def run_to_the_end(name: str, training: Training, folder: Path, **changes: Any) -> dict[str, Any]:
    """Run or continue a subject to its end; return its last checkpoint."""
    make_trainer(subject(name, **changes), training, folder).run()
    return final_state(folder)
