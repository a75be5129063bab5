"""Check that all processes hold the same bits: replicas that drift apart once never come together again."""

import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from hdtrans.common.errors import ProcessError
from hdtrans.engine.distributed import Processes

_INTEGERS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


def check_agreement(state: Mapping[str, Any], processes: Processes, where: str) -> None:
    """Compare a nested state of tensors and plain values over all processes, bit for bit, by a checksum for each value.

    Args:
        state: nested mappings and sequences of tensors and plain values.
        processes: processes of the run; all of them call this.
        where: position in the run, for the message.

    Raises:
        ProcessError: on every process, naming the processes and the values that differ, and `where`.
    """
    if processes.world == 1:
        return
    gathered = processes.gather(checksums(state))
    differing = processes.on_first(lambda: _differences(gathered))
    if differing:
        raise ProcessError(
            f"{where}: the processes hold different weights: {differing}. Nothing was saved and the last checkpoint is "
            "untouched; run the same command again to go on from there. If it happens again, suspect the memory or GPU "
            "of that process",
            reported=not processes.first,
        )


def checksums(state: Mapping[str, Any]) -> dict[str, int]:
    """Return an integer checksum for each value of a nested state, by its path; flipping one bit changes it."""
    tensors: dict[str, Tensor] = {}
    found: dict[str, int] = {}
    for path, value in _flat(state):
        if isinstance(value, Tensor):
            bits = value.detach().view(_INTEGERS[value.element_size()])
            tensors[path] = bits.sum(dtype=torch.int64).to(torch.int64)
        else:
            found[path] = zlib.crc32(repr(value).encode())
    by_device: dict[torch.device, list[str]] = {}
    for path, tensor in tensors.items():
        by_device.setdefault(tensor.device, []).append(path)
    for paths in by_device.values():  # one synchronisation for each device
        found |= dict(zip(paths, torch.stack([tensors[path] for path in paths]).tolist(), strict=True))
    return found


def _flat(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        items = list(value.items())
    elif isinstance(value, list | tuple):
        items = list(enumerate(value))
    else:
        yield path, value
        return
    for key, inner in items:
        yield from _flat(inner, f"{path}/{key}" if path else str(key))


def _differences(gathered: Sequence[Mapping[str, int]]) -> str:
    """Describe the processes that differ from the first, and the values; '' if none does."""
    lines = []
    for rank, own in enumerate(gathered):
        paths = sorted({*own, *gathered[0]})
        wrong = [path for path in paths if own.get(path) != gathered[0].get(path)]
        if wrong:
            more = f" and {len(wrong) - 1} more" if len(wrong) > 1 else ""
            lines.append(f"process {rank} differs from process 0 in {wrong[0]}{more}")
    return "; ".join(lines)
