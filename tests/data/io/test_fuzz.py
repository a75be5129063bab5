"""Files that are damaged at random give a picture or a UserError: nothing else, at once, and in little memory."""

import io
import itertools
import mmap
import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from hdtrans.common.errors import UserError
from hdtrans.data.io import read
from hdtrans.data.io.read import probe, read_instance, read_label, read_picture
from tests.bars import Figure
from tests.mutants.reading import letting_errors_through

SECONDS, BYTES = 2.0, 640 << 20  # a damaged header may tell 200 million pixels of three bytes
GREY = (np.arange(14 * 22).reshape(14, 22) % 35).astype(np.uint8)
COLOURS = np.random.default_rng(0).integers(0, 256, (14, 22, 3), dtype=np.uint8)
Random = np.random.Generator


def _encoded(array: np.ndarray, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    Image.fromarray(array).save(file, kind, **options)
    return file.getvalue()


def _palette() -> bytes:
    file, picture = io.BytesIO(), Image.fromarray(GREY)
    picture.putpalette([n % 256 for n in range(768)])
    picture.save(file, "PNG")
    return file.getvalue()


def _npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def _tiff(array: np.ndarray, **options: Any) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, array, **options)
    return file.getvalue()


WHOLE: dict[str, bytes] = {
    "png": _encoded(COLOURS, "PNG"),
    "png16": _encoded(GREY.astype(np.uint16) * 900, "PNG"),
    "palette": _palette(),
    "jpeg": _encoded(COLOURS, "JPEG", progressive=True, exif=Image.Exif()),
    "tiff": _encoded(COLOURS, "TIFF"),
    "lzw": _encoded(COLOURS, "TIFF", compression="tiff_lzw"),
    "planar": _tiff(np.moveaxis(COLOURS, 2, 0), photometric="rgb", planarconfig="separate", rowsperstrip=5),
    "tiles": _tiff(GREY, compression="zlib", tile=(16, 16), predictor=True),
    "zstd": _tiff(COLOURS, photometric="rgb", compression="zstd", rowsperstrip=5),
    "lerc": _tiff(GREY, compression="lerc", rowsperstrip=5),
    "tiffjpeg": _tiff(COLOURS, photometric="rgb", compression="jpeg", tile=(16, 16)),
    "pages": _tiff(np.moveaxis(COLOURS, 2, 0), photometric="minisblack", compression="packbits"),
    "tiff32": _encoded(GREY.astype(np.int32), "TIFF", compression="tiff_deflate"),
    "webp": _encoded(COLOURS, "WEBP"),
    "bmp": _encoded(COLOURS, "BMP"),
    "pgm": _encoded(GREY, "PPM"),
    "npy": _npy(GREY),
    "npy32": _npy(COLOURS.astype(np.float32) / 255),
}


def _flip(data: bytearray, other: bytes, random: Random) -> bytearray:
    for place in random.integers(0, len(data), random.integers(1, 5)):
        data[place] ^= 1 << random.integers(0, 8)
    return data


def _replace(data: bytearray, other: bytes, random: Random) -> bytearray:
    for place in random.integers(0, len(data), random.integers(1, 9)):
        data[place] = random.integers(0, 256)
    return data


def _cut(data: bytearray, other: bytes, random: Random) -> bytearray:
    return data[: random.integers(0, len(data))]


def _splice(data: bytearray, other: bytes, random: Random) -> bytearray:
    start, end = sorted(random.integers(0, len(data) + 1, 2))
    first, last = sorted(random.integers(0, len(other) + 1, 2))
    return data[:start] + other[first:last] + data[end:]


def _header(data: bytearray, other: bytes, random: Random) -> bytearray:
    """Write a number such as sizes, counts and offsets are, small, large or negative, into the first bytes."""
    number = int(random.choice([0, 1, 2, 255, 256, 65535, 65536, 2**31 - 1, 2**31, 2**32 - 1]))
    form = str(random.choice(["<I", ">I", "<H", ">H"]))
    packed = struct.pack(form, number & (0xFFFF if form[1] == "H" else 0xFFFFFFFF))
    place = int(random.integers(0, min(len(data), 160)))
    return data[:place] + packed + data[place + len(packed) :]


MUTATIONS: tuple[Callable[[bytearray, bytes, Random], bytearray], ...] = (_flip, _replace, _cut, _splice, _header)


def most_memory() -> int:
    """Return the most bytes that this process has held since `fuzz` began."""
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) * 1024


def fuzz(folder: Path, kind: str, count: int, seed: int = 0) -> None:
    """Read `count` damaged files of a kind in every way."""
    Path("/proc/self/clear_refs").write_text("5")  # begins the most anew
    before = most_memory()
    random = np.random.default_rng((seed, *kind.encode()))
    others = list(WHOLE.values())
    path = folder / "b.png"
    for number in range(count):
        other = others[random.integers(0, len(others))]
        mutate = MUTATIONS[number % len(MUTATIONS)]
        path.write_bytes(bytes(mutate(bytearray(WHOLE[kind]), other, random)))
        for way in (probe, read_label, read_instance, read_picture):
            start = time.process_time()
            where = f"{kind}, seed {seed}, number {number}, {mutate.__name__}, {way.__name__}"
            try:
                way(path)
            except UserError as error:
                assert "b.png" in str(error), where
            except BaseException as error:
                error.add_note(where)
                raise
            assert time.process_time() - start < SECONDS, f"took too long: {where}"
    assert most_memory() - before < BYTES, f"too much memory: {kind}, seed {seed}"


@pytest.mark.bar("B4.4", "damaged files of every kind: a picture or one class of error, in bounded time and memory")
@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("kind", WHOLE)
def test_damaged_files_give_a_picture_or_a_user_error(tmp_path: Path, kind: str) -> None:
    fuzz(tmp_path, kind, 120)  # 2160 over all kinds


@pytest.mark.bar("B4.4", "damaged files of every kind: a picture or one class of error, in bounded time and memory")
def test_mutant_that_lets_errors_of_decoders_through_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, figure: Figure
) -> None:
    letting_errors_through(monkeypatch)
    seen = []
    for kind in WHOLE:
        try:
            fuzz(tmp_path, kind, 170)
        except Exception as error:
            seen.append(type(error).__name__)
    assert len(seen) > 0
    kinds = ", ".join(sorted(set(seen)))
    figure(f"mutant that lets errors of decoders through: seen with {len(seen)} of {len(WHOLE)} kinds, as {kinds}")


def busy(seconds: float) -> None:
    """Compute for so long."""
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


@pytest.mark.bar("B4.4", "damaged files of every kind: a picture or one class of error, in bounded time and memory")
@pytest.mark.parametrize(
    ("limit", "lower", "words", "waste"),
    [
        ("SECONDS", 0.5, "took too long", lambda: busy(0.6)),
        ("BYTES", 32 << 20, "too much memory", lambda: mmap.mmap(-1, 64 << 20).write(bytes(64 << 20))),
    ],
    ids=["takes long", "takes much memory"],
)
def test_mutant_that_takes_more_than_it_may_is_seen(
    limit: str,
    lower: float,
    words: str,
    waste: Callable[[], object],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
    figure: Figure,
) -> None:
    """Once in twenty times, with a limit that is lower than the real one, so that the test is short."""
    monkeypatch.setattr(f"tests.data.io.test_fuzz.{limit}", lower)
    fuzz(tmp_path, "bmp", 20)
    turn = read._turn
    calls = itertools.count(1)

    def wasteful(array: np.ndarray, orientation: int) -> np.ndarray:
        if next(calls) == 20:
            waste()
        return turn(array, orientation)

    monkeypatch.setattr(read, "_turn", wasteful)
    with pytest.raises(AssertionError, match=words):
        fuzz(tmp_path, "bmp", 20)
    figure(f"mutant that {request.node.callspec.id}: seen")


@pytest.mark.bar("B4.4", "damaged files of every kind: a picture or one class of error, in bounded time and memory")
@pytest.mark.faults
@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("kind", WHOLE)
def test_many_more_damaged_files(tmp_path: Path, kind: str) -> None:
    fuzz(tmp_path, kind, 5000, seed=1)


def test_a_webp_that_says_it_is_huge(tmp_path: Path) -> None:
    """Pillow raises an error of its own class here: found by the test above."""
    chunk = struct.pack("<4sI4sHHH", b"VP8 ", 20, b"\x10\x00\x00\x9d", 0x2A01, 16383, 16383)
    data = b"RIFF" + struct.pack("<I", 4 + 8 + 20) + b"WEBP" + chunk + bytes(10)
    (tmp_path / "b.png").write_bytes(data)
    with pytest.raises(UserError, match=r"b\.png.*(limit|at most)"):
        probe(tmp_path / "b.png")


@pytest.mark.bar("B4.4", "damaged files of every kind: a picture or one class of error, in bounded time and memory")
@pytest.mark.filterwarnings("error")
def test_the_files_are_sound_before_they_are_damaged(tmp_path: Path) -> None:
    for kind, data in WHOLE.items():
        (tmp_path / "b.png").write_bytes(data)
        assert probe(tmp_path / "b.png").width == 22, kind
        assert read_picture(tmp_path / "b.png").shape[:2] == (14, 22)
