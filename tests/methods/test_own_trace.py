"""A trace of our own, for those who lack the golden files: fifty float64 steps from weights and inputs by formula.

Recorded when the golden traces held to 1e-14. `python -m tests.methods.test_own_trace` prints it anew.
"""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from hdtrans.config.stage import Stage
from hdtrans.config.training import Adam, Training
from hdtrans.data.batch import Batch
from hdtrans.data.kinds.label_maps import Section as LabelMaps
from hdtrans.engine.distributed import Processes
from hdtrans.engine.precision import Precision
from hdtrans.engine.stage import StageTraining
from hdtrans.methods import pix2pixhd
from tests.bars import Figure

RECORD = Path(__file__).with_name("own_trace.json")
STEPS = 50
HEIGHT, WIDTH, LABELS = 16, 32, 5


def waves(shape: torch.Size, frequency: float) -> torch.Tensor:
    """Return numbers in [-1, 1] that follow from their place alone."""
    return torch.sin(frequency * torch.arange(1, shape.numel() + 1, dtype=torch.float64)).reshape(shape)


def batch(step: int) -> Batch:
    row, column = torch.meshgrid(torch.arange(HEIGHT), torch.arange(WIDTH), indexing="ij")
    label = ((row // 3 + column // 5 + step) % LABELS).to(torch.uint8)
    instance = (row // 4 * 10 + column // 7).int()
    photo = torch.stack([(row * 11 + column * 7 * k + 31 * step) % 256 for k in (1, 2, 3)]).to(torch.uint8)
    return Batch(("made",), (step,), {"label": label[None], "instance": instance[None], "photo": photo[None]})


def trace(steps: int = STEPS, **training: Any) -> list[dict[str, float]]:
    config = pix2pixhd.Config.model_validate(
        {
            "condition": {"boundary": "instance"},
            "generator": {"width": 4, "downsamples": 2, "blocks": 1, "enhancers": 1, "enhancer_blocks": 1},
            "discriminator": {"width": 4, "layers": 2, "scales": 2},
            "perceptual": {"kind": "none"},
        }
    )
    data = LabelMaps(root=Path("."), labels=LABELS)
    networks: nn.ModuleDict = pix2pixhd.build_networks(config, data).double()
    for number, parameter in enumerate(networks.parameters()):
        parameter.data = 0.1 * waves(parameter.shape, 0.7 + 0.013 * number)
    stage = config.complete(Stage(geometry="none", epochs=1))
    method = pix2pixhd.build(config, data, stage, networks)
    work = StageTraining(method, stage, STEPS, Training(**training), Precision("fp64", "cpu"), Processes())
    return [{k: float(v) for k, v in work.step(batch(step), step, step).items()} for step in range(steps)]


BAR = pytest.mark.bar("B6.2", "fifty recorded losses come out again, within 1e-5 on any torch")


def furthest(found: list[dict[str, float]], recorded: list[dict[str, float]]) -> list[float]:
    """Return how far apart two traces are, step by step."""
    assert all(set(a) == set(b) for a, b in zip(found, recorded, strict=False))
    return [max(abs(a[name] - b[name]) for name in b) for a, b in zip(found, recorded, strict=False)]


@BAR
def test_the_recorded_losses_come_out_again(figure: Figure) -> None:
    recorded, found = json.loads(RECORD.read_text()), trace()
    assert len(found) == len(recorded) == STEPS
    apart = furthest(found, recorded)
    figure(f"{max(apart):.1e}, of the first four steps {max(apart[:4]):.1e}")
    assert max(apart[:4]) < 1e-8, "as golden traces"
    assert max(apart) < 1e-5


@BAR
def test_mutant_a_slightly_other_learning_rate_is_seen(figure: Figure) -> None:
    apart = furthest(trace(4, optimizer=Adam(learning_rate=0.0002 * 1.001)), json.loads(RECORD.read_text()))
    figure(f"mutant, a learning rate 0.1 % larger {max(apart):.1e} after four steps")
    assert max(apart) > 1e-5


if __name__ == "__main__":
    print(json.dumps(trace(), indent=1))
