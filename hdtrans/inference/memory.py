"""How much memory this process has used at most, and whether an error says that there was too little."""

import resource
import sys

import torch


def peak_memory(device: torch.device) -> int:
    """Return bytes: of the GPU if `device` is one, else those of the process that were resident at once."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def is_out_of_memory(error: BaseException) -> bool:
    """Say whether an error of torch or of Python means that memory did not suffice."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in str(error)
