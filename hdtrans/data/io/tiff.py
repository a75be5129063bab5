"""Read TIFF and BigTIFF files with tifffile and imagecodecs.

Here is decided which pages are the picture, and what their numbers mean. Every strip or tile is held against its size,
for tifffile fills what is missing with zeros.
"""

import contextlib
import io
import logging
import math
import struct
from collections.abc import Iterator, Mapping
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
import numpy.typing as npt
from PIL import Image

from hdtrans.data.io.cut_off import check_jpeg

if TYPE_CHECKING:
    from tifffile import TiffPage

Array = npt.NDArray[Any]

LARGEST_BLOCK = 1 << 30
"""Largest number of bytes of a decoded strip or tile."""

_MOST_PAGES = 4096
_REDUCED, _MASK = 1, 4  # bits of NewSubfileType: an overview or thumbnail, a mask of transparency
_PHOTOMETRIC = 262  # PhotometricInterpretation, and its values
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _PALETTE, _SEPARATED, _YCBCR = 0, 1, 3, 5, 6
_OTHER_COLOURS: Mapping[int, str] = MappingProxyType(
    {8: "CIE L*a*b*", 9: "ICC L*a*b*", 10: "ITU L*a*b*", 32803: "a colour filter array", 32844: "LogL", 32845: "LogLuv"}
)
_JPEG = (6, 7, 34892, 33007)  # Compression
_LERC = 34887
_LOSSLESS = (1, 2, 3, 4, 5, 8, 32773, 32909, 32946, 34925, 34926, 34933, 50000, 50013)
_ALPHA = (1, 2)  # ExtraSamples: associated and unassociated
_SMALLEST_OFFSET = 8  # bytes of the file's header

logging.getLogger("tifffile").addHandler(logging.NullHandler())  # what it would print is raised here


class TiffPicture:
    """The picture of a TIFF file: its one page, or its grey pages as channels.

    Overviews and thumbnails are passed over.

    Args:
        file: the open file.

    Raises:
        ValueError: damaged, or pages, samples or colours that are not read.
    """

    def __init__(self, file: BinaryIO) -> None:
        with _value_errors():
            self._pages, self.has_mask = _pages(file)
            page = self._page = self._pages[0]
            _check(page)
        self.height, self.width = page.imagelength, page.imagewidth
        self.pages = len(self._pages)
        self.channels = page.samplesperpixel * self.pages
        self.bits = int(page.bitspersample)
        self.photometric = _photometric(page)
        self.palette = self.photometric == _PALETTE
        self.cmyk = self.photometric == _SEPARATED and self.channels >= 4 and page.tags.valueof(332, 1) == 1
        self.floating = page.dtype is not None and page.dtype.kind == "f"
        self.orientation = orientation if 1 <= (orientation := int(page.tags.valueof(274, 1))) <= 8 else 1
        self.alpha = bool(page.extrasamples) and page.extrasamples[-1] in _ALPHA
        self.profile: bytes | None = page.iccprofile

    @cached_property
    def nodata(self) -> str:
        """Value of pixels without data, as GDAL writes it; '' without one."""
        text = self._page.tags.valueof(42113, "")
        return text.strip() if isinstance(text, str) else ""

    @cached_property
    def lossy(self) -> str:
        """Name of the compression if it changes values, else ''; LERC's strips are read for it."""
        with _value_errors():
            for page in self._pages:
                compression = int(page.compression)
                if compression == _LERC and _lerc_error(page) <= (0 if self.floating else 0.5):
                    continue
                if compression not in _LOSSLESS:
                    return str(getattr(page.compression, "name", compression))
        return ""

    def decode(self, data: bytes, as_ids: bool) -> Array:
        """Decode to (H, W, C), or (H, W) for ids of one channel.

        Args:
            data: bytes of the file.
            as_ids: return the numbers as they are stored; else palettes and CMYK become RGB, white is the largest
                value, and fewer than 8 or 16 bits are scaled to them.

        Raises:
            ValueError: damaged or cut off.
        """
        with _value_errors():
            array = np.concatenate([_pixels(page, data) for page in self._pages], axis=2)
            if not as_ids:
                return self._as_picture(array)
            return array[..., 0] if self.channels == 1 else array

    def _as_picture(self, array: Array) -> Array:
        if self.palette:
            return _coloured(array[..., 0], self._page.colormap)
        if self.cmyk:
            return _rgb_of_inks(array[..., :4])
        if array.dtype.kind != "u":
            return array
        white, largest = 2**self.bits - 1, 255 if self.bits <= 8 else 65535 if self.bits <= 16 else 2**self.bits - 1
        if self.photometric == _WHITE_IS_ZERO:
            array = array.dtype.type(white) - array
        if white != largest:
            array = ((array.astype(np.uint64) * largest + white // 2) // white).astype(array.dtype)
        return array


@contextlib.contextmanager
def _value_errors() -> Iterator[None]:
    """Raise every error of the decoders as ValueError: they have many, of several libraries."""
    try:
        yield
    except (ValueError, MemoryError):
        raise
    except Exception as error:
        raise ValueError(f"is damaged: {error or type(error).__name__}") from error


def _pages(file: BinaryIO) -> "tuple[list[TiffPage], bool]":
    """Return the pages of the picture, and True if a page is a mask of it."""
    from tifffile import TiffFile, TiffPage

    tiff = TiffFile(file, name="picture.tif", _multifile=False, is_lsm=False, is_ndpi=False, is_scanimage=False)
    size = file.seek(0, io.SEEK_END)
    count = len(tiff.pages)
    if count > _MOST_PAGES:
        raise ValueError(f"has {count} pages; at most {_MOST_PAGES} are read, as channels")
    found = [page for page in tiff.pages if isinstance(page, TiffPage)]
    pages = [page for page in found if not int(page.subfiletype) & (_REDUCED | _MASK)]
    if not pages:
        raise ValueError("has no picture, or nothing but thumbnails and masks")
    first = pages[0]
    if (place := _next_directory(found[-1])) and place not in {page.offset for page in found}:
        raise ValueError(f"is cut off or damaged: the directory of a further page lies at byte {place} of {size}")
    stacked = int((tiff.imagej_metadata or {}).get("images", 1)) if first.is_imagej else 1
    for series in tiff.shaped_metadata or ():  # of tifffile
        if series.get("truncated"):
            stacked = max(stacked, math.prod(series["shape"]) // max(1, math.prod(first.shape)))
    if first.is_stk:
        stacked = int(first.tags[33629].count) if 33629 in first.tags else 1
    if stacked > len(pages) or first.imagedepth > 1:
        raise ValueError(
            f"is a stack of {max(stacked, first.imagedepth)} pictures behind one directory; "
            "write each as a page or a file of its own"
        )
    if len(pages) > 1:
        kinds = {(p.imagelength, p.imagewidth, p.samplesperpixel, p.dtype, _photometric(p)) for p in pages}
        if len(kinds) > 1 or first.samplesperpixel > 1 or _photometric(first) == _PALETTE:
            raise ValueError(
                f"has {len(pages)} pages ({_described(pages)}); pages are read as channels if all are grey "
                "and of one size and type. Write each picture into a file of its own"
            )
    return pages, len(found) > len(pages) and any(int(page.subfiletype) & _MASK for page in found)


def _next_directory(page: "TiffPage") -> int:
    """Return the place of the directory after that of a page, in bytes; 0 after the last."""
    form, file = page.parent.tiff, page.parent.filehandle
    file.seek(page.offset)
    (count,) = struct.unpack(form.tagnoformat, file.read(form.tagnosize))
    file.seek(page.offset + form.tagnosize + count * form.tagsize)
    place = file.read(form.offsetsize)
    return int(struct.unpack(form.offsetformat, place)[0]) if len(place) == form.offsetsize else 0


def _photometric(page: "TiffPage") -> int:
    """Return the PhotometricInterpretation; black is zero where the tag is missing, and three samples are RGB."""
    return int(page.photometric) if _PHOTOMETRIC in page.tags else _BLACK_IS_ZERO


def _described(pages: "list[TiffPage]") -> str:
    words = list(dict.fromkeys(f"{p.imagewidth}x{p.imagelength} of {p.samplesperpixel} channel(s)" for p in pages))
    return ", ".join(words[:3]) + (", ..." if len(words) > 3 else "")


def _check(page: "TiffPage") -> None:
    """Raise ValueError for samples and colours that are not read."""
    if page.imagelength < 1 or page.imagewidth < 1:
        return  # the reader of headers reports it
    bits: Any = page.bitspersample
    if isinstance(bits, tuple):
        raise ValueError(f"has channels of different types ({sorted(set(bits))} bits)")
    if page.dtype is None or page.dtype.kind not in "buif" or page.shaped[-3:-1] != (page.imagelength, page.imagewidth):
        raise ValueError(
            f"holds samples of {page.bitspersample} bits and format {int(page.sampleformat)}; read are integers and "
            "floating point numbers of 1 to 64 bits"
        )
    photometric = _photometric(page)
    if photometric == _WHITE_IS_ZERO and page.dtype.kind in "if":
        raise ValueError(f"stores {page.dtype} with white as zero; write it with black as zero")
    if photometric in _OTHER_COLOURS or (photometric == _YCBCR and int(page.compression) not in _JPEG):
        name = _OTHER_COLOURS.get(photometric, "YCbCr without JPEG")
        raise ValueError(f"stores its colours as {name}; write it as RGB or grey")
    if photometric == _SEPARATED and page.samplesperpixel >= 4 and page.dtype.kind != "u":
        raise ValueError(f"stores inks as {page.dtype}; write it as RGB")


def _pixels(page: "TiffPage", data: bytes) -> Array:
    """Return the numbers of a page, (H, W, C), as they are stored."""
    assert page.dtype is not None
    shape = page.shaped  # (planes, depth, H, W, channels of a plane)
    plain = page.is_contiguous and page.predictor == 1 and page.fillorder == 1 and page.dataoffsets[0] > 0
    if plain:
        stored = page.dtype.newbyteorder(page.parent.byteorder)
        size, there = math.prod(shape) * stored.itemsize, len(data) - page.dataoffsets[0]
        if there < size:
            raise ValueError(f"is cut off: {max(there, 0)} of {size} bytes of pixels")
        planes = np.frombuffer(data, stored, math.prod(shape), page.dataoffsets[0]).reshape(shape)
    else:
        planes = _blocks(page, data)
    together = planes[0, 0] if shape[0] == 1 else np.moveaxis(planes[:, 0, :, :, 0], 0, -1)
    dtype = np.dtype(np.uint8) if page.dtype.kind == "b" else page.dtype.newbyteorder("=")  # of 1 bit
    return together.astype(dtype, order="C", copy=plain)


def _blocks(page: "TiffPage", data: bytes) -> Array:
    """Decode the strips or tiles of a page to (planes, 1, H, W, channels of a plane)."""
    assert page.dtype is not None
    rows, columns = (page.tilelength, page.tilewidth) if page.is_tiled else (page.rowsperstrip, page.imagewidth)
    height, width = page.imagelength, page.imagewidth
    if rows < 1 or columns < 1 or rows * columns * page.shaped[-1] * page.dtype.itemsize > LARGEST_BLOCK:
        raise ValueError(f"has strips or tiles of {columns}x{rows}")
    count = page.shaped[0] * -(-height // rows) * -(-width // columns)
    offsets, sizes = page.dataoffsets, page.databytecounts
    if len(offsets) < count or len(sizes) < count:
        raise ValueError(f"has {min(len(offsets), len(sizes))} strips or tiles of {count}")
    planes = np.zeros(page.shaped, page.dtype.newbyteorder("="))
    if page.nodata and 0 in sizes[:count]:
        planes[:] = page.nodata  # of blocks that are not stored, as GDAL reads them
    for index, (offset, size) in enumerate(zip(offsets[:count], sizes[:count], strict=True)):
        if not offset and not size:
            continue
        stored = data[offset : offset + size]
        if offset < _SMALLEST_OFFSET or len(stored) < size or not size:
            raise ValueError(f"is cut off: {len(stored)} of {size} bytes in one strip or tile")
        if int(page.compression) in _JPEG:
            check_jpeg(stored)
        block, (plane, _, top, left, _), _ = page.decode(stored, index, jpegtables=page.jpegtables)
        high, wide = min(rows, height - top), min(columns, width - left)
        if block is not None and planes.dtype.kind == "b":
            block = block.astype(planes.dtype)  # of 1 bit, which some codecs return as bytes
        if block is None or block.shape[1] < high or block.shape[2] < wide or block.dtype != planes.dtype:
            raise ValueError("is damaged: a strip or tile is not what the tags tell")
        planes[plane, 0, top : top + high, left : left + wide] = block[0, :high, :wide]
    return planes


def _coloured(indices: Array, colours: Array | None) -> Array:
    """Return the colours of a palette, (H, W, 3) uint8."""
    if colours is None or colours.ndim != 2 or len(colours) != 3 or indices.max(initial=0) >= colours.shape[1]:
        raise ValueError("has a palette that is missing or too small")
    table = (colours >> 8 if colours.max(initial=0) > 255 else colours).astype(np.uint8)  # some writers store 8 bits
    return np.ascontiguousarray(table.T)[indices]


def _rgb_of_inks(inks: Array) -> Array:
    """Convert CMYK, (H, W, 4) uint8 or uint16, to RGB as Pillow does, without a profile."""
    if inks.dtype == np.uint8:
        return np.array(Image.fromarray(np.ascontiguousarray(inks), "CMYK").convert("RGB"))
    white = np.iinfo(inks.dtype).max
    light = (white - inks).astype(np.float64)
    return np.rint(light[..., :3] * light[..., 3:] / white).astype(inks.dtype)


def _lerc_error(page: "TiffPage") -> float:
    """Return the largest error that LERC was allowed in any strip or tile; infinite if it cannot be found."""
    import imagecodecs

    more = page.tags.valueof(50674, (0, 0))[1]  # what compresses LERC's bytes again
    codecs: dict[int, Any] = {0: bytes, 1: imagecodecs.zlib_decode, 2: imagecodecs.zstd_decode}
    unpack = codecs.get(int(more))
    errors = [0.0]
    for offset, size in zip(page.dataoffsets, page.databytecounts, strict=False):
        if not size:
            continue
        page.parent.filehandle.seek(offset)
        blob = unpack(page.parent.filehandle.read(size)) if unpack else b""
        version = int.from_bytes(blob[6:10], "little")
        # after name and version: checksum (from 3), rows, columns, depth (from 4), valid, block, size, type, error
        place = 10 + 4 * (version >= 3) + 8 + 4 * (version >= 4) + 16
        if blob[:6] != b"Lerc2 " or not 2 <= version <= 6 or len(blob) < place + 8 + 8:
            return math.inf
        place += 8 * (version >= 6)
        errors.append(struct.unpack_from("<d", blob, place)[0])
    return max(errors)
