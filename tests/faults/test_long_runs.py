"""Long runs: memory, descriptors, processes and shared memory stay as they are."""

import os
from pathlib import Path

import numpy as np
import pytest

from hdtrans.data.dataset import TrainingSamples
from hdtrans.data.folders import SampleFiles
from hdtrans.data.geometry import Geometry
from hdtrans.data.kinds.picture_pairs import Section as PicturePairs
from tests.bars import Figure
from tests.faults.jobs import descendants, job, mutant
from tests.mutants.leaking import keep_graphs
from tests.small_runs import small_recipe, toy_data, write_recipe

pytestmark = pytest.mark.faults


def resident(pids: list[int]) -> float:
    """Return the memory of processes, shared pages counted by their share, in MiB."""
    total = 0
    for pid in pids:
        try:
            text = Path(f"/proc/{pid}/smaps_rollup").read_text()
        except OSError:
            continue
        total += int(text.split("Pss:")[1].split()[0])
    return total / 1024


def watch(recipe: Path, run: Path, images: int) -> tuple[float, int, int, int]:
    """Run a job and kill it.

    Returns:
        The slope of its memory in MiB a step, how many descriptors and processes it gained, and what it left behind.
    """
    points: list[tuple[int, float]] = []
    counts: list[tuple[int, int]] = []
    with job(recipe, run) as started:
        for reached in range(images // 4, images, images // 16):
            started.wait_for(reached, 240)
            ranks = started.ranks()
            pids = [pid for rank in ranks.values() for pid in (rank, *descendants(rank))]
            points.append((started.images() // 2, resident(pids)))
            counts.append((sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in ranks.values()), len(pids)))
    steps, sizes = np.array(points).T
    slope = float(np.polyfit(steps, sizes, 1)[0])
    descriptors, processes = np.array(counts).T
    # Batches in transit hold some for a moment, so that the minimum of several counts is taken.
    return (
        slope,
        int(descriptors[-4:].min() - descriptors[:4].min()),
        int(processes[-1] - processes[0]),
        len(started.left()),
    )


def long_recipe(tmp_path: Path, epochs: int) -> Path:
    values = small_recipe(toy_data(tmp_path / "city", 6, 2), tmp_path / "run")
    values["stages"] = [{"size": "64x32", "batch_size": 1, "epochs": epochs}]
    values["training"] |= {"workers": 2, "log_every": 10, "save_every": 200, "sample_every": 500}
    return write_recipe(tmp_path / "recipe.yaml", values)


@pytest.mark.bar("B8.1", "memory of two processes over 2,000 steps grows by at most 0.05 MiB a step")
@pytest.mark.bar("B8.2", "descriptors and processes stay the same; after kill -9 nothing is left in /dev/shm")
def test_memory_stays_flat(tmp_path: Path, figure: Figure) -> None:
    slope, descriptors, processes, left = watch(long_recipe(tmp_path, 1000), tmp_path / "run", 4000)
    figure(f"{slope:+.4f} MiB a step, {descriptors:+d} descriptors, {processes:+d} processes, {left} left in /dev/shm")
    assert slope <= 0.05
    assert abs(descriptors) <= 2 and processes == 0 and not left


@pytest.mark.bar("B8.1", "memory of two processes over 2,000 steps grows by at most 0.05 MiB a step")
@pytest.mark.bar("B8.2", "descriptors and processes stay the same; after kill -9 nothing is left in /dev/shm")
def test_mutant_kept_graphs_and_files_are_seen(tmp_path: Path, figure: Figure, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.faults.jobs.ROOT", mutant(tmp_path / "root", keep_graphs))
    slope, descriptors, *_ = watch(long_recipe(tmp_path, 1000), tmp_path / "run", 800)
    figure(f"mutant that keeps graphs and files {slope:+.3f} MiB a step, {descriptors:+d} descriptors")
    assert slope > 0.05 and descriptors > 2


@pytest.mark.bar("B8.3", "a worker's own memory grows by less than 20 MB over an epoch of 100,000 paths")
def test_an_index_of_many_paths_is_shared(figure: Figure) -> None:
    root = "/storage/of/all/of/us/data/streets_by_day_and_by_night"
    names = [f"a_rather_long_folder_name/of_a_sequence/{number:09d}" for number in range(100_000)]
    files = [SampleFiles(name, {"source": f"{root}/A/{name}.png", "photo": f"{root}/B/{name}.png"}) for name in names]
    data = PicturePairs(kind="picture_pairs", root=".")
    samples = TrainingSamples(files, ("source", "photo"), data, Geometry(), 0, 0)
    grown = []
    fields = ("source", "photo")
    ours = [samples._reader._paths[field] for field in fields]
    for lists in (ours, [[file.paths[field] for file in files] for field in fields]):
        child, (get, put) = None, os.pipe()
        child = os.fork()
        if child == 0:
            before = private()
            for place in range(len(files)):
                _ = [paths[place] for paths in lists]
            os.write(put, str(private() - before).encode())
            os._exit(0)
        os.waitpid(child, 0)
        grown.append(float(os.read(get, 100)))
    figure(f"{grown[0]:.1f} MiB; mutant, lists of texts, {grown[1]:.1f} MiB")
    assert grown[0] < 20 < grown[1]


def private() -> float:
    text = Path("/proc/self/smaps_rollup").read_text()
    return int(text.split("Private_Dirty:")[1].split()[0]) / 1024
