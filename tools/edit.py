"""`hdtrans edit`, from a checkout or under torchrun."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from hdtrans.cli import run_tool

if __name__ == "__main__":
    sys.exit(run_tool("edit"))
