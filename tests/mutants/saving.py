"""Broken twins of writing files and checkpoints."""

from pathlib import Path
from typing import Any

import torch

from hdtrans.common import pages
from hdtrans.engine.checkpoint import Checkpoints
from hdtrans.inference.folder import results
from tests.mutants import put


def write_straight() -> None:
    """Write pictures and pages under their own names, where a full disk cuts them off."""

    def straight(path: Any, data: bytes) -> None:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_bytes(data)

    put(results, "write_bytes", straight)
    put(pages, "write_bytes", straight)


def remove_first() -> None:
    """Remove the oldest checkpoint before the new one is durable."""
    save = Checkpoints.save

    def removing(self: Checkpoints, state: Any, images_seen: int, stage_end: Any = None) -> Any:
        self.keep -= 1
        self._remove_old(images_seen)
        self.keep += 1
        return save(self, state, images_seen, stage_end)

    Checkpoints.save = removing  # type: ignore[method-assign]


def save_over(state: dict[str, Any], file: Path) -> None:
    """Save as is usual: over the file of before."""
    torch.save(state, file)
