"""Choice between fused operators, whose Triton kernels read and write channels-last, and torch's own."""

import importlib.util
import os
import warnings

import torch
import torch.nn.functional as F
from torch import Tensor

from hdtrans.common.planned import planned_for_gpu

TYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
_works: dict[str, bool] = {}  # by the kind of device
_FEWEST_PIXELS = 256  # a guess, not measured: fewer are not worth the start of a kernel from Python


def suits(x: Tensor) -> bool:
    """Return True where a fused operator should compute (B, C, H, W): it can, and x is or should be channels-last.

    Tensor cores want half precision channels-last. Other precisions keep their layout. Compiled and exported graphs
    take torch's operators, which a compiler fuses itself.
    """
    return (
        not torch.compiler.is_compiling()
        and (planned_for_gpu() or triton_works(x.device.type))
        and x.dtype in TYPES
        and x.numel() > 0
        and x.shape[2] * x.shape[3] >= _FEWEST_PIXELS
        and (x.itemsize == 2 or x.is_contiguous(memory_format=torch.channels_last))
    )


def triton_works(device_type: str) -> bool:
    """Return True where Triton is installed and computes on `cuda`, or, with TRITON_INTERPRET set, on `cpu`.

    It is tried once.
    """
    if device_type not in _works:
        _works[device_type] = _try_triton(device_type)
    return _works[device_type]


def channels_last(x: Tensor) -> Tensor:
    """Return (B, C, H, W) with a pixel's channels side by side, copied only if its layout is another."""
    return x.contiguous(memory_format=torch.channels_last)


def _try_triton(device_type: str) -> bool:
    if importlib.util.find_spec("triton") is None:
        return False
    if device_type != ("cpu" if os.environ.get("TRITON_INTERPRET") == "1" else "cuda"):
        return False
    try:
        from hdtrans.networks.kernels import fused_norm_kernels as kernels

        x = channels_last(torch.arange(3.0 * 5 * 7, device=device_type).view(1, 3, 5, 7).sin())
        found, wanted = kernels.normalise(x, None, 1.0, 1e-5, torch.float32)[0], F.instance_norm(x)
        if not torch.allclose(found, wanted, atol=1e-4):
            raise ArithmeticError("its norm is not torch's")
    except Exception as error:  # Triton needs a C compiler, a driver and a folder of its own, and says so in many ways
        reason = (str(error) or type(error).__name__).splitlines()[0]
        warnings.warn(f"Triton does not work here, and torch's slower ways are taken: {reason}", stacklevel=2)
        return False
    return True
