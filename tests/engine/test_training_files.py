"""A run that goes on notices exchanged training files: other samples are refused, other contents warned of."""

import json
import os
import shutil
from pathlib import Path

import pytest

from hdtrans.data.folders import find_samples
from hdtrans.data.kinds.label_maps import Section as LabelMaps
from hdtrans.engine.training_files import SamplesChanged, TrainingFiles
from hdtrans.prepare.writing.shards import write_shards
from tests.small_runs import small_recipe, toy_data, train_values

SOON = 2_000_000_000  # seconds since 1970


def present(root: Path, content: bool = False) -> TrainingFiles:
    """Return the training files of a toy city."""
    data = LabelMaps(root=root, labels=19)
    return TrainingFiles.of(root, find_samples(data, "train", ("label", "photo")), content)


@pytest.fixture
def city(tmp_path: Path) -> Path:
    """Make a folder of 12 samples that nobody reads."""
    for folder in ("train_label", "train_img"):
        (tmp_path / "city" / folder).mkdir(parents=True)
        for number in range(12):
            (tmp_path / "city" / folder / f"{number:05d}.png").write_bytes(b"x" * (100 + number))
    return tmp_path / "city"


def warned(now: TrainingFiles, before: TrainingFiles) -> list[str]:
    """Return the lines of the warnings."""
    warnings: list[str] = []
    now.check(before, warnings.append)
    return [line.strip() for warning in warnings for line in warning.splitlines()]


def test_files_are_recorded_and_read_again(city: Path, tmp_path: Path) -> None:
    files = present(city)
    state = (city / "train_img" / "00003.png").stat()
    assert len(files.samples) == 12 and len(files.files) == 24 and files.samples[3] == "00003"
    assert files.files["train_img/00003.png"] == (state.st_size, int(state.st_mtime))
    files.write(tmp_path / "run")
    again = TrainingFiles.read(tmp_path / "run")
    assert again is not None and warned(again, files) == warned(files, again) == []
    assert TrainingFiles.read(tmp_path / "other") is None
    (tmp_path / "run" / "training_files.json").write_text("{")
    assert TrainingFiles.read(tmp_path / "run") is None


def test_other_contents_are_listed(city: Path) -> None:
    before = present(city)
    larger, later, converted = (city / "train_img" / f"{n:05d}.png" for n in (1, 2, 3))
    larger.write_bytes(larger.read_bytes() + b"\0")
    os.utime(larger, (SOON, SOON))
    os.utime(later, (SOON, SOON))
    converted.rename(converted.with_suffix(".jpg"))
    first, *lines = warned(present(city), before)
    assert first.startswith(f"warning: data.root={city}: 4 of 24 training files changed")
    assert len(lines) == 4
    size = f"{larger.stat().st_size:,}"
    assert any(line.startswith(f"train_img/00001.png: {size} bytes, was ") for line in lines)
    assert any(line.startswith("train_img/00002.png: changed 2033-05-1") for line in lines)
    assert {"train_img/00003.png: missing", "train_img/00003.jpg: new"} < set(lines)
    for file in (city / "train_label").iterdir():
        os.utime(file, (SOON, SOON))
    first, *lines = warned(present(city), before)
    assert "16 of 24" in first and len(lines) == 11 and lines[-1] == "and 6 more"


def test_contents_are_compared_on_request(city: Path, tmp_path: Path) -> None:
    before = present(city, content=True)
    assert len(before.digests) == 24
    before.write(tmp_path / "run")
    read = TrainingFiles.read(tmp_path / "run")
    assert read is not None
    touched, exchanged = (city / "train_img" / f"{n:05d}.png" for n in (1, 2))
    os.utime(touched, (SOON, SOON))
    state = exchanged.stat()
    exchanged.write_bytes(b"y" * state.st_size)
    os.utime(exchanged, (state.st_atime, state.st_mtime))
    lines = warned(present(city, content=True), read)
    assert lines[0].startswith("warning: ") and "1 of 24 training files" in lines[0]
    assert lines[1:] == ["train_img/00002.png: has another content"]
    assert any("00001.png: changed" in line for line in warned(present(city), read))  # by their times


def test_times_of_a_copy_say_nothing_and_its_sizes_do(city: Path, tmp_path: Path) -> None:
    before = present(city)
    shutil.copytree(city, tmp_path / "copy", copy_function=shutil.copyfile)
    assert warned(present(tmp_path / "copy"), before) == []
    (tmp_path / "copy" / "train_img" / "00001.png").write_bytes(b"x")
    assert "1 of 24" in warned(present(tmp_path / "copy"), before)[0]


def test_files_in_shards_are_known_by_their_own_names(city: Path, tmp_path: Path) -> None:
    before = present(city)
    write_shards(city, tmp_path / "shards", 1 << 16)
    packed = present(tmp_path / "shards")
    assert packed.files.keys() == before.files.keys() and warned(packed, before) == []
    for shard in (tmp_path / "shards").glob("*.tar"):
        os.utime(shard, (SOON, SOON))
    assert "24 of 24" in warned(present(tmp_path / "shards"), packed)[0]


def test_other_samples_are_refused(city: Path) -> None:
    before = present(city)
    for folder in ("train_label", "train_img"):
        (city / folder / "00004.png").rename(city / folder / "new.png")
    with pytest.raises(SamplesChanged) as caught:
        present(city).check(before, pytest.fail)
    assert caught.value.new == ("new",) and caught.value.gone == ("00004",)
    assert "1 new:\n  new\n1 missing:\n  00004\nBring the files back" in str(caught.value)


def test_a_run_goes_on_with_exchanged_files_and_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    city, out = toy_data(tmp_path / "city", 2, 1), tmp_path / "run"

    def train() -> str:
        train_values(small_recipe(city, out))
        return capsys.readouterr().err

    train()
    assert "training files" not in train()
    os.utime(city / "train_inst" / "00001.png", (SOON, SOON))
    assert "1 of 6 training files changed" in train()
    assert "training files" not in train()
    (out / "training_files.json").unlink()  # as runs of before
    os.utime(city / "train_inst" / "00001.png", (0, 0))
    assert "training files" not in train()
    for folder in ("train_label", "train_inst", "train_img"):
        (city / folder / "00000.png").rename(city / folder / "9.png")
    with pytest.raises(SamplesChanged):
        train()
    assert json.loads((out / "training_files.json").read_text())["samples"] == ["00000", "00001"]
