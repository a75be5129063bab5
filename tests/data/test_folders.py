"""Pairing files by name: the layouts users own, and errors that name folders and files."""

import os
import time
from pathlib import Path

import pytest

from hdtrans.common.errors import MissingPartner, UserError
from hdtrans.common.remarks import DataNote, DataWarning
from hdtrans.data.folders import find_everything, find_samples, gather, partners_of
from hdtrans.data.kinds.label_maps import Section as LabelMaps
from hdtrans.data.kinds.picture_pairs import Section as PicturePairs

SHARED = Path(__file__).resolve().parents[2].parent / "shared"
FIELDS = ("label", "photo")


def maps(root):
    """Return the section of a recipe for label maps."""
    return LabelMaps(root=root, labels=35)


def pairs(root):
    """Return the section of a recipe for picture pairs."""
    return PicturePairs(kind="picture_pairs", root=root)


def make(root, **folders):
    """Make empty files: `make(root, train_label=["a.png"])`."""
    for folder, names in folders.items():
        (root / folder).mkdir(parents=True, exist_ok=True)
        for name in names:
            (root / folder / name).parent.mkdir(parents=True, exist_ok=True)
            (root / folder / name).touch()
    return root


def names(samples):
    """Return the names of samples."""
    return [sample.name for sample in samples]


class TestPairing:
    def test_by_stem_with_any_extension(self, tmp_path):
        make(tmp_path, train_label=["b.png", "a.PNG"], train_img=["a.jpg", "b.TIFF"])
        samples = find_samples(maps(tmp_path), "train", FIELDS)
        assert names(samples) == ["a", "b"]
        assert samples[0].paths == {
            "label": str(tmp_path / "train_label" / "a.PNG"),
            "photo": str(tmp_path / "train_img" / "a.jpg"),
        }

    def test_cityscapes_endings_in_city_folders(self, tmp_path):
        make(
            tmp_path,
            train_label=["aachen/aachen_0_gtFine_labelIds.png", "ulm/ulm_0_gtCoarse_labelTrainIds.png"],
            train_inst=["aachen/aachen_0_gtFine_instanceIds.png", "ulm/ulm_0_gtCoarse_instanceIds.png"],
            train_img=["aachen/aachen_0_leftImg8bit.png", "ulm/ulm_0_leftImg8bit.png"],
        )
        samples = find_samples(maps(tmp_path), "train", ("photo", "instance", "label"))
        assert names(samples) == ["aachen/aachen_0", "ulm/ulm_0"]
        assert list(samples[0].paths) == ["label", "instance", "photo"]

    def test_picture_pairs(self, tmp_path):
        make(tmp_path, train_A=["1_A.jpg", "2_A.jpg"], train_B=["2_B.png", "1_B.png"], train_inst=["1.png", "2.png"])
        samples = find_samples(pairs(tmp_path), "train", ("source", "photo", "instance"))
        assert names(samples) == ["1", "2"]
        assert samples[1].paths["photo"].endswith("2_B.png")

    def test_one_shared_ending_per_folder(self, tmp_path):
        make(tmp_path, train_label=["1_mask.png", "21_mask.png"], train_img=["1_photo.jpg", "21_photo.jpg"])
        assert names(find_samples(maps(tmp_path), "train", FIELDS)) == ["1", "21"]

    def test_a_shared_ending_keeps_what_all_names_have(self, tmp_path):
        make(tmp_path, train_label=["a_day_mask.png", "b_day_mask.png"], train_img=["a_day.jpg", "b_day.jpg"])
        assert names(find_samples(maps(tmp_path), "train", FIELDS)) == ["a_day", "b_day"]

    def test_endings_are_part_of_the_name_where_names_are_equal(self, tmp_path):
        make(tmp_path, train_label=["x_A.png", "x_B.png"], train_img=["x_A.jpg", "x_B.jpg"])
        assert names(find_samples(maps(tmp_path), "train", FIELDS)) == ["x_A", "x_B"]

    def test_single_files_of_other_names_are_no_pair(self, tmp_path):
        make(tmp_path, train_label=["cat.png"], train_img=["dog.jpg"])
        with pytest.raises(UserError, match=r"2 of 2 samples lack a file"):
            find_samples(maps(tmp_path), "train", FIELDS)

    def test_natural_order(self, tmp_path):
        files = ["10.png", "9.png", "a2.png", "a10.png", "01.png", "1.png"]
        make(tmp_path, train_label=files, train_img=files)
        assert names(find_samples(maps(tmp_path), "train", FIELDS)) == ["01", "1", "9", "10", "a2", "a10"]

    def test_other_files_are_skipped(self, tmp_path):
        make(
            tmp_path,
            train_label=["a.png", ".a.png", "._a.png", "Thumbs.db", "notes.txt", ".cache/b.png"],
            train_img=["a.jpg", "a.json"],
        )
        assert names(find_samples(maps(tmp_path), "train", FIELDS)) == ["a"]

    def test_links_are_followed_but_not_in_circles(self, tmp_path):
        make(tmp_path, train_label=["city/a.png"], elsewhere=["city/a.jpg"])
        (tmp_path / "train_img").symlink_to(tmp_path / "elsewhere")
        (tmp_path / "elsewhere" / "city" / "round").symlink_to(tmp_path / "elsewhere")
        assert names(find_samples(maps(tmp_path), "train", FIELDS)) == ["city/a"]

    def test_names_of_any_bytes(self, tmp_path):
        odd = [os.fsdecode(b"a\xff"), "b c%#'\"", "d\n", "ü"]
        make(tmp_path, train_label=[f"{name}.png" for name in odd], train_img=[f"{name}.jpg" for name in odd])
        samples = find_samples(maps(tmp_path), "train", FIELDS)
        assert sorted(names(samples)) == sorted(odd)
        assert all(os.path.exists(path) for sample in samples for path in sample.paths.values())


class TestRemarks:
    def test_files_that_are_not_read(self, tmp_path):
        make(tmp_path, train_label=["a.png", "b.tga"], train_img=["a.jpg", "b.heic", "notes.txt"])
        places = f"{tmp_path}/train_label, {tmp_path}/train_img"
        with pytest.warns(DataWarning, match=f"^{places}: 2 files are not read: 1 .heic, 1 .tga"):
            find_samples(maps(tmp_path), "train", FIELDS)
        with pytest.warns(DataWarning, match=r"train_img: 1 file is not read: 1 \.heic"):
            gather({"photo": tmp_path / "train_img"})
        with pytest.warns(DataWarning, match=r"train_label: 1 file is not read: 1 \.tga"):
            partners_of("label", {"label": tmp_path / "train_label"})

    def test_any_rule_but_equal_names(self, tmp_path, recwarn):
        make(tmp_path, train_label=["000_mask.png"], train_img=["000.jpg"], val_label=["0.png"], val_img=["0.png"])
        words = r"train_label, .*train_img: files are paired by names without a common ending: '_mask' \(label\); "
        with pytest.warns(DataNote, match=rf"{words}000_mask\.png with 000\.jpg"):
            assert names(find_samples(maps(tmp_path), "train", FIELDS)) == ["000"]
        find_samples(maps(tmp_path), "val", FIELDS)
        assert "'_mask' (label)" in find_everything(maps(tmp_path), "train", FIELDS).rule
        assert not recwarn.list, "equal names, and a search that reports its rule"


class TestUnicodeForms:
    def test_are_one_name(self, tmp_path):
        make(tmp_path, train_label=["e\u0301.png", "a.png"], train_img=["\u00e9.jpg", "a.jpg"])
        samples = find_samples(maps(tmp_path), "train", FIELDS)
        assert names(samples) == ["a", "\u00e9"] and samples[1].paths["label"].endswith("e\u0301.png")

    def test_twins_are_refused(self, tmp_path):
        both = ["e\u0301.png", "\u00e9.png"]
        make(tmp_path, train_label=both, train_img=both)
        with pytest.raises(UserError, match=r"1 sample\(s\) have more than one file.*\n.*in two Unicode forms"):
            find_samples(maps(tmp_path), "train", FIELDS)
        found = find_everything(maps(tmp_path), "train", FIELDS)
        assert len(found.samples) == 1 and len(found.left) == 2


class TestOptional:
    def test_left_out_where_missing_or_empty(self, tmp_path):
        make(tmp_path, test_label=["a.png"])
        samples = find_samples(maps(tmp_path), "test", ["label"], optional=["photo"])
        assert list(samples[0].paths) == ["label"]
        make(tmp_path, test_img=["readme.txt"])
        assert list(find_samples(maps(tmp_path), "test", ["label"], ["photo"])[0].paths) == ["label"]

    def test_complete_where_it_is_there(self, tmp_path):
        make(tmp_path, test_label=["a.png", "b.png"], test_img=["a.png"])
        with pytest.raises(UserError, match=r"test_img/ \(photo\) lacks the partner of 1 file"):
            find_samples(maps(tmp_path), "test", ["label"], optional=["photo"])


class TestErrors:
    def test_orphans_with_their_nearest_names(self, tmp_path):
        make(tmp_path, train_label=["street_01.png", "oak.png", "a.png"], train_img=["street_1.jpg", "a.jpg"])
        with pytest.raises(MissingPartner) as caught:
            find_samples(maps(tmp_path), "train", FIELDS)
        message = str(caught.value)
        assert "3 of 4 samples lack a file" in message
        assert caught.value.missing.keys() == {"label", "photo"}
        assert "train_img/ (photo) lacks the partner of 2 file(s)" in message
        assert "train_label/street_01.png; nearest: street_1.jpg" in message
        assert "train_label/oak.png\n" in message
        assert "train_label/ (label) lacks the partner of 1 file(s)" in message
        assert "a.png" not in message

    def test_upper_and_lower_case_is_the_nearest_name(self, tmp_path):
        make(tmp_path, train_label=["IMG_0.png"], train_img=["img_0.jpg"])
        with pytest.raises(MissingPartner, match=r"train_label/IMG_0\.png; nearest: img_0\.jpg"):
            find_samples(maps(tmp_path), "train", FIELDS)

    def test_ten_orphans_are_listed(self, tmp_path):
        make(tmp_path, train_label=[f"{number}.png" for number in range(14)], train_img=["0.jpg"])
        with pytest.raises(UserError, match="and 3 more") as caught:
            find_samples(maps(tmp_path), "train", FIELDS)
        assert str(caught.value).count("train_label/") == 10

    def test_two_files_for_one_sample(self, tmp_path):
        make(tmp_path, train_label=["a.png"], train_img=["a.png", "a.jpg"])
        with pytest.raises(UserError, match=r"1 sample.*more than one file.*\n.*a\.jpg and .*a\.png"):
            find_samples(maps(tmp_path), "train", FIELDS)

    def test_missing_folders(self, tmp_path):
        make(tmp_path, train_labels=["a.png"], trainB=["a.png"])
        with pytest.raises(UserError) as caught:
            find_samples(maps(tmp_path), "train", FIELDS)
        for words in ("train_label/, train_img/ not found", "trainB/, train_labels/", "'train_labels'", "data.train"):
            assert words in str(caught.value)

    def test_missing_root(self, tmp_path):
        (tmp_path / "city").mkdir()
        with pytest.raises(UserError, match=r"data\.root: there is no folder .*citty.*'city'"):
            find_samples(maps(tmp_path / "citty"), "train", FIELDS)

    def test_empty_folder(self, tmp_path):
        make(tmp_path, train_label=["a.json", "b.json", "c"], train_img=["a.png"])
        with pytest.raises(UserError) as caught:
            find_samples(maps(tmp_path), "train", FIELDS)
        for words in ("train_label: has no pictures", ".png", "3 other files (2 .json, 1 no extension)", "train_img/"):
            assert words in str(caught.value)

    def test_a_field_that_the_data_do_not_have(self, tmp_path):
        with pytest.raises(UserError, match="picture_pairs has instance, source, photo, but label is required"):
            find_samples(pairs(tmp_path), "train", ["label"])


@pytest.mark.unhurried
def test_many_files_are_quick(tmp_path):
    files = [f"city{number % 7}_{number:06d}" for number in range(20_000)]
    for folder, ending in (("train_label", "_gtFine_labelIds.png"), ("train_img", "_leftImg8bit.png")):
        (tmp_path / folder).mkdir()
        for file in files:
            os.close(os.open(tmp_path / folder / f"{file}{ending}", os.O_CREAT | os.O_WRONLY))
    start = time.perf_counter()
    assert len(find_samples(maps(tmp_path), "train", FIELDS)) == len(files)
    assert time.perf_counter() - start < 5


@pytest.mark.skipif(not (SHARED / "data").is_dir(), reason="the real data sets are not beside this checkout")
class TestRealData:
    def test_cityscapes(self):
        data = maps(SHARED / "data" / "cityscapes")
        train = find_samples(data, "train", ("label", "instance", "photo"))
        assert names(train) == [f"aachen_{number:06d}_000019" for number in range(8)]
        test = find_samples(data, "test", ("label", "instance"), optional=["photo"])
        assert len(test) == 15 and set(test[0].paths) == {"label", "instance"}

    def test_clothing(self):
        assert len(find_samples(maps(SHARED / "data" / "ccp"), "train", FIELDS)) == 540
