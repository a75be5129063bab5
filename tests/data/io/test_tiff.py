"""TIFF pictures of many channels, written here byte by byte."""

import struct
import zlib

import cv2
import numpy as np
import pytest

from hdtrans.common.errors import UserError
from hdtrans.data.io.header import probe
from hdtrans.data.io.read import read_instance, read_picture

CHANNELS = 6


def entry(order, big, tag, numbers, kind):
    """Return one entry of a directory with its numbers as bytes."""
    letter = {3: "H", 4: "I", 16: "Q"}[kind]
    return tag, kind, len(numbers), struct.pack(f"{order}{len(numbers)}{letter}", *numbers), big


def tiff(picture, order="<", big=False, block=None, planar=False, deflate=False, predictor=1, **changed):
    """Return a TIFF file; `block` is (height, width) of tiles, or (rows,) of strips; `changed` are tags."""
    height, width, channels = picture.shape
    planes = [picture[..., c : c + 1] for c in range(channels)] if planar else [picture]
    rows, columns = (block[0], block[1]) if block and len(block) == 2 else ((block or (height,))[0], width)
    blocks = []
    for plane in planes:
        for top in range(0, height, rows):
            for left in range(0, width, columns):
                part = plane[top : top + rows, left : left + columns]
                if block and len(block) == 2:
                    part = np.pad(part, ((0, rows - part.shape[0]), (0, columns - part.shape[1]), (0, 0)))
                if predictor == 2:
                    part = np.diff(part, axis=1, prepend=np.zeros_like(part[:, :1]))
                stored = part.astype(part.dtype.newbyteorder(order)).tobytes()
                blocks.append(zlib.compress(stored) if deflate else stored)
    start = 16 if big else 8
    offsets = [start + sum(map(len, blocks[:n])) for n in range(len(blocks))]
    number, lengths = (16 if big else 4), [len(b) for b in blocks]
    tags = {
        256: ([width], 3),
        257: ([height], 3),
        258: ([picture.dtype.itemsize * 8] * channels, 3),
        259: ([8 if deflate else 1], 3),
        262: ([1], 3),
        277: ([channels], 3),
        284: ([2 if planar else 1], 3),
        317: ([predictor], 3),
        339: ([{"u": 1, "i": 2, "f": 3}[picture.dtype.kind]] * channels, 3),
    }
    tiles = {322: ([columns], 3), 323: ([rows], 3), 324: (offsets, number), 325: (lengths, number)}
    strips = {273: (offsets, number), 278: ([rows], 3), 279: (lengths, number)}
    tags |= tiles if block and len(block) == 2 else strips
    tags |= {int(tag.removeprefix("tag")): (value, 3) for tag, value in changed.items()}
    return laid_out(b"".join(blocks), tags, order, big)


def laid_out(pixels, tags, order, big):
    """Put pixels, long values and the directory behind one another."""
    inline, pointer, head = (8, "Q", "HHQ") if big else (4, "I", "HHI")
    body, entries = pixels, b""
    start = 16 if big else 8
    for tag, (numbers, kind) in sorted(tags.items()):
        value = struct.pack(f"{order}{len(numbers)}{ {3: 'H', 4: 'I', 16: 'Q'}[kind] }", *numbers)
        if len(value) > inline:
            place, body = start + len(body), body + value
            value = struct.pack(order + pointer, place)
        entries += struct.pack(order + head, tag, kind, len(numbers)) + value.ljust(inline, b"\0")
    directory = struct.pack(order + ("Q" if big else "H"), len(tags)) + entries + b"\0" * inline
    mark = b"II" if order == "<" else b"MM"
    header = struct.pack(order + "HHHQ", 43, 8, 0, start + len(body)) if big else b""
    return mark + (header or struct.pack(order + "HI", 42, start + len(body))) + body + directory


@pytest.fixture
def picture():
    """Return (7, 10, 6) uint16."""
    return np.random.default_rng(0).integers(0, 65536, (7, 10, CHANNELS)).astype(np.uint16)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("block", [None, (3,), (16, 16), (4, 4)])
@pytest.mark.parametrize("planar", [False, True])
@pytest.mark.parametrize(("deflate", "predictor"), [(False, 1), (True, 1), (True, 2)])
def test_every_layout(tmp_path, picture, order, big, block, planar, deflate, predictor):
    file = tmp_path / "a.tif"
    file.write_bytes(tiff(picture, order, big, block, planar, deflate, predictor))
    assert (probe(file).height, probe(file).width, probe(file).channels) == (7, 10, CHANNELS)
    read = read_picture(file, CHANNELS)
    assert read.dtype == np.int32 and np.array_equal(read, picture)


def test_types(tmp_path):
    file = tmp_path / "a.tiff"
    for dtype in (np.uint8, np.float32, np.float64):
        values = np.linspace(0, 1 if np.dtype(dtype).kind == "f" else 200, 4 * 5 * 5).reshape(4, 5, 5).astype(dtype)
        file.write_bytes(tiff(values))
        read = read_picture(file, 5)
        assert read.dtype == (np.uint8 if dtype == np.uint8 else np.float32)
        assert np.array_equal(read, values.astype(read.dtype))


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"tag259": [5]}, r"is compressed \(TIFF's number 5\)"),
        ({"tag317": [3]}, "predictor 3"),
        ({"tag274": [3]}, "stored turned"),
        ({"tag258": [12] * CHANNELS}, "12 bits a channel"),
        ({"tag258": [8, 16, 8, 8, 8, 8]}, "different types"),
        ({"tag278": [3]}, "has 1 strips or tiles of 3"),
        ({"tag257": [9], "tag278": [9]}, "cut off or damaged"),
    ],
)
def test_unsupported_features_are_refused(tmp_path, picture, changed, words):
    file = tmp_path / "a.tif"
    file.write_bytes(tiff(picture, **changed))
    with pytest.raises(UserError, match=rf"a\.tif: cannot be read as a picture \(\d+ bytes\): TIFF: .*{words}"):
        read_picture(file, CHANNELS)


def test_damaged_bytes_give_messages(tmp_path, picture):
    file = tmp_path / "a.tif"
    data = tiff(picture, deflate=True)
    random = np.random.default_rng(1)
    for _ in range(200):
        wrong = bytearray(data)
        for place in random.integers(0, len(data), 4):
            wrong[place] = random.integers(256)
        file.write_bytes(wrong[: random.integers(20, len(data) + 1)])
        try:
            read_picture(file, CHANNELS)
        except UserError as error:
            assert str(error).startswith(str(file))


@pytest.mark.parametrize("opencv", [5, 4])
@pytest.mark.parametrize("deflate", [False, True])
def test_unsigned_ids(tmp_path, monkeypatch, opencv, deflate):
    if opencv == 4:  # which reads none
        monkeypatch.setattr(cv2, "imdecode", lambda *_: None)
    ids = np.array([[0, 2**31 - 1], [70000, 3]], np.uint32)[..., None]
    path = tmp_path / "a.tif"
    path.write_bytes(tiff(ids, deflate=deflate))
    np.testing.assert_array_equal(read_instance(path), ids[..., 0])
    path.write_bytes(tiff(np.where(ids == 3, 2**32 - 1, ids).astype(np.uint32), deflate=deflate))
    with pytest.raises(UserError, match="4294967295 at row 1, column 1"):  # it does not wrap around
        read_instance(path)


def test_unsigned_ids_that_are_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(cv2, "imdecode", lambda *_: None)
    path = tmp_path / "a.tif"
    path.write_bytes(tiff(np.zeros((2, 3, 1), np.uint32), tag259=[5]))
    with pytest.raises(UserError, match="is compressed .TIFF's number 5.; write it plain or deflated"):
        read_instance(path)
