"""What each of several processes does in tests/engine/test_processes.py: `processes_script.py JOBS.json`.

Every job trains a subject in float64, from the latest checkpoint in its folder where there is one. How the jobs ended
is written beside the file of jobs, once for each process.
"""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import torch
from torch import nn

from hdtrans.common.errors import Stopped, UserError
from hdtrans.engine.distributed import Processes, start_processes
from hdtrans.engine.stage import StageTraining
from tests.engine.runs import Notes, make_trainer, section, subject


def run_job(job: dict[str, Any], processes: Processes) -> str:
    """Run one job; return what it ended with."""
    what = subject(job["subject"], job["batch_size"], job["epochs"])
    if job.get("batch_norm"):
        what.networks[job["batch_norm"]].unwanted = nn.BatchNorm2d(3)
    signalled = processes.rank == job.get("signal_rank")
    notes = Notes(signal_after=job["signal_after"]) if signalled else Notes()
    training = section(precision="fp64", workers=job.get("workers", 0), save_every=1000)
    try:
        trainer = make_trainer(what, training, Path(job["folder"]), None, processes)
        trainer.reporter = notes if processes.first or signalled else None  # type: ignore[assignment]
        with unwrapped(job.get("unwrap")):
            trainer.run()
    except (UserError, Stopped) as error:
        return f"{type(error).__name__} {error.exit_code}: {error}"
    if processes.first:
        (Path(job["folder"]) / "records.json").write_text(json.dumps(notes.records))
    return "done"


@contextmanager
def unwrapped(network: str | None) -> Iterator[None]:
    """Break the engine on purpose: let the phases call a network bare, so that its gradients are not averaged."""
    prepare = StageTraining.__init__

    def broken(self: StageTraining, *arguments: Any) -> None:
        prepare(self, *arguments)
        if network is not None:
            self.nets[network] = self.method.networks[network]

    StageTraining.__init__ = broken  # type: ignore[method-assign]
    try:
        yield
    finally:
        StageTraining.__init__ = prepare  # type: ignore[method-assign]


def main() -> None:
    """Run the jobs one after the other."""
    torch.set_num_threads(1)
    jobs = Path(sys.argv[1])
    with start_processes("cpu") as processes:
        ends = [run_job(job, processes) for job in json.loads(jobs.read_text())]
    jobs.with_name(f"ends{processes.rank}.json").write_text(json.dumps(ends))


if __name__ == "__main__":
    main()
