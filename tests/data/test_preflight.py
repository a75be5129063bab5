"""The look at a training folder before the first step: everything that is wrong, at once."""

import warnings

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms

from hdtrans.common.classes import CITYSCAPES, ClassTable
from hdtrans.common.errors import UserError
from hdtrans.common.remarks import DataNote, DataWarning
from hdtrans.config.stage import Stage
from hdtrans.data.folders import find_samples
from hdtrans.data.kinds.label_maps import Section as LabelMaps
from hdtrans.data.kinds.photos_to_maps import Section as PhotosToMaps
from hdtrans.data.kinds.picture_pairs import Section as PicturePairs
from hdtrans.data.preflight import class_table, preflight

FIELDS = ("label", "instance", "photo")


@pytest.fixture
def data(tmp_path):
    """Write 30 sound samples."""
    for folder in ("train_label", "train_inst", "train_img"):
        (tmp_path / folder).mkdir()
        shape = (16, 20, 3) if folder == "train_img" else (16, 20)
        for number in range(30):
            cv2.imwrite(str(tmp_path / folder / f"{number}.png"), np.full(shape, number % 7, np.uint8))
    return LabelMaps(root=tmp_path, labels=7)


def problems(data, stages=(), fields=FIELDS):
    """Return the message of preflight, or ''."""
    try:
        preflight(find_samples(data, "train", fields), fields, data, stages)
    except UserError as error:
        return str(error)
    return ""


def test_a_sound_folder_passes(data):
    assert problems(data, [Stage(size="20x16"), Stage(name="b", size="8x8", geometry="crop")]) == ""


def test_all_problems_are_reported_at_once(data):
    root = data.root
    (root / "train_img" / "1.png").write_bytes(b"")
    (root / "train_img" / "2.png").write_bytes((root / "train_img" / "2.png").read_bytes()[:20])
    cv2.imwrite(str(root / "train_img" / "3.png"), np.zeros((15, 20, 3), np.uint8))
    cv2.imwrite(str(root / "train_label" / "4.png"), np.zeros((16, 20, 3), np.uint8))
    cv2.imwrite(str(root / "train_label" / "5.png"), np.full((16, 20), 99, np.uint8))
    cv2.imwrite(str(root / "train_inst" / "6.png"), np.zeros((16, 20, 4), np.uint8))
    message = problems(data)
    assert message.startswith(f"data.root {root}: 6 problem(s) in 30 samples:")
    for words in (
        "train_img/1.png: is empty (0 bytes)",
        "train_img/2.png: cannot be read as a picture (20 bytes)",
        "label 20x16",
        "photo 20x15",
        "train_label/4.png: a label map (one id a pixel) is expected, but this is a picture of 3 channels",
        "train_label/5.png: ids that are no class: 99 (320 pixels, first at row 0, column 0)",
        "train_inst/6.png: an instance map (one id a pixel) is expected, but this is a picture of 4 channels",
    ):
        assert words in message


def test_twenty_are_listed(data):
    for number in range(25):
        (data.root / "train_img" / f"{number}.png").write_bytes(b"GIF89a" + bytes([65 + number]))
    message = problems(data)
    assert "25 problem(s)" in message and message.count("GIF89a") == 20 and message.endswith("and 5 more")


def test_a_problem_of_all_files_is_reported_once(data):
    message = problems(data, [Stage(name="big", size="64x8", geometry="crop")])
    assert "0.png and 29 more: stages.big: a crop of size 64x8 does not fit into 20x16" in message
    assert message.count("\n") == 1


def test_pictures_of_a_wrong_number_of_channels(tmp_path):
    for folder in ("train_A", "train_B"):
        (tmp_path / folder).mkdir()
        cv2.imwrite(str(tmp_path / folder / "1.png"), np.zeros((4, 4, 3), np.uint8))
    data = PicturePairs(kind="picture_pairs", root=tmp_path, source_channels=3)
    fields = ("source", "photo")
    assert problems(data, fields=fields) == ""
    message = problems(data.model_copy(update={"source_channels": 5}), fields=fields)
    assert "train_A/1.png: has 3 channel(s), but 5 are wanted (data.source_channels" in message


class TestRemarks:
    def test_alpha_that_is_dropped(self, data, recwarn):
        for name in ("3.png", "7.png"):
            cv2.imwrite(str(data.root / "train_img" / name), np.full((16, 20, 4), 9, np.uint8))
        with pytest.warns(DataNote, match=r"train_img/3\.png and 1 more: 2 file\(s\) have an alpha channel"):
            assert problems(data) == ""
        for name in range(30):
            cv2.imwrite(str(data.root / "train_img" / f"{name}.png"), np.full((16, 20, 4), 9, np.uint8))
        assert problems(data.model_copy(update={"photo_channels": 4})) == "" and not recwarn.list

    def test_colour_profiles_orientation_and_nodata(self, data):
        profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("XYZ")).tobytes()
        for number in (3, 4):
            picture = Image.fromarray(np.full((16, 20, 3), number, np.uint8))
            picture.save(data.root / "train_img" / f"{number}.png", icc_profile=profile)
        turned = Image.Exif()
        turned[0x0112] = 3
        Image.fromarray(np.full((16, 20, 3), 5, np.uint8)).save(data.root / "train_img/5.png", exif=turned)
        (data.root / "train_label/6.png").unlink()
        gdal = [(42113, 2, 0, "0", True)]
        tifffile.imwrite(data.root / "train_label/6.tif", np.ones((16, 20), np.uint8), extratags=gdal)
        with pytest.warns(DataNote) as notes:
            assert problems(data) == ""
        found = "\n".join(str(note.message) for note in notes)
        assert "3.png and 1 more: 2 file(s) have the colour profile 'XYZ identity built-in', which is not" in found
        assert "train_img/5.png: 1 file(s) are turned upright by their EXIF orientation" in found
        assert "train_label/6.tif: 1 file(s) declare 0 as nodata (GDAL)" in found

    @pytest.mark.parametrize("lowest", [0.0, -0.1])
    def test_floats_in_0_1(self, tmp_path, lowest):
        for folder in ("train_A", "train_B"):
            (tmp_path / folder).mkdir()
            for number in range(20):
                np.save(tmp_path / folder / f"{number}.npy", np.float32([[lowest, 0.5], [0.2, 1.0]]))
        data = PicturePairs(kind="picture_pairs", root=tmp_path, source_channels=1, photo_channels=1)
        with warnings.catch_warnings(record=True) as found:
            warnings.simplefilter("always")
            assert problems(data, fields=("source", "photo")) == ""
        texts = [str(each.message) for each in found]
        assert len(texts) == (0 if lowest < 0 else 2)
        assert all("20 file(s): floating point pictures hold no value below 0" in text for text in texts)

    def test_dark_pictures_of_16_bits(self, tmp_path):
        for folder in ("train_A", "train_B"):
            (tmp_path / folder).mkdir()
            np.save(tmp_path / folder / "0.npy", np.array([[0, 4095]], np.uint16))
        data = PicturePairs(kind="picture_pairs", root=tmp_path, source_channels=1, photo_channels=1)
        with pytest.warns(UserWarning, match=r"1 file\(s\): 16-bit pictures hold no value above 4095") as found:
            assert problems(data, fields=("source", "photo")) == ""
        assert len(found) == 2

    @pytest.mark.parametrize("kind", ["label_maps", "photos_to_maps"])
    def test_masks_of_grey_values(self, data, kind):
        for number in range(30):
            label = np.zeros((16, 20), np.uint8)
            label[:, :10] = 255
            cv2.imwrite(str(data.root / "train_label" / f"{number}.png"), label)
        fields = FIELDS if kind == "label_maps" else ("source", "photo")
        own = data if kind == "label_maps" else PhotosToMaps(kind=kind, root=data.root, target="labels", labels=2)
        with pytest.warns(DataWarning, match=r"train_label: label maps: the values 0, 255 are .* 50\.0% of the pixels"):
            assert problems(own, fields=fields) == ""
        cv2.imwrite(str(data.root / "train_label" / "1.png"), np.tile(np.uint8([0, 127, 254, 254]), (16, 5)))
        with pytest.warns(DataWarning):
            assert "write 0 to 2: hdtrans prepare folder with values=0,127,254" in problems(own, fields=fields)

    def test_many_maps_of_grey_values_or_of_more_classes(self, data):
        for values, end in (
            ([0, 127, 254], "values=0,127,254 does it"),
            ([1, 20, 40], "labels=41 if they are classes"),
        ):
            for number in range(5):
                label = np.tile(np.uint8([*values, values[0]]), (16, 5))
                cv2.imwrite(str(data.root / "train_label" / f"{number}.png"), label)
            first = problems(data).splitlines()[1]
            assert "5 of 30 checked maps hold ids that are no class" in first and first.endswith(end)


class TestClassTable:
    def test_from_dataset_json(self, data):
        ClassTable.generic(7).write(data.root / "dataset.json")
        assert class_table(data) == ClassTable.generic(7)
        assert problems(data) == ""
        assert "set data.labels=7" in problems(data.model_copy(update={"labels": 8}))

    def test_a_damaged_one_is_reported_with_the_rest(self, data):
        (data.root / "dataset.json").write_text("{")
        (data.root / "train_img" / "1.png").write_bytes(b"")
        message = problems(data)
        assert "2 problem(s)" in message and "dataset.json: not a JSON file" in message

    def test_without_a_file(self, data, tmp_path):
        assert class_table(data) == ClassTable.generic(7)
        table = class_table(data.model_copy(update={"labels": 35, "ignore": None}))
        assert table.names == CITYSCAPES.names and table.ignore is None
        assert class_table(PicturePairs(kind="picture_pairs", root=tmp_path)) is None
