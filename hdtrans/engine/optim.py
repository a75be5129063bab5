"""Optimizers, and the learning rate as a pure function of the images seen."""

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from hdtrans.config.stage import Stage
from hdtrans.config.training import Adam


def make_adam(parameters: Iterable[Tensor], config: Adam, learning_rate: float) -> torch.optim.Adam:
    """Return fused Adam over the parameters: only the fused one skips a step without a host-device sync."""
    return torch.optim.Adam(parameters, learning_rate, config.betas, config.eps, config.weight_decay, fused=True)


def clip_gradients(gradients: Sequence[Tensor], norms: Tensor, scale: Tensor | None, largest: float) -> None:
    """Clip gradients in place to a norm of all of them together, without a host-device sync.

    Args:
        gradients: gradients, multiplied by `scale`.
        norms: norms of these gradients, (gradients,).
        scale: scalar on the device; None for 1.
        largest: largest norm, > 0.
    """
    norm = torch.linalg.vector_norm(norms)
    norm = norm if scale is None else norm / scale
    factor = (largest / (norm + 1e-6)).clamp(max=1.0)  # as torch.nn.utils.clip_grad_norm_
    torch._foreach_mul_(list(gradients), factor)


def step_adam(optimizer: torch.optim.Adam, scale: Tensor | None, frozen: Tensor) -> None:
    """Take one optimizer step, or skip it on the device.

    torch's GradScaler sets the same two attributes of fused optimizers.

    Args:
        optimizer: fused Adam.
        scale: factor that the gradients carry; None for 1.
        frozen: flag on the device; at 1 nothing changes.
    """
    optimizer.grad_scale = scale  # type: ignore[attr-defined]
    optimizer.found_inf = frozen  # type: ignore[attr-defined]
    optimizer.step()


def load_adam(optimizer: torch.optim.Adam, state: dict[str, Any]) -> None:
    """Load the state of an Adam, fused or not, with moments in any memory layout.

    Moments get the layout of their weights: on the CPU, fused Adam mixes up tensors of two layouts, as of torch 2.15.
    """
    groups = [{**group, "fused": True} for group in state["param_groups"]]
    optimizer.load_state_dict({**state, "param_groups": groups})
    for weight, moments in optimizer.state.items():
        for name, moment in moments.items():
            if moment.shape == weight.shape and moment.stride() != weight.stride():
                moments[name] = torch.empty_like(weight).copy_(moment)


def stage_images(stage: Stage, count: int) -> int:
    """Return the images that a stage draws from `count` files, >= 1; only here do epochs become images."""
    return max(1, round((stage.epochs + stage.decay_epochs) * count))


def decay(stage: Stage, count: int, images: int) -> float:
    """Return the factor on the learning rate, in [0, 1], after `images` of a stage with `count` files.

    `linear`: 1 for `epochs`, then linear to 0 over `decay_epochs`. `step`: times `decay_factor` after every
    `decay_every` epochs.
    """
    if stage.decay == "step":
        assert stage.decay_every is not None
        return stage.decay_factor ** int(images / (stage.decay_every * count))
    start, length = stage.epochs * count, stage.decay_epochs * count
    return 1.0 if images <= start or length == 0 else max(0.0, 1 - (images - start) / length)
