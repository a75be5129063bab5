"""Child side of `checkouts`: build one subject of a checkout, then time a call for every line on the standard input.

It relies on four names that all compared checkouts have: `Plan`, `Inference`, `Training` and `Processes`.
"""

import inspect
import json
import sys
from pathlib import Path

import numpy as np
import torch

LABELS, BLOCK = 35, 16


def main(checkout: str, settings: str) -> None:
    """Serve the checkout in folder `checkout` with JSON `settings`; each answer is a line [seconds, CPU seconds]."""
    answers, sys.stdout = sys.stdout, sys.stderr  # nothing else may print between the answers
    from hdtrans.benchmark import plan, subjects, timing
    from hdtrans.common.freed_memory import keep_freed_memory
    from hdtrans.engine.distributed import Processes, choose_device

    assert Path(inspect.getfile(plan)).is_relative_to(checkout), f"{inspect.getfile(plan)} is not in {checkout}"
    given = json.loads(settings)
    what, (width, height) = given.pop("what"), given.pop("size")
    size = vars(plan)["Size"](width=width, height=height)
    made = plan.Plan((what,), size, **given)
    torch.set_num_threads(made.threads)
    keep_freed_memory()
    device = choose_device(made.device)
    processes = Processes(device=device)
    subject = subjects.Inference(made, device) if what == "inference" else subjects.Training(made, processes)
    call_type = getattr(timing, "LocalCall", None) or timing.Here  # type: ignore[attr-defined]
    call = call_type(subject.make(_scene(height, width), 1), device)
    timed = getattr(call, "timed", None) or call.turn
    print(json.dumps([0, 0]), file=answers, flush=True)
    for _ in sys.stdin:
        print(json.dumps(timed()), file=answers, flush=True)


def _scene(height: int, width: int) -> dict[str, np.ndarray]:
    """Return maps of random blocks of 16x16, and a photo of noise."""
    random = np.random.default_rng(0)
    blocks = random.integers(0, LABELS, (-(-height // BLOCK), -(-width // BLOCK)))
    label = np.kron(blocks, np.ones((BLOCK, BLOCK), int))[:height, :width]
    return {
        "label": label.astype(np.uint8),
        "instance": (label * 1000).astype(np.int32),
        "photo": random.integers(0, 256, (3, height, width)).astype(np.uint8),
    }


if __name__ == "__main__":
    main(*sys.argv[1:])
