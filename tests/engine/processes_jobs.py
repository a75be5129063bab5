"""Jobs of each of two processes in tests/engine/test_processes.py.

Every job trains a subject in float64, from the latest checkpoint in its folder where there is one.
"""

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed import GradBucket
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import allreduce_hook
from torch.nn.parallel import DistributedDataParallel

from hdtrans.common.errors import ProcessError, Stopped, UserError
from hdtrans.engine.distributed import Processes
from hdtrans.engine.stage import StageTraining
from tests.engine.runs import Notes, hide_batch_norm, make_trainer, section, subject
from tests.mutants.processes import blind, flip_last_bit, unfocused, unwrapped


def run_job(job: dict[str, Any], processes: Processes) -> str:
    """Run one job; return its error, its counts, or `done`."""
    what = subject(job["subject"], job["batch_size"], job["epochs"])
    if job.get("batch_norm"):
        what.networks[job["batch_norm"]].unwanted = nn.BatchNorm2d(3)
    if job.get("hidden_norm"):
        hide_batch_norm(what.networks[job["hidden_norm"]])
    signalled = processes.rank == job.get("signal_rank")
    notes = Notes(signal_after=job["signal_after"]) if signalled else Notes()
    training = section(precision="fp64", workers=job.get("workers", 0), save_every=job.get("save_every", 1000))
    try:
        made = make_trainer(what, training, Path(job["folder"]), None, processes)
        forks = "fork" in job and processes.rank == 1
        if forks:
            notes.on_step = lambda steps: fork(job["fork"][0], what.networks) if steps == job["fork"][1] else None
        made.reporter = notes if processes.first or signalled or forks else None  # type: ignore[assignment]
        with unwrapped(job.get("unwrap")), unfocused(job["unfocused"]), blind(job["blind"]), counted() as counts:
            made.run()
    except (ProcessError, UserError, Stopped) as error:
        return f"{type(error).__name__} {error.exit_code}: {error}"
    if processes.first:
        (Path(job["folder"]) / "records.json").write_text(json.dumps(notes.records))
    return f"counted {json.dumps(counts)}" if job["count"] else "done"


def fork(name: str, networks: nn.ModuleDict) -> None:
    """Flip the last bit of one number in a weight or in a moment of Adam."""
    if name == "adam":
        value: Tensor = next(iter(WORK[-1].phase_optimizers[0].optimizer.state.values()))["exp_avg"]
    else:
        value = networks.get_parameter(name).data
    flip_last_bit(value)


WORK: list[StageTraining] = []


@contextmanager
def counted() -> Iterator[dict[str, Any]]:
    """Count all-reduces by network, those expected, and gradients left on networks that a phase does not train."""
    prepare, run = StageTraining.__init__, StageTraining._run
    sent: Counter[str] = Counter()
    wanted: Counter[str] = Counter()
    left: list[str] = []

    def watched(self: StageTraining, *arguments: Any) -> None:
        prepare(self, *arguments)
        WORK[:] = [self]
        for name, network in self.nets.items():
            if isinstance(network, DistributedDataParallel):
                network.register_comm_hook(name, hook)

    def hook(name: str, bucket: GradBucket) -> torch.futures.Future[Tensor]:
        sent[name] += 1
        return allreduce_hook(None, bucket)

    def counting(self: StageTraining, worker: Any, *arguments: Any) -> Any:
        others = {n: p for k, net in self.method.networks.items() if k not in worker.phase.trains
                  for n, p in net.named_parameters(k)}  # fmt: skip
        before = {name: None if p.grad is None else p.grad.clone() for name, p in others.items()}
        result = run(self, worker, *arguments)
        wanted.update(worker.phase.trains)
        left.extend(n for n, p in others.items() if not same(p.grad, before[n]))
        return result

    StageTraining.__init__, StageTraining._run = watched, counting  # type: ignore[method-assign]
    try:
        yield {"sent": sent, "wanted": wanted, "left": left}
    finally:
        StageTraining.__init__, StageTraining._run = prepare, run  # type: ignore[method-assign]


def same(one: Tensor | None, other: Tensor | None) -> bool:
    return (one is None) == (other is None) and (one is None or torch.equal(one, other))  # type: ignore[arg-type]


def run_jobs(processes: Processes, jobs: list[dict[str, Any]]) -> list[str]:
    """Run the jobs one after the other; return the result of each."""
    return [run_job(job, processes) for job in jobs]


def own(processes: Processes, folder: str) -> str:
    """Own a folder with all processes; return the error where another has it."""
    try:
        with processes.owning(Path(folder)):
            processes.on_first((Path(folder) / "a").touch)
            return str(processes.on_first(lambda: sorted(file.name for file in Path(folder).iterdir())))
    except UserError as error:
        return f"{type(error).__name__} {error.reported}"
