"""Translating many files: killed at random times, on a full disk, and without growing."""

import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.bars import Figure
from tests.faults.jobs import LENGTH, REPEATS, ROOT, mutant
from tests.mutants.leaking import keep_results
from tests.mutants.saving import write_straight
from tests.small_runs import small_recipe, toy_data, train_values

pytestmark = pytest.mark.faults
COUNT = 400 * LENGTH


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with `run`, a model of label maps; `maps`; and their results, `whole`."""
    folder = tmp_path_factory.mktemp("translating")
    values = small_recipe(toy_data(folder / "city"), folder / "run")
    values["method"]["condition"] = {"boundary": "none"}
    train_values(values)
    (folder / "maps").mkdir()
    noise = np.random.default_rng(0)
    for number in range(COUNT):
        cv2.imwrite(str(folder / "maps" / f"{number}.png"), noise.integers(0, 19, (128, 256), dtype=np.uint8))
    with infer(folder, folder / "whole") as process:
        assert process.wait(timeout=300 * LENGTH) == 0
    return folder


def infer(place: Path, out: Path, **more: object) -> "subprocess.Popen[str]":
    command = [sys.executable, str(ROOT / "tools" / "infer.py"), str(place / "run"), "--input", str(place / "maps")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    pipe = subprocess.PIPE
    return subprocess.Popen(
        [*command, "--out", str(out)], env=environment, stdout=pipe, stderr=pipe, text=True, **more  # type: ignore
    )  # fmt: skip


def everything(folder: Path) -> dict[str, bytes]:
    return {str(f.relative_to(folder)): f.read_bytes() for f in folder.rglob("*") if f.is_file()}


def pictures(folder: Path) -> dict[str, tuple[int, int]]:
    return {f.name: (f.stat().st_ino, f.stat().st_mtime_ns) for f in folder.glob("*.png")}


@pytest.mark.bar(
    "B7.2", "infer killed at random times: what is there is whole and stays untouched, the folder ends the same"
)
def test_killed_at_random_times(place: Path, tmp_path: Path, figure: Figure) -> None:
    out, dice, kept = tmp_path / "out", random.Random(0), 0
    for _ in range(REPEATS):
        before = pictures(out)
        process = infer(place, out)
        deadline = time.monotonic() + 60
        while len(pictures(out)) < len(before) + 5 and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(dice.uniform(0, 0.3))
        process.kill()
        process.communicate()
        after = pictures(out)
        assert {name: after[name] for name in before} == before, "a finished picture was touched"
        assert all(cv2.imread(str(out / name)) is not None for name in after)
        kept = len(after)
    assert 0 < kept < COUNT, "too fast, or too slow, for this test"
    with infer(place, out) as process:
        assert process.wait(timeout=300 * LENGTH) == 0
    assert {name: stat for name, stat in pictures(out).items() if name in after} == after
    assert everything(out) == everything(place / "whole")
    figure(f"{REPEATS} kills, {kept} pictures untouched")
    assert f"0 made, {COUNT} there already" in infer(place, out).communicate(timeout=300 * LENGTH)[0]
    (out / "finished.jsonl").unlink()
    assert f"{COUNT} made, 0 there already" in infer(place, out).communicate(timeout=300 * LENGTH)[0]
    figure("mutant, without the list of what is finished: all made again")


@pytest.mark.bar(
    "B7.3", "one bad input stops no other; on a full disk nothing is cut off, and the same command goes on"
)
@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("unshare"), reason="needs root and unshare, to mount")
@pytest.mark.parametrize("change", [None, write_straight], ids=["ours", "mutant"])
def test_a_full_disk_and_a_bad_input(
    change: Callable[[], None] | None, place: Path, tmp_path: Path, figure: Figure
) -> None:
    root, out = mutant(tmp_path / "root", change, "infer"), tmp_path / "out"
    out.mkdir()
    script = (
        "mount -t tmpfs -o size=6m x {o}; {i} --out {o}/r > {t}/said 2>&1; echo $? > {t}/code; "
        "mount -o remount,size=1g {o}; "
        "cp -r {o}/r {t}/full; {i} --out {o}/r >> {t}/said 2>&1; "
        "echo $? >> {t}/code; cp -r {o}/r {t}/copy"
    ).format(
        o=out, t=tmp_path, i=f"{sys.executable} {root}/tools/infer.py {place}/run --input {place}/maps --device cpu"
    )
    subprocess.run(["unshare", "-m", "sh", "-c", script], check=True)
    codes, messages = (tmp_path / "code").read_text().split(), (tmp_path / "said").read_text()
    assert codes[0] in ("1", "2") and codes[1] == "0", messages[-2000:]
    assert "No space left on device" in messages and "Traceback" not in messages
    made, full, whole = len(pictures(tmp_path / "full")), everything(tmp_path / "full"), everything(place / "whole")
    cut = [name for name in full if Path(name).suffix in (".png", ".jpg", ".part") and full[name] != whole.get(name)]
    assert 0 < made < COUNT or change, "a mutant names them all"
    assert bool(cut) == bool(change), cut
    assert everything(tmp_path / "copy") == whole
    figure(f"mutant, written straight: {len(cut)} cut off" if change else f"full after {made} of {COUNT}, then whole")


def growth(process: "subprocess.Popen[str]", out: Path) -> tuple[float, int]:
    """Watch `infer` until it ends; return the MiB and descriptors by which its last files exceed the first ones."""
    samples: list[tuple[int, float, int]] = []
    while process.poll() is None:
        try:
            status = Path(f"/proc/{process.pid}/status").read_text()
            fds = len(os.listdir(f"/proc/{process.pid}/fd"))
        except OSError:
            break
        if "VmRSS:" in status:
            samples.append((len(pictures(out)), int(status.split("VmRSS:")[1].split()[0]) / 1024, fds))
        time.sleep(0.05)
    assert f"{COUNT} made, 0 there already, 0 failed" in process.communicate()[0]
    early = [sample for sample in samples if 0.1 * COUNT <= sample[0] <= 0.3 * COUNT]
    late = [sample for sample in samples if 0.8 * COUNT <= sample[0] < COUNT]
    return (
        max(mib for _, mib, _ in late) - max(mib for _, mib, _ in early),
        max(fds for *_, fds in late) - max(fds for *_, fds in early),
    )


@pytest.mark.bar("B7.1", "memory and descriptors stay flat over many files")
def test_many_files_take_no_more_memory(place: Path, tmp_path: Path, figure: Figure) -> None:
    grown, more = growth(infer(place, tmp_path / "out"), tmp_path / "out")
    assert grown < 50 and more <= 2
    figure(f"{COUNT} files: {grown:+.1f} MiB, {more:+d} descriptors")


@pytest.mark.bar("B7.1", "memory and descriptors stay flat over many files")
def test_mutant_that_keeps_results_and_files_is_seen(
    place: Path, tmp_path: Path, figure: Figure, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.faults.test_translating.ROOT", mutant(tmp_path / "root", keep_results, "infer"))
    grown, more = growth(infer(place, tmp_path / "out"), tmp_path / "out")
    assert grown >= 50 and more > 2
    figure(f"mutant that keeps results and files {grown:+.1f} MiB, {more:+d} descriptors")
