"""Inputs on their way to a GPU and pictures on their way back, beside what it computes."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Array = npt.NDArray[Any]


class Transfers:
    """Copies between a model's device and the host; where that is the CPU, there are none.

    Each way has a stream of its own: the inputs of a picture come while the one before is computed, which goes while
    the next is. The host waits for neither, unless inputs are not `pinned`.

    Args:
        device: of the model.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.streams = (torch.cuda.Stream(device), torch.cuda.Stream(device)) if device.type == "cuda" else None

    def bring(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return tensors of the host on the device, where what is computed next waits for them."""
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
        """Send tensors to the host; return what waits for each and gives it as an array.

        Those of onnxruntime are there already, whatever the device. The arrays lie in pinned memory, which is short:
        they are not to be kept.
        """
        if self.streams is None or not tensors[0].is_cuda:
            return [tensor.numpy for tensor in tensors]
        self.streams[1].wait_stream(torch.cuda.current_stream(self.device))
        arrived = torch.cuda.Event(blocking=True)  # else threads that wait keep cores busy
        with torch.inference_mode(), torch.cuda.stream(self.streams[1]):
            here = [tensor.to("cpu", non_blocking=True) for tensor in tensors]
            arrived.record()
            for tensor in tensors:
                tensor.record_stream(self.streams[1])
        return [partial(_when, arrived, tensor) for tensor in here]

    def pinned(self, arrays: Mapping[str, Array]) -> dict[str, Array]:
        """Return arrays in memory from which they come to a GPU without the host waiting."""
        if self.streams is None:
            return dict(arrays)
        return {name: torch.from_numpy(np.ascontiguousarray(x)).pin_memory().numpy() for name, x in arrays.items()}


def _when(arrived: torch.cuda.Event, tensor: Tensor) -> Array:
    arrived.synchronize()
    return tensor.numpy()
