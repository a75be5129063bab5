import contextlib
import errno
import json
import os
import re
import resource
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hdtrans.cli import run_tool
from hdtrans.common.errors import UserError
from hdtrans.common.files import (
    PART_SUFFIX,
    append_line,
    fitting_name,
    of_the_system,
    plain_path,
    whole_file,
    write_bytes,
    write_text,
)
from hdtrans.common.yaml_text import read_yaml, yaml_text


@contextlib.contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Make the kernel refuse bytes beyond `size`, as a full disk does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_writes_replace_and_leave_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "new" / "folder" / "notes.txt"
    write_text(target, "erste Zeile: grün\n")
    write_bytes(target, b"second")
    assert target.read_bytes() == b"second"
    assert os.listdir(target.parent) == ["notes.txt"]


def test_files_have_the_usual_mode(tmp_path: Path) -> None:
    (tmp_path / "usual").write_bytes(b"")
    write_bytes(tmp_path / "ours", b"")
    assert stat.S_IMODE((tmp_path / "ours").stat().st_mode) == stat.S_IMODE((tmp_path / "usual").stat().st_mode)


def test_an_error_in_the_block_keeps_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "state.pt"
    target.write_bytes(b"old")
    with pytest.raises(KeyError), whole_file(target) as file:
        file.write(b"half of the new")
        file.flush()
        assert target.read_bytes() == b"old"
        raise KeyError("in the middle")
    assert target.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["state.pt"]


def test_an_operating_system_error_of_the_block_itself_is_not_blamed_on_the_target(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), whole_file(tmp_path / "state.pt") as file:
        file.write((tmp_path / "missing").read_bytes())
    assert os.listdir(tmp_path) == []


def test_streams_can_seek(tmp_path: Path) -> None:
    with whole_file(tmp_path / "x") as file:
        file.write(b"?ello")
        file.seek(0)
        file.write(b"h")
    assert (tmp_path / "x").read_bytes() == b"hello"


def test_a_full_disk_is_reported_with_the_bytes(tmp_path: Path) -> None:
    target = tmp_path / "state.pt"
    target.write_bytes(b"old")
    with largest_file(3_000_000), pytest.raises(UserError) as caught:
        write_bytes(target, bytes(5_000_000))
    assert str(target) in str(caught.value)
    assert "5,000,000 bytes needed" in str(caught.value)
    assert "bytes are free" in str(caught.value)
    assert target.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["state.pt"]


def test_a_full_disk_is_reported_even_if_the_block_hides_it(tmp_path: Path) -> None:
    def swallow() -> None:
        with whole_file(tmp_path / "x") as file:
            for _ in range(5):
                with contextlib.suppress(OSError):
                    file.write(bytes(2_000_000))

    def disguise() -> None:
        with whole_file(tmp_path / "x") as file:
            try:
                file.write(bytes(9_000_000))
            except OSError:
                raise RuntimeError("unexpected position") from None

    for action in (swallow, disguise):
        with largest_file(3_000_000), pytest.raises(UserError, match="bytes needed"):
            action()
        assert os.listdir(tmp_path) == []


def test_torch_save_on_a_full_disk_is_a_user_error(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    with largest_file(500_000), pytest.raises(UserError, match=r"state\.pt"), whole_file(tmp_path / "state.pt") as file:
        torch.save({"weight": torch.zeros(1_000_000)}, file)
    assert os.listdir(tmp_path) == []
    with whole_file(tmp_path / "state.pt") as file:
        torch.save({"weight": torch.arange(3)}, file)
    assert torch.load(tmp_path / "state.pt", weights_only=True)["weight"].tolist() == [0, 1, 2]


def test_a_killed_process_leaves_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "state.pt"
    target.write_bytes(b"old")
    script = (
        "import os, signal, sys\n"
        "from hdtrans.common.files import whole_file\n"
        "with whole_file(sys.argv[1]) as file:\n"
        "    file.write(bytes(3_000_000)); file.flush()\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", script, str(target)], cwd=root, check=False)
    assert done.returncode == -signal.SIGKILL
    assert target.read_bytes() == b"old"
    assert [name for name in os.listdir(tmp_path) if name != "state.pt" and not name.endswith(PART_SUFFIX)] == []


@pytest.mark.parametrize("write", [lambda path: write_text(path, "x"), lambda path: append_line(path, "x")])
def test_places_that_cannot_be_written_are_user_errors(tmp_path: Path, write: Callable[[Path], None]) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    for path in (tmp_path / "file" / "below.txt", tmp_path / "folder"):
        with pytest.raises(UserError, match=path.name):
            write(path)
    assert sorted(os.listdir(tmp_path)) == ["file", "folder"]


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, r"No space left on device \(.*bytes are free in .*\); free some space"),
        (errno.EACCES, r"Permission denied; get the permission to write there, or choose another folder"),
        (errno.EROFS, r"Read-only file system; choose a folder that can be written"),
        (errno.EIO, r"Input/output error; choose another folder"),
    ],
)
def test_refusals_are_what_they_are(tmp_path: Path, number: int, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*given: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("hdtrans.common.files._RecordedFile", refuse)
    with pytest.raises(UserError, match=rf"^{tmp_path}/x: cannot be written: {words}.*run the same command again$"):
        write_bytes(tmp_path / "x", b"")


def test_a_name_and_a_path_that_are_too_long(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"the name ü+ has 256 bytes, and at most 255 are allowed; choose a shorter"):
        write_bytes(tmp_path / ("ü" * 128), b"")
    with pytest.raises(UserError, match=r"the path has \d{4} bytes; .* at most 4095 are allowed; choose a shorter"):
        write_bytes(tmp_path.joinpath(*["x" * 200] * 21), b"")


def test_errors_of_the_system_that_name_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    missing = FileNotFoundError(errno.ENOENT, "No such file or directory", "a/b")
    assert str(of_the_system(missing)).startswith("a/b: cannot be used: No such file or directory; ")
    for error in (OSError("no errno"), BrokenPipeError(errno.EPIPE, "Broken pipe"), KeyError("x")):
        assert of_the_system(error) is error
    name = "x" * 300
    for command in (["train", name], ["check_data", name], ["compare", name, name, "--out", "a.html"]):
        assert run_tool(command[0], command[1:]) == 2
        assert re.search(r": the name x+(/\w+)? has \d+ bytes, and at most 255 are", capsys.readouterr().err), command


def test_names_of_helper_files_fit() -> None:
    assert fitting_name("a/b", "_input.jpg") == "a/b_input.jpg"
    assert fitting_name("x" * 245, "_input.jpg") == "x" * 245 + "_input.jpg"
    names = {fitting_name(f"day/{'汽' * 82}{end}", "_input.jpg") for end in "ab"}
    assert len(names) == 2, "equal starts have different hashes"
    assert all(name.startswith("day/汽汽") and len(os.fsencode(name)) < 255 for name in names)


def test_libraries_read_files_whose_path_is_not_utf8(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    (tmp_path / "a.pt").write_bytes(b"")
    with plain_path(tmp_path / "a.pt") as plain:
        assert plain == str(tmp_path / "a.pt")
    (folder := tmp_path / os.fsdecode(b"caf\xe9")).mkdir()
    with whole_file(folder / "a.pt") as file:
        torch.save({"weight": torch.arange(3)}, file)
    with plain_path(folder / "a.pt") as plain:
        state = torch.load(plain, weights_only=True, mmap=True)
    assert state["weight"].tolist() == [0, 1, 2], "the memory outlives the number of the file"
    with plain_path(folder) as plain:
        assert os.listdir(plain) == ["a.pt"]


def test_names_that_are_not_utf8_are_read_back(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9 ") + "ü\u2028"
    write_text(tmp_path / "a.json", json.dumps({"name": name}, ensure_ascii=False))
    append_line(tmp_path / "a.jsonl", json.dumps([name], ensure_ascii=False))
    write_text(tmp_path / "a.yaml", yaml_text({name: [name]}))
    texts = {file.suffix: file.read_text(encoding="utf-8") for file in tmp_path.iterdir()}
    assert json.loads(texts[".json"]) == {"name": name} and json.loads(texts[".jsonl"]) == [name]
    assert read_yaml(texts[".yaml"], "a.yaml") == {name: [name]}
    assert r"caf\udce9 ü" in texts[".json"]


def test_long_names_still_have_room_for_the_unfinished_file(tmp_path: Path) -> None:
    target = tmp_path / ("ü" * 120)
    write_bytes(target, b"x")
    assert target.read_bytes() == b"x"


def test_lines_are_appended_whole(tmp_path: Path) -> None:
    target = tmp_path / "metrics.jsonl"
    append_line(target, "one")
    with largest_file(1000), pytest.raises(UserError, match=r"metrics\.jsonl"):
        append_line(target, "x" * 5000)
    append_line(target, "zwei ü")
    assert target.read_text(encoding="utf-8") == "one\nzwei ü\n"
