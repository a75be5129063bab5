"""Two processes, killed, stopped and signalled: the same command ends as an undisturbed run."""

import hashlib
import json
import os
import random
import signal
import subprocess
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.bars import Figure
from tests.faults.jobs import IMAGES, REPEATS, descendants, final, job, job_recipe, mutant
from tests.mutants.processes import come_back_slowly, hear_no_other
from tests.small_runs import toy_data

pytestmark = pytest.mark.faults


@pytest.fixture(scope="module")
def city(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy_data(tmp_path_factory.mktemp("city"), 6, 2)


@pytest.fixture(scope="module")
def whole(city: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the fingerprint of an undisturbed run."""
    run = tmp_path_factory.mktemp("whole") / "run"
    with job(job_recipe(city, run), run) as started:
        assert started.end() == 0, started.messages()[-3000:]
    return final(run)


def half_written(run: Path) -> list[str]:
    """Return the incomplete pictures, pages and logs of a run folder."""
    broken = [str(f) for f in run.rglob("*") if f.suffix in (".png", ".jpg") and cv2.imread(str(f)) is None]
    broken += [str(f) for f in run.rglob("*.html") if not f.read_text().rstrip().endswith("</html>")]
    log = run / "metrics.jsonl"
    for line in log.read_text().split("\n")[:-1] if log.exists() else []:  # the last one may be cut off
        try:
            json.loads(line)
        except ValueError:
            broken.append(line)
    return broken


WHOLE = "after a kill every picture, page and line is whole, and after going on no line is there twice"


@pytest.mark.bar("B1.5", WHOLE)
@pytest.mark.bar("B1.2", "the whole job killed at random times, the same command again: ends with the same hash")
@pytest.mark.bar("B8.2", "descriptors and processes stay the same; after kill -9 nothing is left in /dev/shm")
def test_the_whole_job_killed(city: Path, whole: str, tmp_path: Path, figure: Figure) -> None:
    run, dice = tmp_path / "run", random.Random(0)
    recipe = job_recipe(city, run, sample_every=4)
    for number in range(REPEATS):
        with job(recipe, run) as started:
            before = started.images()
            started.wait_for(before - before % 20 + 2)
            time.sleep(dice.uniform(0, 0.5))
            assert started.process.poll() is None, f"too fast for kill {number}"
        assert half_written(run) == [] and started.left() == []
    with job(recipe, run) as started:
        assert started.end() == 0, started.messages()[-3000:]
    images = [json.loads(line)["images"] for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert images == sorted(set(images)), "B1.5: no line is there twice"
    assert final(run) == whole
    figure(f"{REPEATS} of {REPEATS} kills")


@pytest.mark.bar("B1.5", WHOLE)
def test_mutant_half_a_file_is_seen(tmp_path: Path, figure: Figure) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((64, 64, 3), np.uint8))
    (tmp_path / "b.html").write_text("<html></html>\n")
    (tmp_path / "metrics.jsonl").write_text('{"images": 2}\n{"ima')
    assert half_written(tmp_path) == []
    for name in ("a.png", "b.html"):
        whole = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(whole[: len(whole) // 2])
    (tmp_path / "metrics.jsonl").write_text('{"ima\n{"images": 2}\n')
    assert len(half_written(tmp_path)) == 3
    figure("mutant, halves of each: 3 of 3 seen")


@pytest.mark.bar("B2.1", "kill -9 of one process under --max-restarts: ends with the same hash, back within 30 s")
def test_one_process_killed(city: Path, whole: str, tmp_path: Path, figure: Figure) -> None:
    run, recoveries, kills, dice = tmp_path / "run", [], max(3, REPEATS // 5), random.Random(1)
    with job(job_recipe(city, run), run, restarts=kills) as started:
        for number in range(kills):
            started.wait_for(30 + number * IMAGES // (kills + 1) + dice.randrange(20))
            os.kill(started.ranks()[1 - number % 2], signal.SIGKILL)
            start, reached = time.monotonic(), started.images()
            started.wait_for(reached + 2)
            recoveries.append(time.monotonic() - start)
        assert started.end() == 0, started.messages()[-3000:]
    assert final(run) == whole
    assert max(recoveries) < 30
    figure(f"{kills} of {kills}, {min(recoveries):.1f} to {max(recoveries):.1f} s")


@pytest.mark.bar("B2.1", "kill -9 of one process under --max-restarts: ends with the same hash, back within 30 s")
def test_mutant_that_is_slow_to_come_back(city: Path, tmp_path: Path, figure: Figure) -> None:
    run = tmp_path / "run"
    with job(job_recipe(city, run), run, restarts=1, root=mutant(tmp_path / "root", come_back_slowly)) as started:
        started.wait_for(30)
        os.kill(started.ranks()[1], signal.SIGKILL)
        start, reached = time.monotonic(), started.images()
        started.wait_for(reached + 2)
        seconds = time.monotonic() - start
    assert seconds > 30
    figure(f"mutant that is slow to come back: {seconds:.1f} s")


@pytest.mark.bar("B2.2", "kill -9 of a process without restarts: ends within 45 s, names it, leaves nothing running")
@pytest.mark.parametrize("rank", [0, 1])
def test_a_lost_process_is_named(rank: int, city: Path, tmp_path: Path, figure: Figure) -> None:
    run = tmp_path / "run"
    with job(job_recipe(city, run), run) as started:
        started.wait_for(10)
        everything = descendants(started.process.pid)
        os.kill(started.ranks()[rank], signal.SIGKILL)
        start = time.monotonic()
        code = started.end(60)
        seconds = time.monotonic() - start
        assert code != 0 and seconds < 45
        assert f"no word from process {rank} on " in started.messages(), started.messages()[-3000:]
        assert "hdtrans train: stage first, after " in started.messages()
        time.sleep(5)
        assert not [pid for pid in everything if (Path("/proc") / str(pid) / "cmdline").exists()]
    figure(f"process {rank}: {seconds:.1f} s")


@pytest.mark.bar("B2.2", "kill -9 of a process without restarts: ends within 45 s, names it, leaves nothing running")
def test_mutant_that_does_not_find_the_lost_process(
    city: Path, tmp_path: Path, figure: Figure, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.faults.jobs.ROOT", mutant(tmp_path / "root", hear_no_other))
    run = tmp_path / "run"
    with job(job_recipe(city, run), run) as started:
        started.wait_for(10)
        os.kill(started.ranks()[1], signal.SIGKILL)
        assert started.end(60) != 0
        assert "no word from process 1" not in started.messages()
    figure("mutant names none")


@pytest.mark.bar("B2.3", "a process that hangs is named, within the time limit and 40 s")
@pytest.mark.parametrize("rank", [0, 1])
def test_a_process_that_hangs_is_named(rank: int, city: Path, tmp_path: Path, figure: Figure) -> None:
    run = tmp_path / "run"
    with job(job_recipe(city, run, timeouts={"step": 5, "pause": 60}), run, shutdown=3) as started:
        started.wait_for(10)
        os.kill(started.ranks()[rank], signal.SIGSTOP)
        start = time.monotonic()
        code = started.end(60)
        seconds = time.monotonic() - start
        assert code != 0 and seconds < 5 + 40
        assert f"no word from process {rank} on " in started.messages(), started.messages()[-3000:]
        assert "training.timeouts sets how long to wait" in started.messages()
    figure(f"process {rank}: {seconds:.1f} s with a limit of 5 s")


@pytest.mark.bar("B2.3", "a process that hangs is named, within the time limit and 40 s")
def test_mutant_without_a_time_limit_waits_on(city: Path, tmp_path: Path, figure: Figure) -> None:
    run = tmp_path / "run"
    with job(job_recipe(city, run, timeouts={"step": 600, "pause": 600}), run, shutdown=3) as started:
        started.wait_for(10)
        os.kill(started.ranks()[1], signal.SIGSTOP)
        with pytest.raises(subprocess.TimeoutExpired):
            started.end(45)
    figure("mutant, a limit of 600 s: waits after 45 s")


@pytest.mark.bar("B1.2", "the whole job killed at random times, the same command again: ends with the same hash")
@pytest.mark.bar("B2.1", "kill -9 of one process under --max-restarts: ends with the same hash, back within 30 s")
def test_mutant_another_seed_has_another_hash(city: Path, whole: str, tmp_path: Path, figure: Figure) -> None:
    """The hash is no constant: another seed ends with another."""
    run = tmp_path / "run"
    with job(job_recipe(city, run, seed=1), run) as started:
        assert started.end() == 0, started.messages()[-3000:]
    assert final(run) != whole
    figure("another seed, another hash")


@pytest.mark.bar("B6.2", "the same command twice on two processes: checkpoints and pictures are the same bytes")
def test_the_same_command_twice(city: Path, tmp_path: Path, figure: Figure) -> None:
    run, found = tmp_path / "run", []
    recipe = job_recipe(city, run, workers=2, keep=100, save_every=60)
    for name in ("once", "again", "mutant"):
        if name == "mutant":
            recipe = job_recipe(city, run, workers=2, keep=100, save_every=60, seed=1)
        with job(recipe, run) as started:
            assert started.end() == 0, started.messages()[-3000:]
        run.rename(tmp_path / name)
        found.append({
            str(file.relative_to(tmp_path / name)): hashlib.sha256(file.read_bytes()).hexdigest()
            for file in (tmp_path / name).rglob("*")
            if file.suffix in (".pt", ".png", ".jpg")
        })  # fmt: skip
    once, again, mutant = found
    assert once == again and once.keys() == mutant.keys()
    kinds = [sum(name.endswith(kind) for name in once) for kind in (".pt", ".png")]
    assert min(kinds) >= 3
    assert all(mutant[name] != digest for name, digest in once.items() if name.endswith(".pt"))
    figure(f"{kinds[0]} checkpoints, {kinds[1]} pictures; mutant, another seed: all checkpoints differ")
