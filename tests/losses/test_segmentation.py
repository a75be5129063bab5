"""Losses of the segmentation discriminator: the original's numbers, ignored pixels, and sums by hand."""

import itertools
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from hdtrans.losses.segmentation import (
    class_targets,
    class_weights,
    fake_pixels_loss,
    labelled_loss,
    labelmix_loss,
    labelmix_mask,
    real_votes,
)
from tests.golden_files import Golden


def alone(x: Tensor) -> Tensor:
    return x


def loss(logits: Tensor, label: Tensor, ignore: int | None, balanced: bool = True) -> Tensor:
    target = class_targets(label, ignore)
    return labelled_loss(logits, target, class_weights(target, logits.shape[1] - 1, balanced, alone))


def test_the_eight_cases_of_the_original() -> None:
    """Without balancing, the original counts its pixels without a class like all others."""
    golden = Golden("oasis", "losses.npz")
    logits, label = golden["input/logits"], golden["input/label"]
    worst = 0.0
    for balanced, ignored in itertools.product((True, False), repeat=2):
        name = f"{'balanced' if balanced else 'plain'}_class0_counts{'_nothing' if ignored else ''}"
        ours = loss(logits, label, 0 if ignored and balanced else None, balanced)
        worst = max(worst, abs(float(ours) - float(golden[f"output/real_{name}"])))
        worst = max(worst, abs(float(fake_pixels_loss(logits)) - float(golden[f"output/fake_{name}"])))
    assert worst < 1e-4, worst
    print(f"{worst:.1e}")


def golden_coins(label: Tensor, coins: Tensor, classes: int) -> Tensor:
    """Return a coin for each target from those of the classes that occur; the original's fault is repeated."""
    tossed = torch.zeros(1 + classes, dtype=torch.bool)
    there = label.unique()
    tossed[1 + there.long()] = coins[: len(there)].bool()
    if tossed[1] and 1 in there:
        tossed[1] = tossed[2]
    tossed[0] = tossed[1]  # for a class 0 that is ignored
    return tossed.expand(len(label), -1)


def test_labelmix_is_the_original_s() -> None:
    golden = Golden("oasis", "losses.npz")
    label = golden["input/label"]
    coins = golden_coins(label, golden["input/coins"], 7)
    mask = labelmix_mask(class_targets(label, None), coins)
    assert torch.equal(mask.float(), golden["output/mask"])
    mixed = torch.where(mask, golden["input/real"], golden["input/fake"])
    assert torch.equal(mixed, golden["output/mixed"])
    ours = labelmix_loss(mask, golden["input/logits_real"], golden["input/logits_fake"], golden["input/logits"])
    assert abs(float(ours) - float(golden["output/labelmix"])) < 1e-4


@pytest.mark.parametrize("ignore", [None, 2, 255])
def test_balanced_it_is_the_mean_over_classes_of_their_mean(ignore: int | None) -> None:
    torch.manual_seed(0)
    label = torch.randint(0, 3, (2, 4, 5), dtype=torch.uint8)
    if ignore == 255:
        label[label == 1] = 255
    logits = torch.randn(2, 5, 4, 5, dtype=torch.float64, requires_grad=True)
    entropy = -F.log_softmax(logits, 1)
    means, mean_of_all = [], []
    for c in range(4):
        there = label == c
        if c != ignore and there.any():
            means.append(entropy[:, 1 + c][there].mean())
            mean_of_all.append(entropy[:, 1 + c][there])
    with torch.no_grad():
        balanced, plain = (float(loss(logits, label, ignore, balanced)) for balanced in (True, False))
    assert balanced == pytest.approx(float(torch.stack(means).detach().mean()), rel=1e-12)
    assert plain == pytest.approx(float(torch.cat(mean_of_all).detach().mean()), rel=1e-12)
    loss(logits, label, ignore).backward()
    assert logits.grad is not None
    ignored = (label == ignore) if ignore is not None else torch.zeros_like(label, dtype=torch.bool)
    reached = logits.grad.abs().sum(1) > 0
    assert torch.equal(reached, ~ignored), "ignored pixels count nothing"


def test_a_batch_without_a_class_has_no_loss() -> None:
    logits = torch.randn(1, 4, 2, 2, requires_grad=True)
    value = loss(logits, torch.full((1, 2, 2), 255), 255)
    value.backward()
    assert float(value.detach()) == 0 and logits.grad is not None and not logits.grad.any()


def test_two_processes_of_one_picture_have_the_loss_of_one_process_of_both() -> None:
    torch.manual_seed(0)
    label, logits = torch.randint(0, 3, (2, 4, 5)), torch.randn(2, 4, 4, 5, dtype=torch.float64)
    label[0, :, 2:] = 255
    for balanced in (True, False):
        whole = loss(logits, label, 255, balanced)
        target = class_targets(label, 255)
        counts: list[Tensor] = []

        def note(x: Tensor, counts: list[Tensor] = counts) -> Tensor:
            counts.append(x)
            return x

        for n in range(2):
            class_weights(target[n : n + 1], 3, balanced, note)
        both: Callable[[Tensor], Tensor] = lambda _, counts=counts: counts[0] + counts[1]  # noqa: E731
        parts = [
            labelled_loss(logits[n : n + 1], target[n : n + 1], class_weights(target[n : n + 1], 3, balanced, both))
            for n in range(2)
        ]
        assert float(sum(parts)) / 2 == pytest.approx(float(whole), rel=1e-12)


def test_every_pair_of_coins_can_be() -> None:
    """The original never shows class 0 true beside a fake class 1."""
    target = class_targets(torch.tensor([[[0, 1, 255]]]), 255)
    for coins in itertools.product((False, True), repeat=3):
        none, first, second = coins
        assert labelmix_mask(target, torch.tensor([coins]))[0, 0, 0].tolist() == [first, second, none]


def test_blank_pixels_are_not_fake() -> None:
    logits = torch.randn(2, 4, 3, 5, dtype=torch.float64)
    there = torch.ones(2, 3, 5, dtype=torch.bool)
    assert fake_pixels_loss(logits, there) == fake_pixels_loss(logits)
    there[0, 1:] = False
    entropy = -F.log_softmax(logits, 1)[:, 0]
    assert float(fake_pixels_loss(logits, there)) == pytest.approx(float(entropy[there].sum()) / 30, rel=1e-12)


def test_votes_say_whether_a_pixel_is_likelier_true() -> None:
    logits = torch.tensor([2.0, 1.0, 1.0]).view(1, 3, 1, 1)
    assert float(real_votes(logits)) == pytest.approx(float(torch.tensor([1.0, 1.0]).logsumexp(0)) - 2)
