"""Checkpoints: intact or skipped, kept or removed, with tensors and plain values alone."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
import pytest
import torch

from hdtrans.common.errors import UserError
from hdtrans.engine import checkpoint
from hdtrans.engine.checkpoint import Checkpoints, digest_file, find_checkpoint, load
from tests.bars import Figure
from tests.engine.runs import final_state, make_trainer, run_to_the_end, section, subject

STATE: dict[str, Any] = {"networks": {"a.weight": torch.arange(2000.0)}, "recipe": {"name": "x"}, "version": "1"}


def names(folder: Checkpoints) -> list[str]:
    return [file.name for file in folder.files()]


def filled(root: Path, *images: int, keep: int = 10) -> Checkpoints:
    """Return checkpoints saved after these numbers of images."""
    folder = Checkpoints(root, keep)
    for number in images:
        folder.save({**STATE, "images_seen": number}, number)
    return folder


def cut(share: float) -> Callable[[Path], None]:
    return lambda file: file.write_bytes(file.read_bytes()[: int(share * file.stat().st_size)])


def flip(share: float) -> Callable[[Path], None]:
    """Return a function that flips one bit of a file, at a share of its length."""

    def damage(file: Path) -> None:
        data = bytearray(file.read_bytes())
        data[min(len(data) - 1, int(share * len(data)))] ^= 0x10
        file.write_bytes(data)

    return damage


def other_digest(file: Path) -> None:
    digest_file(file).write_text(f"{'0' * 64}  {file.name}\n")


DAMAGE: dict[str, Callable[[Path], None]] = {
    "empty": cut(0),
    "one byte": lambda file: file.write_bytes(b"P"),
    "cut early": cut(0.1),
    "cut in half": cut(0.5),
    "the last byte cut": lambda file: file.write_bytes(file.read_bytes()[:-1]),
    "a byte too many": lambda file: file.write_bytes(file.read_bytes() + b"\0"),
    **{f"a bit flipped at {share}": flip(share) for share in (0.0, 0.01, 0.3, 0.6, 0.95, 1.0)},
    "another digest": other_digest,
    "text": lambda file: file.write_text("not a checkpoint"),
}

# Digests that say nothing about the file, and a part of the warning.
UNVERIFIED: dict[str, tuple[Callable[[Path], object], str]] = {
    "no digest": (lambda file: digest_file(file).unlink(), "is missing"),
    "an empty digest": (lambda file: digest_file(file).write_bytes(b""), "holds no SHA-256"),
    "a digest that is no text": (lambda file: digest_file(file).write_bytes(b"\xff\xfe"), "holds no SHA-256"),
    "a digest that was cut off": (lambda file: digest_file(file).write_text("0" * 63), "holds no SHA-256"),
    "the digest of another file": (
        lambda file: digest_file(file).write_text(f"{'0' * 64}  run/images_000000010.pt\n"),
        "is that of images_000000010.pt",
    ),
}


@pytest.mark.bar("B1.6", "a damaged newest checkpoint is skipped with a warning")
@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_checkpoint_is_skipped_with_a_warning(damage: Callable[[Path], None], tmp_path: Path) -> None:
    folder = filled(tmp_path, 10, 20, 30)
    damage(folder.files()[0])
    warnings: list[str] = []
    found = folder.latest(warnings.append)
    assert found is not None
    assert found.name == "images_000000020.pt"
    assert load(found)["images_seen"] == 20
    assert len(warnings) == 1
    assert "images_000000030.pt" in warnings[0]
    assert "going back to the checkpoint before it" in warnings[0]


@pytest.mark.parametrize("kind", UNVERIFIED)
def test_a_checkpoint_that_nobody_vouches_for_is_used_with_a_warning(kind: str, tmp_path: Path) -> None:
    folder, (change, words) = filled(tmp_path, 10, 20), UNVERIFIED[kind]
    latest = folder.files()[0]
    change(latest)
    warnings: list[str] = []
    assert folder.latest(warnings.append) == latest
    assert torch.equal(load(latest)["networks"]["a.weight"], STATE["networks"]["a.weight"])
    assert len(warnings) == 1 and f"images_000000020.pt: its digest {digest_file(latest).name} {words}" in warnings[0]
    command = warnings[0].partition("write its digest: ")[2]
    subprocess.run(["sh", "-c", command], cwd=latest.parent, check=True)
    assert folder.latest(warnings.append) == latest and len(warnings) == 1
    flip(0.5)(latest)
    change(latest)
    found = folder.latest(warnings.append)
    assert found is not None and found.name == "images_000000010.pt"
    assert "is damaged: the checksum of a part is wrong" in warnings[1]


def test_of_two_after_the_same_images_the_one_with_a_digest_is_used(tmp_path: Path) -> None:
    folder = filled(tmp_path, 10, 20)
    end = folder.save({**STATE, "images_seen": 20}, 20, "train")
    for file in (end, folder.folder / "images_000000020.pt"):
        kept = digest_file(file).read_bytes()
        digest_file(file).unlink()
        found = folder.latest(pytest.fail)
        assert found is not None and found != file and found.name.startswith("images_000000020")
        digest_file(file).write_bytes(kept)


def test_a_checkpoint_renamed_with_its_digest_is_its_own(tmp_path: Path) -> None:
    folder = filled(tmp_path, 10)
    (old,) = folder.files()
    new = old.with_name("images_000000030.pt")
    digest_file(old).rename(digest_file(new))
    old.rename(new)
    assert folder.latest(pytest.fail) == new
    load(new, need_digest=True)


@pytest.mark.bar("B1.6", "a damaged newest checkpoint is skipped with a warning")
@pytest.mark.parametrize("share", [0.3, 0.6])
def test_mutant_without_a_check_loads_a_flipped_bit(share: float, tmp_path: Path, figure: Figure) -> None:
    """Torch alone loads other weights, without an error; without a digest, the checksums inside show it."""
    file = filled(tmp_path, 10).files()[0]
    flip(share)(file)
    weights = torch.load(file, weights_only=True, mmap=True)["networks"]["a.weight"]
    assert not torch.equal(weights, STATE["networks"]["a.weight"])
    figure("mutant without a check: loads a flipped bit")
    digest_file(file).unlink()
    with pytest.raises(UserError, match="is damaged: the checksum of a part is wrong"):
        load(file)


@pytest.mark.bar("B1.6", "a damaged newest checkpoint is skipped with a warning")
@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_file_that_was_named_is_an_error(damage: str, tmp_path: Path) -> None:
    folder = filled(tmp_path, 10, 20)
    latest = folder.files()[0]
    DAMAGE[damage](latest)
    with pytest.raises(UserError, match="images_000000020"):
        load(latest)


def test_a_file_without_a_digest_can_be_named(tmp_path: Path) -> None:
    """A checkpoint copied without its digest still loads."""
    file = filled(tmp_path, 10).files()[0]
    digest_file(file).unlink()
    assert torch.equal(load(file)["networks"]["a.weight"], STATE["networks"]["a.weight"])
    for share in (0.5, 0):
        cut(share)(file)
        with pytest.raises(UserError, match="cannot be read as a checkpoint.*may be cut off"):
            load(file)


def test_no_intact_checkpoint_is_left(tmp_path: Path) -> None:
    folder = filled(tmp_path, 10, 20)
    for file in folder.files():
        cut(0.5)(file)
    warnings: list[str] = []
    assert folder.latest(warnings.append) is None
    assert len(warnings) == 2
    assert Checkpoints(tmp_path / "new", 2).latest(warnings.append) is None
    assert len(warnings) == 2


def test_a_damaged_latest_checkpoint_of_a_run_costs_only_time(tmp_path: Path) -> None:
    whole = run_to_the_end("two_routes", section(keep=2), tmp_path / "whole")
    make_trainer(subject("two_routes"), section(keep=2), tmp_path / "damaged").run()
    flip(0.5)(Checkpoints(tmp_path / "damaged", 2).files()[0])
    again = run_to_the_end("two_routes", section(keep=2), tmp_path / "damaged")
    assert torch.equal(again["networks"]["forth.last.weight"], whole["networks"]["forth.last.weight"])
    assert again["images_seen"] == whole["images_seen"]
    load(Checkpoints(tmp_path / "damaged", 2).files()[0], need_digest=True)


def test_the_latest_are_kept_and_the_ends_of_stages(tmp_path: Path) -> None:
    folder = Checkpoints(tmp_path, keep=2)
    for images in range(1, 10):
        folder.save(STATE, images, stage_end={3: "global", 7: "joint_two"}.get(images))
        whole = [file for file in folder.files() if load(file, need_digest=True)]
        assert len(whole) >= min(2, images)
    assert names(folder) == [
        "images_000000009.pt",
        "images_000000008.pt",
        "images_000000007_joint_two.pt",
        "images_000000003_global.pt",
    ]
    digests = sorted(file.name for file in (tmp_path / "checkpoints").glob("*.sha256"))
    assert digests == sorted(f"{name}.sha256" for name in names(folder))


def test_a_damaged_later_checkpoint_does_not_displace_an_intact_one(tmp_path: Path) -> None:
    folder = filled(tmp_path, 10, 20, 30, 40)
    for file in folder.files()[:2]:
        cut(0.5)(file)
    folder.keep = 2
    assert folder.latest(print) is not None
    folder.save(STATE, 25)  # a signal stopped the run that continued from 20
    latest = folder.latest(print)
    assert latest is not None
    assert latest.name == "images_000000025.pt"
    assert "images_000000020.pt" in names(folder)


def test_more_than_nine_digits_are_in_order(tmp_path: Path) -> None:
    folder = filled(tmp_path, 999_999_999, 1_000_000_000)
    assert names(folder) == ["images_1000000000.pt", "images_999999999.pt"]


def test_files_of_other_names_are_left_alone(tmp_path: Path) -> None:
    folder = filled(tmp_path, 10, 20, keep=2)
    mine = ["best.pt", "images_12.pt", "images_000000005.pt.bak", "images_000000010.notes"]
    for name in mine:
        (folder.folder / name).write_text("mine")
    folder.save(STATE, 30)
    folder.latest(print)
    assert names(folder) == ["images_000000030.pt", "images_000000020.pt"]
    assert all((folder.folder / name).read_text() == "mine" for name in mine)


def test_half_written_files_of_a_killed_process_are_removed(tmp_path: Path) -> None:
    folder = filled(tmp_path, 10)
    part = folder.folder / ".images_000000020.pt.123.abcdef.part"
    part.write_bytes(b"half")
    latest = folder.latest(print)
    assert latest is not None and latest.name == "images_000000010.pt"
    assert not part.exists()


def test_digests_that_a_killed_process_left_alone_are_removed(tmp_path: Path) -> None:
    folder = filled(tmp_path, 10)
    digest_file(folder.folder / "images_000000020.pt").write_text("of a file that was removed\n")
    assert folder.latest(print) == folder.files()[0]
    assert [file.name for file in sorted(folder.folder.iterdir())] == [
        "images_000000010.pt",
        "images_000000010.pt.sha256",
    ]


def test_an_old_checkpoint_that_cannot_be_removed_does_not_stop_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = filled(tmp_path, 10, 20, keep=2)
    with monkeypatch.context() as broken:
        broken.setattr(Path, "unlink", lambda *given, **more: (_ for _ in ()).throw(PermissionError(1, "not allowed")))
        folder.save(STATE, 30)
    assert len(folder.files()) == 3
    folder.save(STATE, 40)
    assert names(folder) == ["images_000000040.pt", "images_000000030.pt"]


def test_a_run_folder_a_folder_of_checkpoints_and_a_file_are_found(tmp_path: Path) -> None:
    folder = filled(tmp_path / "run", 10, 20)
    latest = folder.files()[0]
    assert find_checkpoint(tmp_path / "run") == latest
    assert find_checkpoint(tmp_path / "run" / "checkpoints") == latest
    assert find_checkpoint(folder.files()[1]) == folder.files()[1]
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="holds no checkpoint"):
        find_checkpoint(tmp_path / "empty")
    with pytest.raises(UserError, match="no such run folder"):
        find_checkpoint(tmp_path / "missing")
    with pytest.raises(UserError, match="no such checkpoint"):
        load(tmp_path / "missing.pt")


def test_a_folder_whose_name_is_not_utf_8(tmp_path: Path) -> None:
    folder = filled(tmp_path / os.fsdecode(b"r\xffn"), 10)
    latest = folder.latest(pytest.fail)
    assert latest is not None and torch.equal(load(latest)["networks"]["a.weight"], STATE["networks"]["a.weight"])


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    torch.save({"state_dict": {"a": torch.zeros(1)}}, tmp_path / "other.pt")
    with pytest.raises(UserError, match="no checkpoint of hdtrans"):
        load(tmp_path / "other.pt")
    torch.save([1, 2], tmp_path / "list.pt")
    with pytest.raises(UserError, match="no checkpoint of hdtrans"):
        load(tmp_path / "list.pt")


class Dangerous:
    """Object that runs code when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return print, ("code was run",)


def test_a_file_that_would_run_code_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    checkpoint.save(tmp_path / "evil.pt", {**STATE, "extra": Dangerous()})
    with pytest.raises(UserError, match="cannot be read as a checkpoint"):
        load(tmp_path / "evil.pt")
    assert "code was run" not in capsys.readouterr().out


def test_a_later_format_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint, "FORMAT", 99)
    checkpoint.save(tmp_path / "later.pt", STATE)
    monkeypatch.undo()
    with pytest.raises(UserError, match="written by a later hdtrans .1.; update hdtrans"):
        load(tmp_path / "later.pt")


def check_plain(value: Any) -> None:
    if isinstance(value, dict):
        for key, each in value.items():
            assert type(key) in (str, int)
            check_plain(each)
    elif isinstance(value, list | tuple):
        for each in value:
            check_plain(each)
    else:
        assert value is None or type(value) in (torch.Tensor, int, float, str, bool), type(value)


def hold_plain(file: Path) -> dict[str, Any]:
    """Assert that a checkpoint holds tensors and plain values, by names without wrappers; return it."""
    state: dict[str, Any] = torch.load(file, weights_only=True)
    check_plain(state)
    assert not [key for key in state["networks"] if key.startswith("module.") or ".module." in key]
    return state


@pytest.mark.bar("B5.3", "checkpoints hold tensors and plain values")
@pytest.mark.parametrize("precision", ["fp32", "fp16", "fp64"])
def test_checkpoints_of_runs_hold_tensors_and_plain_values(precision: str, tmp_path: Path) -> None:
    make_trainer(subject("two_routes"), section(precision=precision), tmp_path).run()
    state = hold_plain(Checkpoints(tmp_path, 2).files()[0])
    assert set(final_state(tmp_path)) == set(state)


@pytest.mark.bar("B5.3", "checkpoints hold tensors and plain values")
def test_mutants_that_save_something_else_are_seen(tmp_path: Path, figure: Figure) -> None:
    others = {
        "the state of numpy's generator": np.random.RandomState(0).get_state(),
        "a parameter": torch.nn.Parameter(torch.zeros(2)),
        "a type": torch.float32,
    }
    for value in others.values():
        checkpoint.save(tmp_path / "mutant.pt", {**STATE, "extra": value})
        with pytest.raises((UnpicklingError, AssertionError)):
            hold_plain(tmp_path / "mutant.pt")
    checkpoint.save(tmp_path / "mutant.pt", {**STATE, "networks": {"a.module.weight": torch.zeros(2)}})
    with pytest.raises(AssertionError, match=r"a\.module\.weight"):
        hold_plain(tmp_path / "mutant.pt")
    figure(f"mutants with {', '.join(others)} or a wrapper's names: 4 of 4 seen")


def test_saving_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    folder = filled(tmp_path, 10)
    before = folder.files()[0].read_bytes()
    with pytest.raises(AttributeError):  # a local function cannot be stored
        folder.save({**STATE, "extra": lambda: 0}, 10)
    assert folder.files()[0].read_bytes() == before
    load(folder.files()[0], need_digest=True)
