"""The starters in docker/cluster: SLURM against programs that stand in for it; faults/test_hosts.py has two hosts."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from hdtrans.engine.checkpoint import Checkpoints
from tests.bars import Figure
from tests.small_runs import small_recipe, toy_data, write_recipe

ROOT = Path(__file__).resolve().parents[1]
CLUSTER = ROOT / "docker" / "cluster"

# What stands in for SLURM. srun runs its command here, passes SIGUSR1 on and kills at SIGTERM, as the real one does.
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
# A training: it says what it was started with, saves half a second after SIGUSR1, and ends as torchrun does then.
TORCHRUN = """#!/bin/bash
printf '%s\\n' "$PET_SIGNALS_TO_HANDLE" "$@" > FOLDER/started
trap 'sleep 0.5; [[ -z ${SAVES-yes} ]] || touch RUN/checkpoints/images_8.pt; exit 1' USR1
for i in {1..300}; do [[ -e FOLDER/end ]] && exit $(cat FOLDER/end); sleep 0.1; done
"""


@dataclass
class Job:
    """A batch script at work."""

    folder: Path
    process: "subprocess.Popen[str]"

    def end(self, timeout: float = 20) -> tuple[int, str, str]:
        """Wait for the script; return its exit code, what it said, and what scontrol was asked for."""
        _, said = self.process.communicate(timeout=timeout)
        log = self.folder / "scontrol.log"
        return self.process.returncode, said, log.read_text() if log.exists() else ""


def wait_for(done: Any, seconds: float = 20) -> None:
    """Wait until `done()` is true."""
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


def submit(folder: Path, words: list[str], programs: dict[str, str], **environment: str) -> Job:
    """Start the batch script as SLURM would, with these programs first on PATH; `words` name the run by out=."""
    (folder / "bin").mkdir()
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
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            process_group=0,
        ),
    )


FAKES = {"srun": SRUN, "scontrol": SCONTROL, "torchrun": TORCHRUN}


def fake_job(folder: Path, **environment: str) -> Job:
    """Submit a training that stands in for torchrun, and wait until it runs."""
    (folder / "run" / "checkpoints").mkdir(parents=True)
    job = submit(folder, ["a.yaml", f"out={folder / 'run'}"], FAKES, **environment)
    wait_for((folder / "started").exists)
    time.sleep(0.2)  # its traps are set in the lines before and after
    return job


@pytest.mark.bar("B2.6", "SLURM: requeued once, after the checkpoint, and never in vain")
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


@pytest.mark.bar("B2.6", "SLURM: requeued once, after the checkpoint, and never in vain")
@pytest.mark.parametrize("code", [0, 3])
def test_slurm_leaves_a_training_that_ended_by_itself(tmp_path: Path, code: int) -> None:
    job = fake_job(tmp_path)
    (tmp_path / "end").write_text(str(code))
    assert job.end() == (code, "", "")


@pytest.mark.bar("B2.6", "SLURM: requeued once, after the checkpoint, and never in vain")
def test_slurm_does_not_requeue_what_would_do_the_same_again(tmp_path: Path) -> None:
    job = fake_job(tmp_path, SAVES="")
    os.kill(job.process.pid, signal.SIGUSR1)
    code, said, asked = job.end()
    assert (code, asked) == (1, "")
    assert "no checkpoint from this time" in said


REQUEUES_AT_ONCE = ("trap 'signalled=yes; kill", "trap 'signalled=yes; scontrol requeue $job; kill")
LOOKS_FOR_NO_CHECKPOINT = ('if [[ -z $(find "$run/checkpoints"', 'if false && [[ -z $(find "$run/checkpoints"')


@pytest.mark.bar("B2.6", "SLURM: requeued once, after the checkpoint, and never in vain")
@pytest.mark.parametrize(
    ("change", "environment", "counts"),
    [(REQUEUES_AT_ONCE, {}, [0, 1]), (LOOKS_FOR_NO_CHECKPOINT, {"SAVES": ""}, [0])],
    ids=["requeues at once", "looks for no checkpoint"],
)
def test_mutant_of_the_batch_script(
    change: tuple[str, str],
    environment: dict[str, str],
    counts: list[int],
    tmp_path: Path,
    figure: Figure,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    text, scripts = (CLUSTER / "slurm.sbatch").read_text(), tmp_path / "mutant"
    assert text.count(change[0]) == 1
    scripts.mkdir()
    (scripts / "slurm.sbatch").write_text(text.replace(*change))
    monkeypatch.setattr("tests.test_cluster.CLUSTER", scripts)
    job = fake_job(tmp_path, **environment)
    os.kill(job.process.pid, signal.SIGUSR1)
    _, _, asked = job.end()
    assert asked == "".join(f"requeue 77 after {count} checkpoints\n" for count in counts)
    figure(f"mutant requeues with {' and '.join(map(str, counts))} checkpoints")


@pytest.mark.bar("B2.6", "SLURM: requeued once, after the checkpoint, and never in vain")
def test_slurm_says_when_the_queue_refuses(tmp_path: Path) -> None:
    job = fake_job(tmp_path, SCONTROL_FAILS="1")
    os.kill(job.process.pid, signal.SIGUSR1)
    code, said, asked = job.end()
    assert (code, asked) == (1, "requeue 77 after 1 checkpoints\n")
    assert "WARNING: scontrol requeue 77 failed" in said
    assert (tmp_path / "run/checkpoints/images_8.pt").exists()


@pytest.mark.bar("B2.6", "SLURM: requeued once, after the checkpoint, and never in vain")
def test_slurm_directives_and_usage() -> None:
    text = (CLUSTER / "slurm.sbatch").read_text()
    given = set(re.findall(r"^#SBATCH (\S+)$", text, re.M))
    assert {"--requeue", "--signal=B:USR1@120", "--open-mode=append", "--ntasks-per-node=1"} <= given
    assert text.index("#SBATCH") < text.index("\nset -u"), "SLURM reads no directive after the first command"
    done = subprocess.run(["bash", CLUSTER / "slurm.sbatch"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("usage: sbatch")


def test_hosts_need_a_place_to_meet() -> None:
    environment = {name: value for name, value in os.environ.items() if name != "RENDEZVOUS"}
    command = ["sh", CLUSTER / "train_on_hosts.sh", "a.yaml"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "RENDEZVOUS=first-host:29400" in done.stderr


# The fields of kubeflow.org/v1 PyTorchJob and of a pod that the manifest may use, with the types of their values.
CONTAINER = {
    "name": str,
    "image": str,
    "args": [str],
    "env": [{"name": str, "value": str}],
    "resources": {"requests": {str: str}, "limits": {str: str}},
    "securityContext": {
        "allowPrivilegeEscalation": bool,
        "readOnlyRootFilesystem": bool,
        "capabilities": {"drop": [str]},
    },
    "volumeMounts": [{"name": str, "mountPath": str}],
}
POD = {
    "terminationGracePeriodSeconds": int,
    "securityContext": {
        "runAsNonRoot": bool,
        "runAsUser": int,
        "runAsGroup": int,
        "fsGroup": int,
        "seccompProfile": {"type": str},
    },
    "containers": [CONTAINER],
    "volumes": [
        {"name": str, "persistentVolumeClaim": {"claimName": str}, "emptyDir": {"medium": str, "sizeLimit": str}}
    ],
}
REPLICA = {"replicas": int, "restartPolicy": {"Always", "OnFailure", "Never", "ExitCode"}, "template": {"spec": POD}}
PYTORCHJOB = {
    "apiVersion": {"kubeflow.org/v1"},
    "kind": {"PyTorchJob"},
    "metadata": {"name": str},
    "spec": {
        "nprocPerNode": str,
        "elasticPolicy": {
            "minReplicas": int,
            "maxReplicas": int,
            "rdzvBackend": {"c10d", "etcd", "etcd-v2"},
            "rdzvPort": int,
            "rdzvHost": str,
            "rdzvId": str,
            "rdzvConf": [{"key": str, "value": str}],
            "standalone": bool,
            "maxRestarts": int,
        },
        "runPolicy": {
            "backoffLimit": int,
            "cleanPodPolicy": {"All", "Running", "None"},
            "ttlSecondsAfterFinished": int,
            "activeDeadlineSeconds": int,
        },
        "pytorchReplicaSpecs": {"Master": REPLICA, "Worker": REPLICA},
    },
}


def misfits(value: Any, schema: Any, where: str = "") -> Iterator[str]:
    """Yield the places of a manifest that do not fit the schema."""
    if isinstance(schema, set):
        if value not in schema:
            yield f"{where}: {value!r} is none of {sorted(schema)}"
    elif isinstance(schema, type):
        if type(value) is not schema:
            yield f"{where}: {value!r} is no {schema.__name__}"
    elif not isinstance(value, type(schema)):
        yield f"{where}: {value!r} is no {type(schema).__name__}"
    elif isinstance(value, list):
        for place, entry in enumerate(value):
            yield from misfits(entry, schema[0], f"{where}[{place}]")
    else:
        for key, entry in value.items():
            kind = schema.get(key, schema.get(str))
            yield from [f"{where}: unknown {key}"] if kind is None else misfits(entry, kind, f"{where}.{key}")


def test_the_kubernetes_manifest_fits_its_schema() -> None:
    manifest = yaml.safe_load((CLUSTER / "pytorchjob.yaml").read_text())
    assert list(misfits(manifest, PYTORCHJOB)) == []
    pod = manifest["spec"]["pytorchReplicaSpecs"]["Worker"]["template"]["spec"]
    (container,) = pod["containers"]
    assert container["name"] == "pytorch", "the operator gives torchrun's variables to this one only"
    assert {m["name"] for m in container["volumeMounts"]} == {volume["name"] for volume in pod["volumes"]}
    assert {m["mountPath"] for m in container["volumeMounts"]} == {"/workspace", "/dev/shm", "/tmp"}
    patience = {entry["name"]: int(entry["value"]) for entry in container["env"]}["TORCH_ELASTIC_SHUTDOWN_TIMEOUT"]
    assert pod["terminationGracePeriodSeconds"] > patience
    assert container["args"][0] == "torchrun"
    assert container["resources"]["requests"]["nvidia.com/gpu"] == container["resources"]["limits"]["nvidia.com/gpu"]
    manifest["spec"]["runPolicy"]["cleanPodPolicy"] = "Some"
    manifest["spec"]["pytorchReplicaSpecs"]["Worker"]["replica"] = 2
    container["env"][0]["value"] = 120
    assert len(list(misfits(manifest, PYTORCHJOB))) == 3


def recipe(folder: Path, epochs: int, batch_size: int = 1) -> Path:
    """Write a small recipe on toy scenes whose run folder is `folder / "run"`, and return its file."""
    training = {"workers": 1, "device": "cpu", "save_every": 100, "sample_every": 1000, "log_every": 20}
    stage = {"size": "64x32", "epochs": epochs, "batch_size": batch_size}
    values = small_recipe(toy_data(folder / "city"), folder / "run", training=training, stages=[stage])
    return write_recipe(folder / "small.yaml", values)


def images_seen(run: Path) -> int:
    """Return how far the newest checkpoint of a run is."""
    files = Checkpoints(run, 2).files()
    return max((int(re.findall(r"images_(\d+)", file.name)[0]) for file in files), default=0)


@pytest.mark.bar("B2.6", "SLURM: requeued once, after the checkpoint, and never in vain")
@pytest.mark.faults
def test_slurm_with_a_real_training(tmp_path: Path) -> None:
    words = [str(recipe(tmp_path, 2000)), f"out={tmp_path / 'run'}"]
    job = submit(tmp_path, words, {"srun": SRUN, "scontrol": SCONTROL}, PROCESSES="2", CUDA_VISIBLE_DEVICES="")
    try:
        wait_for(lambda: images_seen(tmp_path / "run") >= 100, 120)
        os.kill(job.process.pid, signal.SIGUSR1)
        code, said, asked = job.end(60)
    finally:
        if job.process.poll() is None:
            os.killpg(job.process.pid, signal.SIGKILL)
    assert code == 0, said
    assert re.fullmatch(r"requeue 77 after \d checkpoints\n", asked)
    assert "SIGUSR1 after" in said, "saved by the signal, not by its interval"
    assert images_seen(tmp_path / "run") % 100 != 0
    assert subprocess.run(["pgrep", "-f", str(tmp_path)], capture_output=True, check=False).stdout == b""
