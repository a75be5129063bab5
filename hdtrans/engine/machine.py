"""The part of a machine that decides over the last bits of a result: device, CPU threads, instruction set."""

from collections.abc import Mapping
from typing import Any

import torch

_NAMES = {"device": "device", "threads": "CPU threads", "instructions": "CPU instructions"}


def this_machine(device: torch.device) -> dict[str, Any]:
    """Return device, CPU threads and instruction set of this process, as checkpoints hold them."""
    return {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "threads": torch.get_num_threads(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
    }


def machine_change(before: Mapping[str, Any] | None, now: Mapping[str, Any]) -> str:
    """Return a sentence on differences that change the last bits of a run that goes on, or ''.

    Args:
        before: machine of the checkpoint; None for one of an older version, which does not tell.
        now: this machine.
    """
    if before is None or before.get("device") == now["device"] != "cpu":
        before = {**now, **({"device": before["device"]} if before else {})}
    found = [f"{words} {before[key]}, now {now[key]}" for key, words in _NAMES.items() if before.get(key) != now[key]]
    return f"the run goes on, but not with the bits of one that never stopped: {'; '.join(found)}" if found else ""
