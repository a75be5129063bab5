"""Script of tests/engine/test_totals.py in two processes: `totals_script.py OUT` writes one file each."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import torch

from hdtrans.engine.distributed import start_processes
from tests.engine.test_totals import normalised, part


def main() -> None:
    """Normalise this process's part of the batch by the statistics of all parts."""
    torch.set_num_threads(1)
    with start_processes("cpu") as processes:
        found = normalised(part(processes.rank), processes.total)
    torch.save(found, f"{sys.argv[1]}/{processes.rank}.pt")


if __name__ == "__main__":
    main()
