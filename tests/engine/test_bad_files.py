"""A file that goes bad during training ends all processes with its name, or is left out alike by all."""

import json
import re
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from hdtrans.common.errors import UserError
from hdtrans.config.recipe import check_recipe
from hdtrans.data.dataset import TrainingSamples
from hdtrans.data.folders import find_samples
from hdtrans.data.geometry import Geometry
from hdtrans.engine import checkpoint
from hdtrans.engine.checkpoint import Checkpoints
from tests.bars import Figure
from tests.engine.runs import fingerprint
from tests.forked import run_command, two_processes
from tests.mutants.bad_files import agree_on_nothing, note_first_bad_file, repeat_the_last_sample, repeating
from tests.small_runs import small_recipe, toy_data, train_values, write_recipe

pytestmark = pytest.mark.usefixtures("in_fp32")

BAD = "00002.png"


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def city(tmp_path: Path) -> Path:
    """Return a folder of four scenes, one with a photo that is cut off after a sound header."""
    root = toy_data(tmp_path / "city", 4, 1)
    photo = root / "train_img" / BAD
    photo.write_bytes(photo.read_bytes()[:300])
    return root


def recipe(root: Path, out: Path, bad_files: str, batch_size: int, **training: Any) -> dict[str, Any]:
    section = {"device": "cpu", "ema": None, "sample_count": 1, "workers": 0, "save_every": 4, "log_every": 4}
    section |= {"bad_files": bad_files, "precision": "fp64", **training}
    stages = [{"size": "64x32", "epochs": 3, "batch_size": batch_size}]
    return small_recipe(root, out, training=section, stages=stages)


def two(tmp_path: Path, values: dict[str, Any], *change: Any) -> tuple[dict[str, int], str, list[float]]:
    """Train in two processes that change the code first.

    Returns:
        The exit code of each that came to its end, the messages of both, and when they ended.
    """
    file = write_recipe(tmp_path / "recipe.yaml", values)
    ended = two_processes(run_command, "train", [str(file)], *change, folder=tmp_path)
    codes = {str(rank): each.value[0] for rank, each in enumerate(ended) if each.value}
    return codes, "".join(each.said for each in ended), [each.value[1] for each in ended if each.value]


@pytest.mark.bar("B4.2", "a bad file in training ends all processes with its name, or is left out alike")
def test_every_process_ends_with_the_name_of_the_file(city: Path, tmp_path: Path, figure: Figure) -> None:
    change = partial(note_first_bad_file, tmp_path / "seen")
    codes, messages, ends = two(tmp_path, recipe(city, tmp_path / "run", "stop", 1, workers=1), change)
    assert codes == {"0": 2, "1": 2}, messages[-3000:]
    reported = [line for line in messages.splitlines() if line.startswith("hdtrans train: ")]
    assert len(reported) == 1 and BAD in reported[0] and "cut off" in reported[0], messages[-3000:]
    assert "Traceback" not in messages
    seconds = max(ends) - (tmp_path / "seen").stat().st_mtime
    assert seconds < 10
    figure(f"both end {seconds:.1f} s after a worker sees the file")


@pytest.mark.bar("B4.2", "a bad file in training ends all processes with its name, or is left out alike")
@pytest.mark.faults
def test_mutant_whose_processes_do_not_agree(city: Path, tmp_path: Path, figure: Figure) -> None:
    codes, messages, _ = two(tmp_path, recipe(city, tmp_path / "run", "stop", 1, workers=1), agree_on_nothing)
    assert codes == {"1": 2} and "Traceback" in messages, messages[-3000:]
    figure("mutant whose processes do not agree: one ends with the name, the other fails without it")


def weights_apart(first: Path, second: Path) -> float:
    """Return the largest difference between the weights of two runs."""
    weights = [checkpoint.load(Checkpoints(run, 2).files()[0])["networks"] for run in (first, second)]
    return max(float((weights[0][key] - weights[1][key]).abs().max()) for key in weights[0])


@pytest.mark.bar("B4.2", "a bad file in training ends all processes with its name, or is left out alike")
@pytest.mark.faults
def test_mutant_that_repeats_the_last_sample_a_process_read(
    city: Path, tmp_path: Path, figure: Figure, monkeypatch: pytest.MonkeyPatch
) -> None:
    codes, messages, _ = two(tmp_path, recipe(city, tmp_path / "both", "skip", 1), repeat_the_last_sample)
    assert codes == {"0": 0, "1": 0}, messages[-3000:]
    monkeypatch.setattr(TrainingSamples, "__getitem__", repeating(TrainingSamples.__getitem__))
    train_values(recipe(city, tmp_path / "one", "skip", 2))
    apart = weights_apart(tmp_path / "both", tmp_path / "one")
    assert apart > 1e-6
    figure(f"mutant that repeats the last sample a process read: weights {apart:.0e} apart")


@pytest.mark.bar("B4.2", "a bad file in training ends all processes with its name, or is left out alike")
def test_files_are_left_out_the_same_way_by_any_number_of_processes(city: Path, tmp_path: Path) -> None:
    codes, messages, _ = two(tmp_path, recipe(city, tmp_path / "both", "skip", 1, workers=1))
    assert codes == {"0": 0, "1": 0}, messages[-3000:]
    assert len(re.findall(rf"warning: left out: .*{BAD}.*cut off", messages)) == 1
    train_values(recipe(city, tmp_path / "one", "skip", 2))
    runs = [tmp_path / "both", tmp_path / "one"]
    listed = [(run / "bad_files.txt").read_text() for run in runs]
    assert listed[0] == listed[1] and listed[0].count("\n") == 1
    assert "Left out: 1" in (runs[0] / "index.html").read_text() and BAD in (runs[0] / "index.html").read_text()
    assert weights_apart(*runs) < 1e-6
    losses = [[json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()] for run in runs]
    for ours, theirs in zip(*losses, strict=True):
        assert {k: x for k, x in ours.items() if "/" in k} == pytest.approx(
            {k: x for k, x in theirs.items() if "/" in k}, abs=1e-9
        )


def samples(root: Path, skip: bool) -> TrainingSamples:
    made = check_recipe(small_recipe(root, Path("unused")), "test")
    fields = {"label", "photo"}
    return TrainingSamples(find_samples(made.data, "train", fields), fields, made.data, Geometry(), 0, 0, skip)


def test_the_sample_after_it_stands_in(city: Path) -> None:
    sound, skipping = [], samples(city, True)
    for counter in range(8):
        try:
            sound.append(samples(city, False)[counter].name)
        except UserError:
            sound.append("")
    assert sound.count("") == 2, "once in each epoch"
    for counter, name in enumerate(sound):
        sample = skipping[counter]
        later = next(other for other in [*sound[counter:], *sound] if other)
        assert sample.sample_index == counter
        assert sample.name == (name or later) or counter == 7
        assert bool(sample.left_out) == (name == "") and all(BAD in words for words in sample.left_out)


def test_a_folder_without_a_sound_file_is_given_up(city: Path) -> None:
    for file in (city / "train_img").iterdir():
        file.write_bytes(file.read_bytes()[:300])
    with pytest.raises(UserError, match="nor could the 15 samples after it be used"):
        samples(city, True)[0]


def test_a_file_found_before_the_first_step_is_left_out_too(city: Path, tmp_path: Path) -> None:
    (city / "train_img" / BAD).write_bytes(b"nothing")
    with pytest.raises(UserError, match=BAD):
        train_values(recipe(city, tmp_path / "run", "stop", 2))
    folder = train_values(recipe(city, tmp_path / "run", "skip", 2))
    before = fingerprint(checkpoint.load(Checkpoints(folder, 2).files()[0])["networks"])
    assert BAD in (folder / "bad_files.txt").read_text()
    again = train_values(recipe(city, tmp_path / "again", "skip", 2))
    assert fingerprint(checkpoint.load(Checkpoints(again, 2).files()[0])["networks"]) == before
    assert train_values(recipe(city, tmp_path / "run", "skip", 2)) == folder, "the same command goes on"


def test_wrong_classes_are_no_bad_files(city: Path, tmp_path: Path) -> None:
    values = recipe(city, tmp_path / "run", "skip", 2)
    values["data"]["labels"] += 1
    with pytest.raises(UserError, match=r"data\.labels"):
        train_values(values)
