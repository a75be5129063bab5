"""Write results as the frames of a video, in their order."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from hdtrans.common.errors import UserError
from hdtrans.common.files import PART_SUFFIX

Frame = npt.NDArray[np.uint8]
NAME = "video.mp4"


def write_video(folder: Path, files: Sequence[Path], frames_per_second: float, read: Callable[[Path], Frame]) -> Path:
    """Write pictures as `video.mp4` (MPEG-4) into a folder, whole or not at all; return its path.

    Args:
        folder: folder of the video.
        files: pictures in the order of the frames.
        frames_per_second: frame rate, >= 1.
        read: function from a file to (H, W, 3) uint8 RGB.

    Raises:
        UserError: there are no pictures, they have different sizes, or OpenCV cannot write MPEG-4 here.
    """
    if not files:
        raise UserError("there is no picture for a video", argument="video")
    target, part = folder / NAME, folder / f".{NAME}.{os.getpid()}{PART_SUFFIX}.mp4"
    first = read(files[0])
    height, width = first.shape[:2]
    writer = cv2.VideoWriter(str(part), cv2.VideoWriter.fourcc(*"mp4v"), frames_per_second, (width, height))
    try:
        if not writer.isOpened():
            raise UserError(f"OpenCV cannot write MPEG-4 of {width}x{height} into {folder}", argument="video")
        for file in files:
            frame = read(file)
            if frame.shape != first.shape:
                size = f"{frame.shape[1]}x{frame.shape[0]}"
                finding = f"{files[0]} is {width}x{height}, but {file} is {size}; frames have one size"
                raise UserError(finding, argument="video")
            writer.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
        writer.release()
        os.replace(part, target)
    finally:
        writer.release()
        part.unlink(missing_ok=True)
    return target
