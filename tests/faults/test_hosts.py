"""Two hosts as network namespaces: one is lost by kill -9 or its cable, and the same command continues."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.bars import Figure
from tests.faults.jobs import ROOT, final, job
from tests.mutants import as_code
from tests.mutants.processes import share_out_nothing
from tests.small_runs import small_recipe, toy_data, write_recipe
from tests.test_cluster import images_seen, wait_for

pytestmark = pytest.mark.faults
STEP, JOIN = 10, 30  # seconds: training.timeouts.step, and how long torchrun waits for hosts


@dataclass
class Host:
    """Network namespace with one end of a virtual cable."""

    name: str
    address: str
    first: bool

    def start(self, file: Path, **more: str) -> "subprocess.Popen[str]":
        """Run the command of the README on this host; `more` are variables of the starter."""
        environment = {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "OMP_NUM_THREADS": "1",
            "CUDA_VISIBLE_DEVICES": "",
            "RENDEZVOUS": "10.201.7.1:29400",
            "IS_HOST": str(int(self.first)),
            "ADDRESS": self.address,
            "GLOO_SOCKET_IFNAME": self.name,
            "PROCESSES": "1",
            "RESTARTS": "0",
            "JOIN_TIMEOUT": str(JOIN),
        }
        command = ["ip", "netns", "exec", self.name, "sh", str(ROOT / "docker/cluster/train_on_hosts.sh"), str(file)]
        environment = {**os.environ, **environment, **more}
        return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True, process_group=0)

    def lose(self) -> None:
        """Kill all its processes at once: torchrun's have groups of their own, and outlive it."""
        found = subprocess.run(["ip", "netns", "pids", self.name], capture_output=True, text=True, check=False)
        for process in map(int, found.stdout.split()):
            os.kill(process, signal.SIGKILL)

    def plug(self, state: str) -> None:
        """Set its end of the cable `up` or `down`."""
        subprocess.run(["ip", "-n", self.name, "link", "set", self.name, state], check=True)


@pytest.fixture
def hosts() -> Iterator[list[Host]]:
    """Make two hosts, joined by a cable."""
    tag = f"hd{os.getpid()}"
    made = [Host(f"{tag}a", "10.201.7.1", True), Host(f"{tag}b", "10.201.7.2", False)]
    a, b = (host.name for host in made)
    commands = [["ip", "netns", "add", host.name] for host in made]
    commands += [["ip", "link", "add", a, "netns", a, "type", "veth", "peer", b, "netns", b]]
    for host in made:
        commands += [["ip", "-n", host.name, "address", "add", f"{host.address}/24", "dev", host.name]]
        commands += [["ip", "-n", host.name, "link", "set", device, "up"] for device in (host.name, "lo")]
    try:
        for command in commands:
            try:
                subprocess.run(command, check=True, capture_output=True)
            except (OSError, subprocess.CalledProcessError) as error:
                pytest.skip(f"no network namespaces here: {error}")
        yield made
    finally:
        for host in made:
            host.lose()
            subprocess.run(["ip", "netns", "delete", host.name], check=False, capture_output=True)


@pytest.fixture(scope="module")
def city(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy_data(tmp_path_factory.mktemp("city"))


def recipe(city: Path, run: Path, epochs: int) -> Path:
    """Write a recipe on four images."""
    training = {"workers": 1, "device": "cpu", "save_every": 100, "sample_every": 1000, "log_every": 20}
    training |= {"timeouts": {"step": STEP, "pause": 60}}
    stages = [{"size": "64x32", "epochs": epochs, "batch_size": 1}]
    return write_recipe(run.with_suffix(".yaml"), small_recipe(city, run, training=training, stages=stages))


@pytest.fixture(scope="module")
def whole(city: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the fingerprint of an undisturbed run of two processes."""
    run = tmp_path_factory.mktemp("whole") / "run"
    with job(recipe(city, run, 120), run) as started:
        assert started.end() == 0, started.messages()[-3000:]
    return final(run, 480)


LOST = "one of two hosts is lost: the other ends in time, the same command on both ends with the same hash"
ELASTIC = "--nnodes=1:2: the other host trains on alone within 60 s, by the same batches, and takes the lost one back"


@pytest.mark.bar("B2.7", LOST)
@pytest.mark.parametrize("how", ["kill -9", "cable pulled"])
def test_a_host_is_lost(how: str, city: Path, whole: str, tmp_path: Path, hosts: list[Host], figure: Figure) -> None:
    run = tmp_path / "run"
    file = recipe(city, run, 120)  # 480 images
    first = [host.start(file) for host in hosts]
    wait_for(lambda: images_seen(run) >= 100, 120)
    hosts[1].lose() if how == "kill -9" else hosts[1].plug("down")
    start = time.monotonic()
    messages = first[0].communicate(timeout=120)[1]
    seconds = time.monotonic() - start
    assert first[0].returncode != 0 and seconds < STEP + JOIN + 15, messages
    hosts[1].lose()  # a launcher that is cut off may wait for a quarter of an hour
    hosts[1].plug("up")
    again = [host.start(file) for host in hosts]
    messages = "".join(host.communicate(timeout=180)[1] for host in again)
    assert [host.returncode for host in again] == [0, 0], messages
    assert "going on in stage" in messages
    assert final(run, 480) == whole
    figure(f"{how}: ended after {seconds:.1f} s (limits {STEP} and {JOIN} s)")


@pytest.mark.bar("B2.7", LOST)
def test_mutant_that_trains_anew_has_another_hash(city: Path, whole: str, tmp_path: Path, figure: Figure) -> None:
    """The whole state counts: a run from the weights alone ends elsewhere."""
    run, other = tmp_path / "run", tmp_path / "other"
    with job(recipe(city, other, 30), other) as started:
        assert started.end() == 0, started.messages()[-3000:]
    file = recipe(city, run, 120)
    file.write_text(f"{file.read_text()}\ninit_from: {other}\n")
    with job(file, run) as started:
        assert started.end() == 0, started.messages()[-3000:]
    assert final(run, 480) != whole
    figure("mutant, from the weights alone: another hash")


@pytest.mark.bar("B2.7", ELASTIC)
def test_an_elastic_job(city: Path, tmp_path: Path, hosts: list[Host], figure: Figure) -> None:
    run, elastic = tmp_path / "run", {"HOSTS": "1:2", "RESTARTS": "3", "JOIN_TIMEOUT": "120"}
    file = recipe(city, run, 1000)  # 4000 images
    first = [host.start(file, **elastic) for host in hosts]
    wait_for(lambda: images_seen(run) >= 100, 120)
    hosts[1].lose()
    start, reached = time.monotonic(), images_seen(run)
    wait_for(lambda: images_seen(run) > reached, 90)
    seconds = time.monotonic() - start
    back = hosts[1].start(file, **elastic)
    messages = first[0].communicate(timeout=300)[1] + back.communicate(timeout=60)[1]
    assert [first[0].returncode, back.returncode] == [0, 0], messages
    assert "stage train: batches stay 2 images: batch_size 2 for each of 1" in messages
    assert images_seen(run) == 4000
    assert seconds <= 60
    figure(f"alone after {seconds:.1f} s, then both to the end")


@pytest.mark.bar("B2.7", ELASTIC)
def test_mutant_whose_batches_are_not_shared_out(city: Path, tmp_path: Path, hosts: list[Host], figure: Figure) -> None:
    run, path = tmp_path / "run", tmp_path / "path"
    path.mkdir()
    (path / "sitecustomize.py").write_text(as_code(share_out_nothing))
    elastic = {"HOSTS": "1:2", "RESTARTS": "1", "JOIN_TIMEOUT": "120", "PYTHONPATH": f"{path}:{ROOT}"}
    file = recipe(city, run, 1000)
    first = [host.start(file, **elastic) for host in hosts]
    wait_for(lambda: images_seen(run) >= 100, 120)
    hosts[1].lose()
    messages = first[0].communicate(timeout=120)[1]
    assert first[0].returncode != 0
    assert "the run was started with 2 images in a batch of all processes, and would go on with 1" in messages
    figure("mutant refused")
