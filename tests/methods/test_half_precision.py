"""A step in bf16 on the CPU, where pictures are laid out channels-last: its losses and gradients are those of fp32."""

import pytest
import torch
from torch import Tensor

from hdtrans.config.training import Training
from hdtrans.engine.distributed import Processes
from hdtrans.engine.precision import Precision
from hdtrans.engine.stage import StageTraining
from hdtrans.methods import pix2pixhd
from tests.methods.small import DATA, RandomFeatures, small_config, small_stages, street_batch


def one_step(name: str, batch_size: int) -> tuple[dict[str, float], dict[str, Tensor]]:
    """Take a step of the joint stage; return the losses and every gradient."""
    config = small_config(generator={"width": 16}, discriminator={"width": 16})
    stage = small_stages(config, batch_size)[2]
    networks = pix2pixhd.build_networks(config, DATA)
    method = pix2pixhd.Pix2pixHD(config, DATA, stage, networks, RandomFeatures())
    work = StageTraining(method, stage, 8, Training(), Precision(name, "cpu"), Processes())
    losses = work.step(street_batch(batch_size, 32, 48), 0, 0)
    gradients = {key: p.grad for key, p in networks.named_parameters() if p.grad is not None}
    return {key: float(loss) for key, loss in losses.items()}, gradients


@pytest.mark.parametrize("batch_size", [1, 2])
def test_a_step_in_bf16_is_one_in_fp32(batch_size: int) -> None:
    losses, gradients = one_step("bf16", batch_size)
    exact_losses, exact = one_step("fp32", batch_size)
    assert losses == pytest.approx(exact_losses, rel=0.02)
    assert gradients.keys() == exact.keys()
    for key, gradient in gradients.items():
        if gradient.ndim > 1:  # the gradient of a bias before a norm is 0, but for rounding
            alike = torch.nn.functional.cosine_similarity(gradient.flatten(), exact[key].flatten(), 0)
            assert alike > 0.98, key
            assert gradient.is_contiguous()
