"""Cores by quotas of made-up control groups, Slurm's steps and torchrun; waiting threads."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from hdtrans.common import cores as module
from hdtrans.common.cores import WAITING, choose_threads, cores


@pytest.fixture(autouse=True)
def sixty_four(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(64)), raising=False)


def system(root: Path, groups: str, files: dict[str, str]) -> Path:
    """Make a root with the groups of a process and files below sys/fs/cgroup."""
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text(groups)
    for name, text in files.items():
        file = root / "sys/fs/cgroup" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return root


@pytest.mark.parametrize(
    ("groups", "files", "expected"),
    [
        ("0::/\n", {"cpu.max": "200000 100000\n"}, 2),  # a pod with a namespace of its own
        ("0::/\n", {"cpu.max": "max 100000\n"}, 64),
        ("0::/\n", {"cpu.max": "150000 100000\n"}, 1),
        ("0::/\n", {"cpu.max": "20000 100000\n"}, 1),
        ("0::/a/b\n", {"a/b/cpu.max": "max 100000\n", "a/cpu.max": "300000 100000\n"}, 3),  # of the group above
        ("0::/a/b\n", {"a/b/cpu.max": "400000 100000\n", "a/cpu.max": "800000 100000\n"}, 4),
        ("0::/host/only\n", {"cpu.max": "500000 100000\n"}, 5),  # a path that the container does not see
        (
            "4:cpu,cpuacct:/docker/1\n",
            {"cpu,cpuacct/cpu.cfs_quota_us": "600000", "cpu,cpuacct/cpu.cfs_period_us": "100000"},
            6,
        ),
        ("1:cpu:/a\n0::/\n", {"cpu/a/cpu.cfs_quota_us": "70000", "cpu/a/cpu.cfs_period_us": "10000"}, 7),
        ("1:cpu:/a\n", {"cpu/a/cpu.cfs_quota_us": "-1", "cpu/a/cpu.cfs_period_us": "100000"}, 64),
        ("3:cpuset:/a\n2:cpuacct:/a\n", {"cpuacct/a/cpu.cfs_quota_us": "70000"}, 64),
        ("0::/\n1:name=systemd:/\nnonsense\n", {"unified/cpu.max": "800000 100000"}, 8),
        ("0::/\n", {"cpu.max": "damaged"}, 64),
    ],
)
def test_quotas(tmp_path: Path, groups: str, files: dict[str, str], expected: int) -> None:
    assert cores(system(tmp_path, groups, files), {}) == expected


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, 64),
        ({"LOCAL_WORLD_SIZE": "8"}, 8),
        ({"LOCAL_WORLD_SIZE": "100"}, 1),
        ({"SLURM_CPUS_PER_TASK": "16"}, 16),
        ({"SLURM_CPUS_PER_TASK": "16", "LOCAL_WORLD_SIZE": "4"}, 4),  # torchrun in one task
        ({"SLURM_CPUS_ON_NODE": "32"}, 32),
        ({"SLURM_CPUS_ON_NODE": "32", "LOCAL_WORLD_SIZE": "4"}, 8),
        ({"SLURM_CPUS_ON_NODE": "32", "SLURM_STEP_TASKS_PER_NODE": "4(x2),2", "SLURM_NODEID": "1"}, 8),
        ({"SLURM_CPUS_ON_NODE": "32", "SLURM_STEP_TASKS_PER_NODE": "4(x2),2", "SLURM_NODEID": "2"}, 16),
        (  # srun started the processes, one a task
            {"SLURM_CPUS_PER_TASK": "8", "SLURM_STEP_TASKS_PER_NODE": "4", "LOCAL_WORLD_SIZE": "4"},
            8,
        ),
        ({"SLURM_CPUS_PER_TASK": "many", "LOCAL_WORLD_SIZE": "0"}, 64),
    ],
)
def test_shares(tmp_path: Path, environment: dict[str, str], expected: int) -> None:
    assert cores(tmp_path, environment) == expected


def test_without_affinity(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on macOS and Windows."""
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    assert cores(tmp_path, {}) == 6


def test_threads_are_chosen_before_torch_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OMP_NUM_THREADS", *WAITING):
        monkeypatch.setenv(name, "unset")  # restored at the end
        monkeypatch.delenv(name)
    choose_threads()
    assert not any(name in os.environ for name in WAITING)  # torch is loaded here
    monkeypatch.delitem(sys.modules, "torch")
    choose_threads()
    assert all(os.environ[name] == value for name, value in WAITING.items()) and "OMP_NUM_THREADS" not in os.environ
    monkeypatch.setattr(module, "cores", lambda: 3)
    choose_threads()
    assert os.environ["OMP_NUM_THREADS"] == "3"


@pytest.mark.parametrize("given", [{"OMP_WAIT_POLICY": "ACTIVE"}, {"KMP_BLOCKTIME": "200"}, {"GOMP_SPINCOUNT": "9"}])
def test_what_the_user_set_stays(monkeypatch: pytest.MonkeyPatch, given: dict[str, str]) -> None:
    for name in ("OMP_NUM_THREADS", "KMP_BLOCKTIME", *WAITING):
        monkeypatch.setenv(name, "unset")
        monkeypatch.delenv(name)
    for name, value in {"OMP_NUM_THREADS": "5", **given}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delitem(sys.modules, "torch")
    monkeypatch.setattr(module, "cores", lambda: 3)
    choose_threads()
    found = {k: v for k, v in os.environ.items() if k.startswith(("OMP_", "GOMP_", "KMP_"))}
    assert found == {"OMP_NUM_THREADS": "5", **given}


def test_commands_choose_before_they_load_torch() -> None:
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("OMP_", "GOMP_", "KMP_"))}
    program = """import os
from hdtrans.cli import run_tool
run_tool("colorize_labels", ["--in", "nowhere", "--out", "x"])
print(os.environ["OMP_WAIT_POLICY"])"""
    found = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert found.stdout.strip().endswith(WAITING["OMP_WAIT_POLICY"])
