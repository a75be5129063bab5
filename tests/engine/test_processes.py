"""Two processes of batch 1 equal one of batch 2; each continues a run of the other."""

import copy
import json
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
from torch import Tensor

from hdtrans.common.errors import Stopped
from hdtrans.common.folder_lock import LOCK_FILE, FolderLock
from hdtrans.engine import checkpoint, distributed
from hdtrans.engine.checkpoint import Checkpoints
from tests.bars import Figure
from tests.engine.processes_jobs import own, run_jobs
from tests.engine.runs import PIX2PIXHD, Notes, hide_batch_norm, make_trainer, section, subject
from tests.forked import values_of_two
from tests.shared_folder import filled_once
from tests.small_runs import small_recipe, toy_data, write_recipe

ROOT = Path(__file__).resolve().parents[2]
EPOCHS = {  # 20 batches of 2 over all stages
    "adversarial": 4.0,
    "two_routes": 4.0,
    "penalised": 4.0,
    "pix2pix": 4.0,
    "cyclegan": 4.0,
    "pix2pixhd": 2.0,
    "pix2pixhd_features": 2.0,
    "pix2pixhd_segmenter": 2.0,
}
MOVED = (
    "two_routes",
    "cyclegan",
    "pix2pixhd",
    "pix2pixhd_features",
)  # stopped and continued with another number of processes
UNFOCUSED = ("adversarial", "two_routes", "pix2pixhd")  # with a mutant whose phases call all networks wrapped
STOP = 12  # batches, inside the last stage
TOLERANCE, BIAS_TOLERANCE = 1e-9, 1e-6

Runs = Callable[[str], dict[str, Any]]


def spawn(script: list[str], processes: int = 2, **environment: str) -> "subprocess.CompletedProcess[str]":
    """Run a script in several processes on this machine."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}", *script]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", **environment}
    pipe = subprocess.PIPE
    with subprocess.Popen(command, env=environment, stdout=pipe, stderr=pipe, text=True, process_group=0) as started:
        try:
            out, messages = started.communicate(timeout=300)
        except subprocess.TimeoutExpired:
            os.killpg(started.pid, signal.SIGKILL)  # torchrun's children too
            raise
    return subprocess.CompletedProcess(command, started.returncode, out, messages)


@pytest.fixture(scope="module")
def single(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    """Return the final checkpoint of one process of batch 2; made once."""
    made: dict[str, dict[str, Any]] = {}

    def run(name: str) -> dict[str, Any]:
        if name not in made:
            folder, notes = tmp_path_factory.mktemp(name), Notes()
            make_trainer(subject(name, 2, EPOCHS[name]), double(), folder, notes).run()
            assert notes.steps == 20
            made[name] = latest(folder) | {"records": notes.records}
        return made[name]

    return run


def double(**changes: Any) -> Any:
    """Return the training section of all runs here."""
    return section(precision="fp64", save_every=1000, **changes)


def latest(folder: Path) -> dict[str, Any]:
    """Return the latest checkpoint of a run folder."""
    return checkpoint.load(Checkpoints(folder, 2).files()[0])


JOBS: dict[str, dict[str, Any]] = {
    **{name: {"subject": name} for name in EPOCHS},
    **{f"{name} workers": {"subject": name, "workers": 2} for name in ("two_routes", "pix2pixhd")},
    **{f"{name} taken up": {"subject": name} for name in MOVED},
    **{f"{name} left": {"subject": name, "signal_rank": 1, "signal_after": STOP - 1} for name in MOVED},
    "wrong product": {"subject": "two_routes", "batch_size": 2},
    "batch norm": {"subject": "adversarial", "batch_norm": "discriminator"},
    "discriminator bare": {"subject": "adversarial", "unwrap": "discriminator"},
    "encoder bare": {"subject": "pix2pixhd_features", "unwrap": "encoder"},
    "scale bare": {"subject": "pix2pixhd", "unwrap": "discriminator0"},
    "one bit": {"subject": "two_routes", "fork": ["forth.first.weight", 3], "save_every": 10},
    "one bit of Adam": {"subject": "two_routes", "fork": ["adam", 5], "save_every": 10},
    "one bit, not compared": {"subject": "two_routes", "fork": ["forth.first.weight", 3], "blind": True},
    "batch norm, not refused": {"subject": "adversarial", "hidden_norm": "discriminator"},
    **{f"{name} counted": {"subject": name, "epochs": 1.2} for name in EPOCHS},
    **{f"{name} unfocused": {"subject": name, "epochs": 1.2, "unfocused": True} for name in UNFOCUSED},
}


@pytest.fixture(scope="module")
def double_runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, list[str]]]:
    """Run all jobs in two processes; return their folder, and the results of each process."""
    return filled_once(tmp_path_factory, "processes", run_all_jobs)


def run_all_jobs(root: Path) -> dict[str, list[str]]:
    """Run all jobs below a folder; return the results of each process by job."""
    for name in (*(f"{name} taken up" for name in MOVED), "wrong product"):
        with pytest.raises(Stopped):
            what = subject(name.split()[0] if "taken" in name else "two_routes", 2, EPOCHS[JOBS[name]["subject"]])
            make_trainer(what, double(), root / name, Notes(signal_after=STOP - 1)).run()
    jobs = [
        {
            "batch_size": 1,
            "epochs": EPOCHS[job["subject"]],
            "folder": str(root / name),
            "count": "counted" in name or "unfocused" in name,
            "unfocused": False,
            "blind": False,
            **job,
        }
        for name, job in JOBS.items()
    ]
    ends = values_of_two(run_jobs, jobs, folder=root)
    return {name: [end[place] for end in ends] for place, name in enumerate(JOBS)}


DoubleRuns = tuple[Path, dict[str, list[str]]]


def tensors(value: Any, path: str = "") -> dict[str, Tensor]:
    """Return the tensors in nested dicts and lists, by their path."""
    if isinstance(value, Tensor):
        return {path: value}
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list | tuple) else ()
    return {key: tensor for name, each in items for key, tensor in tensors(each, f"{path}/{name}").items()}


def normalised_biases(name: str) -> set[str]:
    """Return the parameters that a norm without parameters cancels: their gradients are rounding errors."""
    modules = dict(subject(name).networks.named_modules())
    convolutions = {f"{key}.convolution" for key, m in modules.items() if getattr(m, "norm", None) is not None}
    kinds = {key: modules[f"{key.removesuffix('.convolution')}.norm"].kind for key in convolutions if key in modules}
    return {f"{key}.bias" for key, kind in kinds.items() if kind == "instance"}


def differences(name: str, one: dict[str, Any], other: dict[str, Any]) -> tuple[float, float]:
    """Return the largest difference of all tensors of two checkpoints, and of biases that a norm cancels."""
    kept = ("networks", "ema", "training")
    a, b = ({part: tensors(state[part]) for part in kept} for state in (one, other))
    assert {part: set(a[part]) for part in kept} == {part: set(b[part]) for part in kept}
    cancelled = {f"/{key}" for key in normalised_biases(name)}
    worst = [0.0, 0.0]
    for part in kept:
        for key, tensor in a[part].items():
            assert tensor.shape == b[part][key].shape, key
            difference = float((tensor.double() - b[part][key].double()).abs().max())
            biased = key in cancelled
            worst[biased] = max(worst[biased], difference)
    return worst[0], worst[1]


def hold(name: str, one: dict[str, Any], other: dict[str, Any]) -> None:
    """Assert that two runs ended alike, and print their difference."""
    assert one["images_seen"] == other["images_seen"] == 40
    assert one["networks"] and next(iter(one["networks"].values())).dtype == torch.float64
    difference, bias_difference = differences(name, one, other)
    print(f"{name}: {difference:.1e}, biases before a norm {bias_difference:.1e}")
    assert difference < TOLERANCE
    assert bias_difference < BIAS_TOLERANCE


@pytest.mark.bar("B6.1", "two processes train what one trains, within 1e-9 in float64")
@pytest.mark.bar("B2.8", "one process goes on where two stopped, and two where one did")
def test_mutant_a_weight_that_differs_is_seen(single: Runs, figure: Figure) -> None:
    one = single("two_routes")
    other = copy.deepcopy(one)
    hold("two_routes", one, other)
    name = next(key for key in other["networks"] if key.endswith("weight"))
    other["networks"][name].view(-1)[0] += 2e-9
    with pytest.raises(AssertionError):
        hold("two_routes", one, other)
    figure("mutant with one weight 2e-9 apart: seen")


@pytest.mark.bar("B6.1", "two processes train what one trains, within 1e-9 in float64")
@pytest.mark.parametrize("job", [*EPOCHS, "two_routes workers", "pix2pixhd workers"])
def test_two_processes_train_what_one_trains(job: str, single: Runs, double_runs: DoubleRuns) -> None:
    assert double_runs[1][job] == ["done", "done"]
    name, folder = JOBS[job]["subject"], double_runs[0] / job
    hold(name, single(name), latest(folder))
    logged = [json.loads((folder / "records.json").read_text()), single(name)["records"]]
    losses = [[{key: x for key, x in record.items() if "/" in key} for record in records] for records in logged]
    assert len(losses[0]) == len(losses[1]) > 0
    for ours, theirs in zip(*losses, strict=True):
        assert ours == pytest.approx(theirs, abs=TOLERANCE), "the means over both processes are logged"


@pytest.mark.bar("B2.8", "one process goes on where two stopped, and two where one did")
@pytest.mark.parametrize("name", MOVED)
def test_two_processes_go_on_where_one_stopped(name: str, single: Runs, double_runs: DoubleRuns) -> None:
    assert double_runs[1][f"{name} taken up"] == ["done", "done"]
    hold(name, single(name), latest(double_runs[0] / f"{name} taken up"))


@pytest.mark.bar("B2.8", "one process goes on where two stopped, and two where one did")
@pytest.mark.parametrize("name", MOVED)
def test_one_process_goes_on_where_two_stopped(
    name: str, single: Runs, double_runs: DoubleRuns, tmp_path: Path
) -> None:
    folder = shutil.copytree(double_runs[0] / f"{name} left", tmp_path / "left")
    for end in double_runs[1][f"{name} left"]:
        assert end.startswith(f"Stopped 143: SIGTERM after {2 * STOP} images"), end
    state = latest(folder)
    assert state["images_seen"] == 2 * STOP
    if name not in PIX2PIXHD:
        memory = state["training"]["memory"]
        assert {pool.lower(): sorted(slots) for pool, slots in memory.items()} == {"a": ["0", "1"], "b": ["0", "1"]}
    make_trainer(subject(name, 2, EPOCHS[name]), double(), folder).run()
    hold(name, single(name), latest(folder))


@pytest.mark.bar("B2.8", "one process goes on where two stopped, and two where one did")
@pytest.mark.parametrize("lost", ["memory of the second process", "place in the data"])
def test_mutant_that_restores_the_count_of_one_process(
    lost: str, single: Runs, double_runs: DoubleRuns, figure: Figure
) -> None:
    state = copy.deepcopy(latest(double_runs[0] / "two_routes left"))
    if lost == "place in the data":
        state["images"] //= 2  # as if each process counted its own
        state["images_seen"] //= 2
    else:
        for slots in state["training"]["memory"].values():
            del slots["1"]
    trainer = make_trainer(subject("two_routes", 2, EPOCHS["two_routes"]), double())
    trainer.restore(state)
    trainer.run()
    other = {"networks": trainer.networks.state_dict(), "ema": trainer.ema.networks.state_dict()}  # type: ignore
    apart = max(
        float((value - single("two_routes")[part][key]).abs().max())
        for part, weights in other.items()
        for key, value in weights.items()
    )
    assert apart > TOLERANCE
    figure(f"mutant without the {lost}: {apart:.0e} apart")


@pytest.mark.bar("B2.8", "one process goes on where two stopped, and two where one did")
def test_a_wrong_product_is_refused_with_both_numbers(double_runs: DoubleRuns) -> None:
    for end in double_runs[1]["wrong product"]:
        assert end.startswith("UserError 2: stage stage1:")
        assert "2 images in a batch" in end
        assert "go on with 4 (2 process(es) of batch_size 2)" in end


@pytest.mark.bar("B6.5", "batch norm on several processes is refused")
def test_batch_norm_is_refused(double_runs: DoubleRuns) -> None:
    for end in double_runs[1]["batch norm"]:
        assert end.startswith("UserError 2: ")
        assert "use norm: instance, or train with one process" in end


@pytest.mark.bar("B6.5", "batch norm on several processes is refused")
def test_mutant_that_does_not_refuse_batch_norm_trains_something_else(
    double_runs: DoubleRuns, tmp_path: Path, figure: Figure
) -> None:
    assert double_runs[1]["batch norm, not refused"] == ["done", "done"]
    what = subject("adversarial", 2, EPOCHS["adversarial"])
    hide_batch_norm(what.networks["discriminator"])
    make_trainer(what, double(), tmp_path).run()
    one, other = latest(tmp_path), latest(double_runs[0] / "batch norm, not refused")
    with pytest.raises(AssertionError):
        hold("adversarial", one, other)
    figure(f"mutant, not refused: {differences('adversarial', one, other)[0]:.1e} from one process")


@pytest.mark.bar("B6.1", "two processes train what one trains, within 1e-9 in float64")
@pytest.mark.parametrize("job", ["discriminator bare", "scale bare", "encoder bare"])
def test_gradients_that_are_not_averaged_are_found(job: str, double_runs: DoubleRuns, figure: Figure) -> None:
    """The replicas drift apart, and nothing is saved from then on."""
    network = JOBS[job]["unwrap"]
    for end in double_runs[1][job]:
        assert end.startswith("ProcessError 1: stage"), end
        assert f"process 1 differs from process 0 in networks/{network}." in end or "in ema/" in end, end
    assert Checkpoints(double_runs[0] / job, 2).files() == []
    figure("mutants whose gradients are not averaged: found")


@pytest.mark.bar("B6.3", "one bit that differs in one process is caught at the next save")
@pytest.mark.parametrize(("job", "value"), [("one bit", "ema/forth"), ("one bit of Adam", "training/optimizers/")])
def test_one_bit_that_differs_is_caught_at_the_next_save(job: str, value: str, double_runs: DoubleRuns) -> None:
    """Both processes name the value; earlier checkpoints stay."""
    for end in double_runs[1][job]:
        assert end.startswith("ProcessError 1: stage stage0, after 10 images: the processes hold different weights"), (
            end
        )
        assert f"process 1 differs from process 0 in {value}" in end
        assert "last checkpoint is untouched" in end
    assert Checkpoints(double_runs[0] / job, 2).files() == []


@pytest.mark.bar("B6.3", "one bit that differs in one process is caught at the next save")
def test_mutant_that_does_not_compare_saves_one_bit_that_differs(double_runs: DoubleRuns, figure: Figure) -> None:
    assert double_runs[1]["one bit, not compared"] == ["done", "done"]
    assert len(Checkpoints(double_runs[0] / "one bit, not compared", 2).files()) > 0
    figure("mutant that does not compare: saves and ends as if nothing were wrong")


@pytest.mark.bar("B6.4", "a phase all-reduces exactly the networks that it trains")
@pytest.mark.parametrize("name", EPOCHS)
def test_every_phase_averages_the_gradients_of_its_networks_once(name: str, double_runs: DoubleRuns) -> None:
    """And no others: a generator's phase sends nothing for discriminators, and leaves them no gradients."""
    for end in double_runs[1][f"{name} counted"]:
        counts = json.loads(end.removeprefix("counted "))
        assert counts["sent"] == counts["wanted"] and sum(counts["sent"].values()) > 0, counts
        assert counts["left"] == []


@pytest.mark.bar("B6.4", "a phase all-reduces exactly the networks that it trains")
@pytest.mark.parametrize("name", UNFOCUSED)
def test_mutant_whose_phases_call_all_networks_wrapped_is_seen(
    name: str, double_runs: DoubleRuns, figure: Figure
) -> None:
    for end in double_runs[1][f"{name} unfocused"]:
        counts = json.loads(end.removeprefix("counted "))
        assert sum(counts["sent"].values()) > sum(counts["wanted"].values()) > 0, counts
        assert counts["left"] != []
    more = sum(counts["sent"].values()) - sum(counts["wanted"].values())
    figure(f"mutant, {name} with all networks wrapped: {more} all-reduces too many")


CODES_SCRIPT = """
import os, sys, time
from pathlib import Path
root, out = Path(sys.argv[1]), Path(sys.argv[2])
sys.path.insert(0, str(root))
from hdtrans.cli import run_tool
rank = os.environ["RANK"]
(out / rank).write_text(str(run_tool("train", sys.argv[3:])))
deadline = time.monotonic() + 30  # torchrun ends the other processes as soon as one has ended
while len(list(out.iterdir())) < 2 and time.monotonic() < deadline:
    time.sleep(0.05)
"""


def test_an_error_on_the_first_process_ends_all(tmp_path: Path) -> None:
    out, script = tmp_path / "codes", tmp_path / "script.py"
    out.mkdir()
    script.write_text(CODES_SCRIPT)
    values = small_recipe(toy_data(tmp_path / "city", 2, 0), tmp_path / "run")
    (tmp_path / "city" / "train_img" / "00001.png").unlink()
    recipe = write_recipe(tmp_path / "recipe.yaml", values)
    done = spawn([str(script), str(ROOT), str(out), str(recipe)])
    assert {file.name: file.read_text() for file in out.iterdir()} == {"0": "2", "1": "2"}, done.stderr[-3000:]
    assert done.stderr.count("hdtrans train: ") == 1, done.stderr
    assert "00001" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "run").exists()


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.mark.parametrize(
    "text",
    [
        "[../third_party/gloo/gloo/transport/tcp/unbound_buffer.cc:81] Timed out waiting 5000ms for recv operation",
        "Application timeout caused pair closure",
        "[../third_party/gloo/gloo/transport/tcp/pair.cc:547] Connection closed by peer [127.0.0.1]:20415",
        "NCCL error: remote process exited or there was a network error",
    ],
)
def test_the_lost_process_is_named_for_every_error_of_an_exchange(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    gather = distributed._FailureReports._gather
    monkeypatch.setattr(distributed._FailureReports, "_gather", lambda self, seconds: gather(self, seconds / 30))
    reports = distributed._FailureReports(torch.distributed.HashStore(), 0, 2)
    reports.store.set("host/1", "there")
    explained = str(reports.explain(RuntimeError(text), "stage a"))
    assert explained.startswith("stage a: no word from process 1 on there")
    assert ("training.timeouts sets" in explained) == ("imed out" in text or "timeout" in text)
    assert reports.explain(RuntimeError("sizes do not fit"), "stage a") is None


def test_several_processes_are_one_owner(tmp_path: Path) -> None:
    assert values_of_two(own, str(tmp_path / "run"), folder=tmp_path) == [f"['{LOCK_FILE}', 'a']"] * 2
    assert [file.name for file in (tmp_path / "run").iterdir()] == ["a"]
    with FolderLock(tmp_path / "run"):
        ends = values_of_two(own, str(tmp_path / "run"), folder=tmp_path)
    assert ends == ["FolderInUse False", "FolderInUse True"]
