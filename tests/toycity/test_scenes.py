"""Toy street scenes: recorded hashes, consistency of the maps, the written folder, the command."""

import ast
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from hdtrans.cli import run_tool
from hdtrans.common.classes import ClassTable
from hdtrans.common.errors import UserError
from hdtrans.toycity import scenes as toycity
from hdtrans.toycity.scenes import CLASS_COLOURS, CLASS_NAMES, COUNTED, Scene, render, write_dataset

# (seed, height, width): SHA-256 of the label map, the instance map and the photo, little-endian
HASHES = {
    (0, 256, 512): (
        "6572bd36641c47faaf711171634e82a77c9fc1e103b4195c852834480c1bf2e2",
        "077b14b3eb6d32daa5ff01e5daf645aa999162e52808b6d95281201277050b7f",
        "789492486fb81060b57f08a8641f1c9fbffac394aebeb539fbf78cfc2b79e54e",
    ),
    (3, 64, 128): (
        "2dd34393b7e51ed38d1c6b6882add0015de291daf9034aebfc6c0bb1405ab271",
        "8c00b8733de5aa33cb00b7c7e200fa2b02de721d23cd11bd13b64d302222c1d7",
        "e7c2b9b131b86e5d4ba342ccdd99b0db79e3b00785f131a6d5caaeec5842f28f",
    ),
    (12, 70, 131): (
        "146674d5eb31c6f038d61e5a40a822b90a0041f1c2845b5b1a9a9ad278a9d232",
        "0fc676a7105819c6668fb29945a2ef26de4dc9af12a76e03c56e1f09bfa506c3",
        "1d20663eb3de5ca99f961a08fb79dbf4982cd8f31be585984483a5078f4a1343",
    ),
    (1099511627776, 200, 96): (
        "66fc14332b8372a49b6debcead48b6e050ab42e122c64195e7f34a955225400d",
        "e6b34fee48607410583063079fb64a872f195e53776d65ebaac8d221a1ea76b3",
        "f1b71826eba547797b662cde7b2eecdc9723ac0729588c3e228a2580a397d512",
    ),
}
SIZES = [(256, 512), (64, 128), (70, 131), (32, 32), (32, 400), (400, 32), (128, 128), (201, 90)]


def digest(array: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes()).hexdigest()


def check_scene(scene: Scene, height: int, width: int) -> None:
    assert (scene.label.shape, scene.label.dtype) == ((height, width), np.uint8)
    assert (scene.instance.shape, scene.instance.dtype) == ((height, width), np.int32)
    assert (scene.photo.shape, scene.photo.dtype) == ((height, width, 3), np.uint8)
    assert scene.label.max() < len(CLASS_NAMES)
    counted = np.isin(scene.label, COUNTED)
    np.testing.assert_array_equal(scene.instance >= 1000, counted)
    np.testing.assert_array_equal(np.where(scene.instance >= 1000, scene.instance // 1000, scene.instance), scene.label)


@pytest.mark.parametrize(("seed", "height", "width"), HASHES)
def test_same_pixels_on_every_machine(seed: int, height: int, width: int) -> None:
    scene = render(seed, height, width)
    assert tuple(digest(each) for each in (scene.label, scene.instance, scene.photo)) == HASHES[seed, height, width]


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_maps_agree_at_every_size(height: int, width: int) -> None:
    for seed in range(6):
        check_scene(render(seed, height, width), height, width)


def test_maps_agree_at_2048x1024() -> None:
    check_scene(render(5, 1024, 2048), 1024, 2048)


def test_parts_share_an_instance_number_and_numbers_have_no_gaps() -> None:
    kinds = (("car", "car_window", "wheel", "car_light"), ("tree", "trunk"), ("person",))
    for seed in range(12):
        instance = render(seed, 128, 256).instance
        values = np.unique(instance[instance >= 1000])
        for names in kinds:
            classes = [CLASS_NAMES.index(name) for name in names]
            numbers = np.unique(values[np.isin(values // 1000, classes)] % 1000)
            np.testing.assert_array_equal(numbers, np.arange(len(numbers)))


def test_pixels_of_a_car_are_connected() -> None:
    classes = [CLASS_NAMES.index(name) for name in ("car", "car_window", "wheel", "car_light")]
    scene = render(0, 256, 512)
    nearest = np.isin(scene.instance, [each * 1000 for each in classes])
    rows, columns = np.nonzero(nearest)
    assert len(rows) > 500
    assert len(rows) > 0.4 * (np.ptp(rows) + 1) * (np.ptp(columns) + 1)


def test_every_class_appears_and_common_ones_in_every_scene() -> None:
    shares = np.stack([np.bincount(render(seed, 128, 256).label.ravel(), minlength=19) for seed in range(24)])
    assert (shares.sum(axis=0) > 0).all()
    for name in ("sky", "building", "road", "sidewalk", "marking", "window"):
        assert (shares[:, CLASS_NAMES.index(name)] > 0).all(), name


def test_equal_seeds_give_the_same_street_at_every_size() -> None:
    large, small = render(9, 256, 512).label, render(9, 64, 128).label
    assert (large[2::4, 2::4] == small).mean() > 0.85


def test_other_seeds_give_other_streets() -> None:
    assert (render(1, 64, 128).label != render(2, 64, 128).label).mean() > 0.1


def test_photo_has_texture_and_road_differs_from_sky() -> None:
    scene = render(4, 256, 512)
    road = scene.photo[scene.label == CLASS_NAMES.index("road")].astype(int)
    sky = scene.photo[scene.label == CLASS_NAMES.index("sky")].astype(int)
    assert road.std(axis=0).min() > 2
    assert sky[:, 2].mean() > road[:, 2].mean() + 30


def test_classes_have_distinct_names_and_colours() -> None:
    assert len(set(CLASS_NAMES)) == len(set(CLASS_COLOURS)) == len(CLASS_NAMES) == len(CLASS_COLOURS)


def test_rendering_uses_integers_only() -> None:
    for path in sorted(Path(toycity.__file__).parent.glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            assert not (isinstance(node, ast.Constant) and isinstance(node.value, float)), (path.name, node.lineno)
            if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
                assert path.name == "scenes.py", (path.name, node.lineno)  # `/` joins paths there
            if isinstance(node, ast.Attribute):
                assert node.attr not in ("random", "sqrt", "sin", "mean", "float32", "float64"), (
                    path.name,
                    node.lineno,
                )


@pytest.mark.parametrize(("height", "width"), [(31, 64), (64, 31), (0, 0), (64, 5000)])
def test_sizes_out_of_range_are_refused(height: int, width: int) -> None:
    with pytest.raises(UserError, match=r"32 to 4096"):
        render(0, height, width)


def test_negative_seeds_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="0 or more"):
        render(-1, 64, 64)
    with pytest.raises(UserError, match="seed: got -1"):
        write_dataset(tmp_path / "city", 1, 1, 64, 64, seed=-1)
    with pytest.raises(UserError, match="train: got -1"):
        write_dataset(tmp_path / "city", -1, 1, 64, 64)
    assert not (tmp_path / "city").exists()


def test_dataset_has_the_layout_of_pix2pixhd(tmp_path: Path) -> None:
    steps: list[tuple[int, int]] = []
    write_dataset(tmp_path / "city", 2, 1, 40, 66, progress=lambda done, total: steps.append((done, total)))
    files = sorted(str(path.relative_to(tmp_path / "city")) for path in (tmp_path / "city").rglob("*.*"))
    assert files == [
        "dataset.json",
        *(f"test_{kind}/00000.png" for kind in ("img", "inst", "label")),
        *(f"train_{kind}/0000{number}.png" for kind in ("img", "inst", "label") for number in (0, 1)),
    ]
    assert steps == [(1, 3), (2, 3), (3, 3)]
    table = ClassTable.read(tmp_path / "city" / "dataset.json")
    assert (table.names, table.colours) == (CLASS_NAMES, CLASS_COLOURS)
    scene = render(2, 40, 66)
    label, instance, photo = (
        cv2.imread(str(tmp_path / "city" / f"train_{kind}" / "00001.png"), cv2.IMREAD_UNCHANGED)
        for kind in ("label", "inst", "img")
    )
    assert (label.dtype, instance.dtype, photo.dtype) == (np.uint8, np.uint16, np.uint8)
    np.testing.assert_array_equal(label, scene.label)
    np.testing.assert_array_equal(instance, scene.instance)
    np.testing.assert_array_equal(photo[..., ::-1], scene.photo)


def test_test_scenes_differ_from_training_scenes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seeds: list[int] = []
    blank = render(0, 32, 32)

    def record(seed: int, height: int, width: int) -> Scene:
        seeds.append(seed)
        return blank

    monkeypatch.setattr(toycity, "render", record)
    for seed in (0, 1, 2):
        write_dataset(tmp_path / str(seed), 4, 4, 32, 32, seed=seed)
    assert len(set(seeds)) == len(seeds) == 24


def test_missing_files_are_written_and_others_kept(tmp_path: Path) -> None:
    city = tmp_path / "city"
    write_dataset(city, 2, 1, 32, 48)
    gone, kept = city / "train_inst" / "00001.png", city / "train_img" / "00000.png"
    before, age = gone.read_bytes(), os.stat(kept).st_mtime_ns
    gone.unlink()
    write_dataset(city, 3, 1, 32, 48)
    assert gone.read_bytes() == before
    assert os.stat(kept).st_mtime_ns == age
    assert (city / "train_img" / "00002.png").exists()


def test_foreign_folders_are_refused_and_unchanged(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match="not a toy city"):
        write_dataset(tmp_path, 1, 1, 32, 32)
    with pytest.raises(UserError, match="is a file"):
        write_dataset(tmp_path / "notes.txt", 1, 1, 32, 32)
    (tmp_path / "dataset.json").write_text(json.dumps({"classes": []}))
    with pytest.raises(UserError, match="not a toy city"):
        write_dataset(tmp_path, 1, 1, 32, 32)
    assert sorted(os.listdir(tmp_path)) == ["dataset.json", "notes.txt"]


def test_a_toy_city_of_another_size_or_seed_is_refused(tmp_path: Path) -> None:
    write_dataset(tmp_path / "city", 1, 0, 32, 48)
    for height, width, seed in ((32, 64, 0), (32, 48, 1)):
        with pytest.raises(UserError, match="contains a toy city with"):
            write_dataset(tmp_path / "city", 1, 0, height, width, seed)


def test_command_writes_scenes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--out", str(tmp_path / "city"), "--train", "1", "--test", "1", "--size", "64x32", "--seed", "3"]
    assert run_tool("make_toycity", arguments) == 0
    assert "2 scenes" in capsys.readouterr().err
    assert cv2.imread(str(tmp_path / "city" / "test_img" / "00000.png")).shape == (32, 64, 3)


def test_command_reports_a_wrong_size(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for size in ("512", "64x8", "x", "64x-32"):
        assert run_tool("make_toycity", ["--out", str(tmp_path / "city"), f"--size={size}"]) == 2
        message = capsys.readouterr().err
        assert "size" in message
        assert "512x256" in message
    assert not (tmp_path / "city").exists()


def test_tool_is_the_command() -> None:
    tool = Path(__file__).parents[2] / "tools" / "make_toycity.py"
    result = subprocess.run([sys.executable, str(tool), "--help"], capture_output=True, text=True, check=True)
    assert "--out" in result.stdout
