"""Reading label maps, instance maps and pictures: exact ids, whole pictures, and one clear error for all else."""

import io
import os
import struct
import zlib
from pathlib import Path

import cv2
import imagecodecs
import numpy as np
import pytest
from PIL import Image, ImageCms, ImageOps

from hdtrans.common.errors import UserError
from hdtrans.data.io.read import probe, read_instance, read_label, read_picture
from tests.mutants.reading import shades_of_grey

SHARED = Path(__file__).resolve().parents[3].parent / "shared"
IDS = (np.arange(6 * 10).reshape(6, 10) % 35).astype(np.uint8)
COLOURS = np.random.default_rng(0).integers(0, 256, (6, 10, 3), dtype=np.uint8)


def encoded(array, kind, **options):
    """Return the bytes of a picture file, written by Pillow."""
    file = io.BytesIO()
    (array if isinstance(array, Image.Image) else Image.fromarray(array)).save(file, kind, **options)
    return file.getvalue()


def written(path, data):
    """Write bytes, or an array by OpenCV, and return the path."""
    path.write_bytes(data if isinstance(data, bytes) else cv2.imencode(path.suffix, data)[1].tobytes())
    return path


def grey_png(values, bits):
    """Return a grey PNG of 1, 2 or 4 bits; the width must fill whole bytes."""
    height, width = values.shape
    spread = np.unpackbits(values[..., None], axis=2)[..., 8 - bits :].reshape(height, -1)
    rows = b"".join(b"\0" + np.packbits(row).tobytes() for row in spread)

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def palette(values, colours=256):
    """Return a picture whose colours say nothing of its ids."""
    picture = Image.fromarray(values)
    picture.putpalette([255 - place % 256 for place in range(3 * colours)])
    return picture


class TestLabels:
    @pytest.mark.bar("B4.3", "every id of a label map is read as it was written")
    @pytest.mark.parametrize("bits", [1, 2, 4, 8])
    def test_palette_png_gives_places_in_the_palette(self, tmp_path, bits):
        ids = IDS & (2**bits - 1)
        path = written(tmp_path / "a.png", encoded(palette(ids, 2**bits), "PNG", bits=bits))
        label = read_label(path)
        np.testing.assert_array_equal(label, ids)
        assert label.dtype == np.uint8 and label.flags.writeable
        header = probe(path)
        assert (header.height, header.width, header.channels, header.bits, header.palette) == (6, 10, 1, bits, True)

    @pytest.mark.parametrize("bits", [1, 2, 4])
    def test_grey_png_of_few_bits_gives_values_not_shades(self, tmp_path, bits):
        ids = np.arange(32, dtype=np.uint8).reshape(2, 16) & (2**bits - 1)
        np.testing.assert_array_equal(read_label(written(tmp_path / "a.png", grey_png(ids, bits))), ids)

    @pytest.mark.bar("B4.3", "every id of a label map is read as it was written")
    @pytest.mark.parametrize("ending", [".png", ".tif", ".bmp", ".pgm"])
    def test_every_id_of_8_bits(self, tmp_path, ending):
        ids = np.arange(256, dtype=np.uint8).reshape(8, 32)
        label = read_label(written(tmp_path / f"a{ending}", ids))
        np.testing.assert_array_equal(label, ids)
        assert label.dtype == np.uint8

    @pytest.mark.bar("B4.3", "every id of a label map is read as it was written")
    @pytest.mark.parametrize("ending", [".png", ".tif", ".pgm"])
    def test_every_id_of_16_bits(self, tmp_path, ending):
        ids = np.arange(65536, dtype=np.uint16).reshape(256, 256)
        label = read_label(written(tmp_path / f"a{ending}", ids))
        np.testing.assert_array_equal(label, ids)
        assert label.dtype == np.int32

    @pytest.mark.bar("B4.3", "every id of a label map is read as it was written")
    def test_mutant_that_reads_shades_of_grey(self, tmp_path, monkeypatch, figure):
        shades_of_grey(monkeypatch)
        wide = np.arange(65536, dtype=np.uint16).reshape(256, 256)
        files = {"palette": (IDS, encoded(palette(IDS), "PNG")), "16 bits": (wide, wide)}
        for name, (ids, file) in files.items():
            changed = int((read_label(written(tmp_path / "a.png", file)) != ids).sum())
            assert changed > 0.9 * ids.size
            figure(f"mutant, shades of grey of {name}: {changed} of {ids.size} changed")

    @pytest.mark.parametrize("kind", ["BMP", "TIFF"])
    def test_palette_of_other_formats(self, tmp_path, kind):
        path = written(tmp_path / "a.tif", encoded(palette(IDS), kind))
        np.testing.assert_array_equal(read_label(path), IDS)
        assert probe(path).palette

    @pytest.mark.parametrize("kind", ["PNG", "TIFF", "BMP"])
    def test_one_bit(self, tmp_path, kind):
        label = read_label(written(tmp_path / "a.png", encoded(IDS % 2 == 1, kind)))
        np.testing.assert_array_equal(label, IDS % 2)
        assert label.dtype == np.uint8

    def test_netpbm_ids_are_not_scaled_to_white(self, tmp_path):
        body = b"P5\n# made by hand\n4 2\n34\n" + bytes([0, 1, 2, 3, 31, 32, 33, 34])
        label = read_label(written(tmp_path / "a.pgm", body))
        np.testing.assert_array_equal(label, [[0, 1, 2, 3], [31, 32, 33, 34]])
        np.testing.assert_array_equal(read_label(written(tmp_path / "b.pgm", b"P2 2 1 34 7 34 ")), [[7, 34]])

    def test_grey_with_a_transparent_value(self, tmp_path):
        path = written(tmp_path / "a.png", encoded(IDS, "PNG", transparency=3))
        np.testing.assert_array_equal(read_label(path), IDS)

    @pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, np.int64, ">i4", np.bool_])
    def test_npy(self, tmp_path, dtype):
        array = (IDS % 2 if dtype == np.bool_ else IDS).astype(dtype)
        np.save(tmp_path / "a.npy", np.asfortranarray(array))
        label = read_label(tmp_path / "a.npy")
        np.testing.assert_array_equal(label, array)
        assert label.dtype == (np.uint8 if array.itemsize == 1 else np.int32)

    @pytest.mark.parametrize("dtype", [np.int8, np.int16, np.int32])
    def test_negative_ids_are_reported_with_their_place(self, tmp_path, dtype):
        ids = IDS.astype(dtype)
        ids[2, 7] = -1
        for path in (written(tmp_path / "a.tif", ids), tmp_path / "a.npy"):
            np.save(tmp_path / "a.npy", ids)
            with pytest.raises(UserError, match=r"id -1 at row 2, column 7.*data\.ignore"):
                read_label(path)

    @pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA", "CMYK"])
    def test_colour_pictures_are_refused(self, tmp_path, mode):
        kind = "TIFF" if mode == "CMYK" else "PNG"
        path = written(tmp_path / "colour.png", encoded(Image.fromarray(COLOURS).convert(mode), kind))
        with pytest.raises(UserError, match=rf"colour\.png: .*picture of {len(mode)} channels.*colour table"):
            read_label(path)

    def test_inexact_formats_are_refused(self, tmp_path):
        with pytest.raises(UserError, match=r"a\.jpg.*JPEG.*changes ids"):
            read_label(written(tmp_path / "a.jpg", IDS))
        with pytest.raises(UserError, match="floating point"):
            read_label(written(tmp_path / "a.tif", IDS.astype(np.float32)))
        np.save(tmp_path / "a.npy", IDS / 2)
        with pytest.raises(UserError, match="floating point"):
            read_label(tmp_path / "a.npy")

    def test_the_content_counts_not_the_ending(self, tmp_path):
        with pytest.raises(UserError, match="JPEG"):
            read_label(written(tmp_path / "a.png", encoded(IDS, "JPEG")))


class TestInstances:
    def test_16_bit_and_npy_up_to_the_largest(self, tmp_path):
        ids = np.array([[0, 24007], [65535, 33]], np.uint16)
        instance = read_instance(written(tmp_path / "a.png", ids))
        np.testing.assert_array_equal(instance, ids)
        assert instance.dtype == np.int32
        np.save(tmp_path / "a.npy", np.array([[0, 2**31 - 1]]))
        np.testing.assert_array_equal(read_instance(tmp_path / "a.npy"), [[0, 2**31 - 1]])
        np.save(tmp_path / "b.npy", np.array([[5, 2**31]]))
        with pytest.raises(UserError, match="2147483648 at row 0, column 1"):
            read_instance(tmp_path / "b.npy")

    def test_32_bit_tiff(self, tmp_path):
        ids = np.array([[0, 2**31 - 1, 70000]], np.int32)
        np.testing.assert_array_equal(read_instance(written(tmp_path / "a.tif", ids)), ids)

    def test_coco_panoptic_colours(self, tmp_path):
        colours = np.array([[[1, 0, 0], [0, 1, 0], [0, 0, 1], [255, 255, 255]]], np.uint8)
        instance = read_instance(written(tmp_path / "a.png", encoded(colours, "PNG")))
        np.testing.assert_array_equal(instance, [[1, 256, 65536, 2**24 - 1]])

    def test_jpeg_is_refused_as_an_instance_map(self, tmp_path):
        with pytest.raises(UserError, match="an instance map is expected"):
            read_instance(written(tmp_path / "a.jpg", COLOURS))


class TestPictures:
    @pytest.mark.parametrize("kind", ["PNG", "TIFF", "BMP", "PPM"])
    def test_red_is_first(self, tmp_path, kind):
        picture = read_picture(written(tmp_path / "a.png", encoded(COLOURS, kind)))
        np.testing.assert_array_equal(picture, COLOURS)
        assert picture.dtype == np.uint8 and picture.flags.c_contiguous and picture.flags.writeable

    def test_lossless_webp_and_jpeg(self, tmp_path):
        path = written(tmp_path / "a.webp", encoded(COLOURS, "WEBP", lossless=True))
        np.testing.assert_array_equal(read_picture(path), COLOURS)
        red = np.full((16, 16, 3), (200, 30, 30), np.uint8)
        found = read_picture(written(tmp_path / "a.jpg", encoded(red, "JPEG", quality=95)))
        assert np.abs(found.astype(int) - red).max() <= 3

    def test_grey_is_repeated_and_colour_turned_to_grey(self, tmp_path):
        path = written(tmp_path / "a.png", IDS)
        np.testing.assert_array_equal(read_picture(path), np.stack([IDS] * 3, axis=2))
        np.testing.assert_array_equal(read_picture(path, channels=1)[..., 0], IDS)
        grey = read_picture(written(tmp_path / "b.png", encoded(COLOURS, "PNG")), channels=1)
        assert grey.shape == (6, 10, 1)
        assert np.abs(grey[..., 0] - COLOURS @ (0.299, 0.587, 0.114)).max() <= 1

    def test_alpha_is_dropped_or_kept_by_the_channels(self, tmp_path):
        alpha = np.concatenate([COLOURS, IDS[..., None]], axis=2)
        path = written(tmp_path / "a.png", encoded(alpha, "PNG"))
        np.testing.assert_array_equal(read_picture(path), COLOURS)
        np.testing.assert_array_equal(read_picture(path, channels=4), alpha)
        grey = written(tmp_path / "b.png", encoded(Image.fromarray(IDS).convert("LA"), "PNG"))
        np.testing.assert_array_equal(read_picture(grey), np.stack([IDS] * 3, axis=2))

    @pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
    def test_grey_with_alpha_has_two_channels(self, tmp_path, dtype):
        """OpenCV gives four."""
        grey, alpha = COLOURS[..., 0].astype(dtype) * (257 if dtype == np.uint16 else 1), IDS.astype(dtype)
        path = tmp_path / "a.png"
        if dtype == np.uint8:
            written(path, encoded(Image.merge("LA", [Image.fromarray(grey), Image.fromarray(alpha)]), "PNG"))
        else:
            written(path, imagecodecs.png_encode(np.stack([grey, alpha], axis=2)))
        assert probe(path).channels == 2 and probe(path).transparent
        np.testing.assert_array_equal(read_picture(path, 2), np.stack([grey, alpha], axis=2))
        np.testing.assert_array_equal(read_picture(path), np.stack([grey] * 3, axis=2))
        np.testing.assert_array_equal(read_picture(path, 1)[..., 0], grey)
        with pytest.raises(UserError, match=r"has 2 channel\(s\), but 4 are wanted"):
            read_picture(path, 4)

    @pytest.mark.parametrize("mode", ["L", "RGB", "P"])
    def test_a_transparent_value_is_no_channel(self, tmp_path, mode):
        picture = palette(IDS) if mode == "P" else Image.fromarray(COLOURS).convert(mode)
        value = (1, 2, 3) if mode == "RGB" else 3
        path = written(tmp_path / "a.png", encoded(picture, "PNG", transparency=value))
        assert probe(path).transparent and not probe(written(tmp_path / "b.png", encoded(picture, "PNG"))).transparent
        np.testing.assert_array_equal(read_picture(path), np.asarray(picture.convert("RGB")))

    def test_inks_are_three_channels(self, tmp_path):
        inks = Image.fromarray(COLOURS).convert("CMYK")
        path = written(tmp_path / "a.jpg", encoded(inks, "JPEG"))
        with pytest.raises(UserError, match=r"has 3 channel\(s\), but 4 are wanted"):
            read_picture(path, 4)
        assert read_picture(path, 1).shape == (6, 10, 1)

    @pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF"])
    def test_colour_profiles_are_named(self, tmp_path, kind):
        xyz = ImageCms.ImageCmsProfile(ImageCms.createProfile("XYZ")).tobytes()
        srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
        for profile, name in ((xyz, "XYZ identity built-in"), (srgb, ""), (b"damaged", ""), (None, "")):
            path = written(tmp_path / "a.png", encoded(Image.fromarray(COLOURS), kind, icc_profile=profile))
            assert probe(path).profile == name
            if kind in ("PNG", "TIFF"):
                np.testing.assert_array_equal(read_picture(path), COLOURS)

    def test_decoded_files_are_held_against_their_headers(self, tmp_path, monkeypatch):
        path = written(tmp_path / "a.png", encoded(COLOURS, "PNG"))
        for wrong, words in (
            (COLOURS[:5], "10x6, but it decodes to 10x5"),
            (COLOURS[..., 0], r"3 channel\(s\), but it decodes to 1"),
            (COLOURS.astype(np.float32), "8 bits, but it decodes to float32"),
        ):
            monkeypatch.setattr(cv2, "imdecode", lambda *_, wrong=wrong: wrong.copy())
            with pytest.raises(UserError, match=rf"a\.png.*its header tells {words}"):
                read_picture(path)
        wide = written(tmp_path / "b.png", encoded(IDS.astype(np.uint16), "PNG"))
        monkeypatch.setattr(cv2, "imdecode", lambda *_: IDS.copy())
        with pytest.raises(UserError, match="its header tells 16 bits, but it decodes to uint8"):
            read_label(wide)

    @pytest.mark.parametrize("colours", [range(256), range(255, -1, -1)])
    def test_bmp_palette_of_greys(self, tmp_path, colours):
        """OpenCV gives it one channel, Pillow calls it a palette unless it is in order."""
        picture = Image.fromarray(IDS, "P")
        picture.putpalette([value for value in colours for _ in range(3)])
        path = written(tmp_path / "a.bmp", encoded(picture, "BMP"))
        np.testing.assert_array_equal(read_picture(path), np.repeat(np.uint8(colours)[IDS][..., None], 3, axis=2))
        np.testing.assert_array_equal(read_label(path), IDS)

    @pytest.mark.parametrize("own", [False, True])
    def test_animated_png_gives_its_still_picture(self, tmp_path, own):
        """The still picture may differ from the first frame."""
        frames = [Image.fromarray(255 - COLOURS), Image.fromarray(COLOURS // 2)]
        data = encoded(COLOURS, "PNG", save_all=True, append_images=frames, default_image=own)
        path = written(tmp_path / "a.png", data)
        np.testing.assert_array_equal(read_picture(path), COLOURS)
        assert probe(path).animated and not probe(written(tmp_path / "b.png", COLOURS)).animated

    def test_palette_gives_colours(self, tmp_path):
        picture = palette(IDS)
        path = written(tmp_path / "a.png", encoded(picture, "PNG"))
        np.testing.assert_array_equal(read_picture(path), np.asarray(picture.convert("RGB")))

    @pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
    def test_cmyk_is_converted(self, tmp_path, kind):
        flat = Image.fromarray(np.full((16, 16, 3), (200, 60, 20), np.uint8)).convert("CMYK")
        found = read_picture(written(tmp_path / "a.jpg", encoded(flat, kind)))
        assert np.abs(found.astype(int) - (200, 60, 20)).max() <= 4

    @pytest.mark.parametrize("ending", [".png", ".tif", ".ppm"])
    def test_16_bits_are_kept(self, tmp_path, ending):
        wide = np.random.default_rng(1).integers(0, 65536, (6, 10, 3), dtype=np.uint16)
        picture = read_picture(written(tmp_path / f"a{ending}", wide[..., ::-1]))
        np.testing.assert_array_equal(picture, wide)
        assert picture.dtype == np.int32 and probe(tmp_path / f"a{ending}").bits == 16

    def test_floats_must_lie_in_the_range(self, tmp_path):
        floats = np.random.default_rng(1).uniform(-1, 1, (6, 10, 3)).astype(np.float32)
        plain = [cv2.IMWRITE_TIFF_COMPRESSION, 1]  # unset, some versions round them
        picture = read_picture(written(tmp_path / "a.tif", cv2.imencode(".tif", floats[..., ::-1], plain)[1].tobytes()))
        np.testing.assert_array_equal(picture, floats)
        assert picture.dtype == np.float32
        np.save(tmp_path / "a.npy", floats.astype(np.float64))
        np.testing.assert_array_equal(read_picture(tmp_path / "a.npy"), floats)
        for wrong in (1.5, -1.01, np.nan, np.inf):
            floats[0, 0, 0] = wrong
            np.save(tmp_path / "b.npy", floats)
            with pytest.raises(UserError, match=r"b\.npy.*must lie in \[-1, 1\]"):
                read_picture(tmp_path / "b.npy")

    def test_many_channels(self, tmp_path):
        many = np.random.default_rng(1).integers(0, 256, (6, 10, 7), dtype=np.uint8)
        np.save(tmp_path / "a.npy", many)
        np.testing.assert_array_equal(read_picture(tmp_path / "a.npy", channels=7), many)
        with pytest.raises(UserError, match=r"7 channel.*3 are wanted.*data\.source_channels"):
            read_picture(tmp_path / "a.npy")

    def test_netpbm_with_comments_and_line_ends(self, tmp_path):
        plain = written(tmp_path / "a.pgm", b"P2\n3 2\n9\n1 2 3 # a row\n4 5 6\n")
        np.testing.assert_array_equal(read_label(plain), [[1, 2, 3], [4, 5, 6]])
        windows = written(tmp_path / "b.pgm", b"P5\r\n3 2\r\n9\r\n\1\2\3\4\5\6")
        np.testing.assert_array_equal(read_label(windows), [[1, 2, 3], [4, 5, 6]])
        two = written(tmp_path / "c.pgm", b"P5\n3 1\n9\n\1\2\3P5\n3 1\n9\n\4\5\6")
        with pytest.raises(UserError, match="holds more than one picture"):
            read_label(two)

    def test_white_of_netpbm_is_white(self, tmp_path):
        path = written(tmp_path / "a.ppm", b"P6 1 2 100 " + bytes([0, 50, 100, 100, 100, 100]))
        np.testing.assert_array_equal(read_picture(path), [[[0, 128, 255]], [[255, 255, 255]]])

    @pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
    @pytest.mark.parametrize("orientation", range(1, 9))
    def test_exif_orientation_is_applied(self, tmp_path, kind, orientation):
        picture = Image.fromarray(cv2.resize(COLOURS, (40, 24), interpolation=cv2.INTER_NEAREST))
        exif = Image.Exif()
        exif[0x0112] = orientation
        options = {"lossless": True} if kind == "WEBP" else {}
        path = written(tmp_path / "a.jpg", encoded(picture, kind, exif=exif, **options))
        shown = np.asarray(ImageOps.exif_transpose(Image.open(path)).convert("RGB"))
        found = read_picture(path)
        assert found.shape == shown.shape
        assert np.abs(found.astype(int) - shown).max() <= (2 if kind == "JPEG" else 0)
        assert (probe(path).height, probe(path).width) == found.shape[:2]


class TestDamage:
    @pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "BMP", "PPM", "WEBP"])
    def test_cut_off_anywhere(self, tmp_path, kind):
        picture = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
        whole = encoded(picture, kind)
        tenths = [len(whole) * tenth // 10 for tenth in range(1, 10)]
        for size in (1, 5, 20, 40, *tenths, len(whole) - 8, len(whole) - 1):
            path = written(tmp_path / "cut.png", whole[:size])
            with pytest.raises(UserError, match=rf"cut\.png.*\({size} bytes\)"):
                read_picture(path)

    def test_cut_off_progressive_jpeg(self, tmp_path):
        smooth = cv2.resize(COLOURS, (200, 100), interpolation=cv2.INTER_CUBIC)
        whole = encoded(smooth, "JPEG", progressive=True, quality=90)
        assert read_picture(written(tmp_path / "a.jpg", whole)).shape == (100, 200, 3)
        for tenth in range(3, 10):
            with pytest.raises(UserError, match="cut off"):
                read_picture(written(tmp_path / "a.jpg", whole[: len(whole) * tenth // 10]))

    def test_a_thumbnail_does_not_hide_a_missing_end(self, tmp_path):
        thumbnail = encoded(COLOURS, "JPEG")
        whole = encoded(COLOURS, "JPEG", exif=b"Exif\0\0" + thumbnail)
        assert read_picture(written(tmp_path / "a.jpg", whole)).shape == (6, 10, 3)
        with pytest.raises(UserError, match="end marker"):
            read_picture(written(tmp_path / "a.jpg", whole[:-2]))

    def test_cut_off_bmp(self, tmp_path):
        """OpenCV fills missing rows of run lengths with black, up to pictures of 200 million pixels."""
        data = bytearray(encoded(palette(IDS), "BMP"))
        data[18:26] = struct.pack("<ii", 12000, 12000)
        for compression in (0, 1):
            data[30] = compression
            with pytest.raises(UserError, match=r"is cut off: \d+ bytes cannot hold 12000x12000 pixels"):
                probe(written(tmp_path / "a.bmp", bytes(data)))

    def test_cut_off_npy(self, tmp_path):
        np.save(tmp_path / "a.npy", IDS)
        path = written(tmp_path / "b.npy", (tmp_path / "a.npy").read_bytes()[:-1])
        with pytest.raises(UserError, match="cut off: 59 bytes"):
            read_label(path)

    def test_missing_rows_are_no_black_rows(self, tmp_path):
        data = bytearray(grey_png(np.ones((2, 16), np.uint8), 1))
        data[16:24] = struct.pack(">II", 16, 200)
        data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
        with pytest.raises(UserError, match="cannot be read as a picture"):
            read_label(written(tmp_path / "a.png", bytes(data)))

    def test_other_files_are_refused(self, tmp_path):
        with pytest.raises(UserError, match=r"empty\.png.*0 bytes"):
            read_label(written(tmp_path / "empty.png", b""))
        with pytest.raises(UserError, match=r"text\.png.*no PNG, JPEG.*"):
            read_label(written(tmp_path / "text.png", b"%!PS-Adobe-3.0 EPSF-3.0"))
        with pytest.raises(UserError, match=r"gone\.png: cannot be opened: No such file"):
            read_label(tmp_path / "gone.png")

    def test_folders_and_pipes_are_refused(self, tmp_path):
        (tmp_path / "folder.png").mkdir()
        with pytest.raises(UserError, match="is a folder"):
            probe(tmp_path / "folder.png")
        os.mkfifo(tmp_path / "pipe.png")
        with pytest.raises(UserError, match="is a pipe"):
            probe(tmp_path / "pipe.png")
        (tmp_path / "link.png").symlink_to(tmp_path / "gone.png")
        with pytest.raises(UserError, match=r"link to .*gone\.png"):
            probe(tmp_path / "link.png")

    def test_a_bomb_is_refused_by_its_header(self, tmp_path):
        head = struct.pack(">IIBBBBB", 20000, 20000, 8, 2, 0, 0, 0)
        data = b"\x89PNG\r\n\x1a\n" + struct.pack(">I4s", 13, b"IHDR") + head + b"\0" * 4
        with pytest.raises(UserError, match=r"20000x20000 of 3 channel.s. in 33 bytes.*200000000"):
            read_picture(written(tmp_path / "a.png", data))

    def test_a_pickle_in_npy_is_not_loaded(self, tmp_path):
        np.save(tmp_path / "a.npy", np.array([[{}]], dtype=object), allow_pickle=True)
        with pytest.raises(UserError, match="object"):
            read_label(tmp_path / "a.npy")

    def test_names_that_do_not_print_are_escaped(self, tmp_path):
        path = os.path.join(os.fsencode(tmp_path), b"a\xff\n.png")
        with open(path, "wb") as file:
            file.write(b"nothing")
        with pytest.raises(UserError, match=r"a\\udcff\\n\.png") as caught:
            probe(os.fsdecode(path))
        str(caught.value).encode()


def test_real_cityscapes():
    folder = SHARED / "data" / "cityscapes"
    if not folder.is_dir():
        pytest.skip("the real Cityscapes files are not beside this checkout")
    for file in sorted((folder / "train_label").iterdir())[:2]:
        stem = file.name.removesuffix("_gtFine_labelIds.png")
        label = read_label(file)
        instance = read_instance(folder / "train_inst" / f"{stem}_gtFine_instanceIds.png")
        photo = read_picture(folder / "train_img" / f"{stem}_leftImg8bit.png")
        assert label.shape == instance.shape == photo.shape[:2] == (1024, 2048)
        np.testing.assert_array_equal(np.where(instance >= 1000, instance // 1000, instance), label)
        assert probe(file).bits == 8
