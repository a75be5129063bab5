"""What travels from the data loader to a method: integers, with the names and counters of their samples."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor

from hdtrans.common.errors import UserError
from hdtrans.data.shared_memory import shareable

FIELDS = ("label", "instance", "source", "photo")


@dataclass(frozen=True)
class Sample:
    """One training or test sample, as tensors; a field that was not asked for is None.

    Attributes:
        name: what the sample's files have in common.
        counter: how many samples the stage drew before this one; every random number of the sample follows from it.
        label: (H, W) uint8 or int32 class ids.
        instance: (H, W) int32 opaque instance ids.
        source: (C, H, W) the input picture, uint8 in [0, 255], int32 in [0, 65535], or float32 in [-1, 1].
        photo: (C, H, W) the wanted picture, as `source`.
        files: the paths it was read from.
        left_out: what was wrong with the files that it stands in for.
    """

    name: str
    counter: int
    label: Tensor | None = None
    instance: Tensor | None = None
    source: Tensor | None = None
    photo: Tensor | None = None
    files: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True)
class Batch:
    """Samples of one size, stacked: every field of `Sample` with a leading batch dimension."""

    names: tuple[str, ...]
    counters: tuple[int, ...]
    label: Tensor | None = None
    instance: Tensor | None = None
    source: Tensor | None = None
    photo: Tensor | None = None
    files: tuple[tuple[str, ...], ...] = ()
    left_out: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.names)

    def to(self, device: torch.device) -> "Batch":
        """Return the batch on `device`; asynchronous where it lies in pinned memory."""
        return self._each(lambda tensor: tensor.to(device, non_blocking=True))

    def pin_memory(self) -> "Batch":
        """Return the batch in pinned memory (called by the data loader)."""
        return self._each(lambda tensor: tensor.pin_memory())

    def record_stream(self, stream: torch.Stream) -> None:
        """Keep the memory of the tensors until what was given to the stream so far is done."""
        for name in FIELDS:
            tensor = getattr(self, name)
            if tensor is not None:
                tensor.record_stream(stream)

    def channels_last(self) -> "Batch":
        """Return the batch with its pictures laid out channels-last."""
        return self._each(lambda x: x.contiguous(memory_format=torch.channels_last) if x.ndim == 4 else x)

    def shareable(self) -> "Batch":
        """Return the batch in memory that another process can be given."""
        return self._each(shareable)

    def _each(self, change: Callable[[Tensor], Tensor]) -> "Batch":
        changed: dict[str, Any] = {
            name: change(tensor) for name in FIELDS if (tensor := getattr(self, name)) is not None
        }
        return replace(self, **changed)


def collate(samples: Sequence[Sample]) -> Batch:
    """Stack samples; raise UserError naming the two samples whose sizes differ."""
    stacked = {}
    for name in FIELDS:
        tensors = [getattr(sample, name) for sample in samples]
        present = [t for t in tensors if t is not None]
        if not present:
            continue
        for sample, tensor in zip(samples, tensors, strict=True):
            if tensor.shape != present[0].shape:
                raise UserError(
                    f"{sample.name}: {name} is {_size(tensor)}, but {samples[0].name} in the same batch is "
                    f"{_size(present[0])}; give the stage a size and a geometry that makes them equal, or batch_size: 1"
                )
        widest = _widest(present)
        same = _same_picture if name in ("source", "photo") else Tensor.to
        stacked[name] = torch.stack([same(t, widest) for t in present])
    return Batch(
        tuple(s.name for s in samples),
        tuple(s.counter for s in samples),
        **stacked,
        files=tuple(s.files for s in samples),
        left_out=tuple(words for s in samples for words in s.left_out),
    )


def _size(tensor: Tensor) -> str:
    return f"{tensor.shape[-1]}x{tensor.shape[-2]}"


def _same_picture(picture: Tensor, dtype: torch.dtype) -> Tensor:
    """Return a picture of 8 bits as one of 16 bits, or either as floating point numbers, where another one is."""
    if dtype.is_floating_point:
        return as_floats(picture, dtype)
    return picture.to(dtype) * 257 if picture.dtype != dtype else picture


def _widest(tensors: list[Tensor]) -> torch.dtype:
    return max((t.dtype for t in tensors), key=lambda dtype: (dtype.is_floating_point, dtype.itemsize))


assert tuple(f.name for f in fields(Sample))[2:-2] == FIELDS


def as_floats(picture: Tensor, dtype: torch.dtype) -> Tensor:
    """Return a picture in [-1, 1]: uint8 from [0, 255], int32 from [0, 65535]; floats lie in [-1, 1] already."""
    if picture.is_floating_point():
        return picture.to(dtype)
    half = 127.5 if picture.dtype == torch.uint8 else 32767.5
    return picture.to(dtype) / half - 1


def as_bytes(picture: Tensor) -> Tensor:
    """Return a picture in [-1, 1] as uint8 in [0, 255], rounded."""
    return (picture.float() + 1).mul_(127.5).round_().clamp_(0, 255).to(torch.uint8)


def as_words(picture: Tensor) -> Tensor:
    """Return a picture in [-1, 1] as uint16 in [0, 65535], rounded."""
    return (picture.float() + 1).mul_(32767.5).round_().clamp_(0, 65535).to(torch.int32).to(torch.uint16)
