"""Optimizers and the learning rate, a pure function of the images seen."""

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from hdtrans.config.stage import Stage
from hdtrans.config.training import Adam


def make_adam(parameters: Iterable[Tensor], config: Adam, learning_rate: float) -> torch.optim.Adam:
    """Return Adam over the parameters; fused, for that one alone can leave out a step without the host looking on."""
    return torch.optim.Adam(parameters, learning_rate, config.betas, config.eps, config.weight_decay, fused=True)


def clip_gradients(gradients: Sequence[Tensor], norms: Tensor, scale: Tensor | None, largest: float) -> None:
    """Scale gradients down in place where the norm of all of them exceeds `largest`; the host does not wait.

    Args:
        gradients: `scale` times as large as they are.
        norms: norm of each.
        scale: None for 1.
        largest: norm to which they are clipped.
    """
    norm = torch.linalg.vector_norm(norms)
    norm = norm if scale is None else norm / scale
    factor = (largest / (norm + 1e-6)).clamp(max=1.0)  # as torch.nn.utils.clip_grad_norm_
    torch._foreach_mul_(list(gradients), factor)


def step_adam(optimizer: torch.optim.Adam, scale: Tensor | None, frozen: Tensor) -> None:
    """Step with gradients that are `scale` times as large; where `frozen` is 1, change nothing.

    These are the two attributes that torch's GradScaler hands to fused optimizers.
    """
    optimizer.grad_scale = scale  # type: ignore[attr-defined]
    optimizer.found_inf = frozen  # type: ignore[attr-defined]
    optimizer.step()


def load_adam(optimizer: torch.optim.Adam, state: dict[str, Any]) -> None:
    """Continue from the state of an Adam, fused or not, whatever the layout of its moments.

    They get that of their weights: on the CPU, fused Adam mixes up what is laid out in two ways, as of torch 2.15.
    """
    groups = [{**group, "fused": True} for group in state["param_groups"]]
    optimizer.load_state_dict({**state, "param_groups": groups})
    for weight, moments in optimizer.state.items():
        for name, moment in moments.items():
            if moment.shape == weight.shape and moment.stride() != weight.stride():
                moments[name] = torch.empty_like(weight).copy_(moment)


def stage_images(stage: Stage, count: int) -> int:
    """Return how many images a stage draws from `count` files: the one place where epochs become images."""
    return max(1, round((stage.epochs + stage.decay_epochs) * count))


def decay(stage: Stage, count: int, images: int) -> float:
    """Return the factor of the learning rate after `images` of a stage.

    `linear`: 1, then falling to 0 in a straight line. `step`: times `decay_factor` after every `decay_every` epochs.
    """
    if stage.decay == "step":
        assert stage.decay_every is not None
        return stage.decay_factor ** int(images / (stage.decay_every * count))
    start, length = stage.epochs * count, stage.decay_epochs * count
    return 1.0 if images <= start or length == 0 else max(0.0, 1 - (images - start) / length)
