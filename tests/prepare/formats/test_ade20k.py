"""ADE20K: the challenge's label maps, and the full data set in the challenge's classes."""

import cv2
import numpy as np

from hdtrans.prepare.formats import ade20k
from tests.golden_files import shared
from tests.prepare.small_sets import cut_off, names, only, opened, parts, png, refused, write

# Indices of the full data set, as its own documents give them.
SKY, PERSON, CAR, WINDOW_OF_A_SHOP = 2420, 1831, 401, 2346


def seg(path, raw, instance):
    raw, instance = np.array(raw), np.array(instance)
    return png(path, np.stack([raw // 256 * 10, raw % 256, instance], axis=-1))


def test_the_classes_are_the_150_of_the_challenge():
    found, places = ade20k.challenge_classes()
    assert len(found) == 150 and sorted(set(places.values())) == list(range(150))
    assert (found[0], found[2], found[149], found[places[CAR]][:3]) == ("wall", "sky", "flag", "car")


def test_challenge(tmp_path):
    path = png(tmp_path / "annotations" / "validation" / "ADE_val_1.png", [[0, 1, 150]])
    photo = png(tmp_path / "images" / "validation" / "ADE_val_1.jpg", np.zeros((1, 3, 3)))
    source = opened(ade20k, tmp_path)
    assert only(source).label.tolist() == [[255, 0, 149]] and only(source).instance is None
    (item,) = source.items()
    assert (item.name, item.split, item.photo) == ("ADE_val_1", "val", photo)
    png(path, [[0, 151, 150]])
    refused(lambda: only(source), path, "ids without a class: 151 (1 pixel, first at row 0, column 1)")
    cut_off(path)
    refused(lambda: only(source), path)


def test_seg(tmp_path):
    path = tmp_path / "training" / "street" / "ADE_train_1"
    seg(path.with_name("ADE_train_1_seg.png"), [[SKY, CAR, CAR, 0, WINDOW_OF_A_SHOP]], [[1, 2, 3, 0, 4]])
    png(path.with_name("ADE_train_1_parts_1.png"), np.zeros((1, 5, 3)))
    png(path.with_suffix(".jpg"), np.zeros((1, 5, 3)))
    source = opened(ade20k, tmp_path)
    maps = only(source)
    assert names(source, maps) == ["scc.."] and parts(maps) == ["012.3"]
    (item,) = source.items()
    assert (item.split, item.photo) == ("train", path.with_suffix(".jpg"))


def thing(number, index, level=0):
    mask = f"1/instance_{number:03}.png"
    return {"id": number, "name_ndx": index, "parts": {"part_level": level}, "instance_mask": mask}


def test_json_alone(tmp_path):
    values = {"imsize": [1, 4, 3], "object": [thing(0, PERSON), thing(1, SKY), thing(2, CAR, level=1)]}
    path = write(tmp_path / "1.json", {"annotation": values})
    path.write_text(path.read_text().replace("imsize", "naïve", 0), encoding="latin-1")
    png(tmp_path / "1.jpg", np.zeros((1, 4, 3)))
    person = png(tmp_path / "1" / "instance_000.png", [[255, 128, 0, 0]])
    png(tmp_path / "1" / "instance_001.png", [[0, 255, 255, 0]])
    source = opened(ade20k, tmp_path)
    assert names(source, only(source)) == ["pss."] and parts(only(source)) == ["011."]
    png(person, [[255]])
    refused(lambda: only(source), person, "1x1 pixels", path, "4x1")
    write(path, {"annotation": {"imsize": [1], "object": []}})
    refused(lambda: only(source), path, "'width' is missing")
    write(path, {"annotation": {"imsize": [1, 4], "object": [{"parts": {}}]}})
    refused(lambda: only(source), f"{path}: object 0: key 'part_level' is missing")


def test_folders_of_other_data_sets_are_refused(tmp_path):
    refused(lambda: opened(ade20k, tmp_path), tmp_path, "neither *_seg.png nor annotations/*.png")
    png(tmp_path / "annotations" / "a.png", [[0]])
    png(tmp_path / "b_seg.png", np.zeros((1, 1, 3)))
    refused(lambda: opened(ade20k, tmp_path), "b_seg.png", "annotations/a.png", "give the folder of one of them")


def test_the_full_data_set_agrees_with_the_challenge():
    root = shared("data", "formats", "mseg_test_data", "ADE20K_test_data")
    full, challenge = opened(ade20k, root / "ADE20K_2016_07_26"), opened(ade20k, root / "ADEChallengeData2016")
    for item, other in zip(full.items(), challenge.items(), strict=True):
        assert (item.name, item.split) == (other.name, other.split)
        expected = challenge.read(other).label
        label = full.read(item).label.astype(np.uint8)
        label = cv2.resize(label, expected.shape[::-1], interpolation=cv2.INTER_NEAREST)
        assert (label == expected).mean() > 0.97


def test_2021_masks_agree_with_seg(tmp_path):
    root = shared("data", "formats", "ade20k_2021")
    stem = "ADE_train_00016869"
    for name in (stem, f"{stem}.json", f"{stem}.jpg"):
        (tmp_path / name).symlink_to(root / name)
    label = only(opened(ade20k, root)).label
    assert (only(opened(ade20k, tmp_path)).label == label).mean() > 0.999
    assert (label != 255).mean() > 0.9
