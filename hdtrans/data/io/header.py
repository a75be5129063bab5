"""Headers of picture files: format, size and kind, read from the first bytes without decoding."""

import ast
import io
import os
import re
import stat
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, BinaryIO

import numpy as np
from PIL.BmpImagePlugin import BmpImageFile
from PIL.Image import DecompressionBombError, Exif
from PIL.JpegImagePlugin import JpegImageFile
from PIL.WebPImagePlugin import WebPImageFile

from hdtrans.common.errors import UserError
from hdtrans.common.errors import shown as shown
from hdtrans.data.io.profile import profile_name
from hdtrans.data.io.shards import open_member
from hdtrans.data.io.tiff import TiffPicture

EXTENSIONS = (
    *(".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".tif", ".tiff", ".bmp", ".dib", ".ppm", ".pgm", ".pnm", ".webp"),
    ".npy",
)
"""Extensions of pictures and maps, in upper or lower case; the format is inferred from the first bytes."""

LARGEST_PIXELS = 200_000_000
"""Largest number of pixels of a picture; larger ones are refused before they are decoded."""

LARGEST_SAMPLES = 4 * LARGEST_PIXELS
"""Largest number of pixels times channels."""

DECODER_ERRORS = (
    *(OSError, SyntaxError, ValueError, TypeError, LookupError, EOFError, ArithmeticError, struct.error),
    *(MemoryError, RecursionError, Warning, DecompressionBombError),
)
"""Exceptions that decoders raise for damaged bytes, warnings turned into errors included."""

FilePath = str | os.PathLike[str]

_FORMATS = (
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"\xff\xd8\xff", "JPEG"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"II+\0", "TIFF"),
    (b"MM\0+", "TIFF"),
    (b"BM", "BMP"),
    (b"P2", "PNM"),
    (b"P3", "PNM"),
    (b"P5", "PNM"),
    (b"P6", "PNM"),
    (b"RIFF", "WEBP"),
    (b"\x93NUMPY", "npy"),
)
_PNM = re.compile(rb"P([2356])" + rb"(?:\s|#[^\n]*\n)+(\d{1,9})" * 3 + rb"\s")
_PNM_LONGEST_HEADER = 4096  # bytes, comments included
_NPY_LONGEST_HEADER = 10_000
_PNG_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # colour type: channels
_PNG_ALPHA = (4, 6)  # colour types
_PNG_LONGEST_CHUNK = 1 << 20
_BMP_RUNS = (1, 2)  # compressions: RLE8, RLE4
_BMP_LONGEST_RUN = 128  # pixels a byte
_ORIENTATION = 0x0112  # tag of EXIF
_TURNED = (5, 6, 7, 8)  # EXIF orientations that swap height and width


@dataclass(frozen=True)
class Header:
    """Size and kind of a picture file.

    Attributes:
        height, width: size in pixels after the EXIF orientation, as viewers show the picture.
        channels: samples per pixel in the file, alpha included; 1 for a palette.
        bits: bits per sample.
        palette: True if samples are indices into a table of colours.
        cmyk: True if samples are inks.
        floating: True if samples are floating point numbers.
        format: PNG, JPEG, TIFF, BMP, PNM, WEBP or npy.
        orientation: EXIF orientation, 1 to 8, to be applied to the decoded pixels.
        lossy: name of a compression that changes values, or ''.
        transparent: True if pixels have a transparency: a last channel, a colour or palette entry, a mask.
        profile: name of the colour profile, '' for sRGB or none.
        nodata: value of pixels without data, as GDAL writes it, or ''.
        pages: number of grey pages that are the channels, 1 for any other picture.
        animated: True if more pictures follow, which are not read.
    """

    height: int
    width: int
    channels: int
    bits: int
    palette: bool
    cmyk: bool = False
    floating: bool = False
    format: str = "PNG"
    orientation: int = 1
    lossy: str = ""
    transparent: bool = False
    profile: str = ""
    nodata: str = ""
    pages: int = 1
    animated: bool = False

    @property
    def picture_channels(self) -> int:
        """Channels of the picture: palettes and inks become RGB."""
        return 3 if self.palette or self.cmyk else self.channels


def probe(path: FilePath) -> Header:
    """Read the header of a picture or map.

    Raises:
        UserError: the file cannot be opened, is empty, is no regular file (a folder, a pipe), has an unsupported
            format, or more than 200 million pixels.
    """
    file, size = open_regular(path)
    with file:
        return read_header(file, path, size)


def damaged(path: FilePath, size: int, words: object) -> UserError:
    """Return the error for a file of `size` bytes that cannot be decoded, with the decoder's words."""
    return UserError(f"cannot be read as a picture ({size} bytes): {words}", path=path)


def open_regular(path: FilePath) -> tuple[BinaryIO, int]:
    """Open a regular file that is not empty, without blocking on pipes; return it and its size in bytes.

    The path may lead into a shard (`train-000000.tar/train_label/a.png`).

    Raises:
        UserError: the file cannot be opened, is empty, or is a folder, pipe or device.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except OSError as error:
        if (member := open_member(os.fspath(path))) and member[1]:
            return member
        if member:
            member[0].close()
            raise UserError("is empty (0 bytes); write the file again", path=path) from None
        link = f"; it is a link to {os.readlink(path)!r}" if os.path.islink(path) else ""
        raise UserError(f"cannot be opened: {error.strerror or error}{link}", path=path) from error
    state = os.fstat(descriptor)
    if stat.S_ISREG(state.st_mode) and state.st_size:
        return os.fdopen(descriptor, "rb"), state.st_size
    os.close(descriptor)
    if stat.S_ISREG(state.st_mode):
        raise UserError("is empty (0 bytes); write the file again", path=path)
    kind = "a folder" if stat.S_ISDIR(state.st_mode) else "a pipe, socket or device"
    raise UserError(f"is {kind}, not a picture file", path=path)


def read_header(file: BinaryIO, path: FilePath, size: int) -> Header:
    """Read the header from an open file, or bytes in memory, of `size` bytes; raise UserError with `path`."""
    start = file.read(12)
    name = next((name for magic, name in _FORMATS if start.startswith(magic)), "")
    if not name or (name == "WEBP" and start[8:] != b"WEBP"):
        raise damaged(path, size, f"starts with {start!r}, which is no {', '.join(_READERS)} file")
    file.seek(0)
    try:
        header = _READERS[name](file)
    except DECODER_ERRORS as error:
        raise damaged(path, size, f"{name}: {error}") from error
    if header.height < 1 or header.width < 1:
        raise damaged(path, size, f"{name}: a picture of {header.width}x{header.height}")
    if header.height * header.width * max(1, header.channels / 4) > LARGEST_PIXELS:
        raise UserError(
            f"{header.width}x{header.height} of {header.channels} channel(s) in {size} bytes; a picture may have at "
            f"most {LARGEST_PIXELS} pixels, and {LARGEST_SAMPLES} over all channels; cut it into parts",
            path=path,
        )
    if header.orientation in _TURNED:
        header = replace(header, height=header.width, width=header.height)
    return header


def _png(file: BinaryIO) -> Header:
    head = file.read(33)
    length, name, width, height, bits, colour = struct.unpack_from(">I4sIIBB", head, 8)
    if len(head) < 33 or name != b"IHDR" or length != 13 or colour not in _PNG_CHANNELS:
        raise ValueError("its first chunk is no valid IHDR")
    chunks = _png_chunks(file)
    return Header(
        height,
        width,
        _PNG_CHANNELS[colour],
        bits,
        colour == 3,
        format="PNG",
        orientation=_exif_orientation(chunks.get(b"eXIf")),
        transparent=colour in _PNG_ALPHA or b"tRNS" in chunks,
        profile=profile_name(_png_profile(chunks.get(b"iCCP", b""))),
        animated=b"acTL" in chunks,
    )


def _png_chunks(file: BinaryIO) -> dict[bytes, bytes]:
    """Return the chunks before the pixels that are read here."""
    chunks: dict[bytes, bytes] = {}
    while len(head := file.read(8)) == 8:
        length, name = struct.unpack(">I4s", head)
        if name in (b"IDAT", b"IEND"):
            break
        wanted = name in (b"eXIf", b"iCCP", b"tRNS", b"acTL") and length <= _PNG_LONGEST_CHUNK
        if wanted:
            chunks[name] = file.read(length)
        file.seek(4 if wanted else length + 4, io.SEEK_CUR)
    return chunks


def _png_profile(chunk: bytes) -> bytes:
    """Return the colour profile of an iCCP chunk; b'' for a damaged one, as viewers take it."""
    compressed = chunk[chunk.find(b"\0") + 2 :]
    try:
        return zlib.decompressobj().decompress(compressed, _PNG_LONGEST_CHUNK)
    except zlib.error:
        return b""


def _jpeg(file: BinaryIO) -> Header:
    picture = JpegImageFile(file)
    channels = {"L": 1, "RGB": 3, "CMYK": 4}[picture.mode]
    return Header(
        picture.height,
        picture.width,
        channels,
        8,
        False,
        cmyk=channels == 4,
        format="JPEG",
        orientation=_exif_orientation(picture.info.get("exif")),
        lossy="JPEG",
        profile=profile_name(picture.info.get("icc_profile")),
    )


def _webp(file: BinaryIO) -> Header:
    picture = WebPImageFile(file)
    channels = 4 if picture.mode == "RGBA" else 3
    return Header(
        picture.height,
        picture.width,
        channels,
        8,
        False,
        format="WEBP",
        orientation=_exif_orientation(picture.info.get("exif")),
        lossy="WEBP",
        transparent=channels == 4,
        profile=profile_name(picture.info.get("icc_profile")),
        animated=picture.is_animated,
    )


def _bmp(file: BinaryIO) -> Header:
    picture = BmpImageFile(file)
    size, pixels = file.seek(0, io.SEEK_END), picture.width * picture.height
    if pixels > size * (_BMP_LONGEST_RUN if picture.info["compression"] in _BMP_RUNS else 8):
        raise ValueError(f"is cut off: {size} bytes cannot hold {picture.width}x{picture.height} pixels")
    channels = {"1": 1, "L": 1, "P": 1, "RGB": 3, "RGBA": 4}[picture.mode]
    bits = 1 if picture.mode == "1" else 8
    return Header(
        picture.height,
        picture.width,
        channels,
        bits,
        picture.mode == "P",
        format="BMP",
        transparent=channels == 4,
    )


def _pnm(file: BinaryIO) -> Header:
    kind, width, height, largest, _ = pnm_header(file.read(_PNM_LONGEST_HEADER))
    return Header(height, width, 3 if kind in (3, 6) else 1, 8 if largest < 256 else 16, False, format="PNM")


def pnm_header(data: bytes) -> tuple[int, int, int, int, int]:
    """Return the digit of the magic, width, height, the value of white, and the offset of the pixels."""
    match = _PNM.match(data[:_PNM_LONGEST_HEADER])
    if not match:
        raise ValueError("its header is not P2, P3, P5 or P6 with width, height and the largest value")
    kind, width, height, largest = (int(group) for group in match.groups())
    if not 0 < largest < 65536:
        raise ValueError(f"its largest value is {largest}, allowed is 1 to 65535")
    return kind, width, height, largest, match.end()


def _npy(file: BinaryIO) -> Header:
    shape, _, dtype = npy_header(file)
    if len(shape) not in (2, 3) or dtype.kind not in "biuf":
        raise ValueError(
            f"holds {dtype} of shape {shape}; a map is (H, W) integers, a picture (H, W) or (H, W, C) numbers"
        )
    channels = shape[2] if len(shape) == 3 else 1
    return Header(shape[0], shape[1], channels, 8 * dtype.itemsize, False, floating=dtype.kind == "f", format="npy")


def npy_header(file: BinaryIO) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Return shape, Fortran order (True or False) and dtype of a .npy file, and leave the file at its numbers.

    numpy's own reader warns about damaged headers and raises errors of many types.
    """
    start = file.read(8)
    length = struct.unpack("<H", file.read(2)) if start[6:7] == b"\1" else struct.unpack("<I", file.read(4))
    if length[0] > _NPY_LONGEST_HEADER:
        raise ValueError(f"its header has {length[0]} bytes")
    values = ast.literal_eval(file.read(length[0]).decode("latin-1").strip())
    shape, fortran, dtype = values["shape"], values["fortran_order"], np.dtype(str(values["descr"]))
    if not isinstance(shape, tuple) or not all(type(side) is int and side >= 0 for side in shape):
        raise ValueError(f"its shape is {shape}")
    return shape, bool(fortran), dtype


def _tiff(file: BinaryIO) -> Header:
    picture = TiffPicture(file)
    return Header(
        height=picture.height,
        width=picture.width,
        channels=picture.channels,
        bits=picture.bits,
        palette=picture.palette,
        cmyk=picture.cmyk,
        floating=picture.floating,
        format="TIFF",
        orientation=picture.orientation,
        lossy=picture.lossy and f"TIFF compressed as {picture.lossy}",
        transparent=picture.alpha or picture.has_mask,
        profile=profile_name(picture.profile),
        nodata=picture.nodata,
        pages=picture.pages,
    )


def _exif_orientation(data: object) -> int:
    """Return the EXIF orientation; 1 (upright) if it is missing or invalid."""
    if not isinstance(data, bytes):
        return 1
    exif = Exif()
    try:
        exif.load(data)
        orientation = exif.get(_ORIENTATION, 1)
    except DECODER_ERRORS:
        return 1
    return orientation if orientation in range(1, 9) else 1


_READERS: dict[str, Callable[[BinaryIO], Header]] = {
    "PNG": _png,
    "JPEG": _jpeg,
    "TIFF": _tiff,
    "BMP": _bmp,
    "PNM": _pnm,
    "WEBP": _webp,
    "npy": _npy,
}
