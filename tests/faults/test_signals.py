"""SIGTERM and SIGUSR1 to any process, in any phase: saved within a step, and nothing is lost."""

import os
import re
import signal
import time
from collections.abc import Iterable
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from hdtrans.engine.checkpoint import Checkpoints
from tests.bars import Figure
from tests.faults.jobs import Job, final, job, job_recipe, mutant
from tests.mutants.signals import PHASES, give_way_to_the_second, look_seldom
from tests.small_runs import toy_data

pytestmark = pytest.mark.faults
BAR = "SIGTERM and SIGUSR1 to launcher, group or one process, in every phase, save within one step"
VALIDATE = {"every": 4, "metrics": ["psnr"], "pictures": 2}


@pytest.fixture(scope="module")
def city(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy_data(tmp_path_factory.mktemp("city"), 6, 2)


def recipe(city: Path, run: Path, **training: Any) -> Path:
    """Write a recipe of two stages with validation; return its file."""
    return job_recipe(city, run, VALIDATE, **{"save_every": 1000, **training})


@pytest.fixture(scope="module")
def whole(city: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the fingerprint of an undisturbed run."""
    run = tmp_path_factory.mktemp("whole") / "run"
    with job(recipe(city, run), run) as started:
        assert started.end() == 0, started.messages()[-3000:]
    return final(run)


def send(started: Job, target: str, number: signal.Signals, rank: int = 1) -> None:
    """Send a signal to the launcher, its group, all processes of the training, or one of them."""
    if target == "group":
        os.killpg(started.process.pid, number)
        return
    ranks = started.ranks()
    for pid in {"launcher": [started.process.pid], "all": list(ranks.values())}.get(target, [ranks[rank]]):
        os.kill(pid, number)


def stopped_after(started: Job, number: signal.Signals) -> tuple[int, int]:
    """Wait for the end; return the images seen when the signal came, by a process, and those saved."""
    assert started.end(60) != 0
    reported = re.search(rf"{number.name} after (\d+) images \(it came after (\d+)\)", started.messages())
    assert reported, started.messages()[-3000:]
    return int(reported[2]), int(reported[1])


def saved_images(run: Path) -> int:
    """Return the images seen at the latest checkpoint; 0 without one."""
    files = Checkpoints(run, 2).files()
    return int(files[0].name.removeprefix("images_")[:9]) if files else 0


CASES = [*product(("launcher", "group", "one"), (0, 2), PHASES)]


@pytest.fixture(scope="module")
def lingering(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return, for every phase, a checkout whose processes stay in it for a second, once."""
    root = tmp_path_factory.mktemp("lingering")
    return {phase: mutant(root / str(n), change) for n, (phase, change) in enumerate(PHASES.items())}


def wait_in_phase(started: Job, phase: str, root: Path, seconds: float = 60) -> None:
    """Wait until the processes are in the phase in which they linger; only the first of them writes."""
    deadline = time.monotonic() + seconds
    marks = [root / "tools" / f"lingers{rank}" for rank in range(1 if phase.startswith("writing") else 2)]
    while not all(mark.exists() for mark in marks):
        assert started.process.poll() is None and time.monotonic() < deadline, started.messages()[-3000:]
        time.sleep(0.01)
    for mark in marks:
        mark.unlink()


def wait_for_the_end(pids: Iterable[int], seconds: float = 60) -> None:
    """Wait until processes have ended, whose launcher may have left them behind."""
    deadline = time.monotonic() + seconds
    while any(Path("/proc", str(pid), "cmdline").exists() for pid in pids):
        assert time.monotonic() < deadline, "processes are left behind"
        time.sleep(0.05)


@pytest.mark.bar("B2.4", BAR)
def test_two_sigterms_in_every_phase(
    city: Path, whole: str, lingering: dict[str, Path], tmp_path: Path, figure: Figure
) -> None:
    run, steps = tmp_path / "run", []
    for target, workers, phase in CASES:
        before = saved_images(run)
        every = {"save_every": 6} if phase == "writing a checkpoint" else {}
        file = recipe(city, run, workers=workers, sample_every=6, **every)
        with job(file, run, root=lingering[phase]) as started:
            wait_in_phase(started, phase, lingering[phase])
            ranks = started.ranks()
            for number in range(2):
                send(started, target, signal.SIGTERM, rank=workers // 2)
                time.sleep(0.3 * (1 - number))
            came, saved = stopped_after(started, signal.SIGTERM)
            wait_for_the_end(ranks.values())
        assert saved == saved_images(run) > before, (target, workers, phase)
        steps.append((saved - came) / 2)
    assert max(steps) <= 1, dict(zip(CASES, steps, strict=True))
    with job(recipe(city, run), run) as started:
        assert started.end() == 0, started.messages()[-3000:]
    assert final(run) == whole
    figure(f"SIGTERM twice: {len(CASES)} of {len(CASES)}, at most {max(steps):.0f} step after it, then the same hash")


@pytest.mark.bar("B2.4", BAR)
@pytest.mark.parametrize("how", ["seldom", "once"])
def test_mutants_that_check_seldom_or_die_of_a_second_signal(
    how: str, city: Path, tmp_path: Path, figure: Figure
) -> None:
    run = tmp_path / "run"
    root = mutant(tmp_path / "root", {"seldom": look_seldom, "once": give_way_to_the_second}[how])
    with job(recipe(city, run), run, root=root) as started:
        if how == "seldom":
            started.wait_for(66)
            send(started, "one", signal.SIGTERM)
            came, saved = stopped_after(started, signal.SIGTERM)
            figure(f"mutant that seldom looks: {(saved - came) // 2} steps")
            assert saved - came > 2
        else:
            wait_in_phase(started, "in a step", root)
            for _ in range(2):
                send(started, "one", signal.SIGTERM)
                time.sleep(0.3)
            assert started.end(60) != 0
            figure("mutant that gives way to a second signal: saves nothing")
            assert saved_images(run) == 0


# Receiver of the signal, images before it, options of training; each start continues the one before.
SIGUSR1 = [
    ("one", 4, {"workers": 2}),
    ("all", 30, {"workers": 0}),
    ("one", 60, {"workers": 1, "save_every": 2, "sample_every": 2}),
    ("all", 240, {"workers": 1}),  # at the end of the first stage: saving, sample grid, next stage
]


@pytest.mark.bar("B2.4", BAR)
def test_sigusr1(city: Path, whole: str, tmp_path: Path, figure: Figure) -> None:
    run, steps = tmp_path / "run", []
    for target, images, how in SIGUSR1:
        before = saved_images(run)
        with job(recipe(city, run, **how), run) as started:
            started.wait_for(max(images, before + 2))
            send(started, target, signal.SIGUSR1)
            came, saved = stopped_after(started, signal.SIGUSR1)
        assert saved == saved_images(run) > before
        steps.append((saved - came) / 2)
    assert max(steps) <= 1, steps
    with job(recipe(city, run), run) as started:
        assert started.end() == 0, started.messages()[-3000:]
    assert final(run) == whole
    figure(f"SIGUSR1: {len(SIGUSR1)} of {len(SIGUSR1)}, at most {max(steps):.0f} step after it, then the same hash")
