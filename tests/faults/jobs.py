"""Training jobs of two processes under torchrun that tests kill, stop and start again."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from hdtrans.engine import checkpoint
from hdtrans.engine.checkpoint import Checkpoints
from tests.engine.runs import fingerprint
from tests.mutants import as_code
from tests.small_runs import small_recipe, write_recipe

ROOT = Path(__file__).resolve().parents[2]
REPEATS = int(os.environ.get("HDTRANS_REPEATS", "10"))  # random moments; a release is tested with 100
LENGTH = max(1, REPEATS // 10)
IMAGES = 600 * LENGTH  # images of a whole run, in batches of 2


def job_recipe(city: Path, out: Path, validate: dict[str, Any] | None = None, **training: Any) -> Path:
    """Write a recipe of two stages on six images; return its file."""
    values = small_recipe(city, out, **({"validate": validate} if validate else {}))
    stage = {"size": "64x32", "batch_size": 1}
    values["stages"] = [
        {"name": name, "epochs": epochs, **stage} for name, epochs in (("first", 40), ("second", 100 * LENGTH - 40))
    ]
    values["training"] |= {"workers": 1, "log_every": 2, "save_every": 20, "sample_every": 200, **training}
    return write_recipe(out.with_suffix(".yaml"), values)


class Job:
    """One start of the command under torchrun, its messages in a file; `root` is the checkout that it runs."""

    def __init__(
        self,
        recipe: Path,
        run: Path,
        processes: int = 2,
        restarts: int = 0,
        shutdown: int = 20,
        root: Path | None = None,
    ) -> None:
        root = root or ROOT
        self.run, self.log = run, recipe.with_suffix(".log")
        self.killed: set[int] = set()
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"]
        command += [f"--max-restarts={restarts}", f"--shutdown-timeout={shutdown}"]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": str(root)}
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [*command, str(root / "tools" / "train.py"), str(recipe)],
                env=environment,
                stderr=log,
                process_group=0,
            )

    def messages(self) -> str:
        """Return the messages of all processes so far."""
        return self.log.read_text(errors="replace")

    def images(self) -> int:
        """Return the images seen, from the log of the run."""
        file = self.run / "metrics.jsonl"
        lines = file.read_text().split("\n")[:-1] if file.exists() else []
        return max((int(json.loads(line)["images"]) for line in lines), default=0)

    def wait_for(self, images: int, seconds: float = 90) -> None:
        """Wait until the run has seen this number of images."""
        deadline = time.monotonic() + seconds
        while self.images() < images:
            assert self.process.poll() is None and time.monotonic() < deadline, self.messages()[-3000:]
            time.sleep(0.02)

    def ranks(self) -> dict[int, int]:
        """Return the process id of each rank."""
        found = {}
        for pid in descendants(self.process.pid):
            try:
                variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
                arguments = Path(f"/proc/{pid}/cmdline").read_bytes()
                parent = int(re.findall(r"PPid:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[0])
            except OSError:
                continue
            if parent == self.process.pid and b"train.py" in arguments:
                found |= {int(v[5:]): pid for v in variables if v.startswith(b"RANK=")}
        return found

    def wait_for_ranks(self, seconds: float = 60) -> None:
        """Wait until the run is resumed, before its first batch."""
        deadline = time.monotonic() + seconds
        while len(self.ranks()) < 2 or "going on in stage" not in self.messages():
            assert self.process.poll() is None and time.monotonic() < deadline, self.messages()[-3000:]
            time.sleep(0.02)

    def end(self, seconds: float = 120) -> int:
        """Wait for the launcher to end; return its exit code."""
        return self.process.wait(timeout=seconds)

    def kill(self) -> None:
        """Kill the launcher, all processes and their workers at once."""
        self.killed = {self.process.pid, *descendants(self.process.pid)}
        for pid in self.killed:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()

    def left(self) -> list[str]:
        """Return the files of killed processes in /dev/shm, which torch names after them."""
        return [name for name in os.listdir("/dev/shm") if any(name.startswith(f"torch_{pid}_") for pid in self.killed)]


@contextmanager
def job(recipe: Path, run: Path, **how: Any) -> Iterator[Job]:
    """Start a job, and kill all its processes at the end."""
    started = Job(recipe, run, **how)
    try:
        yield started
    finally:
        started.kill()


def mutant(root: Path, change: Callable[[], None] | None, tool: str = "train") -> Path:
    """Make a checkout in which a tool first applies a mutant of tests/mutants; return its root."""
    (root / "tools").mkdir(parents=True)
    ending = f'import sys\nfrom hdtrans.cli import run_tool\nsys.exit(run_tool("{tool}", sys.argv[1:]))\n'
    (root / "tools" / f"{tool}.py").write_text((as_code(change) if change else "") + ending)
    for folder in ("hdtrans", "tests"):
        (root / folder).symlink_to(ROOT / folder)
    return root


def descendants(pid: int) -> list[int]:
    """Return the ids of all descendants of a process."""
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        children = [int(child) for task in tasks for child in (task / "children").read_text().split()]
    except OSError:
        return []
    return children + [inner for child in children for inner in descendants(child)]


def final(run: Path, images: int = IMAGES) -> str:
    """Return the fingerprint of a finished run, without its name and folder."""
    state = checkpoint.load(Checkpoints(run, 2).files()[0])
    assert state["images_seen"] == images
    for key in ("name", "out", "training"):
        del state["recipe"][key]
    return fingerprint(state)
