"""Feature matching and the perceptual loss against numbers worked out by hand."""

import weakref
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from hdtrans.losses.features import feature_matching_loss, perceptual_loss


def maps(*values: float) -> list[Tensor]:
    """Return one feature map for each value, of different sizes."""
    return [torch.full((2, 3, 4 + n, 5), float(value)) for n, value in enumerate(values)]


def test_feature_matching_leaves_the_prediction_out_and_weighs_as_the_original() -> None:
    # Two discriminators: 4 / 2 maps / 2 discriminators * (1 + 2), and 4 / 1 map / 2 discriminators * 5.
    fake = [maps(1, 3, 100), maps(5, 7)]
    real = [maps(0, 1, 0), maps(0, 0)]
    assert float(feature_matching_loss(fake, real)) == pytest.approx(1 * 3 + 2 * 5)


def test_feature_matching_of_the_original_layers() -> None:
    # num_D 2 and n_layers_D 3: five maps each, weighed 4 / 4 * 1 / 2.
    fake, real = [maps(1, 1, 1, 1, 9)] * 2, [maps(0, 0, 0, 0, 0)] * 2
    assert float(feature_matching_loss(fake, real)) == pytest.approx(2 * 4 * 0.5)


def at_depths(x: Tensor) -> Iterator[Tensor]:
    """Yield two features of a picture, of different sizes."""
    yield x * x
    yield 3 * x[..., ::2, :]


def test_perceptual_loss_is_weighted_by_depth() -> None:
    fake, real = maps(2, -1)[0], maps(1, 1)[0]
    assert float(perceptual_loss(at_depths, fake, real, (0.25, 0.5))) == pytest.approx(0.25 * 3 + 0.5 * 3)


def test_the_true_side_gets_no_gradient() -> None:
    fake, real = [maps(1, 2)], [maps(3, 4)]
    for tensor in [*fake[0], *real[0]]:
        tensor.requires_grad_(True)
    (feature_matching_loss(fake, real) + perceptual_loss(at_depths, fake[0][0], real[0][0], (1.0, 1.0))).backward()
    assert all(tensor.grad is None for tensor in real[0])
    assert fake[0][0].grad is not None


def test_half_precision_is_summed_in_full() -> None:
    fake, real = ([t.half() for t in maps(*values)] for values in ((60000.0, 0), (-60000.0, 0)))
    loss = feature_matching_loss([fake], [real])
    assert loss.dtype == torch.float32
    assert float(loss) == pytest.approx(4 * 120000, rel=1e-3)


def test_bfloat16_gives_the_loss_and_the_gradient_of_float32() -> None:
    generator = torch.Generator().manual_seed(1)
    a, b = (torch.randn(2, 8, 16, 24, generator=generator).bfloat16() for _ in range(2))
    b[0] = a[0]  # equal features have no gradient
    in_half, in_full = a.clone().requires_grad_(), a.float().requires_grad_()
    loss = perceptual_loss(lambda x: [x], in_half, b, [3.0])
    wanted = perceptual_loss(lambda x: [x], in_full, b.float(), [3.0])
    (loss * 8).backward()
    (wanted * 8).backward()
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(wanted.item(), rel=1e-4)
    assert in_half.grad is not None and in_full.grad is not None
    assert torch.equal(in_half.grad, in_full.grad.bfloat16())


@pytest.mark.parametrize("pixels", [2**21, 8 * 6 * 2, 1])
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_the_gradient_taken_at_once_is_that_of_the_plain_distance(
    dtype: torch.dtype, pixels: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of all five pictures at a time, of two, and of one."""
    monkeypatch.setattr("hdtrans.losses.features._PIXELS", pixels)
    generator = torch.Generator().manual_seed(2)
    fake, real = (torch.randn(5, 3, 8, 6, generator=generator).to(dtype).requires_grad_() for _ in range(2))
    loss = 5 * perceptual_loss(at_depths, fake, real, (0.5, 2.0))
    loss.backward()
    plain = fake.detach().double().requires_grad_()
    features = zip(at_depths(plain), at_depths(real.detach().double()), (0.5, 2.0), strict=True)
    wanted = 5 * torch.stack([weight * (a - b).abs().mean() for a, b, weight in features]).sum()
    wanted.backward()
    assert loss.item() == pytest.approx(wanted.item(), rel=torch.finfo(dtype).eps)
    assert fake.grad is not None and plain.grad is not None and real.grad is None
    torch.testing.assert_close(fake.grad.double(), plain.grad, rtol=0, atol=8 * torch.finfo(dtype).eps)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_a_perceptual_loss_keeps_no_features(dtype: torch.dtype) -> None:
    kept: set[int] = set()

    def remembered(x: Tensor) -> Iterator[Tensor]:
        for number, feature in enumerate(at_depths(x)):
            kept.add(number)
            made = feature.exp()  # its gradient takes what it made
            if x.requires_grad:
                weakref.finalize(made.untyped_storage(), kept.discard, number)
            yield made

    fake = torch.randn(1, 3, 4, 4, dtype=dtype, requires_grad=True)
    loss = perceptual_loss(remembered, fake, torch.zeros_like(fake), (1.0, 1.0))
    assert loss.requires_grad and not kept


@pytest.mark.unhurried
@pytest.mark.parametrize("count", [1, 3])
def test_gradients_of_large_pictures_do_not_vanish_in_fp16(count: int) -> None:
    """As VGG19 weighs: a mean over 64 channels counts 1/32 of one over a 128th of as many values."""
    torch.manual_seed(0)
    fake, real = (torch.randn(count, 64, 64, 512).half().repeat(1, 1, 8, 1) for _ in range(2))
    fake.requires_grad_()
    (2**16 * perceptual_loss(lambda x: [x, x[..., ::16, ::8]], fake, real, (1 / 32, 1.0))).backward()
    wanted = torch.sign(fake.detach() - real).float().mul_(2**16 / fake.numel() / 32)
    wanted[..., ::16, ::8] *= 1 + 32 * 128
    assert fake.grad is not None
    assert (fake.grad.float().sub_(wanted).abs_() <= wanted.abs_().mul_(0.001)).all()
