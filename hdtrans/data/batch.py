"""Samples and batches: named tensors, mostly integers, with the names and indices of their samples."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from hdtrans.common.errors import UserError
from hdtrans.data.fields import stacked
from hdtrans.data.shared_memory import shareable


@dataclass(frozen=True)
class Sample:
    """One training or test sample.

    Attributes:
        name: common part of the names of its files.
        sample_index: samples that the stage drew before it; all its random numbers follow from it.
        fields: tensors by name: (H, W) uint8 or int32 ids; (C, H, W) images, uint8 in [0, 255], int32 in [0, 65535] or
            float32 in [-1, 1]; (N,) vectors; (N, 2) points.
        files: paths of its files.
        left_out: problems of the samples that it replaces.
    """

    name: str
    sample_index: int
    fields: Mapping[str, Tensor] = field(default_factory=dict)
    files: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()

    def __getitem__(self, name: str) -> Tensor:
        return self.fields[name]


@dataclass(frozen=True)
class Batch:
    """Samples of one size, stacked: every field of `Sample` with a leading batch dimension.

    Example: `batch["photo"]` is (B, C, H, W); `batch.get("instance")` is None where the data have no instance maps.
    """

    names: tuple[str, ...]
    sample_indices: tuple[int, ...]
    fields: Mapping[str, Tensor] = field(default_factory=dict)
    files: tuple[tuple[str, ...], ...] = ()
    left_out: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, name: str) -> Tensor:
        return self.fields[name]

    def get(self, name: str) -> Tensor | None:
        """Return a field, or None if the batch has none of that name."""
        return self.fields.get(name)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels, from the first field that has pixels."""
        height, width = next(x.shape[-2:] for x in self.fields.values() if x.ndim > 3 or not x.is_floating_point())
        return height, width

    def to(self, device: torch.device) -> "Batch":
        """Return the batch on `device`; asynchronous from pinned memory."""
        return self._each(lambda tensor: tensor.to(device, non_blocking=True))

    def pin_memory(self) -> "Batch":
        """Return the batch in pinned memory (called by the data loader)."""
        return self._each(lambda tensor: tensor.pin_memory())

    def record_stream(self, stream: torch.Stream) -> None:
        """Keep the memory of the tensors until the work queued on the stream so far is done."""
        for tensor in self.fields.values():
            tensor.record_stream(stream)

    def channels_last(self) -> "Batch":
        """Return the batch with its images in channels-last layout."""
        return self._each(lambda x: x.contiguous(memory_format=torch.channels_last) if x.ndim == 4 else x)

    def shareable(self) -> "Batch":
        """Return the batch in memory that can be handed to another process."""
        return self._each(shareable)

    def _each(self, change: Callable[[Tensor], Tensor]) -> "Batch":
        return replace(self, fields={name: change(tensor) for name, tensor in self.fields.items()})


def collate(samples: Sequence[Sample]) -> Batch:
    """Stack samples that have the same fields to a batch.

    Raises:
        UserError: two samples differ in size; the message names both.
    """
    first, fields = samples[0], {}
    for name in first.fields:
        tensors = [sample[name] for sample in samples]
        for sample, tensor in zip(samples, tensors, strict=True):
            if tensor.shape != tensors[0].shape:
                raise UserError(
                    f"{sample.name}: {name} is {_size(tensor)}, but {first.name} in the same batch is "
                    f"{_size(tensors[0])}; give the stage a size and a geometry that makes them equal, or batch_size: 1"
                )
        fields[name] = stacked(tensors)
    return Batch(
        tuple(sample.name for sample in samples),
        tuple(sample.sample_index for sample in samples),
        fields,
        tuple(sample.files for sample in samples),
        tuple(problem for sample in samples for problem in sample.left_out),
    )


def _size(tensor: Tensor) -> str:
    return f"{tensor.shape[-1]}x{tensor.shape[-2]}"
