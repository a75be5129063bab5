"""Validation during training: its pictures, the best checkpoint, early stopping, and equal decisions on resume."""

import contextlib
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from hdtrans.common.errors import UserError
from hdtrans.data.batch import collate
from hdtrans.engine import checkpoint
from hdtrans.engine.checkpoint import Checkpoints, find_checkpoint
from hdtrans.engine.run_folder import differences
from tests.engine.runs import Interrupted, Notes, final_state, fingerprint, make_trainer, section, subject
from tests.engine.validating import COUNT, Distances, Scenes, Scripted, best_files, one_thread, validation
from tests.engine.validation_jobs import figures_of_fixed_weights, run_jobs
from tests.forked import values_of_two

STEPS = 6  # two stages of a toy, 2 images a step


def test_the_averaged_networks_are_judged_on_fixed_pictures(tmp_path: Path) -> None:
    judge, notes = Distances(), Notes()
    trainer = make_trainer(subject("adversarial"), section(), tmp_path, notes, validation=validation(judge))
    trainer.run()
    assert [images for images, *_ in notes.validations] == [2, 4, 6, 8, 10, 12]
    assert [name for name, _ in judge.shown] == [f"place{n}" for n in range(COUNT)] * STEPS
    assert trainer.ema is not None
    generator = trainer.ema.networks["generator"]
    for place, (_, picture) in enumerate(judge.shown[-COUNT:]):
        source = Scenes(1)[place]["source"]
        assert source is not None
        with torch.no_grad():
            torch.testing.assert_close(picture, generator(source[None].float() / 127.5 - 1), atol=0, rtol=0)
    shown = [picture for _, picture in judge.shown[-COUNT:]]
    again = [Distances().measure(collate([Scenes(1)[place]]), picture) for place, picture in enumerate(shown)]
    assert notes.validations[-1][2] == judge.figures(again)


def test_fewer_pictures_are_spread_over_the_samples(tmp_path: Path) -> None:
    judge = Distances()
    make_trainer(subject("adversarial"), section(), tmp_path, validation=validation(judge, pictures=3)).run()
    assert [name for name, _ in judge.shown[:3]] == ["place0", "place3", "place6"]


@pytest.mark.parametrize("name", ["two_routes", "penalised"])
def test_training_is_the_same_with_and_without_it(name: str, tmp_path: Path) -> None:
    ends = {}
    for folder, judge in (("with", validation(Scripted(3, 2, 1), every=2)), ("without", None)):
        make_trainer(subject(name), section(), tmp_path / folder, validation=judge).run()
        state = final_state(tmp_path / folder)
        assert (state.pop("validation") is None) == (judge is None)
        ends[folder] = fingerprint(state)
    assert ends["with"] == ends["without"]


def test_the_best_of_the_stage_at_work_is_kept(tmp_path: Path) -> None:
    """The second stage begins anew, though its figures are worse; a non-finite figure is never best."""
    notes, script = Notes(), Scripted(math.nan, 0.5, 0.6, 0.9, 0.8, 0.85)
    training = section(keep=2, save_every=2)
    make_trainer(subject("adversarial"), training, tmp_path, notes, validation=validation(script)).run()
    assert [images for images, *_, best in notes.validations if best == "l1"] == [4, 8, 10]
    assert best_files(tmp_path) == ["best_000000010.pt"]
    best = find_checkpoint(tmp_path / "best")
    state = checkpoint.load(best, need_digest=True)
    assert state["images_seen"] == 10 and state["validation"]["best"] == 0.8
    assert best not in Checkpoints(tmp_path, 2).files() and find_checkpoint(tmp_path) != best
    assert not list((tmp_path / "checkpoints").glob("best_*8.pt*"))


def test_higher_is_better_for_some_figures() -> None:
    judging = validation(Scripted(0), metrics=("psnr",), best="psnr")
    assert [judging.take({"psnr": value}, images) for images, value in enumerate((20.0, 19.0, 21.0, 21.0))] == [
        True,
        False,
        True,
        False,
    ]
    assert judging.standing.best_images == 2 and judging.standing.stale == 1


def test_patience_ends_a_stage_and_the_next_begins(tmp_path: Path) -> None:
    notes = Notes()
    judging = validation(Scripted(0.5, 0.6, 0.7, 0.8, 0.9, 1.0), patience=1)
    make_trainer(subject("adversarial"), section(), tmp_path, notes, validation=judging).run()
    assert [(images, stage) for images, stage, *_ in notes.validations] == [
        (2, "stage0"),
        (4, "stage0"),
        (6, "stage1"),
        (8, "stage1"),
    ]
    reported = [words for words in notes.messages if "ends early" in words]
    assert len(reported) == 2 and "l1 was not better in 1 validations than 0.5 after 2 images" in reported[0]
    ends = [file.name for file in Checkpoints(tmp_path, 2).files() if "stage" in file.name]
    assert ends == ["images_000000008_stage1.pt", "images_000000004_stage0.pt"]


def test_the_same_command_again_does_not_continue_and_reports_it(tmp_path: Path) -> None:
    def run(patience: int) -> Notes:
        notes = Notes()
        judging = validation(Scripted(0.5, 0.6), patience=patience)
        make_trainer(subject("adversarial"), section(), tmp_path, notes, validation=judging).run()
        return notes

    run(1)
    before = fingerprint(final_state(tmp_path))
    again = run(1)
    assert again.steps == 0 and not again.validations and fingerprint(final_state(tmp_path)) == before
    assert [words for words in again.messages if "does not continue unless you raise that" in words]
    more = run(5)
    assert more.steps == 1 and final_state(tmp_path)["images_seen"] == 10, "one step was left of the last stage"


@pytest.mark.parametrize("name", ["adversarial", "two_routes"])
@pytest.mark.parametrize("steps", [2, 3, 5])
def test_a_continued_run_decides_as_one_that_never_stopped(name: str, steps: int, tmp_path: Path) -> None:
    def run(folder: str, **stop: int) -> list[Any]:
        notes = Notes(**stop)
        judging = validation(Distances(scrambled=True), patience=2)
        training = section(save_every=4)
        with contextlib.suppress(Interrupted):
            make_trainer(subject(name), training, tmp_path / folder, notes, validation=judging).run()
        return notes.validations

    whole = run("whole")
    stopped = run("parts", stop_after=steps)
    after = run("parts")
    assert {best for *_, best in whole} == {"l1", None}, "else nothing has to be remembered"
    assert after == whole[len(whole) - len(after) :]
    known = {entry[0]: entry for entry in whole}
    assert all(known[entry[0]] == entry for entry in stopped)
    assert fingerprint(final_state(tmp_path / "parts")) == fingerprint(final_state(tmp_path / "whole"))
    assert best_files(tmp_path / "parts") == best_files(tmp_path / "whole")


def test_other_figures_or_pictures_begin_anew() -> None:
    judging = validation(Scripted(0.5))
    judging.begin(0)
    judging.take({"l1": 0.5}, 2)
    state = judging.state_dict()
    same, other = validation(Scripted(0)), validation(Scripted(0), pictures=3)
    for each in (same, other):
        each.load_state_dict(state)
        each.begin(0)
    assert same.standing.best == 0.5 and other.standing.best is None


def test_the_section_validate_may_change_alone() -> None:
    was: dict[str, Any] = {"training": {"seed": 0}, "validate": None, "stages": [{"epochs": 1}]}
    now = {**was, "validate": {"every": 5, "metrics": ["l1"]}}
    assert differences(was, now) == [] and differences(now, was) == []
    assert differences(was, {**now, "training": {"seed": 1}}) == ["training.seed: was 0, is 1"]


def test_a_missing_best_checkpoint_is_reported(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no best checkpoint"):
        find_checkpoint(tmp_path / "best")
    checkpoints = Checkpoints(tmp_path, 2)
    first = checkpoints.save_best({"networks": {}, "recipe": {}}, 5)
    leftover = first.with_name("best_000000003.pt")
    leftover.write_bytes(b"of a killed process")
    assert find_checkpoint(tmp_path / "best") == first
    checkpoints.save_best({"networks": {}, "recipe": {}}, 4)
    assert best_files(tmp_path) == ["best_000000004.pt"] and not first.with_name(f"{first.name}.sha256").exists()


def test_a_sample_that_cannot_be_measured_ends_the_run(tmp_path: Path) -> None:
    judging = validation(Distances("place4"))
    with pytest.raises(UserError, match="place4: cannot be measured"):
        make_trainer(subject("adversarial"), section(), tmp_path, validation=judging).run()


def test_two_processes_come_to_the_bits_of_one(tmp_path: Path) -> None:
    """For the same weights; both decide alike; a sample that one cannot measure ends both with the same message."""
    one_thread()
    ends = values_of_two(run_jobs, tmp_path, folder=tmp_path)
    assert ends[0] == ends[1]
    assert ends[0]["figures"] == figures_of_fixed_weights(None) and ends[0]["figures"]["l1"] > 0
    assert ends[0]["refused"] == "place3: cannot be measured"
    assert ends[0]["standing"]["stale"] == 1, "the second stage ended early"
    assert best_files(tmp_path) == [f"best_{ends[0]['standing']['best_images']:09d}.pt"]
