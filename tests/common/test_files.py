import contextlib
import os
import resource
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hdtrans.common.errors import UserError
from hdtrans.common.files import PART_SUFFIX, append_line, whole_file, write_bytes, write_text


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
