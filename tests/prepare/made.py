"""Tiny data sets for tests, and the command that prepares them."""

import json
from pathlib import Path

import cv2
import numpy as np

from hdtrans.cli import run_tool
from hdtrans.data.io.read import read_label


def put(path: Path, array) -> Path:
    """Write an array as a picture (colours in RGB order)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    array = np.asarray(array)
    array = array if array.dtype in (np.uint8, np.uint16) else array.astype(np.uint8)
    assert cv2.imwrite(str(path), array[..., ::-1] if array.ndim == 3 else array)
    return path


def photo(height: int, width: int, seed: int = 0):
    """Return a smooth (H, W, 3) uint8 picture, nearly unchanged by JPEG."""
    small = np.random.default_rng(seed).integers(0, 256, (4, 4, 3)).astype(np.uint8)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)


def label_map(height: int, width: int, classes: int = 3):
    """Return an (H, W) uint8 label map with a vertical stripe per class."""
    return np.tile(np.arange(width) * classes // width, (height, 1)).astype(np.uint8)


def grey_folder(root: Path, count: int = 4, classes: int = 3, size: tuple[int, int] = (8, 12)) -> Path:
    """Write `train_label/` and `train_img/` with `count` items."""
    for number in range(count):
        put(root / "train_label" / f"{number}.png", label_map(*size, classes))
        put(root / "train_img" / f"{number}.png", photo(*size, number))
    return root


def prepare(*words) -> int:
    """Run `hdtrans prepare` in this process; return its exit code."""
    return run_tool("prepare", [str(word) for word in (*words, "--workers", "1")])


def dataset(out: Path):
    """Return dataset.json."""
    return json.loads((out / "dataset.json").read_text())


def files(out: Path) -> dict[str, bytes]:
    """Return all pictures below a folder, by path."""
    paths = [path for path in out.rglob("*") if path.suffix in (".png", ".jpg")]
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in paths}


def label(out: Path, name: str):
    """Read a written label map."""
    return read_label(out / name)
