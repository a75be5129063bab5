"""CycleGAN as a method: its routes, its history pools, which data it takes, what it trains."""

from typing import Any

import pytest
import torch
from torch import Tensor

from hdtrans.config.data import Data
from hdtrans.config.stage import Size, Stage
from hdtrans.data.batch import Batch, Sample, collate
from hdtrans.data.kinds.label_maps import Section as LabelMaps
from hdtrans.data.kinds.photos import Lab
from hdtrans.data.kinds.photos import Section as Photos
from hdtrans.data.kinds.photos_to_maps import Section as PhotosToMaps
from hdtrans.data.kinds.unpaired import Section as Unpaired
from hdtrans.engine.distributed import Processes
from hdtrans.engine.precision import Precision
from hdtrans.engine.stage import StageTraining
from hdtrans.methods import cyclegan
from hdtrans.methods.base import StepContext
from tests.engine.runs import section
from tests.engine.toys import ToySamples

UNPAIRED = Unpaired(kind="unpaired", root=".")
STAGE = Stage(size=Size(height=8, width=8), batch_size=2)


def small_config(**changes: Any) -> cyclegan.Config:
    """Return the config of a small model; `changes` replace sections."""
    values: dict[str, Any] = {
        "generator": {"width": 2, "downsamples": 1, "blocks": 1},
        "discriminator": {"width": 2, "layers": 1},
        "pool": {"size": 2},
    }
    return cyclegan.Config.model_validate(values | changes)


def method_of(config: cyclegan.Config, data: Data = UNPAIRED) -> cyclegan.CycleGAN:
    networks = cyclegan.build_networks(config, data)
    return cyclegan.build(config, data, config.complete(STAGE), networks)


def step(method: cyclegan.CycleGAN, batch: Batch, precision: str = "fp32", steps: int = 1) -> dict[str, float]:
    """Take training steps; return the last losses, which are finite."""
    stage = method.config.complete(STAGE.model_copy(update={"batch_size": len(batch)}))
    work = StageTraining(method, stage, 2, section(precision=precision), Precision(precision, "cpu"), Processes())
    for k in range(steps):
        losses = {name: float(loss) for name, loss in work.step(batch, k * len(batch), k * len(batch)).items()}
        assert all(value == value and abs(value) < 1e4 for value in losses.values()), losses
    return losses


def pictures(count: int = 2) -> Batch:
    samples = ToySamples(count)
    return collate([samples[k] for k in range(count)])


GENERATORS = ["adversarial_A", "adversarial_B", "cycle_A", "cycle_B", "identity_A", "identity_B"]
DISCRIMINATORS = ["fake_A", "fake_B", "real_A", "real_B"]


def names(generators: list[str], discriminators: list[str]) -> list[str]:
    return sorted([f"generators/{n}" for n in generators] + [f"discriminators/{n}" for n in discriminators])


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, names(GENERATORS, DISCRIMINATORS)),
        ({"identity": {"weight": 0}}, names(GENERATORS[:4], DISCRIMINATORS)),
        ({"cycle": {"weight_b": 0}}, names([*GENERATORS[:3], "identity_A"], DISCRIMINATORS)),
        ({"adversarial": {"kind": "wgangp"}}, names(GENERATORS, [*DISCRIMINATORS, "penalty_A", "penalty_B"])),
        (
            {"generator": {"kind": "unet", "width": 2, "downsamples": 6, "dropout": True}, "pool": {"size": 0}},
            names(GENERATORS, DISCRIMINATORS),
        ),
    ],
)
def test_it_trains(changes: dict[str, Any], expected: list[str], precision: str) -> None:
    assert sorted(step(method_of(small_config(**changes)), pictures(), precision, steps=3)) == expected


def test_generators_step_first_and_each_discriminator_judges_its_own_side() -> None:
    method = method_of(small_config())
    assert [phase.trains for phase in method.phases] == [
        ("generator_AtoB", "generator_BtoA"),
        ("discriminator_A", "discriminator_B"),
    ]
    seen: dict[str, list[Tensor]] = {"A": [], "B": []}
    for side, inputs in seen.items():
        method.networks[f"discriminator_{side}"].register_forward_pre_hook(
            lambda module, given, inputs=inputs: inputs.append(given[0].detach().clone())
        )
    batch = pictures()
    assert batch["source"] is not None and batch["photo"] is not None
    step(method, batch)
    for side, true in (("A", batch["source"]), ("B", batch["photo"])):
        fake, real, old = seen[side]
        torch.testing.assert_close(real, true / 127.5 - 1)
        assert torch.equal(fake, old), "a pool that fills gives what it gets"


def test_files_of_many_sizes_train_one_by_one_and_together() -> None:
    def batch(a: tuple[int, int], b: tuple[int, int], count: int) -> Batch:
        noise = torch.Generator().manual_seed(sum(a))
        random = {
            name: torch.randint(0, 256, (3, *size), dtype=torch.uint8, generator=noise)
            for name, size in (("source", a), ("photo", b))
        }
        return collate([Sample(str(k), k, random) for k in range(count)])

    method = method_of(small_config(pool={"size": 1}))
    work = StageTraining(method, STAGE, 2, section(), Precision("fp32", "cpu"), Processes())
    for k in range(6):
        losses = work.step(batch((8 + k, 10), (12, 9 + k), 2), 2 * k, 2 * k)
        assert all(bool(torch.isfinite(loss)) for loss in losses.values())


@pytest.mark.parametrize("geometry", ["none", "scale_width"])
def test_a_penalty_needs_pictures_of_one_size(geometry: str) -> None:
    config = small_config(adversarial={"kind": "wgangp"})
    size = None if geometry == "none" else STAGE.size
    stage = Stage(size=size, geometry=geometry)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="choose another geometry"):
        config.complete(stage)
    small_config().complete(stage)


def test_unfit_data_is_refused() -> None:
    config = small_config()
    for data in (
        LabelMaps(root=".", labels=3),
        PhotosToMaps(kind="photos_to_maps", root=".", target="label_boundaries"),
        Photos(kind="photos", root=".", input=Lab(kind="lab")),
    ):
        with pytest.raises(ValueError, match="has no two sides of pictures"):
            config.reads(data)
    two = Unpaired(kind="unpaired", root=".", source_channels=1)
    with pytest.raises(ValueError, match=r"method\.identity\.weight=0"):
        config.reads(two)
    assert small_config(identity={"weight": 0}).reads(two) == {"source", "photo"}
    with pytest.raises(ValueError, match="none trains without the others"):
        config.complete(STAGE.model_copy(update={"train": ("generator_AtoB",)}))
    with pytest.raises(ValueError, match="judges each picture for itself"):
        small_config(adversarial={"kind": "wgangp"}, discriminator={"norm": "batch"})


# Routes


@torch.no_grad()
def test_each_route_has_its_generator() -> None:
    method = method_of(small_config())
    assert method.directions == ("AtoB", "BtoA")
    x = pictures()["source"]
    for route in method.directions:
        made = method.translator(method.networks, route).eval()(source=x)
        expected = method.networks[f"generator_{route}"](torch.nn.functional.pad(x / 127.5 - 1, (0, 0, 0, 0)))
        torch.testing.assert_close(made, expected)
    assert method.translator(method.networks).generator is method.networks["generator_AtoB"]


@pytest.mark.parametrize("size", [(1, 1), (5, 31)])
@torch.no_grad()
def test_any_size_comes_back_as_it_was(size: tuple[int, int]) -> None:
    method = method_of(small_config(), Unpaired(kind="unpaired", root="."))
    assert method.translator(method.networks, "BtoA")(source=torch.zeros(1, 3, *size)).shape == (1, 3, *size)


@torch.no_grad()
def test_the_sample_grid_goes_there_and_back() -> None:
    method = method_of(small_config())
    columns = method.previews(method.networks, pictures(1), StepContext())
    assert list(columns) == ["A", "A to B", "A to B to A", "B", "B to A", "B to A to B"]
    alone = collate([Sample("x", 0, {"source": torch.zeros(3, 8, 8, dtype=torch.uint8)})])
    assert list(method.previews(method.networks, alone, StepContext())) == ["A", "A to B", "A to B to A"]


# Pools


def play(pool: cyclegan.Pool, rounds: range, slots: range, batch: int = 4) -> list[list[float]]:
    """Exchange pictures that hold their number; return the numbers that come back."""
    out = []
    for k in rounds:
        fakes = torch.tensor([float(k * batch + slot) for slot in slots]).view(-1, 1, 1, 1)
        context = StepContext(images_seen=k * batch, seed=3, global_indices=slots)
        out.append([float(x) for x in pool.exchange(fakes, context, 0)])
    return out


def test_a_full_pool_gives_half_old_pictures_of_the_same_slot() -> None:
    rows = play(cyclegan.Pool(5), range(300), range(4))
    old = [(k * 4 + slot) - given for k, row in enumerate(rows) for slot, given in enumerate(row)]
    assert all(age % 4 == 0 and age >= 0 for age in old), "each slot has a pool of its own"
    assert not any(old[: 5 * 4]), "it fills first"
    share = sum(age > 0 for age in old[20:]) / len(old[20:])
    assert 0.45 < share < 0.55
    given = [number for row in rows for number in row]
    returned_later = [number for number in given if given.count(number) > 1]
    assert returned_later and max(given.count(number) for number in given) == 2, "an old picture is replaced"


def test_pools_move_with_their_slots() -> None:
    whole = cyclegan.Pool(5)
    play(whole, range(20), range(4))
    halves = [cyclegan.Pool(5), cyclegan.Pool(5)]
    parts = [range(2), range(2, 4)]
    for half, slots in zip(halves, parts, strict=True):
        play(half, range(20), slots)
    union = {**halves[0].state_dict(parts[0]), **halves[1].state_dict(parts[1])}
    assert union == whole.state_dict(range(4))
    joined, resumed = cyclegan.Pool(5), cyclegan.Pool(5)
    joined.load_state_dict(union)
    resumed.load_state_dict(whole.state_dict(range(4)))
    expected = play(whole, range(20, 40), range(4))
    assert play(joined, range(20, 40), range(4)) == expected
    assert [row[2:] for row in expected] == play(resumed, range(20, 40), range(2, 4))


def test_a_saved_pool_does_not_change_later() -> None:
    pool = cyclegan.Pool(2)
    play(pool, range(3), range(1))
    saved = pool.state_dict(range(1))
    before = [float(x) for x in saved["0"]]
    play(pool, range(3, 30), range(1))
    assert [float(x) for x in saved["0"]] == before


def test_no_pool() -> None:
    pool = cyclegan.Pool(0)
    assert play(pool, range(3), range(2)) == [[0.0, 1.0], [4.0, 5.0], [8.0, 9.0]]
    assert pool.state_dict(range(2)) == {}
