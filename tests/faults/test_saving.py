"""Saving: killed and refused at every system call, on full disks and read-only ones."""

import hashlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from hdtrans.common.errors import UserError
from hdtrans.engine.checkpoint import Checkpoints, load
from tests.bars import Figure
from tests.mutants import as_code
from tests.mutants.saving import remove_first, save_over

pytestmark = pytest.mark.faults
strace = pytest.mark.skipif(not shutil.which("strace"), reason="needs strace (apt-get install strace)")
root = pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("unshare"), reason="needs root and unshare, to mount")

CALLS = ("openat", "write", "fsync", "rename", "unlink", "close")
STATE: dict[str, Any] = {"networks": {"weight": torch.arange(700_000.0)}, "recipe": {}}
FIRST, LAST = 10, 13  # images; the checkpoints of 10 and 11 are removed on the way

Saver = Callable[[Path, int], None]


def ours(folder: Path, images: int) -> None:
    """Save as the engine does."""
    Checkpoints(folder, keep=2).save({**STATE, "images_seen": images}, images)


def torchs(folder: Path, images: int) -> None:
    """Save over the old file, as is usual."""
    save_over({**STATE, "images_seen": images}, folder / "latest.pt")


def saves_under_strace(folder: Path, save: Saver, call: str, what: str, number: int) -> tuple[int, list[int], bool]:
    """Save in a process whose n-th system call is disturbed; return its status, the saves it acknowledged, the end."""
    start, acknowledged = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        os.read(start[0], 1)
        try:
            for images in range(FIRST + 1, LAST + 1):
                save(folder, images)
                os.writev(acknowledged[1], [bytes([images])])
            os._exit(0)
        except UserError:
            os._exit(2)
        except BaseException:
            os._exit(1)
    command = ["strace", "-p", str(child), "-o", str(folder / "trace"), "-e", f"trace={call}"]
    tracer = subprocess.Popen(
        [*command, "-e", f"inject={call}:{what}:when={number}"], stderr=subprocess.PIPE, text=True
    )
    assert tracer.stderr is not None
    text = tracer.stderr.readline()
    if "attached" not in text:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        pytest.skip(f"strace cannot attach here: {text.strip()}")
    os.write(start[1], b"x")
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    tracer.communicate(timeout=30)
    os.close(acknowledged[1])
    acknowledged_saves = list(os.read(acknowledged[0], 100))
    for end in (*start, acknowledged[0]):
        os.close(end)
    return status, acknowledged_saves, status == -signal.SIGKILL or "INJECTED" in (folder / "trace").read_text()


def disturb(tmp_path: Path, save: Saver, what: str, check: Callable[[Path, list[int], int], bool]) -> tuple[int, int]:
    """Disturb each call of some saves in turn; return the number of calls, and of those after which `check` holds."""
    tried = held = 0
    for call in CALLS:
        for number in range(1, 1000):
            folder = tmp_path / f"{call}{number}"
            folder.mkdir()
            save(folder, FIRST)
            status, acknowledged_saves, injected = saves_under_strace(folder, save, call, what, number)
            if not injected:
                break
            good = check(folder, acknowledged_saves, status)
            tried, held = tried + 1, held + good
            if not good:
                print(f"{call} {number}: status {status}, acknowledged {acknowledged_saves}", sorted(folder.rglob("*")))
            shutil.rmtree(folder)
    return tried, held


def is_whole(folder: Path, acknowledged_saves: list[int], status: int) -> bool:
    """Return True if the latest checkpoint is intact, no older than the last acknowledged, and not alone."""
    checkpoints = Checkpoints(folder, keep=2)
    found = checkpoints.latest(lambda text: None)
    two = [file for file in checkpoints.files() if load(file, need_digest=True)] if found else []
    enough = len(two) >= min(2, 1 + len(acknowledged_saves))
    return found is not None and enough and load(found)["images_seen"] >= max([FIRST, *acknowledged_saves])


def readable(folder: Path, acknowledged_saves: list[int], status: int) -> bool:
    try:
        return bool(torch.load(folder / "latest.pt", weights_only=True)["images_seen"] >= FIRST)
    except (RuntimeError, EOFError, OSError):
        return False


@strace
@pytest.mark.bar("B1.1", "SIGKILL at every call of a save and of the removal of old ones leaves a whole checkpoint")
def test_killed_at_every_call(tmp_path: Path, figure: Figure) -> None:
    tried, held = disturb(tmp_path, ours, "signal=KILL", is_whole)
    figure(f"{held} of {tried} calls")
    assert held == tried > 40


@strace
@pytest.mark.bar("B1.1", "SIGKILL at every call of a save and of the removal of old ones leaves a whole checkpoint")
def test_mutant_saving_over_the_old_file_loses_it(tmp_path: Path, figure: Figure) -> None:
    tried, held = disturb(tmp_path, torchs, "signal=KILL", readable)
    figure(f"mutant torch.save(path) lost it at {tried - held} of {tried}")
    assert held < tried


@strace
@pytest.mark.bar("B1.4", "a disk that is full, broken or read-only leaves the old files, with a message")
@pytest.mark.parametrize("error", ["ENOSPC", "EIO", "EDQUOT"])
def test_refused_at_every_call(error: str, tmp_path: Path, figure: Figure) -> None:
    def is_reported(folder: Path, acknowledged_saves: list[int], status: int) -> bool:
        return is_whole(folder, acknowledged_saves, status) and status in (0, 2)  # tidying up may fail in silence

    tried, held = disturb(tmp_path, ours, f"error={error}", is_reported)
    figure(f"{error} at {held} of {tried} calls")
    assert held == tried > 40


@strace
@pytest.mark.bar("B1.4", "a disk that is full, broken or read-only leaves the old files, with a message")
def test_mutant_saving_over_the_file_on_a_full_disk_loses_it(tmp_path: Path, figure: Figure) -> None:
    tried, held = disturb(tmp_path, torchs, "error=ENOSPC", readable)
    figure(f"mutant torch.save(path) lost it at {tried - held} of {tried}")
    assert held < tried


@strace
@pytest.mark.bar("B1.7", "an old checkpoint is removed only when the new one is durable")
@pytest.mark.parametrize("change", [None, remove_first], ids=["ours", "mutant"])
def test_the_order_of_calls(change: Callable[[], None] | None, tmp_path: Path, figure: Figure) -> None:
    ours(tmp_path, FIRST)
    script = (
        "import sys; from pathlib import Path; from tests.faults.test_saving import ours\n"
        + (as_code(change) if change else "")
        + "for images in (11, 12): ours(Path(sys.argv[1]), images)"
    )
    trace = tmp_path / "trace"
    subprocess.run(
        [
            *["strace", "-y", "-f", "-o", trace, "-e", "trace=fsync,rename,unlink"],
            sys.executable,
            "-c",
            script,
            tmp_path,
        ],
        cwd=Path(__file__).parents[2],
        check=True,
    )
    calls = [
        line.split(None, 1)[1]
        for line in trace.read_text().splitlines()
        if "images_0" in line or "checkpoints>" in line
    ]
    kinds = [c.split("(")[0] + (" digest" if ".sha256" in c else " styles" if ".styles" in c else "") for c in calls]
    one = ["fsync digest", "rename digest", "fsync", "fsync", "rename", "fsync"]
    assert (kinds == [*one, *one, "unlink", "unlink digest", "unlink styles"]) == (not change), calls
    figure("mutant, removal first: seen" if change else "digest, folder, file, rename, folder, then unlink")


SCRIPT = """
import sys
from pathlib import Path
from tests.faults.test_saving import ours
from hdtrans.common.errors import UserError
try:
    ours(Path(sys.argv[1]), 11)
except UserError as error:
    sys.exit(str(error))
"""


@root
@pytest.mark.bar("B1.4", "a disk that is full, broken or read-only leaves the old files, with a message")
@pytest.mark.parametrize(("place", "reason"), [("full", "No space left"), ("read-only", "Read-only file system")])
def test_small_and_read_only_disks(place: str, reason: str, tmp_path: Path, figure: Figure) -> None:
    """A file system of 4 MiB that holds a checkpoint of 2.8 MB, and one mounted read-only."""
    disk = tmp_path / "disk"
    disk.mkdir()
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    seed = tmp_path / "seed"
    ours(seed, FIRST)
    after = "mount -o remount,ro {d}" if place == "read-only" else "true"
    command = (
        "set -e; mount -t tmpfs -o size=4m x {d}; cp -r {s}/checkpoints {d}/; " + after + "; "
        "{p} {script} {d} 2> {s}/said || true; cd {d}/checkpoints; sha256sum *.pt > {s}/sums; ls -A > {s}/names"
    ).format(d=disk, s=seed, p=sys.executable, script=script)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    subprocess.run(["unshare", "-m", "sh", "-c", command], check=True, env=environment)
    text, sums = (seed / "said").read_text(), (seed / "sums").read_text()
    assert reason in text and "images_000000011.pt: cannot be written" in text and " bytes are free" in text, text
    assert ("bytes needed" in text) == (place == "full")
    file = seed / "checkpoints" / "images_000000010.pt"
    assert sums.startswith(hashlib.sha256(file.read_bytes()).hexdigest()) and sums.count("\n") == 1
    assert (seed / "names").read_text().split() == [file.name, f"{file.name}.sha256"]
    figure(f"{place}: reported, old file the same")
