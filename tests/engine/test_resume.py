"""A run stopped anywhere and continued ends bit for bit as one that never stopped."""

import copy
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from hdtrans.common.errors import Stopped, UserError
from hdtrans.engine import checkpoint
from hdtrans.engine.checkpoint import Checkpoints
from tests.bars import Figure
from tests.engine.runs import (
    JUDGED,
    PICTURE_METHODS,
    PIX2PIXHD,
    Interrupted,
    Notes,
    fingerprint,
    make_trainer,
    run_to_the_end,
    section,
    subject,
)
from tests.engine.toys import TOYS

STEPS = {
    **dict.fromkeys((*PIX2PIXHD, *JUDGED), 3 + 3 + 6),
    **dict.fromkeys((*TOYS, *PICTURE_METHODS), 3 + 3),
}  # of all stages
BOUNDARIES = {**dict.fromkeys(PIX2PIXHD, (3, 6)), **dict.fromkeys((*TOYS, *PICTURE_METHODS), (3,))}


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[Path, str]]:
    """Return the folder and the final fingerprint of a run that never stopped; made once."""
    made: dict[str, tuple[Path, str]] = {}

    def run(name: str) -> tuple[Path, str]:
        if name not in made:
            folder = tmp_path_factory.mktemp(name)
            notes = Notes()
            make_trainer(subject(name), section(), folder, notes).run()
            assert notes.steps == STEPS[name]
            made[name] = folder, fingerprint(checkpoint.load(Checkpoints(folder, 2).files()[0]))
        return made[name]

    return run


Uninterrupted = Callable[[str], tuple[Path, str]]


def points(name: str) -> list[int]:
    """Return the steps after which to stop: all of a toy; a choice of the others, stage boundaries included."""
    if name in PICTURE_METHODS:
        return [2, 3, 5]
    if name in JUDGED:
        return [11]  # the probability of the augmentation has moved before the checkpoint
    return list(range(1, STEPS[name] + 1)) if name in TOYS else [1, 2, 3, 4, 6, 8, 12]


@pytest.mark.bar("B1.3", "resume is equal by hash, and each component that is left out is seen")
@pytest.mark.parametrize(("name", "steps"), [(name, k) for name in STEPS for k in points(name)])
def test_a_run_that_died_goes_on_from_its_last_checkpoint(
    name: str, steps: int, uninterrupted: Uninterrupted, tmp_path: Path
) -> None:
    training = section(save_every=4)  # the run dies up to two steps after a checkpoint
    with pytest.raises(Interrupted):
        make_trainer(subject(name), training, tmp_path, Notes(stop_after=steps)).run()
    assert fingerprint(run_to_the_end(name, training, tmp_path)) == uninterrupted(name)[1]


@pytest.mark.parametrize(("name", "steps"), [("two_routes", 2), ("two_routes", 3), ("pix2pixhd", 5), ("pix2pixhd", 6)])
def test_a_signal_saves_and_the_same_command_goes_on(
    name: str, steps: int, uninterrupted: Uninterrupted, tmp_path: Path
) -> None:
    training = section(save_every=1000)
    with pytest.raises(Stopped) as stopped:
        make_trainer(subject(name), training, tmp_path, Notes(signal_after=steps)).run()
    assert stopped.value.exit_code == 143
    state = checkpoint.load(Checkpoints(tmp_path, 2).files()[0])
    assert state["images_seen"] == 2 * (steps + 1), "the signal came after the check of its own step"
    assert fingerprint(run_to_the_end(name, training, tmp_path)) == uninterrupted(name)[1]


@pytest.mark.unhurried
@pytest.mark.parametrize(("name", "workers"), [("penalised", 2), ("pix2pixhd", 2)])
@pytest.mark.parametrize("at_boundary", [False, True])
def test_workers_change_nothing(
    name: str, workers: int, at_boundary: bool, uninterrupted: Uninterrupted, tmp_path: Path
) -> None:
    steps = BOUNDARIES[name][0] + (0 if at_boundary else 2)
    with pytest.raises(Interrupted):
        make_trainer(subject(name), section(workers=workers), tmp_path, Notes(stop_after=steps + 1)).run()
    assert fingerprint(run_to_the_end(name, section(workers=workers), tmp_path)) == uninterrupted(name)[1]


def test_a_run_that_is_stopped_after_every_step_ends_the_same(uninterrupted: Uninterrupted, tmp_path: Path) -> None:
    for _ in range(STEPS["two_routes"]):
        with pytest.raises(Interrupted):  # each time after a second step, which is lost
            make_trainer(subject("two_routes"), section(), tmp_path, Notes(stop_after=2)).run()
            raise Interrupted  # the last one has one step left
    assert fingerprint(run_to_the_end("two_routes", section(), tmp_path)) == uninterrupted("two_routes")[1]


def test_a_finished_run_does_nothing_more(uninterrupted: Uninterrupted, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(uninterrupted("adversarial")[0], folder)
    before = {file: file.stat().st_mtime_ns for file in (folder / "checkpoints").iterdir()}
    notes = Notes()
    make_trainer(subject("adversarial"), section(), folder, notes).run()
    assert notes.steps == 0
    assert {file: file.stat().st_mtime_ns for file in (folder / "checkpoints").iterdir()} == before


def _fresh(name: str) -> Any:
    """Return an untrained trainer, whose state stands for a component that was not saved."""
    trainer = make_trainer(subject(name), section())
    assert trainer.ema is not None
    return trainer


def _without(name: str, component: str, state: dict[str, Any]) -> None:
    """Reset one component of a checkpoint to its initial state."""
    training = state["training"]
    if component == "networks":
        state["networks"] = dict(_fresh(name).networks.state_dict())
    elif component == "ema":
        state["ema"] = dict(_fresh(name).ema.networks.state_dict())
    elif component in ("images", "images_seen"):
        state[component] -= 2
    elif component == "memory":
        training["memory"] = {}
    elif component.startswith("memory/"):
        _, pool, slot = component.split("/")
        del training["memory"][pool][slot]
    elif component.startswith("optimizer/"):
        training["optimizers"][component.removeprefix("optimizer/")]["state"] = {}
    elif component.startswith("network/"):
        network = component.removeprefix("network/")
        fresh = _fresh(name).networks.state_dict()
        state["networks"] |= {key: value for key, value in fresh.items() if key.startswith(f"{network}.")}
    else:
        raise AssertionError(component)


MUTATIONS = [
    ("adversarial", "networks"),
    ("adversarial", "ema"),
    ("adversarial", "images"),
    ("adversarial", "optimizer/discriminator"),
    ("adversarial", "optimizer/generator"),
    ("two_routes", "images_seen"),
    ("two_routes", "memory"),
    ("two_routes", "memory/a/1"),
    ("two_routes", "memory/b/0"),
    ("two_routes", "network/critic_a"),
    ("penalised", "images"),
    ("penalised", "images_seen"),
    ("penalised", "optimizer/penalty"),
    ("pix2pixhd", "ema"),
    ("pix2pixhd", "network/trunk"),
    ("pix2pixhd", "network/discriminator1"),
    ("pix2pixhd", "optimizer/generator"),
    ("pix2pixhd", "optimizer/discriminator"),
    ("pix2pixhd_features", "ema"),
    ("pix2pixhd_features", "network/encoder"),
]


@pytest.mark.bar("B1.3", "resume is equal by hash, and each component that is left out is seen")
@pytest.mark.parametrize(("name", "component"), [("two_routes", ""), ("penalised", ""), *MUTATIONS])
def test_everything_in_a_checkpoint_is_needed(
    name: str, component: str, uninterrupted: Uninterrupted, tmp_path: Path, figure: Figure
) -> None:
    folder, wanted = uninterrupted(name)
    steps = 8 if name in PIX2PIXHD else 5  # inside the last stage
    state = copy.deepcopy(checkpoint.load(folder / "checkpoints" / f"images_{2 * steps:09d}.pt"))
    if component:
        _without(name, component, state)
    trainer = make_trainer(subject(name), section())
    trainer.save.checkpoints = Checkpoints(tmp_path, 100)
    trainer.restore(state)
    trainer.run()
    final = checkpoint.load(Checkpoints(tmp_path, 2).files()[0])
    assert (fingerprint(final) == wanted) == (component == "")
    if component:
        figure(f"mutant without {component.split('/')[0]}: seen")


@pytest.mark.bar("B1.3", "resume is equal by hash, and each component that is left out is seen")
def test_the_scale_of_fp16_gradients_is_needed(tmp_path: Path, figure: Figure) -> None:
    training = section(precision="fp16")
    full = run_to_the_end("adversarial", training, tmp_path / "full")
    scales = [scaler["scale"] for scaler in full["training"]["scalers"].values()]
    assert min(scales) < 2.0**16, "nothing overflowed: the test shows nothing"
    middle = checkpoint.load(tmp_path / "full" / "checkpoints" / "images_000000010.pt")
    finals = []
    for dropped in (False, True):
        state = copy.deepcopy(middle)
        if dropped:
            for scaler in state["training"]["scalers"].values():
                scaler["scale"] = 2.0**16
        trainer = make_trainer(subject("adversarial"), training)
        trainer.save.checkpoints = Checkpoints(tmp_path / str(dropped), 100)
        trainer.restore(state)
        trainer.run()
        finals.append(checkpoint.load(Checkpoints(tmp_path / str(dropped), 2).files()[0]))
    assert fingerprint(finals[0]) == fingerprint(full)
    assert fingerprint(finals[1]["networks"]) != fingerprint(full["networks"])
    figure("mutant without the scale of fp16: seen")


def test_another_product_of_processes_and_batch_is_refused(uninterrupted: Uninterrupted, tmp_path: Path) -> None:
    for steps in (2, 3, 5):  # in a stage, at its end, in the next
        state = checkpoint.load(next(uninterrupted("adversarial")[0].glob(f"checkpoints/images_{2 * steps:09d}*.pt")))
        with pytest.raises(UserError, match=r"stage\d.* 2 images.* 3 \(1 process.* batch_size 3"):
            trainer = make_trainer(subject("adversarial", batch_size=3), section())
            trainer.restore(state)


def test_resuming_leaves_the_checkpoint_file_as_it_was(uninterrupted: Uninterrupted, tmp_path: Path) -> None:
    source = uninterrupted("two_routes")[0] / "checkpoints" / "images_000000004.pt"
    file = tmp_path / source.name
    shutil.copy(source, file)
    before = file.read_bytes()
    trainer = make_trainer(subject("two_routes"), section())
    trainer.restore(checkpoint.load(file))
    trainer.run()
    assert file.read_bytes() == before, "tensors read by memory mapping were trained in place"


def test_longer_last_stage_goes_on(tmp_path: Path) -> None:
    run_to_the_end("two_routes", section(), tmp_path / "short")
    make_longer = subject("two_routes")
    make_longer.stages = [make_longer.stages[0], make_longer.stages[1].model_copy(update={"epochs": 2.0})]
    make_trainer(make_longer, section(), tmp_path / "short").run()
    whole = subject("two_routes")
    whole.stages = make_longer.stages
    make_trainer(whole, section(), tmp_path / "long").run()
    states = [checkpoint.load(Checkpoints(tmp_path / name, 2).files()[0]) for name in ("short", "long")]
    assert states[0]["images_seen"] == 16
    assert fingerprint(states[0]) == fingerprint(states[1])


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)
