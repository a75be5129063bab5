"""Notes on the files of commands that read folders: each once, with the number of its files."""

import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hdtrans.common.remarks import DataWarning
from hdtrans.config.inputs import Field
from hdtrans.data.header_notes import InputNotes, float_finding

SPECS = {"photo": Field("image", 3), "label": Field("ids", 2, "classes")}


def remarks(notes: InputNotes) -> list[str]:
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        notes.remark()
    assert all(issubclass(each.category, DataWarning) for each in found)
    return [str(each.message) for each in found]


@pytest.fixture
def notes(tmp_path: Path) -> InputNotes:
    """Return the notes on twenty photos with alpha and masks of 0 and 255."""
    notes = InputNotes(SPECS, ignore=255)
    for number in range(20):
        paths = {"photo": str(tmp_path / f"{number}.png"), "label": str(tmp_path / f"{number}_label.png")}
        mask = np.tile(np.uint8([0, 255]), (4, 3))
        Image.fromarray(np.full((4, 6, 4), number, np.uint8)).save(paths["photo"])
        Image.fromarray(mask).save(paths["label"])
        notes.add(paths, {"photo": np.zeros((4, 6, 3), np.uint8), "label": mask})
    return notes


def test_each_note_is_given_once(notes: InputNotes) -> None:
    alpha, masks = remarks(notes)
    assert "0.png and 19 more: 20 file(s) have an alpha channel, which is dropped" in alpha
    assert "0_label.png and others: label maps: the values 0, 255 are those of a mask" in masks
    assert "50.0% of the pixels are ignored (id 255)" in masks


def test_sound_files_have_none(tmp_path: Path) -> None:
    notes = InputNotes(SPECS, ignore=255)
    path = tmp_path / "a.png"
    Image.fromarray(np.zeros((4, 6, 3), np.uint8)).save(path)
    notes.add({"photo": str(path), "other": "nowhere"}, {})
    assert remarks(notes) == []


@pytest.mark.parametrize(("lowest", "found"), [([], False), ([0.0, 0.2], True), ([0.1, -0.01], False)])
def test_floats_from_0_to_1(lowest: list[float], found: bool) -> None:
    assert bool(float_finding(lowest)) is found
