"""Styles: clusters of a training folder, and pictures made with them, from other pictures, and by hand."""

import contextlib
import json
import re
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from hdtrans.cli import run_tool
from hdtrans.common.classes import ClassTable
from hdtrans.common.errors import UserError
from hdtrans.engine.checkpoint import Checkpoints, find_checkpoint, load, save, styles_file
from hdtrans.inference.styles.clusters import Clusters, Styles
from hdtrans.inference.styles.encode import Options, Table, cluster
from hdtrans.inference.styles.objects import Objects
from hdtrans.inference.styles.style import Style, of_instances, read_style
from hdtrans.inference.translator import Translator
from hdtrans.toycity.scenes import CLASS_NAMES
from tests.forked import run_command, two_processes
from tests.shared_folder import filled_once
from tests.small_runs import made_checkpoint, small_recipe, toy_data, train_values

ROOT = Path(__file__).resolve().parents[3]
FEATURES = {"count": 2, "width": 4, "downsamples": 1}
ROAD = CLASS_NAMES.index("road")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `city`, and `run`, a model with features whose styles are made, and `bare`, the same without."""
    return filled_once(tmp_path_factory, "styles", train_with_features)[0]


def train_with_features(folder: Path) -> None:
    """Train the model and make its styles."""
    toy_data(folder / "city")
    values = small_recipe(folder / "city", folder / "run")
    values["method"]["features"] = FEATURES
    train_values(values)
    shutil.copytree(folder / "run", folder / "bare")
    assert run_tool("encode_styles", [str(folder / "run"), "--clusters", "3"]) == 0


@pytest.fixture(scope="module")
def translator(place: Path) -> Translator:
    return Translator.load(place / "run")


def infer(*arguments: object) -> int:
    return run_tool("infer", [str(a) for a in arguments])


def read(place: Path, number: int, split: str = "test") -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the label map, instance map and photo (RGB) of a scene."""
    files = [place / f"city/{split}_{kind}/{number:05d}.png" for kind in ("label", "inst", "img")]
    label, instance, photo = (cv2.imread(str(file), cv2.IMREAD_UNCHANGED) for file in files)
    return label, instance, cv2.cvtColor(photo, cv2.COLOR_BGR2RGB)


def pictures(folder: Path) -> dict[str, np.ndarray]:
    return {str(f.relative_to(folder)): cv2.imread(str(f)) for f in sorted(folder.rglob("*.png"))}


def apart(one: np.ndarray, other: np.ndarray) -> int:
    return int(np.abs(one.astype(int) - other).max())


# The clusters


def table(shares: list[float], features: list[list[float]], classes: list[int]) -> Table:
    rows = np.arange(len(shares))
    return Table(rows, rows + 100, np.array(classes), np.array(shares), np.array(features))


def test_each_class_is_clustered_by_area() -> None:
    rows = table([0.5, 0.1, 0.2, 0.001, 0.003, 0.001], [[1], [0.4], [-1], [0], [0.8], [0.4]], [4, 4, 4, 4, 7, 7])
    clusters, nearest = cluster(rows, Options(clusters=2, min_area=0.01))
    assert clusters[4].centres.tolist() == pytest.approx(np.array([[0.9], [-1]]))
    assert clusters[4].counts.tolist() == [2, 1] and clusters[4].areas.tolist() == pytest.approx([0.6, 0.2])
    assert clusters[4].spreads.tolist() == pytest.approx(np.array([[np.sqrt(0.05)], [0]]))
    assert nearest[4] == [(0, 100), (2, 102)]
    assert clusters[7].counts.tolist() == [1, 1], "a class without large objects keeps the small ones"
    assert clusters[4].mean.tolist() == pytest.approx([0.34 / 0.8])
    alone, _ = cluster(rows, Options(clusters=1, min_area=0))
    assert alone[4].counts.tolist() == [4] and alone[7].centres[0].tolist() == pytest.approx([0.7])


def test_styles_of_a_run(place: Path, translator: Translator) -> None:
    """All objects of all training pictures, by the averaged encoder, at the size of training."""
    styles = translator.need_styles()
    assert styles.made == {"clusters": 3, "min_area": 1 / 64, "seed": 0, "pictures": 4}
    seen = []
    for number in range(4):
        label, instance, photo = read(place, number, "train")
        objects = Objects.of(instance, label)
        features = translator.encode(photo, instance)
        large = (objects.areas >= label.size / 64) & (objects.classes == ROAD)
        seen += [features[one] for one in objects.ids[large].tolist()]
    assert int(styles.classes[ROAD].counts.sum()) == len(seen) >= 4
    low, high = np.min(seen, 0) - 1e-6, np.max(seen, 0) + 1e-6
    assert ((styles.classes[ROAD].centres >= low) & (styles.classes[ROAD].centres <= high)).all()
    page = (place / "run/styles/index.html").read_text()
    assert page.count("<img") == sum(len(one) for one in styles.classes.values())
    for name in re.findall(r'src="([^"]*)"', page):
        assert cv2.imread(str(place / "run/styles" / name)) is not None


def test_the_same_styles_again_and_by_two_processes(place: Path, tmp_path: Path) -> None:
    shutil.copytree(place / "bare", tmp_path / "again")
    first = torch.load(styles_file(find_checkpoint(place / "run")), weights_only=True)
    command = [str(tmp_path / "again"), "--clusters", "3", "--device", "cpu"]
    ended = two_processes(run_command, "encode_styles", command, folder=tmp_path)
    assert [each.value and each.value[0] for each in ended] == [0, 0], [each.said for each in ended]
    assert "".join(each.out for each in ended).count("4 pictures with") == 1
    second = torch.load(styles_file(find_checkpoint(tmp_path / "again")), weights_only=True)
    assert second.keys() == first.keys() and second["weights"] == first["weights"]
    assert second["classes"].keys() == first["classes"].keys()
    for label, one in first["classes"].items():
        assert all(torch.equal(tensor, second["classes"][label][name]) for name, tensor in one.items())


def test_styles_go_with_their_checkpoint(tmp_path: Path) -> None:
    kept = Checkpoints(tmp_path, keep=2)
    for seen in (1, 2, 3):
        kept.save({"networks": {}, "recipe": {}}, seen)
        styles_file(kept.files()[0]).write_bytes(b"styles")
    assert [file.name for file in kept.files()] == ["images_000000003.pt", "images_000000002.pt"]
    assert sorted(file.name for file in kept.folder.glob("*.styles")) == [
        "images_000000002.pt.styles",
        "images_000000003.pt.styles",
    ]
    (kept.folder / "images_000000001.pt.styles").write_bytes(b"left over")
    assert kept.latest(lambda line: None) == kept.folder / "images_000000003.pt"
    assert len(list(kept.folder.glob("*.styles"))) == 2


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda file: file.write_bytes(file.read_bytes()[:100]), "cannot be read as styles"),
        (lambda file: torch.save({"format": 1, "classes": {}}, file), "cannot be read as styles"),
        (lambda file: torch.save({"format": 2}, file), "was written by a later hdtrans"),
        (lambda file: torch.save({**torch.load(file), "weights": "others"}, file), "styles of other weights"),
    ],
)
def test_unusable_styles_are_refused(
    place: Path, tmp_path: Path, change: Any, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Are refused where they are needed, and made anew by the command."""
    shutil.copytree(place / "run", tmp_path / "run")
    change(styles_file(find_checkpoint(tmp_path / "run")))
    translator = Translator.load(tmp_path / "run")
    label, instance, _ = read(place, 0)
    with pytest.raises(UserError, match=words):
        translator(label, instance)
    assert run_tool("encode_styles", [str(tmp_path / "run")]) == 0
    Translator.load(tmp_path / "run")(label, instance)


def test_bad_files_are_left_out_where_training_left_them_out(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(place / "city", tmp_path / "city")
    (tmp_path / "city/train_img/00001.png").write_bytes(b"none")
    for policy in ("stop", "skip"):
        state = load(find_checkpoint(place / "run"))
        state["recipe"]["training"]["bad_files"] = policy
        save(tmp_path / policy / "model.pt", state)
        code = run_tool("encode_styles", [str(tmp_path / policy / "model.pt"), "--data", str(tmp_path / "city")])
        said = capsys.readouterr()
        if policy == "stop":
            assert code == 2 and "train_img/00001.png" in said.err
            assert not list(tmp_path.glob("stop/*styles"))
        else:
            assert code == 0 and re.search(r"left out: .*train_img/00001.png", said.out)
            assert "3 pictures with" in said.out and (tmp_path / "skip/styles/index.html").is_file()


def test_a_model_of_pictures_takes_styles(tmp_path: Path) -> None:
    """There are no classes: what an object does not take from its own picture is the mean of all."""
    data = {"kind": "picture_pairs", "root": "."}
    method = {"kind": "pix2pixhd", "features": FEATURES, "perceptual": {"kind": "none"}}
    method |= {"generator": {"width": 4, "downsamples": 2, "blocks": 1}}
    model = Translator.load(made_checkpoint(tmp_path / "model.pt", data, method))
    assert model.reads == {"source", "instance"}
    random = np.random.default_rng(0)
    source, photo, other = random.integers(0, 256, (3, 24, 32, 3), dtype=np.uint8)
    ids = random.integers(0, 3, (24, 32), dtype=np.int32)
    features = model.encode(photo, ids)
    assert apart(model(source, ids, style=photo), model(source, ids, style=features)) == 0
    styled = model.apply_style(model.check(source, ids), (photo, other, ids[::-1].copy()))["features"]
    assert np.ptp(styled.reshape(-1, 2), 0).max() == 0
    with pytest.raises(UserError, match="run hdtrans encode_styles"):
        model(source, ids)


def test_encode_styles_refuses_unusable_arguments(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    values = small_recipe(place / "city", tmp_path / "plain")
    train_values(values)
    for arguments, words in (
        ([tmp_path / "plain"], "was trained without features"),
        ([place / "bare", "--clusters", 0], "--clusters 0: is a number from 1"),
        ([place / "bare", "--min-area", 1], "--min-area 1.0: is a share of the picture"),
        ([place / "bare", "--data", tmp_path / "nowhere"], "nowhere: there is no such folder"),
    ):
        assert run_tool("encode_styles", [str(a) for a in arguments]) == 2
        assert words in capsys.readouterr().err
    assert not list(place.glob("bare/checkpoints/*.styles"))
    label, instance, photo = read(place, 0)
    plain = Translator.load(tmp_path / "plain")
    with pytest.raises(UserError, match="style: this model takes none"):
        plain(label, instance, style="mean")
    with pytest.raises(UserError, match=r"cannot encode a picture: it was trained without styles \(method.features\)"):
        plain.encode(photo, instance)
    assert (
        infer(tmp_path / "plain", "--input", place / "city/test_label", "--out", tmp_path / "o", "--style", "mean") == 2
    )
    assert "--style mean: this model takes none" in capsys.readouterr().err


# What a style says


def known() -> Styles:
    def one(centres: list[float], counts: list[int]) -> Clusters:
        count = len(counts)
        areas = np.arange(1, count + 1, dtype=np.float32)
        return Clusters(np.array(centres, np.float32)[:, None], np.zeros((count, 1)), np.array(counts), areas)

    return Styles(1, "", {}, {0: one([0.5, -0.5], [30, 10]), 3: one([0.25], [5])})


def objects(count: int = 6) -> Objects:
    """Return as many objects as that, of the classes 0, 3, 0, 3... and the last of class 9."""
    ids = np.arange(count)[None] * 1000
    label = np.arange(count)[None] % 2 * 3
    label[0, -1] = 9
    return Objects.of(ids, label)


def test_instances_go_before_classes_and_these_before_others() -> None:
    style = Style("mean", {0: 1, 3: np.array([0.75])}, {2000: np.array([-1.0]), 3000: 0})
    mean_of_all = (known().classes[0].mean * 3 + 0.25 * 1) / 4
    given = style.features(objects(), known(), 1, 0)[:, 0]
    assert given.tolist() == pytest.approx([-0.5, 0.75, -1, 0.25, -0.5, float(mean_of_all[0])])
    assert known().mean(0).tolist() == pytest.approx([-0.5 / 3])


def test_a_draw_follows_from_seed_and_id_alone() -> None:
    many = Objects.of(np.arange(3000)[None], np.zeros((1, 3000), np.uint8))
    drawn = Style("sample").features(many, known(), 1, 5)[:, 0]
    assert set(drawn.tolist()) == {0.5, -0.5}
    assert abs(float((drawn == 0.5).mean()) - 0.75) < 0.03, "as often as training objects are in the cluster"
    few = Objects.of(np.array([[2999, 17, 17, 4]]), np.zeros((1, 4), np.uint8))
    assert Style("sample").features(few, known(), 1, 5)[:, 0].tolist() == drawn[[4, 17, 2999]].tolist()
    other = Style("sample").features(many, known(), 1, 6)[:, 0]
    assert abs(float((other == drawn).mean()) - (0.75**2 + 0.25**2)) < 0.03, "seeds are independent"


def test_styles_in_json(tmp_path: Path) -> None:
    classes = ClassTable(("road", "a", "b", "car"), ((0, 0, 0),) * 4)
    file = tmp_path / "styles.json"
    file.write_text('{"classes": {"car": [0.5], "0": 1}, "instances": {"4000": -1, "2000": [1]}, "others": "sample"}')
    style = read_style(file, classes)
    assert style.others == "sample" and style.classes[0] == 1 and style.classes[3].tolist() == [0.5]
    assert style.instances[4000] == -1
    with pytest.raises(UserError, match=r"style: object 4000: there is no cluster -1 of class 0; it has 0 to 1"):
        style.features(objects(), known(), 1, 0)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "cannot be read as JSON"),
        ("[1]", "is no style; write it as"),
        ('{"class": {}}', "there is no key 'class'; .* Did you mean 'classes'"),
        ('{"classes": {"cra": 1}}', "neither the name nor the id of a class. Did you mean 'car'"),
        ('{"classes": 1}', "json: is no style; write it as"),
        ('{"others": "from"}', "others is sample or mean"),
        ('{"instances": {"x": 1}}', "'x' is no instance id"),
        ('{"instances": {"1": "red"}}', "'red' is neither the number of a cluster nor a feature"),
        ('{"instances": {"1": true}}', "True is neither"),
        ('{"instances": {"1": ["a"]}}', "is neither the number of a cluster nor a feature"),
    ],
)
def test_json_that_is_no_style(text: str, words: str, tmp_path: Path) -> None:
    file = tmp_path / "styles.json"
    file.write_text(text)
    with pytest.raises(UserError, match=words):
        read_style(file, ClassTable(("road", "car"), ((0, 0, 0),) * 2))


def test_features_that_are_none() -> None:
    for feature in ([0.1, 0.2], [1.5], [float("nan")], 0.5):
        with pytest.raises(UserError, match="numbers in|neither the number"):
            of_instances({0: feature}).features(objects(), known(), 1, 0)
    with pytest.raises(UserError, match="run hdtrans encode_styles on it once"):
        of_instances({0: [0.1]}).features(objects(), None, 1, 0)


# The Translator


def test_encode_gives_each_object_its_mean(place: Path, translator: Translator) -> None:
    _, instance, photo = read(place, 0)
    features = translator.encode(photo, instance)
    assert list(features) == np.unique(instance).tolist()
    one = torch.from_numpy(instance.astype(np.int32))[None]
    module = translator.method.encoder(translator.method.networks)
    whole = module(torch.from_numpy(photo).permute(2, 0, 1)[None], one)[0].numpy()
    for number, feature in features.items():
        assert feature.shape == (2,) and feature.dtype == np.float32 and np.abs(feature).max() <= 1
        assert np.abs(whole[:, instance == number] - feature[:, None]).max() < 1e-6
    with pytest.raises(UserError, match="different sizes: the picture 64x32, its map 63x32"):
        translator.encode(photo, instance[:, 1:])


def test_one_edited_object_leaves_all_others(place: Path, translator: Translator) -> None:
    label, instance, photo = read(place, 1)
    features = translator.encode(photo, instance)
    inputs = translator.check(label, instance)
    before = translator.apply_style(inputs, features)
    chosen = [*features][2]
    after = translator.apply_style(inputs, {**features, chosen: np.array([0.9, -0.9])})
    there = instance == chosen
    assert np.array_equal(after["features"][~there], before["features"][~there])
    assert np.abs(after["features"][there] - np.float32([0.9, -0.9])).max() == 0
    assert {name: array for name, array in after.items() if name != "features"} == inputs
    assert apart(translator(label, instance, style=features), translator(label, instance, style=photo)) == 0
    assert apart(translator.translate([before])[0], translator.translate([after])[0]) > 0


def test_styles_of_a_call(place: Path, translator: Translator) -> None:
    label, instance, photo = read(place, 0)
    other_label, other_instance, other = read(place, 1)
    plain = translator(label, instance)
    assert apart(plain, translator(label, instance, style="mean", seed=3)) == 0
    first, again, second = (translator(label, instance, style="sample", seed=seed) for seed in (1, 1, 2))
    assert apart(first, again) == 0 and apart(first, second) > 0
    theirs = translator(label, instance, style=(other, other_label, other_instance))
    assert apart(theirs, translator(label, instance, style=photo)) > 0
    objects, look = Objects.of(other_instance, other_label), translator.encode(other, other_instance)
    roads = [look[one] for one in objects.ids[objects.classes == ROAD].tolist()]
    areas = objects.areas[objects.classes == ROAD]
    styled = translator.apply_style(translator.check(label, instance), (other, other_label, other_instance))
    assert np.abs(styled["features"][label == ROAD] - np.average(roads, 0, areas)).max() < 1e-6
    for style, words in (
        ("maen", "style=maen: there is no style 'maen'; there are sample, mean. Did you mean 'mean'"),
        ({2**30: [0, 0]}, "the input has none of them"),
        ({"car": [0, 0]}, "'car' is no instance id"),
        (photo[1:], "different sizes: the picture 64x31, its map 64x32"),
        ([0.5, 0.5], "style: cannot be used; give sample, mean, a dict of instance ids"),
        ((photo, label, instance, instance), "style: cannot be used"),
        ((photo, label), "instance: this model needs it"),
    ):
        with pytest.raises(UserError, match=words):
            translator(label, instance, style=style)


def test_a_model_without_styles_takes_them_from_pictures(place: Path) -> None:
    bare = Translator.load(place / "bare")
    label, instance, photo = read(place, 0)
    with pytest.raises(UserError, match="run hdtrans encode_styles on it once, or take the style from a picture"):
        bare(label, instance)
    one = (photo, np.zeros_like(label), np.zeros_like(instance))
    features = bare.apply_style(bare.check(label, instance), one)["features"]
    assert np.ptp(features.reshape(-1, 2), 0).max() == 0, "classes that the picture lacks take its mean"
    bare(label, instance, style=photo)


def test_components_are_encoded_by_the_label_map(place: Path, tmp_path: Path) -> None:
    values = small_recipe(place / "city", tmp_path / "run")
    values["method"]["features"] = FEATURES
    values["data"]["instances"] = "components"
    train_values(values)
    assert run_tool("encode_styles", [str(tmp_path / "run")]) == 0
    model = Translator.load(tmp_path / "run")
    label, _, photo = read(place, 0)
    features = model.encode(photo, label)
    assert len(features) > len(np.unique(label))
    model(label, style="sample")
    model(label, style=(photo, label))
    assert infer(tmp_path / "run", "--input", place / "city/test_label", "--out", tmp_path / "out") == 0


def test_the_example_of_the_documentation(place: Path, translator: Translator) -> None:
    page = (ROOT / "docs/translate.md").read_text(encoding="utf-8")
    (example,) = [code for code in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "translator.encode" in code]
    label, instance, photo = read(place, 1)
    first, second = (int(n) for n in np.unique(instance)[-2:])
    example = example.replace("26001", str(first)).replace("26002", str(second))
    names: dict[str, Any] = {"translator": translator, "label": label, "instance": instance, "photo": photo}
    exec(example, names)
    assert names["features"][first] is names["features"][second]
    assert names["picture"].shape == photo.shape
    (example,) = re.findall(r"```json\n(.*?)```", page, re.DOTALL)
    file = place / "readme.json"
    file.write_text(example)
    assert read_style(file, ClassTable(("sky", "car"), ((0, 0, 0),) * 2)).others == "sample"


# The command


def test_samples_are_the_same_in_any_order_and_batch(place: Path, tmp_path: Path) -> None:
    maps = [place / f"city/test_label/{n:05d}.png" for n in range(3)]
    more = ["--instances", place / "city/test_inst", "--style", "sample"]
    assert infer(place / "run", "--input", *maps, "--out", tmp_path / "a", *more, "--num-samples", 3, "--seed", 4) == 0
    batched = ["--input", *maps[::-1], "--batch-size", 3, "--num-samples", 2, "--seed", 5]
    assert infer(place / "run", *batched, "--out", tmp_path / "b", *more) == 0
    first, second = pictures(tmp_path / "a"), pictures(tmp_path / "b")
    assert sorted(first) == [f"sample_{s}/{n:05d}.png" for s in range(3) for n in range(3)]
    assert len(second) == 6
    for name, picture in second.items():
        number = int(name[7])
        assert apart(picture, first[name.replace(f"_{number}/", f"_{number + 1}/")]) <= 1
    assert apart(first["sample_0/00000.png"], first["sample_1/00000.png"]) > 0
    page = (tmp_path / "a/index.html").read_text()
    assert page.count("<figcaption>sample_2</figcaption>") == 3 and page.count("<img") == 12


def test_samples_are_made_once(place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("av", reason="needs hdtrans[video]")
    out = tmp_path / "out"
    command = [
        place / "run",
        "--input",
        place / "city/test_label",
        "--style",
        "sample",
        "--num-samples",
        2,
        "--out",
        out,
    ]
    assert infer(*command, "--video", 2) == 0
    assert {str(f.relative_to(out)) for f in out.rglob("*.webm")} == {"sample_0/video.webm", "sample_1/video.webm"}
    (out / "sample_1/00001.png").unlink()
    capsys.readouterr()
    assert infer(*command) == 0
    assert "1 made, 2 there already" in capsys.readouterr().out
    assert len(pictures(out)) == 6
    for other in (["--seed", 1], ["--style", "mean", "--num-samples", 1], ["--num-samples", 3]):
        assert infer(*command, *other) == 2
        assert "holds pictures of another model" in capsys.readouterr().err


def test_references_are_paired_by_name(place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With maps of their own beside them, or by those of the inputs; a changed one makes its picture anew."""
    model = Translator.load(place / "run")
    (tmp_path / "photos").mkdir()
    for number in range(2):
        shutil.copy(place / f"city/test_img/{number:05d}.png", tmp_path / "photos")
    command = [place / "run", "--input", place / "city/test_label", "--out", tmp_path / "out"]
    assert infer(*command, "--style", f"from={tmp_path}/photos") == 1
    assert "00002: --style: no picture there has the name of this input" in capsys.readouterr().out
    made = pictures(tmp_path / "out")
    for number in range(2):
        label, instance, photo = read(place, number)
        wanted = model(label, instance, style=photo)
        assert apart(cv2.cvtColor(made[f"{number:05d}.png"], cv2.COLOR_BGR2RGB), wanted) == 0
    page = (tmp_path / "out/index.html").read_text()
    assert page.count("<figcaption>reference</figcaption>") == 2
    shutil.copy(place / "city/test_img/00002.png", tmp_path / "photos/00001.png")
    infer(*command, "--style", f"from={tmp_path}/photos")
    assert "1 made, 1 there already, 1 failed" in capsys.readouterr().out
    assert apart(pictures(tmp_path / "out")["00001.png"], made["00001.png"]) > 0


def test_one_reference_for_all(place: Path, tmp_path: Path) -> None:
    model = Translator.load(place / "run")
    reference = place / "city/test_img/00001.png"
    command = [place / "run", "--input", place / "city/test_label", "--style", f"from={reference}"]
    assert infer(*command, "--out", tmp_path / "out") == 0
    its_label, its_instance, photo = read(place, 1)
    for name, picture in pictures(tmp_path / "out").items():
        label, instance, _ = read(place, int(name[:5]))
        wanted = model(label, instance, style=(photo, its_label, its_instance))
        assert apart(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), wanted) == 0


def test_a_style_from_a_file(place: Path, tmp_path: Path, translator: Translator) -> None:
    label, instance, _ = read(place, 0)
    styles = translator.need_styles()
    last = int(np.unique(instance)[-1])
    file = tmp_path / "styles.json"
    file.write_text(json.dumps({"classes": {"road": [0.5, -0.5]}, "instances": {str(last): [1, 1]}}))
    more = ["--style", f"file={file}", "--out", tmp_path / "out"]
    assert infer(place / "run", "--input", place / "city/test_label/00000.png", *more) == 0
    objects = Objects.of(instance, label)
    features = {
        number: styles.mean(kind) for number, kind in zip(objects.ids.tolist(), objects.classes.tolist(), strict=True)
    }
    features |= {number: [0.5, -0.5] for number in objects.ids[objects.classes == ROAD].tolist()} | {last: [1, 1]}
    (made,) = pictures(tmp_path / "out").values()
    assert apart(cv2.cvtColor(made, cv2.COLOR_BGR2RGB), translator(label, instance, style=features)) == 0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--style", "samples"], "--style samples: there is no style 'samples'; there are sample, mean, from=PICTURE"),
        (["--style", "from=nowhere.png"], "--style from=nowhere.png: there is no such file or folder"),
        (["--style", "file=nowhere.json"], "--style file=nowhere.json: there is no such file or folder"),
        (["--num-samples", "3"], "--num-samples 3: they would all be the same picture; give --style sample"),
        (["--style", "sample", "--seed", str(2**63 - 1), "--num-samples", "2"], "and so is that of the last sample"),
    ],
)
def test_styles_that_are_none(
    place: Path, options: list[str], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert infer(place / "run", "--input", place / "city/test_label", "--out", tmp_path / "out", *options) == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("ending", [".safetensors", ".onnx", pytest.param(".pt2", marks=pytest.mark.slow)])
def test_published_models_carry_styles(
    place: Path, ending: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = tmp_path / f"city{ending}"
    assert run_tool("export", [str(place / "run"), "--out", str(model), "--size", "64x32"]) == 0
    given = ["--input", place / "city/test_label", "--style", "sample", "--seed", 3]
    assert infer(place / "run", *given, "--out", tmp_path / "own") == 0
    assert infer(model, *given, "--out", tmp_path / "published", "--trust") == 0
    own, published = pictures(tmp_path / "own"), pictures(tmp_path / "published")
    assert len(own) == 3 and all(apart(picture, published[name]) <= 1 for name, picture in own.items())
    references = ["--input", place / "city/test_label", "--style", f"from={place}/city/test_img"]
    capsys.readouterr()
    code = infer(model, *references, "--out", tmp_path / "from", "--trust")
    if ending == ".safetensors":
        _, instance, photo = read(place, 0)
        encoded, own_encoded = (Translator.load(m).encode(photo, instance) for m in (model, place / "run"))
        assert code == 0 and all(np.array_equal(encoded[number], own_encoded[number]) for number in own_encoded)
    else:
        assert code == 2 and "lacks the encoder" in capsys.readouterr().err
    with contextlib.chdir(tmp_path):
        assert run_tool("encode_styles", [model.name]) == 2
    refusal = "give --trust" if ending == ".pt2" else "is published; make styles of the run"
    assert refusal in capsys.readouterr().err


def test_a_style_is_scored(place: Path, tmp_path: Path) -> None:
    shutil.copytree(place / "run", tmp_path / "run")
    more = ["--metrics", "l1", "--style", f"from={place}/city/test_img"]
    assert run_tool("evaluate", [str(tmp_path / "run"), *more]) == 0
    (file,) = (tmp_path / "run/evaluation").glob("*.json")
    assert file.name.endswith("_test_from.json") and '"style": "from=' in file.read_text()
