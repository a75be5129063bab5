"""Videos of results: decoded again, they are the frames."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hdtrans.common.errors import MissingPackage, UserError
from hdtrans.inference.folder.video import Change, Video, need_video, write_video
from tests.common.test_files import largest_file

Frame = np.ndarray[Any, np.dtype[np.uint8]]


def moving(height: int, width: int, count: int) -> list[Frame]:
    """Return smooth pictures that move by a pixel a frame."""
    rows, columns = np.mgrid[:height, : width + count]
    waves = [np.sin(rows / 5 + columns / 7 + phase) for phase in (0, 0.5, 1)]
    picture = np.uint8(np.rint(127.5 + 100 * np.stack(waves, 2)))
    return [picture[:, start : start + width] for start in range(count)]


def written(folder: Path, frames: Sequence[Frame], rate: float = 25) -> Video:
    """Write frames as a video, from arrays in place of files."""
    return write_video(folder, [Path(str(n)) for n in range(len(frames))], rate, lambda file: frames[int(file.name)])


@pytest.mark.parametrize(("size", "rate"), [((33, 47), 25), ((64, 96), 24000 / 1001), ((1, 1), 1)])
def test_frames_come_back(tmp_path: Path, size: tuple[int, int], rate: float) -> None:
    """Size, odd or even, number, order, rate, and colours within 3 levels of 255 (half of them are stored)."""
    av = pytest.importorskip("av")
    frames = moving(*size, 5)
    video = written(tmp_path, frames, rate)
    assert (video.path, video.frames, video.size) == (tmp_path / "video.webm", 5, (size[1], size[0]))
    assert os.listdir(tmp_path) == ["video.webm"]
    with av.open(str(video.path)) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.name == "vp9" and (stream.height, stream.width) == size
        assert float(stream.average_rate) == pytest.approx(rate, rel=1e-3)
        found = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
    assert [frame.shape for frame in found] == [frame.shape for frame in frames]
    for number, frame in enumerate(found):
        distances = [float(np.abs(frame.astype(int) - other).mean()) for other in frames]
        assert distances[number] < 3 and distances[number] == min(distances)


def test_frames_of_two_sizes_leave_nothing(tmp_path: Path) -> None:
    pytest.importorskip("av")
    with pytest.raises(UserError, match="0 is 16x8, but 1 is 17x8; frames have one size"):
        written(tmp_path, [np.zeros((8, width, 3), np.uint8) for width in (16, 17)])
    with pytest.raises(UserError, match="there is no picture for a video"):
        written(tmp_path, [])
    assert os.listdir(tmp_path) == []


def test_a_full_disk_and_a_size_beyond_the_codec_leave_nothing(tmp_path: Path) -> None:
    pytest.importorskip("av")
    noise = [np.random.default_rng(n).integers(0, 256, (64, 64, 3), dtype=np.uint8) for n in range(4)]
    with largest_file(1000), pytest.raises(UserError, match=r"video\.webm: cannot be written: File too large"):
        written(tmp_path, noise)
    with pytest.raises(UserError, match="PyAV cannot write VP9 of 70000x1 into"):
        written(tmp_path, [np.zeros((1, 70000, 3), np.uint8)])
    assert os.listdir(tmp_path) == []


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(MissingPackage, match=r"video: needs av: pip install hdtrans\[video\]"):
        need_video()


def change(*arrays: np.ndarray[Any, Any]) -> str:
    found = Change()
    for array in arrays:
        found.add(array)
    return found.text()


def test_changes_between_successive_frames() -> None:
    dark, bright = np.zeros((2, 2, 3), np.uint8), np.full((2, 2, 3), 200, np.uint8)
    assert change(dark, bright, dark, dark) == "133.33 levels of 255"
    assert change(np.array([[1, 2]]), np.array([[1, 7]])) == "50.00 % of the pixels"
    assert change(dark) == "" == change(dark, bright[:1], dark)


def test_the_summary() -> None:
    video = Video(Path("v.webm"), 3, (47, 33), 23.976, 2, "5.00 levels of 255", "1.00 % of the pixels")
    assert video.text() == (
        "video: v.webm: 3 frames of 47x33, 23.976 a second; 2 input(s) have no picture and are left out\n"
        "successive frames differ by 5.00 levels of 255 on average, their inputs by 1.00 % of the pixels"
    )
