"""Copies to a GPU and back: streams, and the order of waits."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hdtrans.inference.transfers import Transfers
from hdtrans.inference.translator import Translator
from tests.small_runs import made_checkpoint, small_recipe

CUDA = torch.device("cuda", 0)


class FakeStream:
    """Records calls."""

    def __init__(self, name: str, said: list[str]) -> None:
        self.name, self.said = name, said

    def wait_stream(self, other: "FakeStream") -> None:
        self.said.append(f"{self.name} waits for {other.name}")


class FakeTensor:
    """Says where it is copied."""

    is_cuda = True

    def __init__(self, name: str, said: list[str], streams: list[FakeStream]) -> None:
        self.name, self.said, self.streams = name, said, streams

    def to(self, device: Any, non_blocking: bool) -> "FakeTensor":
        assert non_blocking
        self.said.append(f"{self.name} to {torch.device(device).type} on {self.streams[-1].name}")
        return self

    def record_stream(self, stream: FakeStream) -> None:
        self.said.append(f"{self.name} kept for {stream.name}")

    def numpy(self) -> str:
        return f"array of {self.name}"


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> tuple[list[str], list[FakeStream]]:
    """Replace CUDA by fakes; return their recorded calls and the streams, the current one last."""
    said: list[str] = []
    streams, names = [FakeStream("computing", said)], iter(("in", "out"))

    class FakeEvent:
        def __init__(self, blocking: bool) -> None:
            assert blocking

        def record(self) -> None:
            said.append(f"event on {streams[-1].name}")

        def synchronize(self) -> None:
            said.append("host waits for the event")

    @contextmanager
    def stream(chosen: FakeStream) -> Iterator[None]:
        streams.append(chosen)
        yield
        streams.pop()

    monkeypatch.setattr(torch.cuda, "Stream", lambda device: FakeStream(next(names), said))
    monkeypatch.setattr(torch.cuda, "stream", stream)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: streams[-1])
    monkeypatch.setattr(torch.cuda, "Event", FakeEvent)
    return said, streams


def test_inputs_come_on_a_stream_of_their_own(gpu: tuple[list[str], list[FakeStream]]) -> None:
    said, streams = gpu
    tensors: Any = {"label": FakeTensor("label", *gpu)}
    assert Transfers(CUDA).bring(tensors) == tensors
    assert said == ["label to cuda on in", "computing waits for in", "label kept for computing"]
    assert len(streams) == 1


def test_pictures_go_on_another_and_only_who_wants_one_waits(gpu: tuple[list[str], list[FakeStream]]) -> None:
    said, _ = gpu
    pictures: Any = [FakeTensor(name, *gpu) for name in ("first", "second")]
    first, second = Transfers(CUDA).send(pictures)
    sent = ["first to cpu on out", "second to cpu on out", "event on out", "first kept for out", "second kept for out"]
    assert said == ["out waits for computing", *sent]
    assert [second(), first()] == ["array of second", "array of first"]
    assert said[-2:] == 2 * ["host waits for the event"]


def test_pictures_that_are_on_the_host_stay_there(gpu: tuple[list[str], list[FakeStream]]) -> None:
    """As those of onnxruntime are."""
    (array,) = Transfers(CUDA).send([torch.ones(2, 3)])
    assert array().tolist() == [[1, 1, 1], [1, 1, 1]]
    assert gpu[0] == []


def test_on_a_cpu_nothing_is_copied() -> None:
    transfers, label = Transfers(torch.device("cpu")), torch.zeros(1, 2, 3)
    assert transfers.bring({"label": label})["label"] is label
    (array,) = transfers.send([label])
    assert array().ctypes.data == label.data_ptr()
    given = np.zeros(3)
    assert transfers.pinned({"label": given})["label"] is given


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("max_memory", [None, 2**33])
def test_begin_gives_the_pictures_of_translate(bits: int, max_memory: int | None, tmp_path: Path) -> None:
    """In whatever thread, and in whatever order."""
    values = small_recipe(tmp_path, tmp_path)
    checkpoint = made_checkpoint(tmp_path / "random.pt", values["data"], values["method"])
    translator = Translator.load(checkpoint, "cpu", "fp32", max_memory=max_memory)
    random = np.random.default_rng(0)
    batch = []
    for _ in range(3):
        label = random.integers(0, 5, (19, 30)).astype(np.uint8)
        batch.append(translator.check(label, label.astype(np.int32)))
    wanted = translator.translate(batch, bits=bits)
    begun = translator.begin(batch, bits=bits)
    with ThreadPoolExecutor(2) as pool:
        found = [*pool.map(lambda finish: finish(), begun[::-1])][::-1]
    for a, b in zip(wanted, found, strict=True):
        assert a.dtype == b.dtype and np.array_equal(a, b)
    assert not np.array_equal(wanted[0], wanted[1])
