"""Mixed precision: autocast and loss scaling. The only file with either."""

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
_CPU_FLAGS = {torch.bfloat16: ("avx512_bf16", "amx_bf16"), torch.float16: ("avx512_fp16", "amx_fp16")}
_MOST_SCALE = 2.0**60  # with gradients that are all zero, the scale would grow to infinity


@dataclass(frozen=True)
class Precision:
    """Number types of a run on a kind of device.

    Attributes:
        name: `fp64`, `fp32`, `bf16` or `fp16`; weights are float64 for the first and float32 for all others.
        device: `cpu` or `cuda`.
    """

    name: str
    device: str

    @property
    def weights(self) -> torch.dtype:
        """Type of trained weights."""
        return torch.float64 if self.name == "fp64" else torch.float32

    @property
    def compute(self) -> torch.dtype:
        """Type that convolutions compute in."""
        return {"bf16": torch.bfloat16, "fp16": torch.float16}.get(self.name, self.weights)

    @property
    def channels_last(self) -> bool:
        """True if pictures and weights are laid out channels-last; the tensors computed from them keep the layout."""
        return self.compute in (torch.bfloat16, torch.float16)

    @property
    def remark(self) -> str:
        """Warning about a slow type on this device; "" without one."""
        if self.device != "cpu" or self.compute not in _CPU_FLAGS or _has(*_CPU_FLAGS[self.compute]):
            return ""
        return f"{self.name}: this CPU has no instructions for it; fp32 is several times as fast here"

    def autocast(self) -> AbstractContextManager[Any]:
        """Return the context for forward passes and losses."""
        half = self.compute in (torch.bfloat16, torch.float16)
        return torch.autocast(self.device, dtype=self.compute if half else None, enabled=half)

    def full(self) -> AbstractContextManager[Any]:
        """Return a context without autocast, for computations that half precision would spoil."""
        return torch.autocast(self.device, enabled=False)

    def scaler(self, device: torch.device | None = None) -> "Scaler | None":
        """Return a new loss scaler for a phase; None unless this is fp16."""
        return Scaler(device or torch.device(self.device)) if self.name == "fp16" else None

    def prepare(self, networks: nn.Module, device: torch.device, fixed: bool = False) -> None:
        """Move networks to the device, in the type and the memory layout of the weights.

        Args:
            networks: networks to move, in place.
            device: device of this process.
            fixed: networks that are never trained get the type of convolutions, which saves autocast's casts at every
                call.
        """
        networks.to(device=device, dtype=self.compute if fixed else self.weights)
        if self.channels_last:
            networks.to(memory_format=torch.channels_last)


class Scaler:
    """Dynamic loss scaling, so that fp16 gradients do not vanish (Micikevicius et al., 2018, section 3.2).

    The scale doubles after 2000 steps without an overflow and is halved after one, without a host-device sync.
    (torch's GradScaler looks at one process alone, and synchronises unless Adam is fused.)

    Args:
        device: device of the losses.

    Attributes:
        scale: factor on the losses, a float32 scalar on the device.
    """

    growth_interval = 2000

    def __init__(self, device: torch.device) -> None:
        self.scale = torch.tensor(2.0**16, device=device)
        self._sound = torch.tensor(0, dtype=torch.int32, device=device)  # steps since the scale changed

    def update(self, overflow: Tensor, frozen: Tensor) -> None:
        """Adapt the scale after one step.

        Args:
            overflow: bool scalar on the device; True if gradients overflowed on any process.
            frozen: bool scalar on the device; True if the step does not count.
        """
        sound = torch.where(overflow, 0, self._sound + 1)
        due = sound >= self.growth_interval
        scale = torch.where(
            overflow, self.scale / 2, torch.where(due, (self.scale * 2).clamp(max=_MOST_SCALE), self.scale)
        )
        self.scale = torch.where(frozen, self.scale, scale)
        self._sound = torch.where(frozen, self._sound, torch.where(due, 0, sound)).int()

    def state_dict(self) -> dict[str, Any]:
        """Return the scale and the number of steps since it changed, waiting for the device."""
        return {"scale": float(self.scale), "_growth_tracker": int(self._sound)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from the result of `state_dict`."""
        self.scale = torch.full_like(self.scale, state["scale"])
        self._sound = torch.full_like(self._sound, state["_growth_tracker"])


def choose_precision(name: str | torch.dtype, device: torch.device) -> Precision:
    """Return the precision of a name or type; `auto` is bf16 on devices with bf16 in hardware, else fp32.

    Raises:
        UserError: the name is unknown, or the GPU has no bf16.
    """
    name = _TYPES.get(name, str(name)) if isinstance(name, torch.dtype) else name
    if name not in ("auto", *NAMES):
        raise UserError(f"dtype {name!r}: there is no such; there are auto, {', '.join(NAMES)}.{nearest(name, NAMES)}")
    if name == "auto":
        name = "bf16" if computes_bf16(device) else "fp32"
    if name == "bf16" and device.type == "cuda" and not computes_bf16(device):
        raise UserError("bf16: this GPU has no bf16 in hardware (it came with Ampere); use fp16 or fp32")
    return Precision(name, device.type)


def computes_bf16(device: torch.device) -> bool:
    """Return True if the device has bf16 in hardware: GPUs since Ampere, CPUs with AVX512-BF16 or AMX."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    return _has(*_CPU_FLAGS[torch.bfloat16])


def _has(*instructions: str) -> bool:
    """Return True if the CPU has one of these instruction sets."""
    known: Mapping[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return any(known.get(name) for name in instructions)


def set_up_backend(deterministic: bool, equal_sizes: bool) -> None:
    """Choose cuDNN's algorithms: deterministic ones, or the fastest by a trial where sizes stay equal.

    Args:
        deterministic: use the same algorithms every time.
        equal_sizes: all batches have one size, so that a trial pays.
    """
    if deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(deterministic)
    torch.backends.cudnn.benchmark = equal_sizes and not deterministic
