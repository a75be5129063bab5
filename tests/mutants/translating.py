"""Broken twins of the translator."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hdtrans.inference import translator
from hdtrans.networks.norm import Norm


def not_averaged(patch: pytest.MonkeyPatch) -> None:
    """Load the weights of training where averages are asked for."""
    restore = translator.restore
    patch.setattr(translator, "restore", lambda file, device, averaged, *more: restore(file, device, False, *more))


def as_in_training(patch: pytest.MonkeyPatch) -> None:
    """Leave networks in training mode."""
    patch.setattr(nn.Module, "eval", lambda self: self.train())


def cut_off(patch: pytest.MonkeyPatch) -> None:
    """Cut levels off instead of rounding them."""
    patch.setattr(
        "hdtrans.data.kinds.base.as_bytes", lambda picture: ((picture + 1) * 127.5).clamp(0, 255).to(torch.uint8)
    )


def in_bf16(patch: pytest.MonkeyPatch) -> None:
    """Compute in bf16 whatever is asked for."""
    choose = translator.choose_precision
    patch.setattr(translator, "choose_precision", lambda name, device: choose("bf16", device))


def norms_of_the_whole_batch(patch: pytest.MonkeyPatch) -> None:
    """Normalise each picture by the statistics of its batch."""

    def over_the_batch(self: Norm, x: Tensor) -> Tensor:
        return F.batch_norm(x, None, None, training=True, eps=self.epsilon)

    patch.setattr(Norm, "_each_by_itself", over_the_batch)
