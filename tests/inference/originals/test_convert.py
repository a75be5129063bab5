"""Weights of the original programs come in, translate as they did, and go out again bit for bit."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from hdtrans.cli import run_tool
from hdtrans.config.recipe import check_recipe
from hdtrans.config.registry import method_module
from hdtrans.engine import checkpoint
from hdtrans.engine.checkpoint import find_checkpoint, load
from hdtrans.inference.originals import shapes as original_shapes
from hdtrans.inference.originals.convert import export_original, import_original
from hdtrans.inference.originals.keys import by_letter, to_original
from tests.golden_files import Golden
from tests.inference.originals.programs import (
    convert,
    infer,
    random_weights,
    same_bits,
    save,
    save_trace,
    shaped,
    true_shapes,
    write_options,
    write_pictures,
)
from tests.small_runs import made_checkpoint, small_recipe, toy_data, train_values


def levels(picture: Tensor) -> np.ndarray:
    """Return (C, H, W) in [-1, 1] as (H, W, C) in [0, 255], not rounded."""
    return ((picture.numpy() + 1) * 127.5).transpose(1, 2, 0)


def read_rgb(file: Path) -> np.ndarray:
    return cv2.imread(str(file))[..., ::-1].astype(float)


def write_maps(folder: Path, golden: Golden) -> Path:
    """Write the maps of step 0 into `x_label/` and `x_inst/`; return the first."""
    for name in ("x_label", "x_inst"):
        (folder / name).mkdir()
    for place, (label, instance) in enumerate(zip(golden["step0/label"], golden["step0/instance"], strict=True)):
        cv2.imwrite(str(folder / "x_label" / f"{place}.png"), label.numpy())
        cv2.imwrite(str(folder / "x_inst" / f"{place}.png"), instance[0].numpy().astype(np.uint16))
    return folder / "x_label"


def goes_out_again(run: Path, folder: Path, weights: dict[str, dict[str, Tensor]]) -> None:
    assert convert(run, "--to-original", folder) == 0
    files = {file.name for file in folder.glob("*.pth")}
    assert files == {f"latest_net_{letter}.pth" for letter in weights}
    for letter, state in weights.items():
        assert same_bits(torch.load(folder / f"latest_net_{letter}.pth", weights_only=True), state)


@pytest.mark.parametrize("name", ["global", "local"])
def test_a_pix2pixhd_translates_as_it_did(tmp_path: Path, name: str) -> None:
    golden, weights = save_trace(tmp_path / "original", "pix2pixhd", f"train_trace_{name}.npz")
    assert convert(tmp_path / "original", "--out", tmp_path / "run") == 0
    assert infer(tmp_path / "run", "--input", write_maps(tmp_path, golden), "--out", tmp_path / "out") == 0
    for place, fake in enumerate(golden["step0/fake"]):
        assert abs(read_rgb(tmp_path / "out" / f"{place}.png") - levels(fake)).max() < 1
    goes_out_again(tmp_path / "run", tmp_path / "back", weights)


def test_a_pix2pixhd_with_features_translates_as_it_did(tmp_path: Path) -> None:
    """With the features that its own encoder finds in the photo."""
    golden, weights = save_trace(tmp_path / "original", "pix2pixhd", "train_trace_global_features.npz")
    assert set(weights) == {"G", "D", "E"}
    assert convert(tmp_path / "original", "--out", tmp_path / "run") == 0
    method = load(find_checkpoint(tmp_path / "run"))["recipe"]["method"]
    assert method["features"] == {"count": 3, "width": 4, "downsamples": 2, "pool": "instance"}
    photos = write_pictures(tmp_path / "photos", golden["step0/image"])
    given = [tmp_path / "run", "--input", write_maps(tmp_path, golden), "--out", tmp_path / "out"]
    assert infer(*given, "--style", f"from={photos}") == 0
    for place, fake in enumerate(golden["step0/fake"]):
        assert abs(read_rgb(tmp_path / "out" / f"{place}.png") - levels(fake)).max() < 1
    swapped = photos / "1.npy"  # with the other's looks it is another picture
    np.save(swapped, np.load(photos / "0.npy"))
    assert infer(*given[:-1], tmp_path / "other", "--style", f"from={photos}") == 0
    assert abs(read_rgb(tmp_path / "other" / "1.png") - levels(golden["step0/fake"][1])).max() > 2
    goes_out_again(tmp_path / "run", tmp_path / "back", weights)


def test_a_cyclegan_translates_as_it_did_in_both_directions(tmp_path: Path) -> None:
    golden, weights = save_trace(tmp_path / "original", "cyclegan", "train_trace.npz")
    assert convert(tmp_path / "original", "--out", tmp_path / "run") == 0
    for side, other, route in (("A", "B", "AtoB"), ("B", "A", "BtoA")):
        given = write_pictures(tmp_path / side, golden[f"step0/{side}"])
        assert infer(tmp_path / "run", "--input", given, "--out", tmp_path / route, "--direction", route) == 0
        fake = levels(golden[f"step0/fake_{other}"][0])
        assert abs(read_rgb(tmp_path / route / "0.png") - fake).max() < 1
    ours = load(find_checkpoint(tmp_path / "run"))["networks"]["discriminator_B.segments.0.convolution.weight"]
    assert torch.equal(ours, weights["D_A"]["model.0.weight"]), "the original's D_A judges pictures of B"
    goes_out_again(tmp_path / "run", tmp_path / "back", weights)


@torch.no_grad()
def test_a_pix2pix_translates_as_it_did(tmp_path: Path) -> None:
    """The trace's batch norm saw two pictures at once; translating, as the original's test does, it sees one."""
    golden, weights = save_trace(tmp_path / "original", "pix2pix", "train_trace.npz")
    assert convert(tmp_path / "original", "--out", tmp_path / "run") == 0
    state = load(find_checkpoint(tmp_path / "run"))
    recipe = check_recipe(state["recipe"], "the converted recipe")
    networks = method_module("pix2pix").build_networks(recipe.method, recipe.data)
    networks.load_state_dict(state["networks"])
    networks.train()
    a = golden["step0/A"]
    assert abs(networks["generator"](a) - golden["step0/fake"]).max() < 1 / 127.5
    assert infer(tmp_path / "run", "--input", write_pictures(tmp_path / "A", a), "--out", tmp_path / "out") == 0
    for place in range(len(a)):
        alone = levels(networks["generator"](a[place : place + 1])[0])
        assert abs(read_rgb(tmp_path / "out" / f"{place}.png") - alone).max() < 1
    goes_out_again(tmp_path / "run", tmp_path / "back", weights)


@torch.no_grad()
def test_a_pix2pixhd_with_batch_norm_translates_as_it_did(tmp_path: Path) -> None:
    """The original never leaves the training mode: its batch norm takes the statistics of the one picture."""
    golden = Golden("pix2pixhd", "global_generator_batchnorm_eval.npz")
    save(tmp_path / "original", {"G": golden.under("state/G")})
    assert convert(tmp_path / "original", "data.labels=5", "--out", tmp_path / "run") == 0
    state = load(find_checkpoint(tmp_path / "run"))
    recipe = check_recipe(state["recipe"], "the converted recipe")
    networks = method_module("pix2pixhd").build_networks(recipe.method, recipe.data)
    networks.load_state_dict(state["networks"], strict=False)
    label = np.random.default_rng(0).integers(0, 5, (32, 64), dtype=np.uint8)
    one_hot = torch.eye(5)[torch.from_numpy(label).long()].permute(2, 0, 1)[None]
    expected = levels(networks.train()["head"](networks["trunk"](one_hot))[0])
    cv2.imwrite(str(tmp_path / "label.png"), label)
    assert infer(tmp_path / "run", "--input", tmp_path / "label.png", "--out", tmp_path / "out") == 0
    assert abs(read_rgb(tmp_path / "out" / "label.png") - expected).max() < 1


NETWORKS = [
    ("pix2pixhd", "global_generator", ["data.labels=4"], {"blocks": 2, "downsamples": 3}),
    ("pix2pixhd", "global_generator_batchnorm_eval", ["data.labels=5"], {"norm": "batch"}),
    ("pix2pixhd", "local_enhancer_1", ["data.labels=4"], {"enhancers": 1, "enhancer_blocks": 2}),
    ("pix2pixhd", "local_enhancer_2", ["data.kind=picture_pairs", "data.source_channels=4"], {"enhancers": 2}),
    ("pix2pix", "unet_256", [], {"kind": "unet", "downsamples": 8, "norm": "batch", "dropout": True}),
    ("pix2pix", "unet_128_instance", [], {"kind": "unet", "downsamples": 7, "norm": "instance"}),
    ("cyclegan", "resnet_6blocks", [], {"kind": "resnet", "blocks": 6, "downsamples": 2, "dropout": False}),
    ("cyclegan", "resnet_9blocks", ["method.kind=cyclegan"], {"kind": "resnet", "blocks": 9}),
    ("cyclegan", "resnet_6blocks_dropout_eval", [], {"dropout": True, "norm": "instance"}),
]


@pytest.mark.parametrize(("program", "name", "given", "section"), NETWORKS)
def test_a_generator_alone(tmp_path: Path, program: str, name: str, given: list[str], section: dict[str, Any]) -> None:
    golden = Golden(program, f"{name}.npz")
    letter = "G_A" if given == ["method.kind=cyclegan"] else "G"
    weights = {letter: golden.under("state/G")}
    file = save(tmp_path / "original", weights) / f"latest_net_{letter}.pth"
    assert convert(file, *given, "--out", tmp_path / "model.pt") == 0
    method = load(tmp_path / "model.pt")["recipe"]["method"]
    assert method["kind"] == ("pix2pix" if program == "cyclegan" and letter == "G" else program)
    assert method["generator"] == method["generator"] | section
    assert method["generator"]["width"] == golden.config["ngf"] * 2 ** section.get("enhancers", 0)
    goes_out_again(tmp_path / "model.pt", tmp_path / "back", weights)


@pytest.mark.parametrize(
    ("program", "name", "section"),
    [
        ("pix2pixhd", "multiscale_discriminator", {"layers": 3, "scales": 3}),
        ("pix2pixhd", "multiscale_discriminator_no_features", {"layers": 3, "scales": 2}),
        ("pix2pix", "patch_discriminator_1", {"kind": "patch", "layers": 1}),
        ("pix2pix", "patch_discriminator_3", {"kind": "patch", "layers": 3}),
        ("pix2pix", "pixel_discriminator", {"kind": "pixel"}),
    ],
)
def test_a_discriminator_is_inferred_from_its_weights(program: str, name: str, section: dict[str, Any]) -> None:
    golden = Golden(program, f"{name}.npz")
    found = original_shapes.discriminator({key: tuple(x.shape) for key, x in golden.under("state/D").items()})
    assert found is not None and found.channels == golden.config["input_nc"]
    expected = {"width": golden.config["ndf"], "norm": golden.config.get("norm", "instance"), **section}
    if "num_D" in golden.config:
        expected["scales"] = golden.config["num_D"]
    assert found.section == expected


def in_shapes(method: dict[str, Any], data: dict[str, Any]) -> dict[str, dict[str, Tensor]]:
    """Return the weights, without storage, of each of the original's networks that a recipe describes."""
    values = {"name": "x", "data": {"root": ".", **data}, "method": method, "stages": [{"geometry": "none"}]}
    recipe = check_recipe(values, "a recipe")
    with torch.device("meta"):
        networks = method_module(recipe.method.kind).build_networks(recipe.method, recipe.data, 0)
    enhancers = method.get("generator", {}).get("enhancers", 0)
    features = method.get("feature_matching", {}).get("weight") != 0
    keys = by_letter(recipe.method.kind, networks, enhancers, features)
    return {letter: to_original(networks.state_dict(), names) for letter, names in keys.items()}


LABELS = {"kind": "label_maps", "labels": 35}
PAIRS = {"kind": "picture_pairs"}
HD: dict[str, Any] = {"kind": "pix2pixhd", "condition": {"boundary": "instance"}}


@pytest.mark.parametrize(
    ("method", "data", "letter", "keys", "count", "section"),
    [
        (HD, LABELS, "G", 56, 182_546_755, {"width": 64, "downsamples": 4, "blocks": 9, "norm": "instance"}),
        ({**HD, "generator": {"enhancers": 1}}, LABELS, "G", 74, 182_857_059, {"width": 64, "enhancer_blocks": 3}),
        ({**HD, "generator": {"norm": "batch"}}, LABELS, "G", 191, None, {"norm": "batch", "blocks": 9}),
        ({**HD, "features": {}}, LABELS, "E", 20, 788_803, {"count": 3, "width": 16, "downsamples": 4}),
        (HD, LABELS, "D", 20, 5_603_202, {"width": 64, "layers": 3, "scales": 2}),
        ({"kind": "pix2pix"}, PAIRS, "G", None, 54_413_955, {"kind": "unet", "downsamples": 8, "norm": "batch"}),
        ({"kind": "pix2pix", "generator": {"downsamples": 7}}, PAIRS, "G", None, 41_828_995, {"downsamples": 7}),
        ({"kind": "pix2pix"}, PAIRS, "D", None, 2_768_705, {"kind": "patch", "width": 64, "layers": 3}),
    ],
)
def test_full_size(
    method: dict[str, Any],
    data: dict[str, Any],
    letter: str,
    keys: int | None,
    count: int | None,
    section: dict[str, Any],
) -> None:
    """Sizes of the originals' papers and files, inferred from their keys."""
    weights = in_shapes(method, data)[letter]
    assert keys in (None, len(weights))
    assert count in (None, sum(x.numel() for key, x in weights.items() if key.endswith(("weight", "bias"))))
    shapes = {key: tuple(x.shape) for key, x in weights.items()}
    infer_network = {"G": original_shapes.generator, "D": original_shapes.discriminator, "E": original_shapes.encoder}
    found = infer_network[letter](shapes)
    assert found is not None and found.section == found.section | section


SMALL = {"width": 4, "layers": 2}
ENCODED = {**HD, "generator": {"width": 4, "downsamples": 2, "blocks": 1}, "discriminator": SMALL}
KINDS: dict[str, tuple[dict[str, Any], dict[str, Any], list[str]]] = {
    "without feature matching": (
        {**HD, "generator": {"width": 4, "downsamples": 2, "blocks": 1}, "discriminator": {"width": 4, "scales": 3}}
        | {"feature_matching": {"weight": 0}, "adversarial": {"kind": "vanilla"}},
        {"kind": "label_maps", "labels": 5},
        ["data.labels=5"],
    ),
    "batch norm, no instances, two enhancers": (
        {"kind": "pix2pixhd", "generator": {"width": 8, "downsamples": 1, "blocks": 3, "enhancers": 2, "norm": "batch"}}
        | {"discriminator": {**SMALL, "norm": "batch"}, "translate": {"norm": "image"}},
        {"kind": "label_maps", "labels": 5},
        ["data.labels=5"],
    ),
    "features of instances": (
        {**ENCODED, "features": {"count": 5, "width": 2, "downsamples": 1}},
        {"kind": "label_maps", "labels": 5},
        ["data.labels=5"],
    ),
    "one feature of classes, an enhancer, no boundaries, batch norm": (
        {
            **ENCODED,
            "condition": {"boundary": "none"},
            "generator": {"width": 4, "downsamples": 1, "blocks": 2, "enhancers": 1, "norm": "batch"},
            "discriminator": {**SMALL, "norm": "batch"},
            "features": {"count": 1, "width": 2, "downsamples": 3, "pool": "label"},
            "translate": {"norm": "image"},
        },
        {"kind": "label_maps", "labels": 5},
        ["data.labels=5", "method.features.pool=label"],
    ),
    "a picture and features": (
        {**ENCODED, "features": {"count": 3, "width": 4}},
        PAIRS,
        ["data.kind=picture_pairs"],
    ),
    "a picture and instances": (
        {**HD, "generator": {"width": 4, "downsamples": 3, "blocks": 2}, "discriminator": SMALL},
        PAIRS,
        ["data.kind=picture_pairs"],
    ),
    "grey to colour, pixels": (
        {
            "kind": "pix2pix",
            "generator": {"width": 4, "downsamples": 3},
            "discriminator": {"kind": "pixel", "width": 4},
        },
        {**PAIRS, "source_channels": 1},
        [],
    ),
    "without norm": (
        {"kind": "pix2pix", "generator": {"kind": "resnet", "width": 4, "norm": "none", "blocks": 6}}
        | {"discriminator": {**SMALL, "norm": "none"}},
        {**PAIRS, "photo_channels": 5},
        [],
    ),
    "unpaired, two U-Nets": (
        {"kind": "cyclegan", "generator": {"kind": "unet", "width": 4, "downsamples": 4}, "discriminator": SMALL}
        | {"identity": {"weight": 0}},
        {"kind": "unpaired", "photo_channels": 1},
        [],
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_comes_in_and_goes_out(tmp_path: Path, kind: str) -> None:
    """Equal to the bit; with the options written beside it, it is converted back without further values."""
    method, data, given = KINDS[kind]
    weights = {letter: random_weights(shaped(x)) for letter, x in in_shapes(method, data).items()}
    import_original(save(tmp_path / "original", weights), tmp_path / "model.pt", given)
    goes_out_again(tmp_path / "model.pt", tmp_path / "back", weights)
    import_original(tmp_path / "back", tmp_path / "again.pt")
    first, second = (load(tmp_path / name)["recipe"] for name in ("model.pt", "again.pt"))
    expected = check_recipe({**first, "method": method}, "expected").model_dump(mode="json")["method"]
    sections = ("generator", "discriminator", "condition", "features", "feature_matching", "translate")
    for found in (first["method"], second["method"]):
        assert {key: found.get(key) for key in sections} == {key: expected.get(key) for key in sections}
    assert second["method"]["adversarial"] == first["method"]["adversarial"]
    assert second["data"]["photo_channels"] == data.get("photo_channels", 3)


@pytest.mark.parametrize("old", [False, True])
def test_a_published_cyclegan(tmp_path: Path, old: bool) -> None:
    """Random weights in its true shapes; old files carry statistics of instance norm, and `module.` before each key."""
    weights = {letter: random_weights(true_shapes(letter)) for letter in ("G_A", "D_A")}
    saved = {letter: dict(state) for letter, state in weights.items()}
    if old:
        for state in saved.values():
            for key in [key for key in state if key.endswith(".bias")]:
                layer, place = key.removesuffix(".bias").rpartition(".")[::2]
                norm = f"{layer}.{int(place) + 1}"
                state[f"{norm}.running_mean"] = state[f"{norm}.running_var"] = state[key]
        saved = {letter: {f"module.{key}": x for key, x in state.items()} for letter, state in saved.items()}
    save(tmp_path / "original", saved)
    import_original(tmp_path / "original", tmp_path / "model.pt")
    method = load(tmp_path / "model.pt")["recipe"]["method"]
    generator = {"kind": "resnet", "width": 64, "downsamples": 2, "blocks": 9, "norm": "instance", "dropout": False}
    assert method["kind"] == "cyclegan" and method["generator"] == method["generator"] | generator
    wanted = {"kind": "patch", "width": 64, "layers": 3, "norm": "instance", "spectral_norm": False}
    assert method["discriminator"] == wanted
    goes_out_again(tmp_path / "model.pt", tmp_path / "back", weights)


def test_batch_norm_of_old_files_has_no_counter(tmp_path: Path) -> None:
    weights = Golden("pix2pix", "unet_256.npz").under("state/G")
    old = {key: x for key, x in weights.items() if not key.endswith("num_batches_tracked")}
    assert len(old) < len(weights)
    import_original(save(tmp_path / "original", {"G": old}), tmp_path / "model.pt")
    assert convert(tmp_path / "model.pt", "--to-original", tmp_path / "back") == 0
    back = torch.load(tmp_path / "back" / "latest_net_G.pth", weights_only=True)
    assert list(back) == list(weights) and all(torch.equal(back[key], old[key]) for key in old)


@pytest.mark.parametrize("features", [None, {"count": 2, "width": 2, "downsamples": 2}])
def test_a_run_of_ours_goes_out_and_comes_back(
    features: dict[str, Any] | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It translates as before, another run starts from it, and it cannot be continued by mistake."""
    city = toy_data(tmp_path / "city", 1, 1)
    values = small_recipe(city, tmp_path / "run")
    values["method"]["features"] = features
    run = train_values(values)
    assert convert(run, "--to-original", tmp_path / "original") == 0
    assert convert(tmp_path / "original", "--out", tmp_path / "again") == 0
    recipes = [load(find_checkpoint(place))["recipe"] for place in (run, tmp_path / "again")]
    assert recipes[0]["method"] == recipes[1]["method"]
    pictures = []
    for model in (run, tmp_path / "again"):
        out = tmp_path / f"out_{model.name}"
        style = ["--style", f"from={city / 'test_img'}"] if features else []
        assert infer(model, "--input", city / "test_label", "--out", out, *style) == 0
        pictures.append([read_rgb(file) for file in sorted(out.glob("*.png"))])
    assert np.array_equal(pictures[0], pictures[1])
    started = {**values, "out": str(tmp_path / "started"), "init_from": str(tmp_path / "again")}
    train_values(started)
    shown = capsys.readouterr().err
    assert "started from" in shown and ("encoder" in shown.split("started from")[1].split("\n")[0]) == bool(features)
    recipe = tmp_path / "again" / "recipe.yaml"
    assert run_tool("train", [str(recipe), f"data.root={city}", f"out={tmp_path / 'again'}"]) == 2
    assert "start a new run from its weights" in capsys.readouterr().err


def test_stages_are_exported_by_their_output(tmp_path: Path) -> None:
    """A stage of the trunk and its head is a global generator, a later one a local enhancer."""
    method: dict[str, Any] = {**HD, "generator": {"width": 4, "downsamples": 1, "blocks": 1, "enhancers": 1}}
    method |= {"discriminator": {"width": 4, "layers": 1, "scales": 3}}
    stages = [{"name": "global", "geometry": "none", "output": "head"}, {"name": "joint", "geometry": "none"}]
    data = {"kind": "label_maps", "labels": 5, "root": "."}
    recipe = check_recipe({"name": "x", "data": data, "method": method, "stages": stages}, "a recipe")
    networks = method_module("pix2pixhd").build_networks(recipe.method, recipe.data)
    state = {"recipe": recipe.model_dump(mode="json"), "networks": dict(networks.state_dict()), "ema": None}
    for number, (net, scales) in enumerate((("global", 2), ("local", 3))):
        checkpoint.save(tmp_path / f"{net}.pt", {**state, "stage": number, "images_seen": 0, "classes": None})
        assert convert(tmp_path / f"{net}.pt", "--to-original", tmp_path / net) == 0
        options = (tmp_path / net / "opt.txt").read_text()
        assert f"netG: {net}" in options and f"num_D: {scales}" in options
        import_original(tmp_path / net, tmp_path / f"{net}_again.pt")
        back = load(tmp_path / f"{net}_again.pt")["networks"]
        assert all(torch.equal(x, state["networks"][key]) for key, x in back.items())
        assert {key.split(".")[0] for key in back} - {"discriminator0", "discriminator1", "discriminator2"} == (
            {"trunk", "head"} if net == "global" else {"trunk", "enhancer1"}
        )


def test_options_beside_the_weights(tmp_path: Path) -> None:
    golden = Golden("pix2pix", "unet_128_instance.npz")
    folder = save(tmp_path / "original", {"G": golden.under("state/G")}, start="20")
    values = {
        "model": "pix2pix",
        "dataset_mode": "aligned",
        "direction": "BtoA",
        "no_dropout": True,
        "gan_mode": "lsgan",
    }
    sizes = {"preprocess": "resize_and_crop", "load_size": 286, "crop_size": 256, "n_epochs": 5, "n_epochs_decay": 7}
    write_options(folder / "train_opt.txt", values | sizes | {"lambda_L1": 50.0, "dataroot": "./sets/facades"})
    import_original(folder / "20_net_G.pth", tmp_path / "run", ["method.l1.weight=60"])
    recipe = load(find_checkpoint(tmp_path / "run"))["recipe"]
    assert recipe["data"]["kind"] == "side_by_side" and recipe["data"]["direction"] == "BtoA"
    assert recipe["data"]["root"] == "sets/facades"
    method, stage = recipe["method"], recipe["stages"][0]
    assert not method["generator"]["dropout"] and method["adversarial"]["kind"] == "lsgan"
    assert method["l1"]["weight"] == 60, "what the user gives counts"
    assert (stage["size"], stage["load"], stage["epochs"], stage["decay_epochs"]) == ("256x256", "286x286", 5, 7)


def test_discriminators_that_the_original_has_not_are_left_out_with_a_word(tmp_path: Path) -> None:
    """Spectral norm divides a weight only where it is used; the original would take it as it is."""
    method = {
        "kind": "pix2pixhd",
        "generator": {"width": 4, "downsamples": 1, "blocks": 1},
        "discriminator": {"width": 4, "layers": 1, "spectral_norm": True},
        "segmenter": {"width": 2, "downsamples": 1},
    }
    file = made_checkpoint(tmp_path / "model.pt", {"kind": "label_maps", "root": ".", "labels": 3}, method)
    lines = export_original(file, tmp_path / "back")
    assert sorted(path.name for path in (tmp_path / "back").glob("*.pth")) == ["latest_net_G.pth"]
    wanted = (
        "note: left out: discriminator0, discriminator1, segmenter; the original has no networks with spectral norm"
    )
    assert wanted in lines, lines
