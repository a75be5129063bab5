"""Names that belong together, and names that only look so."""

import pytest

from hdtrans.data.pairing import closest, pair


def paired(labels: list[str], photos: list[str]) -> tuple[list[str] | None, str]:
    """Return the names of the samples if all files have a partner, else None, and the rule."""
    found = pair({"label": [f"{name}.png" for name in labels], "photo": [f"{name}.jpg" for name in photos]})
    same = sorted(found.names["label"]) == sorted(found.names["photo"])
    return (found.names["label"] if same else None), found.rule


@pytest.mark.parametrize(
    ("labels", "photos"),
    [
        (["frame_0000", "frame_0010", "frame_0020"], ["frame_0005", "frame_0015", "frame_0025"]),
        (["frame_0000_mask", "frame_0010_mask"], ["frame_0005", "frame_0015"]),
        (["frame_1000", "frame_2000"], ["frame_1", "frame_2"]),
        (["walk_0000", "run_0000"], ["walk_0005", "run_0005"]),
        (["walk_0000_mask", "run_0000_mask"], ["walk_0005_rgb", "run_0005_rgb"]),
        (["2026-01-01", "2026-02-01"], ["2026-01-02", "2026-02-02"]),
        (["t1.0", "t2.0"], ["t1.5", "t2.5"]),
        (["a1x", "b1x"], ["a2x", "b2x"]),
        (["cat", "hat"], ["cow", "how"]),
        (["seq1_01", "seq1_02"], ["seq2_01", "seq2_02"]),
        (["cat"], ["dog"]),
        (["cat"], ["cat_2"]),
        (["cat"], ["caterpillar"]),
        (["000"], ["0001"]),
        (["1"], ["1.5"]),
        (["a1x"], ["a2x"]),
        (["IMG_0"], ["img_0"]),
    ],
)
def test_no_pairs(labels: list[str], photos: list[str]) -> None:
    assert paired(labels, photos) == (None, "")
    assert paired(photos, labels) == (None, "")


@pytest.mark.parametrize(
    ("labels", "photos", "names"),
    [
        (["1_mask", "21_mask"], ["1_photo", "21_photo"], ["1", "21"]),
        (["a_day_mask", "b_day_mask"], ["a_day", "b_day"], ["a_day", "b_day"]),
        (["1_image", "2_image"], ["1_instance", "2_instance"], ["1_i", "2_i"]),
        (["frame_0000_mask", "frame_0010_mask"], ["frame_0000", "frame_0010"], ["frame_0000", "frame_0010"]),
        (["img12_seg", "img13_seg"], ["img12", "img13"], ["img12", "img13"]),
        (["catmask", "ratmask"], ["catphoto", "ratphoto"], ["cat", "rat"]),
        (["catmask", "dogmask"], ["cat_real", "dog_real"], ["cat", "dog"]),
        (["catMask", "dogMask"], ["catView", "dogView"], ["cat", "dog"]),
        (["cats", "dogs"], ["cat", "dog"], ["cat", "dog"]),
        (["a_cam1", "b_cam1"], ["a_cam2", "b_cam2"], ["a_cam", "b_cam"]),
        (["a_1", "b_1"], ["a_2", "b_2"], ["a", "b"]),
        (["x/mask", "y/mask"], ["x/img", "y/img"], ["x/", "y/"]),
    ],
)
def test_names_of_samples_stay_as_they_were(labels: list[str], photos: list[str], names: list[str]) -> None:
    assert paired(labels, photos)[0] == names


@pytest.mark.parametrize(
    ("labels", "photos", "names", "rule"),
    [
        (["000_mask"], ["000"], ["000"], "without a common ending: '_mask' (label)"),
        (["catmask"], ["cat"], ["cat"], "without a common ending: 'mask' (label)"),
        (["000_mask"], ["000_photo"], ["000"], "without a word for the kind"),
        (["img_0_mask"], ["img_0_photo"], ["img_0"], "without a word for the kind"),
        (["lbl_0001", "lbl_0002"], ["img_0001", "img_0002"], ["0001", "0002"], "without a word for the kind"),
        (["mask_0001"], ["0001"], ["0001"], "without a word for the kind"),
        (["e\u0301_1"], ["\u00e9_1"], ["\u00e9_1"], "in composed Unicode form"),
        (
            ["e\u0301_1_mask", "a_mask"],
            ["\u00e9_1", "a"],
            ["\u00e9_1", "a"],
            "without a common ending: '_mask' (label)",
        ),
    ],
)
def test_more_pairs(labels: list[str], photos: list[str], names: list[str], rule: str) -> None:
    found, by = paired(labels, photos)
    assert found == names and rule in by


def test_a_spare_photo_hides_no_ending() -> None:
    found = pair({"label": ["f_00_mask", "f_10_mask"], "photo": ["f_00_rgb", "f_10_rgb", "f_15_rgb"]}).names
    assert found == {"label": ["f_00", "f_10"], "photo": ["f_00", "f_10", "f_15"]}


def test_equal_decomposed_names_keep_their_form() -> None:
    assert paired(["e\u0301"], ["e\u0301"]) == (["e\u0301"], "")


def test_closest_name() -> None:
    assert closest("IMG_0", ["img_0", "img_7"], 0.85) == "img_0"
    assert closest("e\u0301a", ["\u00e9a"], 0.99) == "\u00e9a"
    assert closest("cat", ["dog"], 0.6) == ""
