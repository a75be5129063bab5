"""Published models: each form makes the checkpoint's pictures, says all that is known of it, and refuses clearly."""

import importlib.util
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from hdtrans.cli import run_tool
from hdtrans.common.errors import UserError
from hdtrans.config.stage import Size
from hdtrans.inference.publish import export as exporting
from hdtrans.inference.publish.trial_inputs import Samples
from hdtrans.inference.translator import Translator
from tests.inference.test_tiles import LABELS, checkpoint, hd, inputs_for, off
from tests.shared_folder import filled_once
from tests.small_runs import made_checkpoint, translated

SIZE = Size(height=64, width=96)


@pytest.fixture(scope="module", autouse=True)
def _programs_are_read_once() -> Iterator[None]:
    """Reading a program takes four seconds, most of it for the sizes that its graph leaves open."""
    read, known = torch.export.load, dict[bytes, Any]()

    def once(file: str, *, extra_files: dict[str, str]) -> Any:
        content = Path(file).read_bytes()
        if content not in known:
            known[content] = (read(file, extra_files=extra_files), dict(extra_files))
        extra_files.update(known[content][1])
        return known[content][0]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.export, "load", once)
        yield


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `model.pt`, which reads label and instance maps, published in each form."""

    def fill(folder: Path) -> None:
        made_checkpoint(folder / "model.pt", LABELS, hd(enhancers=1, enhancer_blocks=1, blocks=1))
        for ending in exporting.FORMS:
            assert exporting.export(folder / "model.pt", folder / f"model{ending}", SIZE)[1]

    return filled_once(tmp_path_factory, "export", fill)[0]


def command(*arguments: object) -> int:
    return run_tool("export", [str(a) for a in arguments])


@pytest.mark.parametrize(
    "kind",
    [
        "U-Net, dropout, each picture's statistics",
        pytest.param("global, deep, resize", marks=pytest.mark.slow),
        pytest.param("pictures and instances", marks=pytest.mark.slow),
        pytest.param("ResNet, dropout", marks=pytest.mark.slow),
    ],
)
def test_a_graph_takes_any_size(kind: str, tmp_path: Path) -> None:
    """Batches, sizes below two strides, no multiples of it: onnxruntime gives the pictures of PyTorch."""
    own = Translator.load(checkpoint(tmp_path, kind))
    lines, well = exporting.export(tmp_path / "model.pt", tmp_path / "model.onnx", SIZE)
    assert well and len(lines) == 4, lines
    other = Translator.load(tmp_path / "model.onnx")
    assert other.reads == own.reads and other.noisy == own.noisy
    for height, width in ((3, 7), (5, 131), (70, 64)):
        inputs = inputs_for(own, height, width)
        assert off(translated(own, inputs, seed=2**40 + 1), translated(other, inputs, seed=2**40 + 1)) <= 1
    batch = Samples(own).inputs(33, 65, batch=3)
    apart = own.module(**batch) - other.module(**batch)
    assert apart.shape[0] == 3 and float(apart.abs().max()) < 1e-3


@pytest.mark.parametrize("ending", exporting.FORMS)
def test_infer_takes_each_form(place: Path, ending: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own = Translator.load(place / "model.pt")
    inputs = inputs_for(own, 41, 83)
    for name in ("label", "instance"):
        (tmp_path / f"test_{name[:5]}").mkdir()
    cv2.imwrite(str(tmp_path / "test_label/a.png"), inputs["label"])
    cv2.imwrite(str(tmp_path / "test_insta/a.png"), inputs["instance"].astype(np.uint8))
    given = [place / f"model{ending}", "--input", tmp_path / "test_label", "--instances", tmp_path / "test_insta"]
    trust = ["--trust"] if ending == ".pt2" else []
    assert run_tool("infer", [str(a) for a in (*given, "--out", tmp_path / "out", *trust)]) == 0, capsys.readouterr()
    made = cv2.cvtColor(cv2.imread(str(tmp_path / "out/a.png")), cv2.COLOR_BGR2RGB)
    assert off(made, translated(own, inputs)) <= 1
    if ending == ".safetensors":
        tiled = [*given, "--out", tmp_path / "tiled", "--max-memory", "64G", "--device", "cpu"]
        assert run_tool("infer", [str(a) for a in tiled]) == 0
        assert off(cv2.imread(str(tmp_path / "tiled/a.png")), cv2.imread(str(tmp_path / "out/a.png"))) <= 1


@pytest.mark.parametrize("ending", exporting.FORMS)
def test_a_published_model_has_all_facts_of_the_checkpoint(place: Path, ending: str) -> None:
    own, other = (Translator.load(place / f"model{e}", trust=True) for e in (".pt", ending))
    assert (other.recipe, other.classes, other.images_seen) == (own.recipe, own.classes, 7)


def test_other_programs_read_the_files(place: Path) -> None:
    """The names, types and free sizes of the graph, and the metadata, by the libraries' own readers."""
    import onnx
    from safetensors import safe_open

    graph = onnx.load(str(place / "model.onnx"))
    onnx.checker.check_model(graph)
    assert [(o.domain, o.version) for o in graph.opset_import if not o.domain] == [("", 18)]
    shapes = {v.name: [d.dim_param or d.dim_value for d in v.type.tensor_type.shape.dim] for v in graph.graph.input}
    assert shapes == {name: ["batch", "height", "width"] for name in ("label", "instance")}
    result = graph.graph.output[0]
    assert result.name == "picture"
    assert [d.dim_param or d.dim_value for d in result.type.tensor_type.shape.dim] == ["batch", 3, "height", "width"]
    props = {p.key: json.loads(p.value) for p in graph.metadata_props if p.key.startswith("hdtrans.")}
    assert props["hdtrans.recipe"]["method"]["kind"] == "pix2pixhd" and len(props["hdtrans.classes"]["classes"]) == 5
    with safe_open(str(place / "model.safetensors"), "pt") as file:
        assert {name.split(".")[0] for name in file.keys()} == {"trunk", "enhancer1"}, "no discriminator"  # noqa: SIM118
        assert json.loads(file.metadata()["hdtrans.recipe"]) == props["hdtrans.recipe"]


@pytest.mark.parametrize("dtype", ["bf16", "fp16"])
def test_half_the_size(place: Path, dtype: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "model.safetensors"
    assert command(place / "model.pt", "--out", out, "--dtype", dtype, "--size", "96x64") == 0
    assert f"{dtype}: rounding the weights changes a picture by up to" in capsys.readouterr().out
    assert out.stat().st_size < 0.75 * (place / "model.safetensors").stat().st_size
    assert translated(Translator.load(out), inputs_for(Translator.load(out), 20, 30)).shape == (20, 30, 3)


def test_directions(tmp_path: Path) -> None:
    """Without --direction a bundle holds both; with it, or as a graph, a file holds one."""
    model = checkpoint(tmp_path, "ResNet of CycleGAN")
    made = {route: Translator.load(model, route=route) for route in ("AtoB", "BtoA")}
    inputs = inputs_for(made["AtoB"], 30, 20)
    assert off(translated(made["AtoB"], inputs), translated(made["BtoA"], inputs)) > 1
    assert command(model, "--out", tmp_path / "both.safetensors", "--size", "96x64") == 0
    for ending in (".safetensors", ".onnx"):
        one = tmp_path / f"one{ending}"
        assert command(model, "--out", one, "--direction", "BtoA", "--size", "96x64") == 0
        assert off(translated(made["BtoA"], inputs), translated(Translator.load(one), inputs)) <= 1
        with pytest.raises(UserError, match=r"holds the direction BtoA alone"):
            Translator.load(one, route="AtoB")
    for route, own in made.items():
        assert (
            off(
                translated(own, inputs), translated(Translator.load(tmp_path / "both.safetensors", route=route), inputs)
            )
            == 0
        )


def test_a_file_that_makes_other_pictures_is_not_left(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write = exporting._write

    def spoil(own: Translator, file: Path, *how: Any, **more: Any) -> None:
        bias = next(p for name, p in own.module.named_parameters() if name.endswith("head.segment.convolution.bias"))
        bias.add_(0.05)
        write(own, file, *how, **more)
        bias.sub_(0.05)

    monkeypatch.setattr(exporting, "_write", spoil)
    assert command(place / "model.pt", "--out", tmp_path / "x.safetensors", "--size", "96x64") == 1
    assert "was not written: it makes other pictures" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []


def test_real_maps_may_be_given(place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, values in (("label", 4), ("inst", 4000)):
        cv2.imwrite(str(tmp_path / f"{name}.png"), np.full((9, 9), values, np.uint16))
    given = ["--input", tmp_path / "label.png", "--instances", tmp_path / "inst.png", "--size", "96x64"]
    assert command(place / "model.pt", "--out", tmp_path / "x.safetensors", *given) == 0
    cv2.imwrite(str(tmp_path / "label.png"), np.full((9, 9), 77, np.uint16))
    assert command(place / "model.pt", "--out", tmp_path / "y.safetensors", *given) == 2
    assert "77" in capsys.readouterr().err and not (tmp_path / "y.safetensors").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["{place}/model.pt", "--out", "{out}/x.onx"],
            "ends in none of .safetensors, .onnx, .pt2. Did you mean '.onnx'?",
        ),
        (["{place}/model.pt", "--out", "{place}/model.onnx"], "exists already"),
        (["{place}/model.pt", "--out", "{out}/x.onnx", "--dtype", "bf16"], "is for .safetensors"),
        (["{place}/model.pt", "--out", "{out}/x.onnx", "--direction", "BtoA"], "in one direction alone"),
        (["{place}/model.pt", "--out", "{out}/x.onnx", "--size", "12"], "--size 12: write WIDTHxHEIGHT"),
        (["{place}/nothing.pt", "--out", "{out}/x.onnx"], "no such run folder or checkpoint"),
        (["{place}/model.onnx", "--out", "{out}/x.safetensors"], "is published already"),
    ],
)
def test_mistakes_of_users_are_reported(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert command(*(a.format(place=place, out=tmp_path) for a in arguments)) == 2
    printed = capsys.readouterr().err
    assert message in printed and "Traceback" not in printed and not list(tmp_path.iterdir())


def test_a_missing_package_is_reported(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name.startswith("onnx") else find(name))
    with pytest.raises(UserError, match=r"needs onnx and onnxscript and onnxruntime: pip install 'hdtrans\[export\]'"):
        exporting.export(place / "model.pt", tmp_path / "x.onnx", SIZE)
    with pytest.raises(UserError, match=r"needs onnxruntime: pip install 'hdtrans\[export\]'"):
        Translator.load(place / "model.onnx")


@pytest.mark.parametrize("ending", exporting.FORMS)
def test_files_that_cannot_be_read(place: Path, ending: str, tmp_path: Path) -> None:
    data = (place / f"model{ending}").read_bytes()
    for part in (b"", data[:100], data[: len(data) // 2]):
        (tmp_path / f"x{ending}").write_bytes(part)
        with pytest.raises(UserError, match=r"cannot be read .*may be cut off"):
            Translator.load(tmp_path / f"x{ending}", trust=True)


def test_a_program_is_loaded_only_when_trusted(place: Path) -> None:
    with pytest.raises(UserError, match=r"can run code of its maker when it is loaded; give trust=True"):
        Translator.load(place / "model.pt2")
    with pytest.raises(UserError, match="max_memory: takes a checkpoint"):
        Translator.load(place / "model.onnx", max_memory=2**40)


def test_files_of_other_programs_are_refused(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    save_file({"x": torch.zeros(1)}, str(tmp_path / "x.safetensors"))
    with pytest.raises(UserError, match="is no model that hdtrans published"):
        Translator.load(tmp_path / "x.safetensors")
