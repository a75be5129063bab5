"""The starters in docker/cluster: SLURM against programs that stand in for it; faults/test_hosts.py has two hosts."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import pytest

from hdtrans.engine.checkpoint import Checkpoints
from tests.bars import Figure
from tests.mutants.batch_script import SCRIPTS
from tests.small_runs import small_recipe, toy_data, write_recipe

ROOT = Path(__file__).resolve().parents[1]
CLUSTER = ROOT / "docker" / "cluster"
BAR = pytest.mark.bar("B2.6", "SLURM: requeued once, after the checkpoint, and never in vain")

# Fakes of SLURM. srun runs its command here, passes SIGUSR1 on and kills at SIGTERM, as the real one does.
SRUN = """#!/bin/bash
while [[ $1 == --* ]]; do shift; done
SLURM_NODEID=0 "$@" & task=$!
trap 'kill -USR1 $task' USR1
trap 'kill -KILL $task' TERM
while wait $task; status=$?; kill -0 $task 2>/dev/null; do :; done
exit $status
"""
SCONTROL = """#!/bin/bash
if [[ $1 == show ]]; then echo localhost; exit; fi
echo "$* after $(ls RUN/checkpoints 2>/dev/null | grep -c 'pt$') checkpoints" >> FOLDER/scontrol.log
exit ${SCONTROL_FAILS:-0}
"""
# Fake training: it prints its arguments, saves a quarter of a second after SIGUSR1, and ends as torchrun does then, or
# with ENDS, as one that was at its end.
TORCHRUN = """#!/bin/bash
printf '%s\\n' "$PET_SIGNALS_TO_HANDLE" "$@" > FOLDER/started
trap 'sleep 0.25; [[ -z ${SAVES-yes} ]] || touch RUN/checkpoints/images_8.pt; exit ${ENDS:-1}' USR1
echo trains
for i in {1..300}; do [[ -e FOLDER/end ]] && exit $(cat FOLDER/end); sleep 0.1; done
"""


@dataclass
class Job:
    """Batch script in a process of its own."""

    folder: Path
    process: "subprocess.Popen[str]"

    def end(self, timeout: float = 20) -> tuple[int, str, str]:
        """Wait for the script; return its exit code, its messages, and the requests to scontrol."""
        _, messages = self.process.communicate(timeout=timeout)
        log = self.folder / "scontrol.log"
        return self.process.returncode, messages, log.read_text() if log.exists() else ""


def wait_for(done: Any, seconds: float = 20) -> None:
    """Wait until `done()` is true."""
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def submit(
    folder: Path,
    words: list[str],
    programs: dict[str, str],
    log: int | IO[str] = subprocess.DEVNULL,
    **environment: str,
) -> Job:
    """Start the batch script as SLURM would, with these programs first on PATH; `words` name the run by out=."""
    (folder / "bin").mkdir(exist_ok=True)
    for name, text in programs.items():
        text = text.replace("RUN", str(folder / "run")).replace("FOLDER", str(folder))
        (folder / "bin" / name).write_text(text)
        (folder / "bin" / name).chmod(0o755)
    path = f"{folder / 'bin'}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    given = {"PATH": path, "SLURM_JOB_ID": "77", "SLURM_JOB_NODELIST": "localhost", "SLURM_JOB_NUM_NODES": "1"}
    script = folder / "slurm_script"  # SLURM runs a copy, from the folder where sbatch was called
    shutil.copy(CLUSTER / "slurm.sbatch", script)
    return Job(
        folder,
        subprocess.Popen(
            ["bash", script, *words],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **given, **environment},
            stdout=log,
            stderr=subprocess.PIPE,
            text=True,
            process_group=0,
        ),
    )


FAKES = {"srun": SRUN, "scontrol": SCONTROL, "torchrun": TORCHRUN}


def fake_job(folder: Path, log: int | IO[str] = subprocess.DEVNULL, **environment: str) -> Job:
    """Submit a training that stands in for torchrun, and wait until it runs."""
    (folder / "run" / "checkpoints").mkdir(parents=True, exist_ok=True)
    (folder / "started").unlink(missing_ok=True)
    job = submit(folder, ["a.yaml", f"out={folder / 'run'}"], FAKES, log, **environment)
    wait_for((folder / "started").exists)
    time.sleep(0.2)  # its traps are set in the lines before and after
    return job


@BAR
@pytest.mark.parametrize(
    ("array", "name"), [({}, "77"), ({"SLURM_ARRAY_JOB_ID": "70", "SLURM_ARRAY_TASK_ID": "3"}, "70_3")]
)
def test_slurm_requeues_once_and_after_the_checkpoint(tmp_path: Path, array: dict[str, str], name: str) -> None:
    job = fake_job(tmp_path, **array)
    os.kill(job.process.pid, signal.SIGUSR1)
    assert job.end() == (0, "", f"requeue {name} after 1 checkpoints\n")
    signals, *words = (tmp_path / "started").read_text().splitlines()
    assert "SIGUSR1" in signals.split(",")
    assert {"--nnodes=1", "--rdzv-endpoint=localhost:29477", f"--rdzv-id={name}", "--nproc-per-node=gpu"} <= {*words}
    assert "--rdzv-conf=join_timeout=600,is_host=1" in words
    assert words[-5:] == ["-m", "hdtrans", "train", "a.yaml", f"out={tmp_path / 'run'}"]


@BAR
@pytest.mark.parametrize("code", [0, 3])
def test_slurm_does_not_requeue_a_training_that_ended_by_itself(tmp_path: Path, code: int) -> None:
    assert ended_by_itself(tmp_path, code) == (code, "", "")


def ended_by_itself(folder: Path, code: int) -> tuple[int, str, str]:
    """Let a training that has saved end; return the results of its job."""
    job = fake_job(folder)
    (folder / "run/checkpoints/images_8.pt").touch()
    (folder / "end").write_text(str(code))
    return job.end()


def signalled(folder: Path, **environment: str) -> tuple[int, str, str]:
    """Let the time of a job run out; return its results."""
    job = fake_job(folder, **environment)
    os.kill(job.process.pid, signal.SIGUSR1)
    return job.end()


@BAR
def test_slurm_does_not_requeue_a_finished_run(tmp_path: Path) -> None:
    assert signalled(tmp_path, ENDS="0") == (0, "", "")


@BAR
def test_slurm_does_not_requeue_without_progress(tmp_path: Path) -> None:
    code, messages, asked = signalled(tmp_path, SAVES="")
    assert (code, asked) == (1, "")
    assert "no checkpoint from this time" in messages


@BAR
def test_slurm_reports_a_refusal_of_the_queue(tmp_path: Path) -> None:
    code, messages, asked = signalled(tmp_path, SCONTROL_FAILS="1")
    assert (code, asked) == (1, "requeue 77 after 1 checkpoints\n")
    assert "WARNING: scontrol requeue 77 failed" in messages
    assert (tmp_path / "run/checkpoints/images_8.pt").exists()


def use_script(text: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make jobs run a batch script with this text."""
    (folder / "mutant").mkdir()
    (folder / "mutant" / "slurm.sbatch").write_text(text)
    monkeypatch.setattr("tests.test_cluster.CLUSTER", folder / "mutant")


REQUEUED = "requeue 77 after 1 checkpoints\n"
# Behaviour of a job under each broken script, and its symptom.
SEEN: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "requeues at once": (signalled, (0, "requeue 77 after 0 checkpoints\n" + REQUEUED)),
    "looks for no checkpoint": (lambda folder: signalled(folder, SAVES=""), (0, "requeue 77 after 0 checkpoints\n")),
    "requeues what is finished": (lambda folder: signalled(folder, ENDS="0"), (0, REQUEUED)),
    "requeues what failed": (lambda folder: ended_by_itself(folder, 3), (0, REQUEUED)),
    "takes no refusal": (lambda folder: signalled(folder, SCONTROL_FAILS="1"), (0, REQUEUED)),
    "removes what a refused job has saved": (
        lambda folder: (*signalled(folder, SCONTROL_FAILS="1"), (folder / "run/checkpoints").exists()),
        (1, REQUEUED, False),
    ),
}


@BAR
@pytest.mark.parametrize("name", SCRIPTS)
def test_mutant_of_the_batch_script(name: str, tmp_path: Path, figure: Figure, monkeypatch: pytest.MonkeyPatch) -> None:
    (was, becomes), (job, found) = SCRIPTS[name], SEEN[name]
    text = (CLUSTER / "slurm.sbatch").read_text()
    assert text.count(was) == 1
    use_script(text.replace(was, becomes), tmp_path, monkeypatch)
    code, _, *others = job(tmp_path)
    assert (code, *others) == found
    figure(f"mutant {name}: seen")


def directives(text: str) -> set[str]:
    """Return the options of a batch script as SLURM reads them: those before the first command."""
    head = re.match(r"(#.*\n)*", text)
    return set(re.findall(r"^#SBATCH (\S+)$", head[0], re.M)) if head else set()


def queue(folder: Path) -> str:
    """Start the batch script, and again at each requeue, by its directives; return its log.

    By the manual of sbatch: where a cluster does not requeue by itself, `scontrol requeue` refuses
    a job without `--requeue`; without `--signal` nothing comes before the kill; logs are written anew without
    `--open-mode=append`.
    """
    given, log = directives((CLUSTER / "slurm.sbatch").read_text()), folder / "job.log"
    mode = "a" if "--open-mode=append" in given else "w"
    with log.open(mode) as file:
        job = fake_job(folder, file, SCONTROL_FAILS="0" if "--requeue" in given else "1")
        if "--signal=B:USR1@120" in given:
            os.kill(job.process.pid, signal.SIGUSR1)
        else:
            os.killpg(job.process.pid, signal.SIGKILL)
        code, messages, asked = job.end()
        file.write(messages)
    if code == 0 and asked:
        (folder / "end").write_text("0")
        with log.open(mode) as file:
            fake_job(folder, file).end()
    return log.read_text()


@BAR
def test_slurm_continues_a_requeued_job(tmp_path: Path) -> None:
    assert queue(tmp_path) == "trains\ntrains\n"


@BAR
@pytest.mark.parametrize(
    ("line", "log"),
    [
        ("#SBATCH --requeue\n", "trains\nWARNING: scontrol requeue 77 failed"),
        ("#SBATCH --signal=B:USR1@120\n", "trains\n"),
        ("#SBATCH --open-mode=append\n", "trains\n"),
    ],
)
def test_mutant_without_a_directive(
    line: str, log: str, tmp_path: Path, figure: Figure, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (CLUSTER / "slurm.sbatch").read_text()
    assert text.count(line) == 1
    use_script(text.replace(line, ""), tmp_path, monkeypatch)
    found = queue(tmp_path)
    assert found.startswith(log) and found.count("trains") == 1
    figure(f"mutant without {line.split()[1]}: seen")


@BAR
def test_slurm_directives_and_usage() -> None:
    assert "--ntasks-per-node=1" in directives((CLUSTER / "slurm.sbatch").read_text())
    done = subprocess.run(["bash", CLUSTER / "slurm.sbatch"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("usage: sbatch")


def test_hosts_need_a_place_to_meet() -> None:
    environment = {name: value for name, value in os.environ.items() if name != "RENDEZVOUS"}
    command = ["sh", CLUSTER / "train_on_hosts.sh", "a.yaml"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "RENDEZVOUS=first-host:29400" in done.stderr


def recipe(folder: Path, epochs: int, batch_size: int = 1) -> Path:
    """Write a small recipe on toy scenes whose run folder is `folder / "run"`, and return its file."""
    training = {"workers": 1, "device": "cpu", "save_every": 100, "sample_every": 1000, "log_every": 20}
    stage = {"size": "64x32", "epochs": epochs, "batch_size": batch_size}
    values = small_recipe(toy_data(folder / "city"), folder / "run", training=training, stages=[stage])
    return write_recipe(folder / "small.yaml", values)


def images_seen(run: Path) -> int:
    """Return the images seen at the newest checkpoint of a run."""
    files = Checkpoints(run, 2).files()
    return max((int(re.findall(r"images_(\d+)", file.name)[0]) for file in files), default=0)


@BAR
@pytest.mark.faults
def test_slurm_with_a_real_training(tmp_path: Path) -> None:
    words = [str(recipe(tmp_path, 2000)), f"out={tmp_path / 'run'}"]
    job = submit(tmp_path, words, {"srun": SRUN, "scontrol": SCONTROL}, PROCESSES="2", CUDA_VISIBLE_DEVICES="")
    try:
        wait_for(lambda: images_seen(tmp_path / "run") >= 100, 120)
        os.kill(job.process.pid, signal.SIGUSR1)
        code, messages, asked = job.end(60)
    finally:
        if job.process.poll() is None:
            os.killpg(job.process.pid, signal.SIGKILL)
    assert code == 0, messages
    assert re.fullmatch(r"requeue 77 after \d checkpoints\n", asked)
    assert "SIGUSR1 after" in messages, "saved by the signal, not by its interval"
    assert images_seen(tmp_path / "run") % 100 != 0
    assert subprocess.run(["pgrep", "-f", str(tmp_path)], capture_output=True, check=False).stdout == b""
