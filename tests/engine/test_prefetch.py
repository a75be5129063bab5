"""Copies of batches to the device: their order, their stream, and none before it is requested."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch

from hdtrans.data.batch import Batch
from hdtrans.engine.prefetch import prefetch

CUDA = torch.device("cuda", 0)


def batches(count: int, calls: list[Any] | None = None) -> Iterator[Batch]:
    """Yield batches of one number each, recording each fetch."""
    for number in range(count):
        if calls is not None:
            calls.append(f"fetch {number}")
        yield Batch((str(number),), (number,), {"label": torch.full((1, 2, 2), number, dtype=torch.uint8)})


def test_on_the_cpu_batches_pass_through() -> None:
    given = list(batches(3))
    for batch, found in zip(given, prefetch(given, torch.device("cpu")), strict=True):
        assert found.names == batch.names
        assert found["label"] is batch["label"]


class FakeStream:
    """Fake that records its calls."""

    def __init__(self, name: str, calls: list[Any]) -> None:
        self.name = name
        self.calls = calls

    def wait_stream(self, other: "FakeStream") -> None:
        self.calls.append(f"{self.name} waits for {other.name}")


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Return the recorded calls of CUDA, with fakes in its place."""
    calls: list[Any] = []
    streams = [FakeStream("computing", calls)]

    @contextmanager
    def stream(chosen: FakeStream) -> Iterator[None]:
        streams.append(chosen)
        yield
        streams.pop()

    def to(batch: Batch, device: torch.device) -> Batch:
        calls.append(f"copy {batch.names[0]} on {streams[-1].name}")
        return batch

    monkeypatch.setattr(torch.cuda, "Stream", lambda device: FakeStream("beside", calls))
    monkeypatch.setattr(torch.cuda, "stream", stream)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: streams[-1])
    monkeypatch.setattr(Batch, "to", to)
    monkeypatch.setattr(Batch, "record_stream", lambda batch, stream: calls.append(f"kept for {stream.name}"))
    return calls


def test_copies_go_beside_the_step_and_the_next_step_waits_for_them(calls: list[Any]) -> None:
    for batch in prefetch(batches(2, calls), CUDA):
        calls.append(f"step {batch.names[0]}")
    one = ["fetch {}", "copy {} on beside", "computing waits for beside", "kept for computing", "step {}"]
    assert calls == [words.format(number) for number in range(2) for words in one]


def test_no_batch_is_fetched_before_it_is_requested(calls: list[Any]) -> None:
    """A loop that stops after a batch has fetched no other."""
    next(prefetch(batches(2, calls), CUDA))
    assert "fetch 1" not in calls


def test_every_tensor_of_a_batch_is_kept_for_the_stream() -> None:
    kept: list[Any] = []

    class Noted(torch.Tensor):
        def record_stream(self, stream: Any) -> None:
            kept.append((self.dtype, stream))

    label, photo = torch.zeros(1, 2, 2, dtype=torch.uint8), torch.zeros(1, 3, 2, 2)
    stream: Any = "a stream"
    Batch(("a",), (0,), {"label": label.as_subclass(Noted), "photo": photo.as_subclass(Noted)}).record_stream(stream)
    assert kept == [(torch.uint8, stream), (torch.float32, stream)]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
def test_on_a_gpu_each_step_sees_its_batch() -> None:
    """With steps so long that the copies run far ahead."""
    busy = torch.rand(4096, 4096, device=CUDA)
    given = (
        Batch((str(n),), (n,), {"photo": torch.full((1, 3, 1024, 1024), n, dtype=torch.int32)}).pin_memory()
        for n in range(20)
    )
    sums = []
    for batch in prefetch(given, CUDA):
        for _ in range(5):
            busy = (busy @ busy).clamp(0, 1)
        assert batch["photo"] is not None
        sums.append(batch["photo"].long().sum())
        del batch
    assert torch.stack(sums).tolist() == [n * 3 * 2**20 for n in range(20)]
