"""Write results as the frames of a video, in their order, and measure how much they change."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hdtrans.common.errors import MissingPackage, UserError
from hdtrans.common.files import whole_file

Array = npt.NDArray[Any]
Frame = npt.NDArray[np.uint8]
NAME = "video.webm"

_CODEC = "libvpx-vp9"  # every browser plays it, of any size; free of patents
_OPTIONS = {"crf": "15", "b": "0", "deadline": "good", "cpu-used": "4", "row-mt": "1"}
_BT709, _LIMITED = 1, 1  # colours of HDTV, luma in [16, 235]: numbers of ITU-T H.273


@dataclass(frozen=True)
class Video:
    """A video as it was written.

    Attributes:
        path: its file.
        frames: number of frames.
        size: width and height in pixels.
        rate: frames per second.
        left_out: number of inputs without a picture.
        change: change of successive frames, as `Change` words it.
        input_change: the same of the inputs.
    """

    path: Path
    frames: int
    size: tuple[int, int]
    rate: float
    left_out: int = 0
    change: str = ""
    input_change: str = ""

    def text(self) -> str:
        """Return a summary of one or two lines."""
        left_out = f"; {self.left_out} input(s) have no picture and are left out" if self.left_out else ""
        line = f"video: {self.path}: {self.frames} frames of {self.size[0]}x{self.size[1]}, {self.rate:g} a second"
        changes = f"\nsuccessive frames differ by {self.change} on average" if self.change else ""
        beside = f", their inputs by {self.input_change}" if self.change and self.input_change else ""
        return f"{line}{left_out}{changes}{beside}"


def need_video() -> None:
    """Raise MissingPackage if videos cannot be written here."""
    try:
        import av  # noqa: F401 - late: an extra
    except ImportError:
        raise MissingPackage("av", "video", argument="video") from None


class Change:
    """Mean absolute change between successive pictures, or maps of ids, of which one is kept."""

    def __init__(self) -> None:
        self._last: Array | None = None
        self._total, self._count, self._comparable = 0.0, 0, True

    def add(self, array: Array) -> None:
        """Count the next one: (H, W) ids, or (H, W, C) uint8."""
        last, self._last = self._last, array
        if last is None:
            return
        self._comparable &= last.shape == array.shape
        if self._comparable:
            apart = last != array if array.ndim == 2 else np.abs(last.astype(np.int16) - array)
            self._total += float(apart.mean(dtype=np.float64))
            self._count += 1

    def text(self) -> str:
        """Return the mean with its unit: levels of 255, of maps the share of pixels; '' if nothing can be compared."""
        if not self._count or not self._comparable or self._last is None:
            return ""
        mean = self._total / self._count
        return f"{100 * mean:.2f} % of the pixels" if self._last.ndim == 2 else f"{mean:.2f} levels of 255"


def write_video(folder: Path, files: Sequence[Path], frames_per_second: float, read: Callable[[Path], Frame]) -> Video:
    """Write pictures as `video.webm` (VP9, 4:2:0) into a folder, whole or not at all. Odd sides stay odd.

    Args:
        folder: folder of the video.
        files: pictures in the order of the frames.
        frames_per_second: frame rate, >= 1.
        read: function from a file to (H, W, 3) uint8 RGB; called once for each, in order.

    Raises:
        UserError: there are no pictures, they have different sizes, PyAV cannot write VP9 here, or the disk is full.
        MissingPackage: PyAV is not installed.
    """
    need_video()
    import av

    if not files:
        raise UserError("there is no picture for a video", argument="video")
    target, first = folder / NAME, read(files[0])
    height, width = first.shape[:2]
    try:
        with whole_file(target) as output, av.open(output, "w", format="webm") as container:
            rate = Fraction(frames_per_second).limit_denominator(1001)
            stream: Any = container.add_stream(_CODEC, rate, options=_OPTIONS)
            stream.height, stream.width, stream.pix_fmt = height, width, "yuv420p"
            context = stream.codec_context
            context.color_primaries = context.color_trc = context.colorspace = _BT709
            context.color_range = _LIMITED
            for name, frame in chain([(files[0], first)], ((file, read(file)) for file in files[1:])):
                if frame.shape != first.shape:
                    sizes = f"{files[0]} is {width}x{height}, but {name} is {frame.shape[1]}x{frame.shape[0]}"
                    raise UserError(f"{sizes}; frames have one size", argument="video")
                given = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
                container.mux(stream.encode(given.reformat(format="yuv420p", dst_colorspace="ITU709")))
            container.mux(stream.encode())
    except av.FFmpegError as error:
        finding = f"PyAV cannot write VP9 of {width}x{height} into {target}: {error}"
        raise UserError(finding, argument="video") from error
    return Video(target, len(files), (width, height), frames_per_second)
