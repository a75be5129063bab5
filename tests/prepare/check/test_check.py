"""The data check: a clean folder is clean, and all findings are reported at once, with their files."""

import json
import os
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageCms

from hdtrans.cli import run_tool
from hdtrans.common.classes import CITYSCAPES, ClassTable
from hdtrans.common.yaml_text import read_yaml
from hdtrans.config.recipe import check_recipe
from hdtrans.data.folders import find_samples
from hdtrans.data.preflight import preflight
from hdtrans.prepare.check.findings import ERROR, NOTE, WARNING
from hdtrans.prepare.check.run import check_data
from hdtrans.prepare.writing.shards import write_shards
from tests.small_runs import small_recipe, toy_data, train_values, write_recipe

SHARED = Path(__file__).resolve().parents[3].parent / "shared"
HEIGHT, WIDTH = 32, 48


def write(path, array):
    """Write an array as the file that the name says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), array)


def photo(seed, size=(HEIGHT, WIDTH)):
    """Return noise."""
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)


def maps(seed, shift=0):
    """Return a label map of classes 0 to 3, and an instance map that parts class 2 in two."""
    label = np.zeros((HEIGHT, WIDTH), np.uint8)
    label[4 + seed : 12 + seed, 4:20], label[16:28, 8 : 40 - seed], label[28:] = 1, 2, 3
    instance = label.astype(np.uint16)
    instance[:, :20][label[:, :20] == 2] = 2000
    return label + np.uint8(shift), instance


def fill(root):
    """Write six training and two test samples without a fault."""
    for split, seeds in (("train", range(6)), ("test", (6, 7))):
        for seed in seeds:
            label, instance = maps(seed)
            write(root / f"{split}_label" / f"{seed}.png", label)
            write(root / f"{split}_inst" / f"{seed}.png", instance)
            write(root / f"{split}_img" / f"{seed}.png", photo(seed))
    return root


@pytest.fixture(scope="module")
def clean(tmp_path_factory):
    """Return a folder without a fault; it stays as it is."""
    return fill(tmp_path_factory.mktemp("clean"))


@pytest.fixture
def root(clean, tmp_path):
    """Return a copy to break."""
    return Path(shutil.copytree(clean, tmp_path / "data"))


def findings(root):
    """Return what is found, as (kind, level): (words, places)."""
    return {(f.kind, f.level): (f.words, f.places) for f in check_data(root, 2).findings}


def only(root):
    """Return the one finding."""
    (one,) = check_data(root, 2).findings
    return one


class TestCleanFolders:
    def test_nothing_is_found_and_the_recipe_trains(self, clean, tmp_path):
        report = check_data(clean, 2)
        assert report.findings == () and report.clean
        values = read_yaml(report.recipe, "recipe")
        assert values["data"] == {"kind": "label_maps", "root": str(clean), "labels": 4}
        assert values["method"]["condition"] == {"boundary": "instance"}
        assert values["stages"][0]["size"] == f"{WIDTH}x{HEIGHT}"
        small = small_recipe(clean, tmp_path / "run", data=values["data"], stages=values["stages"])
        small["stages"][0] |= {"epochs": 0.5, "decay_epochs": 0}
        assert (train_values(small) / "index.html").is_file()

    def test_shards_are_read_as_their_folder_is(self, clean, tmp_path):
        write_shards(clean, tmp_path / "shards", 1 << 20)
        plain, sharded = (json.loads(check_data(root, 2).json()) for root in (clean, tmp_path / "shards"))
        for key in ("splits", "classes", "findings"):
            assert plain[key] == sharded[key]

    def test_a_toy_city_is_clean(self, tmp_path, capsys):
        assert run_tool("make_toycity", ["--out", str(tmp_path), "--train=4", "--test=2", "--size=128x64"]) == 0
        assert run_tool("check_data", [str(tmp_path)]) == 0
        assert "findings: 0 errors, 0 warnings, 0 notes" in capsys.readouterr().out

    def test_the_histogram(self, clean):
        rows = json.loads(check_data(clean, 2).json())["classes"]
        pixels = np.bincount(np.concatenate([maps(seed)[0].ravel() for seed in range(6)]))
        assert [row["pixels"]["train"] for row in rows] == pixels.tolist()
        assert [row["images"] for row in rows] == [{"train": 6, "test": 2}] * 4


def test_unpaired_names_are_reported_and_the_rest_is_checked(root):
    for folder in ("label", "inst", "img"):
        (root / f"train_{folder}" / "2.png").rename(root / f"train_{folder}" / f"street_2{'x' * (folder == 'img')}.png")
    write(root / "train_label" / "3.png", maps(3)[0] * np.uint8(60))
    found = check_data(root, 2).findings
    lacking = [f for f in found if f.kind == "unpaired"]
    assert {(f.words.split(" have ")[1], f.places[0][0]) for f in lacking} == {
        ("no file in train_label/", str(root / "train_img" / "street_2x.png")),
        ("no file in train_inst/", str(root / "train_img" / "street_2x.png")),
        ("no file in train_img/", str(root / "train_label" / "street_2.png")),
    }
    assert all(f.places[0][1] in ("nearest: street_2", "nearest: street_2x") for f in lacking)
    assert any(f.kind == "absent classes" for f in found)


def break_file(name, content):
    """Return what writes other bytes into a training file."""
    return lambda root: (root / name).write_bytes(content((root / name).read_bytes()))


def swap(name, array):
    """Return what writes another picture into a training file."""
    return lambda root: write(root / name, array)


def all_of(*steps):
    """Return what does several things."""
    return lambda root: [step(root) for step in steps]


SIXTEEN_BITS = [swap(f"train_img/{n}.png", photo(n).astype(np.uint16) * 16) for n in range(6)]
TORN = maps(1)[1].copy()
TORN[0, :3] = 3


@pytest.mark.parametrize(
    ("breaking", "kind", "level", "words", "place"),
    [
        (break_file("train_img/1.png", lambda old: b""), "unreadable", ERROR, "is empty (0 bytes)", "train_img/1.png"),
        (break_file("train_img/1.png", lambda old: old[:-30]), "unreadable", ERROR, "is cut off", "train_img/1.png"),
        (break_file("train_label/1.png", lambda old: old[:20]), "unreadable", ERROR, "(20 bytes)", "train_label/1.png"),
        (swap("train_img/1.png", photo(1, (31, 48))), "sizes differ", ERROR, "photo 48x31", "train_label/1.png"),
        (swap("train_label/1.png", photo(1)), "wrong kind", ERROR, "3 channels; if its", "train_label/1.png"),
        (swap("train_inst/1.png", photo(1)[..., [0, 1, 2, 2]]), "wrong kind", ERROR, "4 channels", "train_inst/1.png"),
        (swap("train_inst/1.png", TORN), "instances", WARNING, "3 pixels, ids 3", "train_inst/1.png"),
        (swap("train_img/1.png", photo(1) // 255 // 2), "constant", WARNING, "photo: pictures", "train_img/1.png"),
        (swap("train_img/1.png", photo(2)), "duplicates", WARNING, "train_img/1.png", "train_img/2.png"),
        (swap("test_img/6.png", photo(2)), "overlap", WARNING, "1 file of test with the content", "test_img/6.png"),
        (SIXTEEN_BITS[1], "mixed bits", WARNING, "7 with 8, 1 with 16", "train_img/1.png"),
        (all_of(*SIXTEEN_BITS), "bit depth", WARNING, "no value above 4080; white is 65535", "train_img/0.png"),
        (swap("train_img/1.jpg", photo(9)), "same name", ERROR, "another of the same name", "train_img/1.png"),
        (swap("train_img/1.png", photo(1)[..., 0]), "mixed channels", NOTE, "1 with 1, 7 with 3", "train_img/1.png"),
    ],
)
def test_each_defect_is_reported(root, breaking, kind, level, words, place):
    breaking(root)
    words_and_places = findings(root).get((kind, level))
    assert words_and_places, findings(root)
    words_found, places = words_and_places
    assert any(p.endswith(place) for p, _ in places)
    assert words in " ".join([words_found, *(f"{p} {detail}" for p, detail in places)])


def test_colours_where_labels_are_expected(root):
    write(root / "train_label" / "1.png", CITYSCAPES.colourise(maps(1)[0] + np.uint8(7)))
    write(root / "train_label" / "2.png", np.repeat(maps(2)[0][..., None], 3, axis=2))
    details = dict(only(root).places)
    assert details[str(root / "train_label" / "1.png")].endswith("it has 4 colours")
    assert details[str(root / "train_label" / "2.png")].endswith("a label map saved in colour, so write it with one")


def test_ids_and_classes(root):
    ClassTable.generic(6).write(root / "dataset.json")
    label = maps(1)[0]
    label[0, :5], label[1, 0] = 77, 255
    write(root / "train_label" / "1.png", label)
    test_label = maps(6)[0]
    test_label[0, 0] = 4
    write(root / "test_label" / "6.png", test_label)
    found = findings(root)
    words, places = found["ids", ERROR]
    assert "77 (5 pixels in 1 maps); classes are 0 to 5. Set data.labels=78" in words
    assert places == ((str(root / "train_label" / "1.png"), "77 (5 pixels)"),)
    assert found["untrained classes", WARNING][1] == (("4 class 4", ""),)
    assert found["absent classes", WARNING][1] == (("5 class 5", ""),)
    assert len(found) == 4  # and an instance 0 with the id 77 in it
    assert "labels: 6" in check_data(root, 2).recipe
    (root / "dataset.json").unlink()
    assert "labels: 78" in check_data(root, 2).recipe


def test_masks_of_0_and_255(root):
    for seed in range(6):
        write(root / "train_label" / f"{seed}.png", maps(seed)[0] // 2 * np.uint8(255))
    shutil.rmtree(root / "train_inst")
    shutil.rmtree(root / "test_label")
    words = findings(root)["ids", WARNING][0]
    assert "if they are masks of two classes, write 0 and 1: hdtrans prepare folder with values=0,255" in words


def test_masks_of_three_grey_values(root):
    for seed in range(6):
        write(root / "train_label" / f"{seed}.png", (maps(seed)[0] % 3) * np.uint8(127))
    shutil.rmtree(root / "train_inst")
    shutil.rmtree(root / "test_label")
    assert "the values 0, 127, 254 are those of a mask" in findings(root)["ids", WARNING][0]


def test_few_of_many_numbered_classes_are_listed(root):
    shutil.rmtree(root / "train_inst")
    for seed in range(6):
        write(root / "train_label" / f"{seed}.png", maps(seed)[0] * np.uint8(50))
    text = check_data(root, 2).text()
    assert len(text.splitlines()) < 60 and "   50  class 50" in text and "   51  class 51" not in text


def test_alpha_that_hides_pixels_is_a_note(root):
    for name, alpha in (("1.png", 255), ("2.png", 254)):
        write(
            root / "train_img" / name,
            np.dstack([photo(9, (HEIGHT, WIDTH)) + np.uint8(alpha), np.full((HEIGHT, WIDTH), alpha, np.uint8)]),
        )
    grey = Image.fromarray(photo(3)[..., 0]).convert("LA")
    grey.putalpha(Image.fromarray(np.tile(np.uint8([0, 255, 255]), (HEIGHT, WIDTH // 3))))
    grey.save(root / "train_img" / "3.png")
    Image.fromarray(photo(4) // 255).save(root / "train_img" / "4.png", transparency=(0, 0, 0))
    words, places = findings(root)["alpha", NOTE]
    assert "transparent pixels in 3 files" in words and "data.photo_channels=4" in words
    details = {Path(place).name: detail for place, detail in places}
    assert details["2.png"] == "100.0% of the pixels" and details["3.png"] == "33.3% of the pixels"
    assert details.keys() == {"2.png", "3.png", "4.png"}


def test_what_headers_tell_is_a_note(root):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("XYZ")).tobytes()
    turned = Image.Exif()
    turned[0x0112] = 2
    Image.fromarray(photo(1)).save(root / "train_img/1.png", icc_profile=profile, exif=turned)
    found = findings(root)
    for name, words in (("colour profile", "the colour profile 'XYZ identity"), ("orientation", "EXIF orientation")):
        assert words in found[name, NOTE][0] and found[name, NOTE][1] == ((str(root / "train_img/1.png"), ""),)


def test_files_that_are_not_read(root):
    for name in ("a.tga", "b.gif", "c"):
        (root / "train_img" / name).touch()
    (root / "train_label" / "notes.txt").touch()
    found = findings(root)
    words = f"{root / 'train_img'}: 3 files are not read: 1 .gif, 1 .tga, 1 no extension"
    assert words in found["left out", WARNING][0]
    assert f"{root / 'train_label'}: files beside the pictures" in found["other files", NOTE][0]


def test_a_rule_of_pairing_is_a_note(root):
    for file in (root / "train_label").iterdir():
        file.rename(file.with_name(f"{file.stem}_mask.png"))
    words, _ = findings(root)["pairing", NOTE]
    assert "paired by names without a common ending: '_mask' (label); 0_mask.png with 0.png" in words


def test_instance_maps_in_the_place_of_label_maps(root):
    shutil.rmtree(root / "train_label")
    (root / "train_inst").rename(root / "train_label")
    report = check_data(root, 2)
    assert any("ids of label maps go up to 2000; are they instance maps" in f.words for f in report.findings)
    assert 2000 in {number for sample in report.facts.samples for number in sample.pixels}
    assert len(report.text().splitlines()) < 60


def test_instance_maps_that_say_nothing(root):
    for seed in range(6):
        shutil.copy(root / "train_label" / f"{seed}.png", root / "train_inst" / f"{seed}.png")
    for seed in (6, 7):
        shutil.copy(root / "test_label" / f"{seed}.png", root / "test_inst" / f"{seed}.png")
    report = check_data(root, 2)
    assert report.clean and {f.kind for f in report.findings} == {"instances", "same file"}
    assert "boundary: labels" in report.recipe


def test_a_broken_class_table(root):
    (root / "dataset.json").write_text("{")
    assert "dataset.json: not a JSON file" in only(root).words


class TestRecipes:
    def values(self, root, **stage):
        """Return plain values whose boundary reads instance maps."""
        return small_recipe(root, root / "run", data={"kind": "label_maps", "root": str(root), "labels": 4}) | (
            {"stages": [{"epochs": 1, **stage}]}
        )

    def found(self, values):
        """Return the findings about a recipe by their kind, and the lines that fit."""
        report = check_data(check_recipe(values, "test"), 2)
        return {finding.kind: finding for finding in report.findings}, read_yaml(report.recipe, "lines")

    def test_a_crop_that_does_not_fit(self, clean):
        found, lines = self.found(self.values(clean, size="64x16", geometry="crop"))
        assert found["crop"].level == ERROR and len(found["crop"].places) == 6
        assert "a crop of size 64x16 does not fit into 48x32" in found["crop"].places[0][1]
        recipe = check_recipe({"name": "fits"} | lines, "lines")
        fields = recipe.method.reads(recipe.data)
        preflight(find_samples(recipe.data, "train", fields), fields, recipe.data, recipe.stages)

    def test_stride_aspect_and_enlarging_are_notes(self, clean):
        found, lines = self.found(self.values(clean, size="50x50"))
        assert {kind: finding.level for kind, finding in found.items()} == dict.fromkeys(
            ("stride", "aspect", "enlarged"), NOTE
        )
        assert "stride is 4; 1 size(s), such as 50x50" in found["stride"].words and "52x52" in found["stride"].words
        assert lines["stages"][0]["size"] == "50x50"

    def test_keys_of_a_given_recipe_stay(self, clean):
        values = self.values(clean, size="48x32", output="generator")
        generator = {"kind": "resnet", "width": 4, "blocks": 1, "downsamples": 1}
        values["method"] = {"kind": "pix2pix", "generator": generator}
        values["data"] |= {"ignore": None, "flip": True}
        _, lines = self.found(values)
        assert lines["data"] == values["data"]
        assert lines["method"] == values["method"] | {"condition": {"boundary": "instance"}}
        assert lines["stages"] == [{"epochs": 1, "size": "48x32"}]

    def test_components_need_no_instance_maps(self, root):
        values = self.values(root, size="48x32")
        values["data"]["instances"] = "components"
        shutil.rmtree(root / "test_inst")
        for file in (root / "train_inst").iterdir():
            file.write_bytes(b"not read")
        found, lines = self.found(values)
        assert found == {}
        assert lines["data"]["instances"] == "components"

    def test_features_of_instances_without_their_maps(self, root):
        values = self.values(root, size="48x32")
        values["method"]["features"] = {"count": 2}
        assert "instances" not in self.found(values)[1]["data"]
        shutil.rmtree(root / "train_inst")
        found, lines = self.found(values)
        assert "no pictures in train_inst/" in found["missing folder"].words
        recipe = check_recipe({"name": "fits"} | lines, "lines")
        assert recipe.data.instances == "components"
        fields = recipe.method.reads(recipe.data)
        assert "instance" in fields
        preflight(find_samples(recipe.data, "train", fields), fields, recipe.data, recipe.stages)

    def test_a_missing_folder(self, root):
        shutil.rmtree(root / "train_inst")
        found, lines = self.found(self.values(root, size="48x32"))
        assert "no pictures in train_inst/" in found["missing folder"].words
        assert lines["method"]["condition"] == {"boundary": "labels"}


def pairs(root, left, right, names=("1", "2")):
    """Write pictures into two folders."""
    for place, name in enumerate(names):
        write(root / left / f"{name}.png", photo(place))
        write(root / right / f"{name if right != 'trainB' else 'b' + name}.png", photo(10 + place))


KINDS = {
    "picture_pairs": lambda root: pairs(root, "train_A", "train_B"),
    "unpaired": lambda root: pairs(root, "trainA", "trainB"),
    "side_by_side": lambda root: [write(root / "train" / f"{n}.png", photo(n, (16, 32))) for n in range(2)],
    "photos": lambda root: [write(root / f"{n}.png", photo(n, (16, 30))) for n in range(2)],
    "photos_to_maps": lambda root: [
        (write(root / "train_img" / f"{n}.png", photo(n)), write(root / "train_inst" / f"{n}.png", maps(n)[1]))
        for n in range(2)
    ],
}


@pytest.mark.parametrize("kind", KINDS)
def test_kinds_are_guessed_and_their_recipes_fit(tmp_path, kind):
    KINDS[kind](tmp_path)
    report = check_data(tmp_path, 2)
    assert report.clean, report.text()
    recipe = check_recipe({"name": "guessed"} | read_yaml(report.recipe, "recipe"), "recipe")
    assert recipe.data.kind == kind
    fields = recipe.method.reads(recipe.data)
    preflight(find_samples(recipe.data, "train", fields), fields, recipe.data, recipe.stages)
    broken = next(path for path in sorted(tmp_path.rglob("*.png")))
    broken.write_bytes(broken.read_bytes()[:40])
    (finding,) = (f for f in check_data(tmp_path, 2).findings if f.level == ERROR)
    assert finding.places[0][0] == str(broken)


@pytest.mark.parametrize("sizes", [[(300, 420), (280, 400), (512, 600)], [(640, 1280)] * 2, [(1000, 1500), (40, 50)]])
def test_size_and_crop_fit_files_of_many_sizes(tmp_path, sizes):
    for place, size in enumerate(sizes):
        for side in "AB":
            write(tmp_path / f"train_{side}" / f"{place}.png", photo(place + (side == "B") * 9, size))
    report = check_data(tmp_path, 2)
    recipe = check_recipe({"name": "sizes"} | read_yaml(report.recipe, "recipe"), "recipe")
    fields = recipe.method.reads(recipe.data)
    preflight(find_samples(recipe.data, "train", fields), fields, recipe.data, recipe.stages)
    assert not any(f.kind in ("crop", "aspect") for f in check_data(recipe, 2).findings)


class TestCommand:
    def test_exit_codes(self, root, tmp_path, capsys):
        assert run_tool("check_data", [str(root)]) == 0
        (root / "train_img" / "1.png").unlink()
        assert run_tool("check_data", [str(root)]) == 1
        for wrong, words in (
            ([str(tmp_path / "none")], "there is no file or recipe"),
            ([str(root), "data.labels=3"], "a folder takes no overrides"),
            ([str(root / "train_img" / ".." / ".."), "--sheet", "a.gif"], "a contact sheet is .html or .png"),
            ([str(root), "--workers", "0"], "--workers is 1 or more"),
            (["pix2pixhd_labels", f"data.root={root}", "data.train=trian"], "no pictures to train on"),
        ):
            assert run_tool("check_data", wrong) == 2
            assert words in capsys.readouterr().err
        assert run_tool("check_data", [str(root / "train_label")]) == 2
        assert "is one folder of a training folder; give its parent" in capsys.readouterr().err
        (tmp_path / "empty").mkdir()
        assert run_tool("check_data", [str(tmp_path / "empty")]) == 2
        assert "looks like no training folder" in capsys.readouterr().err

    def test_json_and_text_and_overrides(self, root, tmp_path, capsys):
        for number in range(6):
            os.rename(root / "train_img" / f"{number}.png", root / "train_img" / f"{number * number}_{number}.png")
        recipe = write_recipe(tmp_path / "r.yaml", small_recipe(root, tmp_path / "run"))
        arguments = [str(recipe), "data.labels=4", "--json-to", str(tmp_path / "report.json")]
        assert run_tool("check_data", arguments) == 1
        assert "and 1 more" in capsys.readouterr().out
        assert run_tool("check_data", [*arguments[:2], "--json"]) == 1
        printed = json.loads(capsys.readouterr().out)
        assert printed == json.loads((tmp_path / "report.json").read_text())
        (lacking,) = (f for f in printed["findings"] if "no file in train_label/" in f["words"])
        assert lacking["count"] == len(lacking["places"]) == 6

    def test_contact_sheets(self, clean, tmp_path):
        for name in ("sheet.png", "again.png", "sheet.html"):
            assert run_tool("check_data", [str(clean), "--sheet", str(tmp_path / name)]) == 0
        sheet = cv2.imread(str(tmp_path / "sheet.png"))
        assert (tmp_path / "sheet.png").read_bytes() == (tmp_path / "again.png").read_bytes()
        red = (sheet == (40, 40, 255)).all(axis=2)
        assert sheet.shape[0] == 3 * (HEIGHT + 24) and red.sum() > 1000
        page = (tmp_path / "sheet.html").read_text()
        assert page.count("data:image/jpeg;base64,") == 6 and "http" not in page.replace("http-equiv", "")


@pytest.mark.skipif(not (SHARED / "data").is_dir(), reason="no ../shared/data")
def test_real_folders():
    summer = findings(SHARED / "data" / "summer2winter")
    assert ("duplicates", WARNING) in summer and ("overlap", WARNING) in summer
    assert findings(SHARED / "data" / "facades").keys() == {("pairing", NOTE)}
    city = check_data(SHARED / "data" / "cityscapes", 2)
    assert {f.kind for f in city.findings} == {"untrained classes", "absent classes", "pairing"}
    assert len(city.facts.classes) == 35 and "boundary: instance" in city.recipe


def test_a_toy_city_of_shards(tmp_path):
    toy_data(tmp_path / "plain", 4, 2)
    write_shards(tmp_path / "plain", tmp_path / "shards", 1 << 16)
    assert check_data(tmp_path / "shards", 2).facts.of("train")[0].instances > 1
