"""Augmentation of what discriminators see: gradients, draws, geometry, and the probability that adapts."""

from typing import Any

import pytest
import torch
from torch import Tensor

from hdtrans.common.errors import RecipeError
from hdtrans.config.augmentation import AugmentationSection
from hdtrans.config.recipe import check_recipe
from hdtrans.data.batch import collate
from hdtrans.engine.distributed import Processes
from hdtrans.engine.precision import Precision
from hdtrans.engine.stage import StageTraining
from hdtrans.methods.augmentation import Augmentation, View
from hdtrans.methods.base import StepContext
from tests.engine.runs import section, subject
from tests.methods.small import street_batch

CPU = torch.device("cpu")


def context(first: int = 0, count: int = 3, **more: Any) -> StepContext:
    return StepContext(images_seen=40, seed=7, global_indices=range(first, first + count), **more)


def view(first: int = 0, count: int = 3, **keys: Any) -> View:
    return Augmentation(AugmentationSection(**{"probability": 1.0, **keys})).view(context(first, count), 5, CPU)


def pictures(count: int = 3, height: int = 9, width: int = 12) -> Tensor:
    return torch.linspace(-1, 1, count * 3 * height * width, dtype=torch.float64).sin().view(count, 3, height, width)


def test_gradients_are_those_of_finite_differences() -> None:
    given = view(0, 2)
    x = pictures(2, 5, 6).requires_grad_()
    assert torch.autograd.gradcheck(given.picture, x)
    (slope,) = torch.autograd.grad(given.picture(x).sum(), x)
    assert slope.abs().sum() > 0


def test_draws_follow_from_the_place_in_the_global_batch() -> None:
    x = pictures()
    whole = view().picture(x)
    parts = [view(n, 1).picture(x[n : n + 1]) for n in range(3)]
    assert torch.equal(whole, torch.cat(parts))
    assert torch.equal(view().at(1).picture(x[1:2]), whole[1:2])
    assert not torch.equal(whole[0], view(1, 1).picture(x[:1])[0]), "samples are changed each in its own way"


@pytest.mark.parametrize("probability", [0.0, "adaptive"])
def test_at_probability_0_nothing_changes(probability: Any) -> None:
    x, ids = pictures(), torch.randint(0, 5, (3, 9, 12))
    given = view(probability=probability)
    assert torch.equal(given.picture(x), x) and torch.equal(given.moved(x, 0.0), x)
    assert torch.equal(given.ids(ids, 9), ids)


def test_picture_condition_and_ids_move_together() -> None:
    ids = torch.arange(1, 9 * 12 + 1).view(1, 9, 12).repeat(3, 1, 1)
    given = view(colour=False)
    moved = given.ids(ids, 0)
    x = ids[:, None].double()
    assert torch.equal(given.picture(x)[:, 0].long(), moved) and torch.equal(given.moved(x, 0.0)[:, 0].long(), moved)
    assert len({tuple(m.flatten().tolist()) for m in moved}) == 3
    for m in moved:
        row, column = (int(i) for i in (m > 0).nonzero()[0])
        down, right = row - (int(m[row, column]) - 1) // 12, column - (int(m[row, column]) - 1) % 12
        assert abs(down) <= 1 and abs(right) <= 2, "an eighth of 9x12"
        wanted = torch.zeros_like(m)
        rows, columns = slice(max(down, 0), 9 + min(down, 0)), slice(max(right, 0), 12 + min(right, 0))
        wanted[rows, columns] = ids[0, max(-down, 0) : 9 - max(down, 0), max(-right, 0) : 12 - max(right, 0)]
        blank = (m == 0) & (wanted > 0)
        assert torch.equal(m[~blank], wanted[~blank])
        places = blank.nonzero()
        side = (places.max(0).values - places.min(0).values + 1).tolist()
        assert side[0] <= 5 and side[1] <= 6 and len(places) == side[0] * side[1], "one rectangle of half the size"


def test_each_of_the_three_has_its_own_coin() -> None:
    x = pictures(400, 8, 8)
    shares = []
    for keys in ({"translation": 0, "cutout": 0}, {"colour": False, "cutout": 0}, {"colour": False, "translation": 0}):
        changed = view(0, 400, probability=0.5, **keys).picture(x) != x
        shares.append(float(changed.flatten(1).any(1).double().mean()))
    assert shares[0] == pytest.approx(0.5, abs=0.07)
    assert shares[1] == pytest.approx(0.5 * 8 / 9, abs=0.07), "a shift of 0 by 0 is one of nine"
    assert 0.4 < shares[2] < 0.57


def test_colours_change_within_their_range() -> None:
    """Brightness +-0.5 on a grey picture, where saturation and contrast have nothing to change."""
    grey = torch.zeros(200, 3, 4, 4, dtype=torch.float64)
    shift = view(0, 200, translation=0, cutout=0).picture(grey)[:, 0, 0, 0]
    assert shift.min() < -0.45 and shift.max() > 0.45 and shift.abs().max() <= 0.5


def observed(augmentation: Augmentation, value: float, batches: int, boundary: float = 0.0, **more: Any) -> float:
    for _ in range(batches):
        augmentation.observe([torch.full((2, 1, 3, 3), value)], boundary, context(count=2, **more))
    return float(augmentation.probability)


def test_the_probability_rises_while_true_pictures_are_known_and_falls_again() -> None:
    augmentation = Augmentation(AugmentationSection(span=80))
    assert observed(augmentation, 0.4, 3) == 0, "four batches make one change"
    assert observed(augmentation, 0.4, 1) == pytest.approx(8 / 80)
    assert observed(augmentation, 0.4, 8, boundary=0.5) == 0, "lsgan's predictions for generated pictures are 0"
    assert observed(augmentation, 0.9, 8, boundary=0.5) == pytest.approx(16 / 80)
    assert observed(augmentation, 0.9, 400, boundary=0.5) == 1
    half = torch.cat([torch.full((1, 1, 3, 3), v) for v in (1.0, -1.0)])
    for _ in range(4):
        augmentation.observe([half], 0.0, context(count=2))
    assert float(augmentation.probability) == pytest.approx(1 - 8 / 80), "a mean sign of 0 is below the target 0.6"


def test_the_probability_is_one_of_all_processes_and_goes_on_from_a_checkpoint() -> None:
    one = Augmentation(AugmentationSection(span=80))
    assert observed(one, 1.0, 6, total=lambda x: 2 * x) == pytest.approx(16 / 80), "twice as many images"
    other = Augmentation(AugmentationSection(span=80))
    state = one.state_dict(range(2, 4))
    assert set(state) == {"2", "3"}
    other.load_state_dict(state)
    assert observed(other, 1.0, 2, total=lambda x: 2 * x) == observed(one, 1.0, 2, total=lambda x: 2 * x) > 0.2


@pytest.mark.parametrize("name", ["pix2pix", "cyclegan", "pix2pixhd"])
def test_every_method_trains_on_augmented_pictures(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Discriminators see other pictures, so that all their losses change; the gradient reaches the generator."""
    found = []
    read, augmented = Augmentation.__init__, AugmentationSection(probability=1.0, cutout=0.9)
    for wanted in (None, augmented):
        monkeypatch.setattr(Augmentation, "__init__", lambda self, _, wanted=wanted: read(self, wanted))
        what = subject(name)
        stage = what.stages[0]
        work = StageTraining(what.make_method(stage), stage, 5, section(), Precision("fp32", "cpu"), Processes())
        samples = what.make_samples(0)
        batch = street_batch(2, 8, 12) if name == "pix2pixhd" else collate([samples[0], samples[1]])
        losses = {key: float(loss) for key, loss in work.step(batch, 0, 0).items()}
        assert all(torch.isfinite(each.norms).all() for each in work.taken.phases)
        found.append(losses)
    judged = [key for key in found[0] if key.startswith("discriminator") or "adversarial" in key]
    assert judged and all(found[0][key] != found[1][key] for key in judged)
    others = set(found[0]) - set(judged) - {"generator/feature_matching"}
    assert all(found[0][key] == found[1][key] for key in others), "other losses see the pictures as they are"


@pytest.mark.parametrize(
    ("kind", "data", "changes", "words"),
    [
        ("pix2pix", "picture_pairs", {"adversarial": {"kind": "wgangp"}, "discriminator": {"norm": "none"}}, "critic"),
        ("cyclegan", "unpaired", {"adversarial": {"kind": "wgangp"}}, "give a number from 0 to 1"),
        ("pix2pix", "photos_to_maps", {}, "these pictures are one_hot; use false"),
    ],
)
def test_what_cannot_be_augmented_is_refused(kind: str, data: str, changes: dict[str, Any], words: str) -> None:
    values = {"kind": data, "root": "."} | ({"labels": 3, "target": "labels"} if data == "photos_to_maps" else {})
    method = {"kind": kind, "augmentation": {}, **changes}
    recipe = {"name": "x", "data": values, "method": method, "stages": [{"size": "64x64"}]}
    with pytest.raises(RecipeError, match=words):
        check_recipe(recipe, "x")
