"""What numbers are computed in. The only place that knows autocast and the scaling of losses."""

import os
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from hdtrans.common.errors import UserError, nearest

NAMES = ("fp32", "bf16", "fp16", "fp64")
_TYPES = {torch.float32: "fp32", torch.bfloat16: "bf16", torch.float16: "fp16", torch.float64: "fp64"}
_OF_CPUS = {torch.bfloat16: ("avx512_bf16", "amx_bf16"), torch.float16: ("avx512_fp16", "amx_fp16")}  # instructions
_MOST_SCALE = 2.0**60  # where gradients are all zero, it would grow to an infinity


@dataclass(frozen=True)
class Precision:
    """One way to compute.

    Attributes:
        name: `fp64`, `fp32`, `bf16` or `fp16`; weights are float64 for the first and float32 for all others.
        device: `cpu` or `cuda`.
    """

    name: str
    device: str

    @property
    def weights(self) -> torch.dtype:
        """The type of the weights."""
        return torch.float64 if self.name == "fp64" else torch.float32

    @property
    def compute(self) -> torch.dtype:
        """The type that convolutions compute in."""
        return {"bf16": torch.bfloat16, "fp16": torch.float16}.get(self.name, self.weights)

    @property
    def channels_last(self) -> bool:
        """Whether pictures and weights are best laid out channels-last: then all that is made of them stays so."""
        return self.compute in (torch.bfloat16, torch.float16)

    @property
    def remark(self) -> str:
        """What a user should know of this type on this device; "" where that is nothing."""
        if self.device != "cpu" or self.compute not in _OF_CPUS or _has(*_OF_CPUS[self.compute]):
            return ""
        return f"{self.name}: this CPU has no instructions for it; fp32 is several times as fast here"

    def autocast(self) -> AbstractContextManager[Any]:
        """Return the context for forward passes and losses."""
        half = self.compute in (torch.bfloat16, torch.float16)
        return torch.autocast(self.device, dtype=self.compute if half else None, enabled=half)

    def full(self) -> AbstractContextManager[Any]:
        """Return the context for what half precision would spoil."""
        return torch.autocast(self.device, enabled=False)

    def scaler(self, device: torch.device | None = None) -> "Scaler | None":
        """Return what scales the losses of a phase; None unless this is fp16."""
        return Scaler(device or torch.device(self.device)) if self.name == "fp16" else None

    def prepare(self, networks: nn.Module, device: torch.device, fixed: bool = False) -> None:
        """Move networks to the device, in the type and the layout of the weights.

        Those that are `fixed`, never trained, get the type that convolutions compute in, to which autocast would
        otherwise bring them at every call.
        """
        networks.to(device=device, dtype=self.compute if fixed else self.weights)
        if self.channels_last:
            networks.to(memory_format=torch.channels_last)


class Scaler:
    """Scales losses so that fp16 gradients do not vanish (Micikevicius et al., 2018, section 3.2).

    It doubles the scale after 2000 steps without an overflow and halves it after one, without the host looking on.
    (torch's own counts one process alone, and the host waits for it unless Adam is fused.)

    Attributes:
        scale: what losses are multiplied with, a float32 scalar on the device.
    """

    growth_interval = 2000

    def __init__(self, device: torch.device) -> None:
        self.scale = torch.tensor(2.0**16, device=device)
        self._sound = torch.tensor(0, dtype=torch.int32, device=device)  # steps since the scale last changed

    def update(self, overflow: Tensor, frozen: Tensor) -> None:
        """Take in one step: whether gradients overflowed, and whether this step counts for nothing; bool scalars."""
        sound = torch.where(overflow, 0, self._sound + 1)
        due = sound >= self.growth_interval
        scale = torch.where(
            overflow, self.scale / 2, torch.where(due, (self.scale * 2).clamp(max=_MOST_SCALE), self.scale)
        )
        self.scale = torch.where(frozen, self.scale, scale)
        self._sound = torch.where(frozen, self._sound, torch.where(due, 0, sound)).int()

    def state_dict(self) -> dict[str, Any]:
        """Return the scale and the steps since it changed, waiting for the device."""
        return {"scale": float(self.scale), "_growth_tracker": int(self._sound)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from what `state_dict` returned."""
        self.scale = torch.full_like(self.scale, state["scale"])
        self._sound = torch.full_like(self._sound, state["_growth_tracker"])


def choose_precision(name: str | torch.dtype, device: torch.device) -> Precision:
    """Return the precision of this name or type; `auto` is bf16 where the device has it in hardware, else fp32."""
    name = _TYPES.get(name, str(name)) if isinstance(name, torch.dtype) else name
    if name not in ("auto", *NAMES):
        raise UserError(f"dtype {name!r}: there is no such; there are auto, {', '.join(NAMES)}.{nearest(name, NAMES)}")
    if name == "auto":
        name = "bf16" if computes_bf16(device) else "fp32"
    if name == "bf16" and device.type == "cuda" and not computes_bf16(device):
        raise UserError("bf16: this GPU has no bf16 in hardware (it came with Ampere); use fp16 or fp32")
    return Precision(name, device.type)


def computes_bf16(device: torch.device) -> bool:
    """Return whether the device has bf16 in hardware: GPUs since Ampere, CPUs with AVX512-BF16 or AMX."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    return _has(*_OF_CPUS[torch.bfloat16])


def _has(*instructions: str) -> bool:
    """Return whether the CPU has one of these sets of instructions."""
    known: Mapping[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return any(known.get(name) for name in instructions)


def set_up_backend(deterministic: bool, equal_sizes: bool) -> None:
    """Choose cuDNN's algorithms: the same ones every time, or, where sizes stay equal, the fastest."""
    if deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(deterministic)
    torch.backends.cudnn.benchmark = equal_sizes and not deterministic
