"""Inputs as arrays and files: optional ones, maps of a picture that gives a style, and what messages name."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from torch import nn

from hdtrans.common.errors import Advice, UserError
from hdtrans.config.inputs import Input, Style
from hdtrans.data.kinds.base import DataKind
from hdtrans.data.kinds.label_maps import Section as LabelMaps
from hdtrans.inference import tiles
from hdtrans.inference.folder.files import Folders
from hdtrans.inference.folder.translate import _Read
from hdtrans.inference.inputs import check_inputs, id_maps
from hdtrans.inference.publish.trial_inputs import Samples
from hdtrans.inference.styles.apply import StyleEncoder
from hdtrans.inference.styles.style import no_styles, read_numbers
from hdtrans.inference.translator import Translator
from tests.small_runs import made_checkpoint

TABLE = (
    Input("label", "ids", 4, "classes"),
    Input("instance", "ids", None, "instances"),
    Input("points", "points", 2, "pixels"),
    Input("mask", "image", 1, "binary", "guide", optional=True),
    Input("photo", "image", 3, role="target"),
)
MAP = np.zeros((6, 8), np.uint8)


@pytest.fixture(scope="module")
def translator(tmp_path_factory: pytest.TempPathFactory) -> Translator:
    data = {"kind": "label_maps", "root": ".", "labels": 4}
    method = {"kind": "pix2pixhd", "generator": {"width": 4, "downsamples": 1, "blocks": 1}}
    method |= {"condition": {"boundary": "none"}, "perceptual": {"kind": "none"}}
    return Translator.load(made_checkpoint(tmp_path_factory.mktemp("model") / "model.pt", data, method), dtype="fp32")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": -1}, "seed=-1: a seed is a number from 0"),
        ({"seed": 0.5}, "seed=0.5: a seed is a number from 0"),
        ({"bits": 12}, "bits=12: a picture has 8 or 16 bits per channel"),
        ({"style": "mean"}, "style: this model takes none; leave it out"),
        ({"label": MAP}, "label: is given twice, by position and by name"),
        ({"mask": MAP}, "mask: this model does not read it; leave it out. It reads label"),
    ],
)
def test_a_call_names_the_argument_at_fault(translator: Translator, change: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as caught:
        translator(MAP, **change)
    assert message in str(caught.value)


def test_the_lead_is_given_by_position_or_by_name(translator: Translator) -> None:
    assert np.array_equal(translator(MAP), translator(label=MAP))
    with pytest.raises(UserError, match="label: this model needs it, and it was not given"):
        translator()


def test_the_former_names_are_aliases(tmp_path: Path) -> None:
    method = {"kind": "cyclegan", "generator": {"width": 4, "downsamples": 1, "blocks": 1}}
    file = made_checkpoint(tmp_path / "model.pt", {"kind": "unpaired", "root": "."}, method)
    model = Translator.load(file, route="BtoA")
    assert model.route == model.direction == "BtoA" and model.features == model.style_size == 0
    assert Translator.load(file, direction="BtoA").lead == model.lead


def test_a_picture_that_gives_a_style_needs_its_maps_alone() -> None:
    data = LabelMaps(kind="label_maps", root=Path(), labels=4)
    table = id_maps(TABLE, "instance")
    assert [each.name for each in table] == ["label", "instance"]
    assert check_inputs(data, table, {"label": MAP, "instance": MAP}).keys() == {"label", "instance"}
    with pytest.raises(UserError, match="instance: this model needs it"):
        check_inputs(data, table, {"label": MAP})


def test_objects_have_the_classes_of_any_map_of_classes() -> None:
    """The map of classes is found by its values, not by the name `label`."""
    table = (Input("kinds", "ids", 4, "classes"), *TABLE[1:])
    encoder = StyleEncoder.__new__(StyleEncoder)
    method = SimpleNamespace(style=Style("style", 2), networks=nn.ModuleDict(), encoder=_no_encoder)
    encoder.__init__(method, table, None, torch.device("cpu"), lambda: None)  # type: ignore[misc, arg-type]
    objects = encoder.objects({"kinds": MAP + 3, "instance": MAP})
    assert objects is not None and objects.classes.tolist() == [3]


def _no_encoder(networks: nn.ModuleDict) -> nn.Module:
    raise NotImplementedError


def test_inputs_without_pixels_are_on_the_device_of_the_tiles() -> None:
    """Points and style vectors meet feature maps there; on a GPU they failed on the CPU."""
    seen: dict[str, Any] = {}

    class Stop(Exception):
        pass

    class Module(nn.Module):
        def forward(self, **inputs: Any) -> None:
            seen.update(inputs)
            raise Stop

    memory: Any = SimpleNamespace(device=torch.device("meta"))
    inputs = {"label": torch.zeros(1, 4, 4), "points": torch.zeros(1, 2, 2)}
    with pytest.raises(Stop):
        tiles.translate(Module(), inputs, ["label"], memory, lambda tile, pixels: MAP)
    assert isinstance(seen["label"], tiles.Parts) and seen["points"].is_meta


def test_samples_with_other_optional_inputs_are_no_batch() -> None:
    """Two optional inputs of one shape, each of which one sample lacks."""
    mask, sketch = (_Read(None, {}, {"label": MAP, name: MAP}, None, None, None) for name in ("mask", "sketch"))  # type: ignore[arg-type]
    assert mask.form != sketch.form
    assert mask.form == _Read(None, {}, {"label": MAP, "mask": MAP + 1}, None, None, None).form  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["{}", "[1]", "[1, 2, 3]", "[1, true]", '["1", 2]', "[1, NaN]", "[1, Infinity]"])
def test_numbers_that_are_no_style(text: str, tmp_path: Path) -> None:
    file = tmp_path / "style.json"
    file.write_text(text)
    with pytest.raises(UserError, match=r"style=file=.*style.json: is no style of this model, a list of 2 finite"):
        read_numbers(file, 2)
    file.write_text("[1, -0.5]")
    assert read_numbers(file, 2) == [1, -0.5]


class Named(DataKind):
    """Data whose photos have a folder by name, but not their maps."""

    endings = {"label": "_label", "photo": "_img"}
    kind: str = "named"


def write(file: Path) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(file), MAP)
    return file


def test_a_reference_without_a_folder_of_maps(tmp_path: Path) -> None:
    """A kind of data need not name a folder for each map."""
    label, photo = write(tmp_path / "test_label/0.png"), write(tmp_path / "test_img/0.png")
    given = {"label": TABLE[0], "outlines": Input("outlines", "ids", None, "instances")}
    extra = {"outlines": label.parent}
    folders = Folders(label.parent, extra, None, tmp_path / "out", style=f"from={photo.parent}")
    (sample,) = folders.samples(Named(root=tmp_path), given, Style("style", 2, ids="outlines"))
    assert sample.paths.keys() == {"label", "outlines", "reference"}


def test_the_folders_beside_one_file_are_found(tmp_path: Path) -> None:
    files = [write(tmp_path / f"test_{kind}/{number}.png") for kind in ("label", "inst") for number in (0, 1)]
    data = LabelMaps(kind="label_maps", root=tmp_path, labels=4)
    given = {each.name: each for each in TABLE[:2]}
    for inputs in (files[1], [files[1]]):
        (sample,) = Folders(inputs, {}, None, tmp_path / "out").samples(data, given, None)
        assert sample.paths == {"label": str(files[1]), "instance": str(files[3])}


def test_given_masks_that_fit_no_input_are_refused(tmp_path: Path) -> None:
    """They are optional, so that all pictures would silently be made without."""
    labels, masks = (tmp_path / name for name in ("labels", "masks"))
    for number in (0, 1):
        write(labels / f"{number}.png")
        write(masks / f"view_{number}.png")
    data, given = LabelMaps(kind="label_maps", root=tmp_path, labels=4), {"label": TABLE[0], "mask": TABLE[3]}
    folders = Folders(labels, {"mask": masks}, None, tmp_path / "out")
    with pytest.raises(UserError, match=r"extra=mask=.*masks: no file there has the name of an input, as 0"):
        folders.samples(data, given, None)
    write(masks / "1.png")
    assert [sample.paths.keys() for sample in folders.samples(data, given, None)] == [{"label"}, {"label", "mask"}]


def test_trial_inputs_have_the_optional_ones(tmp_path: Path) -> None:
    """Else an exported graph would lack the input, and fail where one is given."""
    file = write(tmp_path / "0.png")
    table = (TABLE[0], *TABLE[3:])
    model: Any = SimpleNamespace(
        inputs=table,
        lead=TABLE[0],
        given={"label": TABLE[0], "mask": TABLE[3]},
        style_size=0,
        data=LabelMaps(kind="label_maps", root=tmp_path, labels=4),
        method=SimpleNamespace(style=None),
        check=lambda **inputs: inputs,
    )
    inputs = Samples(model, file).inputs(6, 8, batch=2)
    assert {name: tuple(x.shape) for name, x in inputs.items()} == {"label": (2, 6, 8), "mask": (2, 1, 6, 8)}
    assert int(inputs["mask"].max()) == 0


def test_advice_on_missing_styles_is_that_of_the_caller() -> None:
    assert str(no_styles()).endswith("run hdtrans encode_styles on it once, or take the style from a picture")
    assert str(no_styles(Advice("style", "from=PICTURE"))).endswith("once, or give style=from=PICTURE")
