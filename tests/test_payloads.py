"""Files whose pickle would call a function, given to everything that reads files: refused, told, and not called.

A new command that reads tensors gets a line in ENTRIES.
"""

import os
import pickle
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

import hdtrans.networks.perceptual
from hdtrans import Translator
from hdtrans.cli import run_tool
from hdtrans.common.errors import UserError
from hdtrans.common.hashing import file_digest
from hdtrans.engine.checkpoint import digest_file, styles_file
from hdtrans.evaluation.metrics.set_distances import RealFeatures
from tests.bars import Figure
from tests.small_runs import made_checkpoint, small_recipe, toy_data, write_recipe

bar = pytest.mark.bar("B5.2", "a pickle that calls a function, through every way in: refused, told, not called")


class Payload:
    """Makes a folder when it is unpickled."""

    def __init__(self, canary: Path) -> None:
        self.canary = str(canary)

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, (self.canary,)


class Place:
    """A folder with toy scenes, a recipe, and what a stranger sent.

    Attributes:
        canary: what the payload makes.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.canary = folder, folder / "canary"
        self.city = toy_data(folder / "city", 2, 1)
        self.out = str(folder / "out")

    def sent(self, name: str) -> Path:
        """Return a file that torch.save made: the payload is its weights."""
        file = self.folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        torch.save({"networks": {"trunk.weight": Payload(self.canary)}, "recipe": {}}, file)
        return file

    def run(self) -> str:
        """Return a run folder whose only checkpoint was sent, with the digest that it has."""
        file = self.sent("run/checkpoints/images_000000010.pt")
        digest_file(file).write_text(f"{file_digest(file)}  {file.name}\n")
        write_recipe(self.folder / "run/recipe.yaml", small_recipe(self.city, self.folder / "run"))
        return str(self.folder / "run")

    def model(self) -> str:
        """Return a checkpoint of the user's own, with styles beside it that were sent."""
        data = {"kind": "label_maps", "root": str(self.city), "labels": 19}
        method = {"kind": "pix2pixhd", "features": {"pool": "label"}, "perceptual": {"kind": "none"}}
        method["generator"] = {"width": 2, "downsamples": 1, "blocks": 0}
        file = made_checkpoint(self.folder / "model.pt", data, method)
        self.sent(styles_file(file).name)
        return str(file)

    def recipe(self, out: str, **changes: Any) -> str:
        """Return a recipe's file."""
        values = small_recipe(self.city, Path(out))
        values["method"] |= changes.pop("method", {})
        return str(write_recipe(self.folder / "recipe.yaml", values | changes))

    def pickled(self, name: str) -> str:
        """Return a file that holds the bare pickle of the payload."""
        file = self.folder / name
        file.write_bytes(pickle.dumps(Payload(self.canary)))
        return str(file)


Command = Callable[[Place], list[str]]
# The words of a command that reads a file of torch.
ENTRIES: dict[str, Command] = {
    "train, going on": lambda at: ["train", at.recipe(at.run())],
    "train, init_from": lambda at: ["train", at.recipe(at.out, init_from=at.run())],
    "train, perceptual weights": lambda at: [
        "train",
        at.recipe(at.out, method={"perceptual": {"kind": "squeezenet", "weights": str(at.sent("weights.pth"))}}),
    ],
    "infer": lambda at: ["infer", at.run(), "--input", f"{at.city}/test_label", "--out", at.out],
    "infer, styles": lambda at: ["infer", at.model(), "--input", f"{at.city}/test_label", "--out", at.out],
    "encode_styles": lambda at: ["encode_styles", at.run()],
    "evaluate": lambda at: ["evaluate", at.run()],
    "evaluate, segmenter": lambda at: [
        *["evaluate", f"{at.city}/test_img", "--truth", f"{at.city}/test_img"],
        *["--labels", f"{at.city}/test_label", "--segmenter", str(at.sent("segmenter.pt"))],
    ],
    "evaluate, weights": lambda at: [
        *["evaluate", f"{at.city}/test_img", "--truth", f"{at.city}/test_img"],
        *["--metrics", "squeezenet_distance", "--weights", str(at.sent("squeezenet1_0.pth"))],
    ],
    "export": lambda at: ["export", at.run(), "--out", f"{at.out}.safetensors"],
    "convert_checkpoint": lambda at: ["convert_checkpoint", str(at.sent("latest_net_G.pth")), "--out", at.out],
    "convert_checkpoint, back": lambda at: ["convert_checkpoint", at.run(), "--to-original", at.out],
}
# Those that read other files, and what is said about a pickle there.
OTHERS: dict[str, tuple[Command, str]] = {
    "a bare pickle": (lambda at: ["infer", at.pickled("a.pt"), "--input", str(at.city)], "cannot be read as a checkp"),
    "a recipe": (
        lambda at: ["train", str(at.folder / "recipe.yaml")],
        "python/object/apply:os.mkdir",
    ),
    "compare": (lambda at: ["compare", at.pickled("a.json"), at.pickled("b.json"), "--out", at.out], "a.json"),
    ".safetensors": (lambda at: ["infer", at.pickled("a.safetensors"), "--input", str(at.city)], "cannot be read ("),
    ".onnx": (lambda at: ["infer", at.pickled("a.onnx"), "--input", str(at.city)], "cannot be read ("),
    ".pt2": (lambda at: ["infer", str(at.sent("a.pt2")), "--input", str(at.city)], "--trust"),
    "label_map.npy": (lambda at: ["infer", at.pickled("a.npy"), "--input", str(at.city)], "cannot be read"),
}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.setattr(hdtrans.networks.perceptual, "_from_torchvision", lambda kind: pytest.fail("not asked for"))
    return Place(tmp_path)


@bar
@pytest.mark.parametrize("name", ENTRIES)
def test_a_file_of_torch(name: str, place: Place, capsys: pytest.CaptureFixture[str], figure: Figure) -> None:
    words = ENTRIES[name](place)
    code = run_tool(words[0], words[1:])
    said = capsys.readouterr().err
    assert code == 2 and not place.canary.exists()
    assert "asks for posix.mkdir, which could run code" in said and "Traceback" not in said, said
    figure(name)


@bar
@pytest.mark.parametrize("name", ENTRIES)
def test_mutant_without_the_guard_the_function_is_called(
    name: str, place: Place, monkeypatch: pytest.MonkeyPatch, figure: Figure
) -> None:
    """Each way in does reach the file, and the payload would do what it says."""
    words, load = ENTRIES[name](place), torch.load
    monkeypatch.setattr(torch, "load", lambda *given, **how: load(*given, **{**how, "weights_only": False}))
    with suppress(AttributeError, TypeError, KeyError):  # what stands in the place of the weights is none
        run_tool(words[0], words[1:])
    assert place.canary.exists()
    figure("mutant that loads anything: each of them called")


@bar
@pytest.mark.parametrize("name", OTHERS)
def test_other_files(name: str, place: Place, capsys: pytest.CaptureFixture[str], figure: Figure) -> None:
    pytest.importorskip("onnxruntime" if name == ".onnx" else "safetensors")
    (place.folder / "recipe.yaml").write_text(f'name: !!python/object/apply:os.mkdir ["{place.canary}"]\n')
    command, told = OTHERS[name]
    words = command(place)
    code = run_tool(words[0], words[1:] + (["--out", place.out] if words[0] == "infer" else []))
    said = capsys.readouterr().err
    assert code == 2 and not place.canary.exists()
    assert told in said and "Traceback" not in said, said
    figure(name)


@bar
def test_a_translator(place: Place) -> None:
    with pytest.raises(UserError, match=r"asks for posix\.mkdir"):
        Translator.load(place.run())
    assert not place.canary.exists()


@bar
def test_kept_features(place: Place, figure: Figure) -> None:
    """They are made anew."""
    features = RealFeatures(place.folder, [str(place.city / "test_img" / f"{n}.png") for n in ()], "part")
    np.save(features.file, np.array([Payload(place.canary)], dtype=object), allow_pickle=True)
    assert features.read(4) is None and not place.canary.exists()
    np.load(features.file, allow_pickle=True)
    assert place.canary.exists(), "the mutant"
    figure("kept features (.npy)")


def test_the_recipe_would_call_the_function(place: Place) -> None:
    yaml.unsafe_load(f'!!python/object/apply:os.mkdir ["{place.canary}"]')
    assert place.canary.exists()
