"""Commands that write into a folder refuse one that another process writes to; those that read do not."""

from pathlib import Path

import pytest

from hdtrans.cli import run_tool
from hdtrans.common.folder_lock import LOCK_FILE, FolderLock, LostFolder
from tests.prepare.made import grey_folder
from tests.small_runs import made_checkpoint, small_recipe, toy_data, train_values, write_recipe


@pytest.fixture(scope="module")
def city(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy_data(tmp_path_factory.mktemp("owned") / "city")


@pytest.mark.parametrize("name", ["train", "infer", "evaluate", "prepare", "shards", "make_toycity"])
def test_a_folder_in_use_is_refused(name: str, city: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    values = small_recipe(city, out)
    model = tmp_path / "model.pt"
    if name == "evaluate":
        made_checkpoint(model, values["data"], values["method"])
    (classes := tmp_path / "names.txt").write_text("road\ncar\nsky\n")
    commands = {
        "train": ["train", write_recipe(tmp_path / "r.yaml", values)],
        "infer": ["infer", model, "--input", city / "test_label", "--out", out],
        "evaluate": ["evaluate", model, "--metrics", "l1", "--pictures", out, "--out", tmp_path / "s.json"],
        "prepare": ["prepare", "folder", "--in", grey_folder(tmp_path / "in"), "--out", out, "--classes", classes],
        "shards": ["prepare", "shards", "--in", city, "--out", out],
        "make_toycity": ["make_toycity", "--out", out, "--train", "1", "--test", "0", "--size", "64x32"],
    }
    tool, *words = map(str, commands[name])
    with FolderLock(out):
        before = (out / LOCK_FILE).read_bytes()
        assert run_tool(tool, words) == 2
        message = capsys.readouterr().err
        place = {"train": "out=", "evaluate": "--pictures "}.get(name, "--out ")
        assert f"hdtrans {tool}: {place}{out}: is in use: process " in message, message
        assert [file.name for file in out.iterdir()] == [LOCK_FILE] and (out / LOCK_FILE).read_bytes() == before


def test_a_run_in_training_can_be_read(city: Path, tmp_path: Path) -> None:
    values = small_recipe(city, tmp_path / "run")
    made_checkpoint(tmp_path / "run" / "checkpoints" / "images_000000007.pt", values["data"], values["method"])
    with FolderLock(tmp_path / "run"):
        words = [tmp_path / "run", "--input", city / "test_label", "--out", tmp_path / "pictures"]
        assert run_tool("infer", [str(word) for word in words]) == 0
    assert not (tmp_path / "pictures" / LOCK_FILE).exists()


def test_a_run_whose_folder_was_taken_over_saves_nothing(
    city: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def taken(lock: FolderLock) -> None:
        assert lock.owner is not None
        raise LostFolder(lock.folder, lock.owner)

    monkeypatch.setattr(FolderLock, "verify", taken)
    with pytest.raises(LostFolder):
        train_values(small_recipe(city, tmp_path / "run"))
    assert not (tmp_path / "run" / "checkpoints").exists() and not (tmp_path / "run" / LOCK_FILE).exists()
