"""Time inference and training of two checkouts in turns, each in a process that imports its own hdtrans."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hdtrans.benchmark.plan import Plan
from hdtrans.benchmark.timing import Timings, ratios, spread
from hdtrans.common.errors import ProcessError, UserError, shown

_SUBJECTS = ("inference", "training")
_WORKER = Path(__file__).with_name("checkout_worker.py")


@dataclass(frozen=True)
class CheckoutCall:
    """A call in a process that runs `checkout_worker.py` on one checkout."""

    checkout: Path
    process: "subprocess.Popen[str]"

    def timed(self) -> tuple[float, float]:
        """Make one call; return its wall-clock seconds and its processor seconds."""
        return self.ask("call")

    def ask(self, request: str) -> tuple[float, float]:
        """Send a line, empty for none, and return the two numbers of the answer; raise ProcessError without one."""
        assert self.process.stdin is not None and self.process.stdout is not None
        with suppress(BrokenPipeError):  # the process died; the missing answer reports it
            if request:
                print(request, file=self.process.stdin, flush=True)
        line = self.process.stdout.readline()
        if not line:
            code = self.process.wait()
            raise ProcessError(f"{shown(self.checkout)}: its process ended (exit code {code}); see the error above")
        seconds, cpu_seconds = json.loads(line)
        return seconds, cpu_seconds


def compare_checkouts(
    plan: Plan, this: Path, other: Path, progress: Callable[[str], None] = lambda line: None
) -> dict[str, Any]:
    """Time each subject of two checkouts in turns; the first of a round alternates.

    Args:
        plan: settings; `what` holds `inference`, `training` or both.
        this: checkout whose time is divided by the other's.
        other: checkout to compare with.
        progress: receives a line before each subject.

    Returns:
        Checkouts, and by subject the median seconds of both and the spread of the ratio this / other, by the wall clock
        and by processor time.

    Raises:
        UserError: unknown subject, or `other` is no checkout of hdtrans.
        ProcessError: a process failed.
    """
    for name in plan.what:
        if name not in _SUBJECTS:
            raise UserError(f"{name}: checkouts are compared in {' and '.join(_SUBJECTS)} alone")
    if not (other / "hdtrans" / "benchmark" / "subjects.py").is_file():
        raise UserError(f"--other {shown(other)}: no checkout of hdtrans (no hdtrans/benchmark/subjects.py)")
    subjects = {}
    for name in plan.what:
        progress(f"{name} ...")
        with _started(plan, name, this) as ours, _started(plan, name, other) as theirs:
            subjects[name] = _in_turns(ours, theirs, plan.rounds)
    return {"this": str(this), "other": str(other), "size": str(plan.size), "subjects": subjects}


def report_text(found: dict[str, Any]) -> str:
    """Return the ratios as text."""
    lines = [f"this: {found['this']}", f"other: {found['other']}", f"pictures of {found['size']}"]
    for name, each in found["subjects"].items():
        wall, cpu = each["ratio"], each["cpu_ratio"]
        lines.append(
            f"{name}: {each['seconds']['this']:.3f} s, other {each['seconds']['other']:.3f} s, this / other "
            f"{wall['median']:.3f} ({wall['least']:.3f} to {wall['most']:.3f}), by processor time {cpu['median']:.3f}"
        )
    return "\n".join(lines)


def _in_turns(this: CheckoutCall, other: CheckoutCall, rounds: int) -> dict[str, Any]:
    calls = {"this": this, "other": other}
    timings = {name: Timings() for name in calls}
    for call in calls.values():
        call.timed()
    for turn in range(rounds):
        for name in list(calls) if turn % 2 == 0 else reversed(list(calls)):
            seconds, cpu_seconds = calls[name].timed()
            timings[name].seconds.append(seconds)
            timings[name].cpu_seconds.append(cpu_seconds)
    return {
        "seconds": {name: each.median for name, each in timings.items()},
        "ratio": spread(ratios(timings["this"], timings["other"])),
        "cpu_ratio": spread(ratios(timings["this"], timings["other"], cpu=True)),
    }


@contextmanager
def _started(plan: Plan, what: str, checkout: Path) -> Iterator[CheckoutCall]:
    names = ("enhancers", "threads", "dtype", "device", "width")
    settings = {"what": what, "size": [plan.size.width, plan.size.height]}
    settings |= {name: getattr(plan, name) for name in names}
    environment = os.environ | {"PYTHONPATH": str(checkout.resolve())}
    command = [sys.executable, "-P", str(_WORKER), str(checkout.resolve()), json.dumps(settings)]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment, cwd=checkout
    )
    try:
        call = CheckoutCall(checkout, process)
        call.ask("")  # the first answer: the subject is built
        yield call
    finally:
        process.kill()
        process.communicate()
