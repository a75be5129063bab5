"""Losses of the segmentation discriminator: N+1 classes a pixel, balanced, and LabelMix (Sushko et al., 2021).

Logits are (B, 1 + N, H, W): channel 0 is "fake", 1 + c is class c. Sums over a batch are sums over all processes.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from hdtrans.losses.adversarial import full_precision


def class_targets(label: Tensor, ignore: int | None) -> Tensor:
    """Return targets, (B, H, W) int64: 1 + class, and 0 for ignored pixels, which count nothing.

    Args:
        label: (B, H, W) integer ids, each below N or the ignored one.
        ignore: id of pixels without a class, which may be below `classes`; None where every pixel has one.
    """
    target = label.long() + 1
    return target if ignore is None else torch.where(label == ignore, 0, target)


@torch.no_grad()
def class_weights(target: Tensor, classes: int, balanced: bool, total: Callable[[Tensor], Tensor]) -> Tensor:
    """Return the weight of a pixel by its target, (1 + N,) float64, for `labelled_loss`.

    With n_c pixels of class c and K classes in the batches of all processes, 1 / (K n_c) if `balanced` (equation 1 of
    the paper), else one over the number of pixels with a class. Each is times the number of processes, over which
    gradients and reports are averaged. Ignored pixels weigh 0.

    Args:
        target: of `class_targets`.
        classes: N.
        balanced: every class in the batch counts as much as every other.
        total: sum over all processes.
    """
    counts = torch.zeros(classes + 2, dtype=torch.float64, device=target.device)
    counts.scatter_add_(0, target.flatten(), torch.ones_like(target.flatten(), dtype=torch.float64))
    counts[0], counts[-1] = 0, 1  # the ignored pixels; the processes
    summed = total(counts)
    pixels, processes = summed[:-1], summed[-1]
    there = pixels > 0
    if balanced:
        weights = there / (there.sum().clamp(min=1) * pixels.clamp(min=1))
    else:
        weights = there / pixels.sum().clamp(min=1)
    return processes * weights


def labelled_loss(logits: Tensor, target: Tensor, weights: Tensor) -> Tensor:
    """Return sum_pixels w CE(logits, target), of true pictures, or of generated ones that should pass for true.

    Balanced, it is the mean over the classes present of their mean cross-entropy.

    Args:
        logits: (B, 1 + N, H, W).
        target: of `class_targets`.
        weights: of `class_weights`.
    """
    log_odds = _log_probabilities(logits).gather(1, target.unsqueeze(1)).squeeze(1)  # (B, H, W)
    return -(log_odds * weights.to(log_odds.dtype)[target]).sum()


def fake_pixels_loss(logits: Tensor, there: Tensor | None = None) -> Tensor:
    """Return the mean cross-entropy of pixels to "fake"; those of generated pictures without a class are fake too.

    Args:
        logits: (B, 1 + N, H, W).
        there: (B, H, W) bool, false where augmentation left a pixel blank, which counts 0 in the mean.
    """
    entropy = -_log_probabilities(logits)[:, 0]
    return (entropy if there is None else torch.where(there, entropy, 0.0)).mean()


def labelmix_mask(target: Tensor, real: Tensor) -> Tensor:
    """Return the mask M of LabelMix, (B, 1, H, W) bool: true where the true picture shows.

    Args:
        target: of `class_targets`; ignored pixels share one coin.
        real: a coin for each target of each sample, (B, 1 + N) bool. (The original tosses one for the whole batch, and
            overwrites its mask in place, so that it never shows class 0 true beside a fake class 1.)
    """
    return real.gather(1, target.flatten(1)).view(target.shape).unsqueeze(1)


def labelmix_loss(mask: Tensor, real: Tensor, fake: Tensor, mixed: Tensor) -> Tensor:
    """Return the LabelMix loss E (M D(x) + (1 - M) D(x^) - D(x_mix))^2 (equation 4), with gradients through all three.

    Args:
        mask: M, of `labelmix_mask`.
        real, fake, mixed: logits, (B, 1 + N, H, W).
    """
    pasted = torch.where(mask, full_precision(real), full_precision(fake))
    return F.mse_loss(pasted, full_precision(mixed))


def real_votes(logits: Tensor) -> Tensor:
    """Return the log-odds of each pixel to be true, of any class, against "fake", (B, H, W)."""
    logits = full_precision(logits)
    return logits[:, 1:].logsumexp(1) - logits[:, 0]


def _log_probabilities(logits: Tensor) -> Tensor:
    return F.log_softmax(full_precision(logits), 1)
