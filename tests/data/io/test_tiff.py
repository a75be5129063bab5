"""TIFF files as GDAL, ImageJ and scanners write them: the stored numbers, or one clear error."""

import struct
import zlib

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image, ImageOps

from hdtrans.common.errors import UserError
from hdtrans.data.io.header import probe
from hdtrans.data.io.read import read_instance, read_label, read_picture

CHANNELS = 6
BANDS = np.random.default_rng(0).integers(0, 65536, (21, 34, 4)).astype(np.uint16)
IDS = (np.arange(40 * 50).reshape(40, 50) // 7 % 19).astype(np.uint8)


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
        ({"tag259": [34712]}, "is damaged"),
        ({"tag317": [9]}, "9 is not a known PREDICTOR"),
        ({"tag258": [8, 16, 8, 8, 8, 8]}, "different types"),
        ({"tag339": [6]}, "holds samples of 16 bits and format 6"),
        ({"tag278": [3], "deflate": True}, "has 1 strips or tiles of 3"),
        ({"tag257": [9], "tag278": [9]}, "cut off: 1014 of 1080 bytes"),
        ({"tag262": [8]}, r"stores its colours as CIE L\*a\*b\*; write it as RGB or grey"),
        ({"tag262": [6]}, "YCbCr without JPEG"),
        ({"tag262": [32803]}, "a colour filter array"),
    ],
)
def test_unsupported_features_are_refused(tmp_path, picture, changed, words):
    file = tmp_path / "a.tif"
    file.write_bytes(tiff(picture, **changed))
    with pytest.raises(UserError, match=rf"a\.tif: cannot be read as a picture \(\d+ bytes\): TIFF: .*{words}"):
        read_picture(file, CHANNELS)


@pytest.mark.parametrize("bands", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("extra", ["unassalpha", "assocalpha", "unspecified"])
def test_bands_are_read_as_stored(tmp_path, bands, dtype, planar, extra):
    """GDAL calls three bands grey with two extra samples, and near infrared a transparency."""
    stored = np.resize(BANDS, (21, 34, bands)).astype(dtype) / (65535 if dtype == np.float32 else 1)
    stored = stored.astype(dtype)
    array = stored if planar == "contig" else np.moveaxis(stored, 2, 0)
    kinds = [extra] + ["unspecified"] * (bands - 2)
    options = {"extrasamples": kinds, "planarconfig": planar} if bands > 1 else {}
    tifffile.imwrite(tmp_path / "a.tif", array if bands > 1 else stored[..., 0], photometric="minisblack", **options)
    found = read_picture(tmp_path / "a.tif", bands)
    np.testing.assert_array_equal(found, stored)
    assert found.flags.writeable and found.flags.c_contiguous
    if bands == 4:
        np.testing.assert_array_equal(read_picture(tmp_path / "a.tif", 3), stored[..., :3])


@pytest.mark.parametrize("compression", ["none", "lzw", "zlib", "packbits", "zstd", "lzma", "lerc", "png"])
@pytest.mark.parametrize("options", [{"rowsperstrip": 7}, {"tile": (16, 32)}, {"bigtiff": True, "byteorder": ">"}])
def test_labels_of_every_lossless_compression(tmp_path, compression, options):
    file = tmp_path / "a.tif"
    tifffile.imwrite(file, IDS, compression=compression, **options)
    np.testing.assert_array_equal(read_label(file), IDS)
    wide = IDS.astype(np.uint16) * 1000
    predictor = compression in ("lzw", "zlib", "zstd")
    if not (compression in ("lerc", "png") and options.get("byteorder")):
        tifffile.imwrite(file, wide, compression=compression, predictor=predictor, **options)
        np.testing.assert_array_equal(read_label(file), wide)


@pytest.mark.parametrize(
    ("compression", "level", "name"), [("jpeg", 90, "JPEG"), ("lerc", 2.0, "LERC"), ("webp", 80, "WEBP")]
)
def test_labels_of_lossy_compressions_are_refused(tmp_path, compression, level, name):
    ids = np.repeat(IDS[..., None], 3, axis=2) if compression == "webp" else IDS
    grey = "rgb" if compression == "webp" else "minisblack"
    args = {"compressionargs": {"level": level}, "photometric": grey}
    tifffile.imwrite(tmp_path / "a.tif", ids, compression=compression, **args)
    for read, noun in ((read_label, "a label map"), (read_instance, "an instance map")):
        with pytest.raises(UserError, match=rf"{noun} is expected.*TIFF compressed as {name}, which changes ids"):
            read(tmp_path / "a.tif")
    assert read_picture(tmp_path / "a.tif").shape == (40, 50, 3)


@pytest.mark.parametrize("more", [None, "deflate", "zstd"])
def test_lerc_within_half_an_id_is_exact(tmp_path, more):
    """LERC writes an error of 0.5 for integers that are kept; its bytes may be compressed again."""
    file = tmp_path / "a.tif"
    lerc = {"compressionargs": {"level": 0}} if more is None else {"compressionargs": {"level": 0, "compression": more}}
    tifffile.imwrite(file, IDS, compression="lerc", tile=(16, 16), **lerc)
    np.testing.assert_array_equal(read_label(file), IDS)


def test_photos_of_lossy_compressions(tmp_path):
    smooth = np.linspace(0, 255, 64 * 64).reshape(64, 64).astype(np.uint8)
    photo = np.stack([smooth, smooth.T, 255 - smooth], axis=2)
    for sampling in ((1, 1), (2, 2)):
        tifffile.imwrite(
            tmp_path / "a.tif", photo, photometric="rgb", compression="jpeg", tile=(32, 32), subsampling=sampling
        )
        assert np.abs(read_picture(tmp_path / "a.tif").astype(int) - photo).max() < 9
    data = (tmp_path / "a.tif").read_bytes()
    with tifffile.TiffFile(tmp_path / "a.tif") as tiff_file:
        end = tiff_file.pages[0].dataoffsets[-1] + tiff_file.pages[0].databytecounts[-1]
    assert data[end - 2 : end] == b"\xff\xd9"
    (tmp_path / "a.tif").write_bytes(data[: end - 2] + b"\0\0" + data[end:])
    with pytest.raises(UserError, match="its end marker is missing"):  # libjpeg would fill it with grey
        read_picture(tmp_path / "a.tif")


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 12, 16])
def test_white_is_zero_turns_pictures_and_no_ids(tmp_path, bits):
    dtype = np.uint8 if bits <= 8 else np.uint16
    ids = (np.arange(8 * 16).reshape(8, 16) % 2**bits).astype(dtype)
    for photometric in ("miniswhite", "minisblack"):
        options = {} if bits in (8, 16) else {"bitspersample": bits}
        file = tmp_path / "a.tif"
        if bits == 1:
            tifffile.imwrite(file, ids.astype(bool), photometric=photometric)
        else:
            packed = imagecodecs.packints_encode(ids, bits) if options else ids.tobytes()
            tags = {"tag258": [bits], "tag278": [8], "tag262": [photometric == "minisblack"]}
            file.write_bytes(tiff(np.frombuffer(packed, np.uint8)[None, :, None], tag256=[16], tag257=[8], **tags))
        np.testing.assert_array_equal(read_label(file), ids)
        white = 2**bits - 1
        values = ids.astype(np.int64) if photometric == "minisblack" else white - ids.astype(np.int64)
        largest = 255 if bits <= 8 else 65535
        np.testing.assert_array_equal(read_picture(file, 1)[..., 0], (values * largest + white // 2) // white)


@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.int32, np.int64, np.uint32, np.uint64])
def test_ids_of_every_integer(tmp_path, dtype):
    ids = IDS.astype(dtype)
    tifffile.imwrite(tmp_path / "a.tif", ids)
    np.testing.assert_array_equal(read_label(tmp_path / "a.tif"), ids)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("predictor", [False, True])
def test_floats(tmp_path, dtype, predictor):
    values = np.linspace(-1, 1, 6 * 8 * 3).reshape(6, 8, 3).astype(dtype)
    compressed = {"compression": "zlib", "predictor": True} if predictor else {}
    tifffile.imwrite(tmp_path / "a.tif", values, photometric="rgb", **compressed)
    found = read_picture(tmp_path / "a.tif")
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, values.astype(np.float32))


def test_grey_pages_are_channels(tmp_path):
    stack = np.moveaxis(BANDS, 2, 0)
    file = tmp_path / "a.tif"
    for options in ({}, {"compression": "zlib"}, {"tile": (16, 16)}):
        tifffile.imwrite(file, stack, photometric="minisblack", metadata=None, **options)
        assert probe(file).channels == 4
        np.testing.assert_array_equal(read_picture(file, 4), BANDS)
        with pytest.raises(UserError, match="picture of 4 channels"):
            read_label(file)
    tifffile.imwrite(file, stack[:3], imagej=True)
    np.testing.assert_array_equal(read_picture(file), BANDS[..., :3])


def test_no_page_is_taken_for_alpha(tmp_path):
    """Frames and focal planes are grey pages: their last one may not be dropped, nor become a colour."""
    file = tmp_path / "a.tif"
    for pages in (2, 3, 4):
        tifffile.imwrite(file, np.moveaxis(BANDS[..., :pages], 2, 0), photometric="minisblack")
        for channels in {1, 3} - {pages}:
            with pytest.raises(UserError, match=f"has {pages} grey pages, which are its channels, but {channels} chan"):
                read_picture(file, channels)
    tifffile.imwrite(file, np.moveaxis(BANDS, 2, 0), photometric="minisblack", truncate=True)
    with pytest.raises(UserError, match="is a stack of 4 pictures behind one directory"):
        read_picture(file, 1)


def test_a_page_that_is_cut_off_is_no_smaller_stack(tmp_path):
    file = tmp_path / "a.tif"
    with tifffile.TiffWriter(file) as writer:
        for band in np.moveaxis(BANDS, 2, 0):
            writer.write(band, contiguous=False, metadata=None)
    with tifffile.TiffFile(file) as found:
        last = found.pages[3].offset
    for size in (last - 1, last + 1, last + 30):
        (tmp_path / "b.tif").write_bytes(file.read_bytes()[:size])
        with pytest.raises(UserError, match="cut off|damaged|corrupted"):
            read_picture(tmp_path / "b.tif", 3)


@pytest.mark.parametrize("compression", ["group3", "group4", "tiff_ccitt"])
def test_fax(tmp_path, compression):
    """Scanners write 1 bit as faxes do."""
    file = tmp_path / "a.tif"
    Image.fromarray(IDS > 9).save(file, compression=compression)
    np.testing.assert_array_equal(read_label(file), IDS > 9)
    np.testing.assert_array_equal(read_picture(file, 1)[..., 0], np.uint8(255) * (IDS > 9))


@pytest.mark.parametrize("channels", [1, 3])
def test_without_a_photometric_interpretation(tmp_path, channels):
    """The tag 262 is missing: black is zero, as in all other programs."""
    picture = BANDS[..., :channels].astype(np.uint8)
    data = bytearray(tiff(picture))
    place = data.rindex(struct.pack("<HHI", 262, 3, 1))
    data[place : place + 2] = struct.pack("<H", 260)
    (tmp_path / "a.tif").write_bytes(data)
    np.testing.assert_array_equal(read_picture(tmp_path / "a.tif", channels), picture)


def test_white_is_zero_of_floats_is_refused(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((4, 5), np.float32), photometric="miniswhite")
    with pytest.raises(UserError, match="stores float32 with white as zero"):
        probe(tmp_path / "a.tif")


def test_pages_that_make_no_picture_are_refused(tmp_path):
    file = tmp_path / "a.tif"
    with tifffile.TiffWriter(file) as writer:
        writer.write(BANDS[..., 0])
        writer.write(BANDS[:9, :, 0])
    with pytest.raises(UserError, match=r"has 2 pages \(34x21 of 1 channel\(s\), 34x9 of 1 channel\(s\)\)"):
        probe(file)
    tifffile.imwrite(file, np.stack([BANDS[..., :3]] * 2).astype(np.uint8), photometric="rgb")
    with pytest.raises(UserError, match="has 2 pages .*Write each picture into a file of its own"):
        read_picture(file)
    with tifffile.TiffWriter(file, imagej=True) as writer:  # further pictures behind the first, without directories
        writer.write(np.zeros((5, 8, 8), np.uint8), contiguous=True)
    data = bytearray(file.read_bytes())
    with tifffile.TiffFile(file) as found:
        first = found.pages[0]
        end = first.offset + 2 + 12 * len(first.tags)
    data[end : end + 4] = bytes(4)
    file.write_bytes(data)
    with pytest.raises(UserError, match="is a stack of 5 pictures behind one directory"):
        read_picture(file)


def test_overviews_and_masks_are_no_pages(tmp_path):
    file = tmp_path / "a.tif"
    with tifffile.TiffWriter(file) as writer:
        writer.write(BANDS[..., 0])
        writer.write(BANDS[::2, ::2, 0], subfiletype=1)
    np.testing.assert_array_equal(read_picture(file, 1)[..., 0], BANDS[..., 0])
    assert not probe(file).transparent
    with tifffile.TiffWriter(file) as writer:
        writer.write(BANDS[..., 0])
        writer.write(BANDS[..., 0] > 9, subfiletype=4)
    assert probe(file).transparent and read_picture(file, 1).shape == (21, 34, 1)
    with tifffile.TiffWriter(file) as writer:
        writer.write(BANDS[..., 0], subfiletype=1)
    with pytest.raises(UserError, match="nothing but thumbnails and masks"):
        probe(file)


def test_blocks_that_are_not_stored_are_nodata(tmp_path):
    """GDAL leaves out blocks of one value; anything else that is missing is an error."""
    file = tmp_path / "a.tif"
    tags = [(42113, 2, 0, "7", True)]
    tifffile.imwrite(file, IDS, tile=(16, 16), compression="zlib", extratags=tags, metadata=None)
    assert probe(file).nodata == "7"
    with tifffile.TiffFile(file, mode="r+") as found:
        page = found.pages[0]
        offsets, sizes = list(page.dataoffsets), list(page.databytecounts)
        page.tags[324].overwrite([0, *offsets[1:]])
        page.tags[325].overwrite([0, *sizes[1:]])
    expected = IDS.copy()
    expected[:16, :16] = 7
    np.testing.assert_array_equal(read_label(file), expected)
    with tifffile.TiffFile(file, mode="r+") as found:
        found.pages[0].tags[324].overwrite(offsets)
    with pytest.raises(UserError, match="cut off: 0 of 0 bytes in one strip or tile"):
        read_label(file)


def test_palettes(tmp_path):
    colours = np.random.default_rng(0).integers(0, 256, (3, 256), dtype=np.uint16)
    for scale in (257, 1):  # some writers store colours of 8 bits
        tifffile.imwrite(tmp_path / "a.tif", IDS, photometric="palette", colormap=colours * scale)
        np.testing.assert_array_equal(read_label(tmp_path / "a.tif"), IDS)
        np.testing.assert_array_equal(read_picture(tmp_path / "a.tif"), colours.T.astype(np.uint8)[IDS])


def test_inks_become_colours(tmp_path):
    inks = np.random.default_rng(0).integers(0, 256, (6, 9, 4), dtype=np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", inks, photometric="separated")
    expected = np.asarray(Image.fromarray(inks, "CMYK").convert("RGB"))
    np.testing.assert_array_equal(read_picture(tmp_path / "a.tif"), expected)
    tifffile.imwrite(tmp_path / "a.tif", inks.astype(np.uint16) * 257, photometric="separated")
    assert np.abs(read_picture(tmp_path / "a.tif") / 257 - expected).max() < 1
    with pytest.raises(UserError, match=r"has 3 channel\(s\), but 4 are wanted"):
        read_picture(tmp_path / "a.tif", 4)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_many_channels_are_turned(tmp_path, orientation):
    tag = [(274, 3, 1, orientation, True)]
    tifffile.imwrite(tmp_path / "a.tif", BANDS, photometric="minisblack", planarconfig="contig", extratags=tag)
    turned = Image.fromarray(BANDS[..., 0].astype(np.int32))
    exif = turned.getexif()
    exif[274] = orientation
    expected = np.asarray(ImageOps.exif_transpose(turned))
    np.testing.assert_array_equal(read_picture(tmp_path / "a.tif", 4)[..., 0], expected)
    assert (probe(tmp_path / "a.tif").height, probe(tmp_path / "a.tif").width) == expected.shape


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


@pytest.mark.parametrize("deflate", [False, True])
def test_unsigned_ids(tmp_path, deflate):
    ids = np.array([[0, 2**31 - 1], [70000, 3]], np.uint32)[..., None]
    path = tmp_path / "a.tif"
    path.write_bytes(tiff(ids, deflate=deflate))
    np.testing.assert_array_equal(read_instance(path), ids[..., 0])
    path.write_bytes(tiff(np.where(ids == 3, 2**32 - 1, ids).astype(np.uint32), deflate=deflate))
    with pytest.raises(UserError, match="4294967295 at row 1, column 1"):  # it does not wrap around
        read_instance(path)
