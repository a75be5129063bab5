"""Copy inputs to a GPU and pictures back on streams of their own, while it computes."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Array = npt.NDArray[Any]


class Transfers:
    """Copies between a model's device and the host; none for a model on the CPU.

    Each direction has its own stream: inputs arrive while the picture before is computed, which leaves while the next
    is computed. The host waits for neither, if inputs are `pinned`.

    Args:
        device: device of the model.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.streams = (torch.cuda.Stream(device), torch.cuda.Stream(device)) if device.type == "cuda" else None

    def bring(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the tensors on the device; kernels launched from now on wait for them."""
        if self.streams is None:
            return dict(tensors)
        computing = torch.cuda.current_stream(self.device)
        with torch.cuda.stream(self.streams[0]):
            there = {name: tensor.to(self.device, non_blocking=True) for name, tensor in tensors.items()}
        computing.wait_stream(self.streams[0])
        for tensor in there.values():
            tensor.record_stream(computing)
        return there

    def send(self, tensors: Sequence[Tensor]) -> list[Callable[[], Array]]:
        """Send tensors to the host; return for each a function that waits for it and returns an array.

        Tensors of onnxruntime are on the host already, on any device. Arrays lie in pinned memory, which is scarce: do
        not keep them.
        """
        if self.streams is None or not tensors[0].is_cuda:
            return [tensor.numpy for tensor in tensors]
        self.streams[1].wait_stream(torch.cuda.current_stream(self.device))
        arrived = torch.cuda.Event(blocking=True)  # else waiting threads would spin
        with torch.inference_mode(), torch.cuda.stream(self.streams[1]):
            here = [tensor.to("cpu", non_blocking=True) for tensor in tensors]
            arrived.record()
            for tensor in tensors:
                tensor.record_stream(self.streams[1])
        return [partial(_when, arrived, tensor) for tensor in here]

    def pinned(self, arrays: Mapping[str, Array]) -> dict[str, Array]:
        """Return the arrays in pinned memory, from which they are copied to a GPU without a host-device sync."""
        if self.streams is None:
            return dict(arrays)
        return {name: torch.from_numpy(np.ascontiguousarray(x)).pin_memory().numpy() for name, x in arrays.items()}


def _when(arrived: torch.cuda.Event, tensor: Tensor) -> Array:
    arrived.synchronize()
    return tensor.numpy()
