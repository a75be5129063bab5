"""Pens on pictures: a toy of free-form inpainting, with a mask and a sketch upon the photo."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hdtrans.config.inputs import Input
from hdtrans.edit.layers import layers_of
from hdtrans.inference.translator import Translator
from tests.edit.running import HEIGHT, WIDTH, Editor, editor
from tests.edit.test_page import Page, browser
from tests.small_runs import made_checkpoint

__all__ = ["browser"]

TABLE = (
    Input("picture", "image", 3),
    Input("mask", "image", 1, "binary", "guide", over="picture", optional=True),
    Input("sketch", "image", 1, "symmetric", "guide", over="picture", optional=True),
    Input("result", "image", 3, role="target"),
)


def inpainted(self: Translator, batch: list[Mapping[str, np.ndarray]], *_: Any) -> list[np.ndarray]:
    """Return the picture, with the sketch where the mask is."""
    return [np.where(each["mask"] > 0, each["sketch"], each["picture"]).astype(np.uint8) for each in batch]


@pytest.fixture
def inpainting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Editor]:
    """An editor of the toy; only the table of inputs and the translation are those of another model."""
    data = {"kind": "picture_pairs", "root": "."}
    model = made_checkpoint(tmp_path / "m.pt", data, {"kind": "pix2pix", "generator": {"width": 4, "downsamples": 3}})
    load = Translator.load

    def toy(*given: Any, **more: Any) -> Translator:
        translator = load(*given, **more)
        translator.inputs, translator.lead = TABLE, TABLE[0]
        translator.given = {each.name: each for each in TABLE[:3]}
        return translator

    monkeypatch.setattr(Translator, "load", toy)
    monkeypatch.setattr(Translator, "translate", inpainted)
    with editor(model, tmp_path / "out") as running:
        yield running


def blank(running: Editor) -> str:
    given = {"blank": {"width": WIDTH, "height": HEIGHT, "class": 0}}
    return f"/api/documents/{running.send('POST', '/api/documents', given).json['document']}"


def layers(running: Editor, path: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the picture, the mask and the sketch of a document."""
    data = np.frombuffer(running.send("GET", f"{path}/layers").body, np.uint8)
    picture, mask, sketch = np.split(data, [3 * HEIGHT * WIDTH, 4 * HEIGHT * WIDTH])
    return picture.reshape(HEIGHT, WIDTH, 3), mask.reshape(HEIGHT, WIDTH), sketch.reshape(HEIGHT, WIDTH)


def test_the_table_of_inputs_decides_on_the_pens(inpainting: Editor) -> None:
    table, left_out = layers_of(inpainting.studio.translator)
    assert [(each.name, each.paint, each.channels) for each in table.values()] == [
        ("picture", "picture", 3),
        ("mask", "mask", 1),
        ("sketch", "picture", 1),
    ]
    assert left_out == []
    picture, mask, sketch = layers(inpainting, blank(inpainting))
    assert (picture == 255).all() and not mask.any() and not sketch.any(), "what may be missing is empty"


@pytest.mark.slow
def test_mask_sketch_and_colours_are_painted_each_for_itself(browser: Any, inpainting: Editor) -> None:
    path = blank(inpainting)
    context = browser.new_context(viewport={"width": 1200, "height": 700})
    page = Page(context.new_page(), inpainting)
    page.open(path)
    page.size(3)
    page.page.get_by_label("Colour of the pen").fill("#ff0000")
    page.drag((5, 5), (10, 5))
    page.page.get_by_label("mask", exact=True).check()
    page.drag((5, 15), (10, 15))
    page.page.get_by_label("sketch", exact=True).check()
    page.page.get_by_label("Grey of the pen").fill("90")
    page.drag((5, 15), (20, 15))
    page.settle()
    picture, mask, sketch = layers(inpainting, path)
    assert (picture[5, 5:11] == (255, 0, 0)).all() and (picture != 255).any(2).sum() == 24
    assert (mask[14:17, 4:12] == 255).all() and (mask > 0).sum() == 24
    assert (sketch[14:17, 4:22] == 90).all() and (sketch > 0).sum() == 54
    answer = inpainting.send("POST", f"{path}/picture", {"format": "rgb"})
    shown = np.frombuffer(answer.body, np.uint8).reshape(HEIGHT, WIDTH, 3)
    assert (shown[14:17, 4:12] == 90).all() and (shown[14:17, 13:] == 255).all()
    page.page.get_by_label("mask", exact=True).check()
    page.page.keyboard.press("e")
    page.drag((5, 15), (6, 15))
    page.settle()
    _, mask, sketch = layers(inpainting, path)
    assert not mask[15, 4:8].any() and (sketch[15, 4:8] == 90).all(), "the eraser works on its layer alone"
    assert page.errors == []
    context.close()
