"""Notes on the files of commands that read folders: each once, with the number of its files."""

import warnings
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from hdtrans.common.remarks import DataWarning
from hdtrans.config.inputs import Field
from hdtrans.data.header_notes import InputNotes, float_finding, header_notes
from hdtrans.data.io.header import probe

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


def notes_on(path: Path, role: str = "photo", ignore: int | None = None) -> list[str]:
    found = header_notes({role: probe(path)}, SPECS, False, ignore)
    return [note.words for _, note in found]


def test_last_channels_that_are_no_alpha(tmp_path: Path) -> None:
    """Near infrared, or a fourth plane: dropped, but not as alpha."""
    np.save(tmp_path / "a.npy", np.zeros((4, 6, 4), np.uint8))
    (words,) = notes_on(tmp_path / "a.npy")
    assert words.startswith("have 4 channels, of which the last is dropped, though nothing in the files calls it alpha")


def test_transparent_colours_and_animations(tmp_path: Path) -> None:
    still, file = Image.fromarray(np.zeros((4, 6, 3), np.uint8)), tmp_path / "a.png"
    still.save(file, transparency=(0, 0, 0), save_all=True, append_images=[still.rotate(180)] * 2, default_image=True)
    transparent, animated = notes_on(file)
    assert "transparent pixels (by a mask or colour)" in transparent and "first picture alone is read" in animated


def test_nodata_that_is_ignored_needs_no_note(tmp_path: Path) -> None:
    file = tmp_path / "a.tif"
    tifffile.imwrite(file, np.zeros((4, 6), np.uint8), extratags=[(42113, 2, 0, "255", True)])
    assert notes_on(file, "label", ignore=255) == []
    assert len(notes_on(file, "label", ignore=0)) == len(notes_on(file, "photo", ignore=255)) == 1


@pytest.mark.parametrize(("highest", "bits"), [(4095, "12"), (255, "8"), (40000, "")])
def test_dark_pictures_of_16_bits(tmp_path: Path, highest: int, bits: str) -> None:
    """Cameras of 12 bits, and arrays of 8 bits saved as integers of more."""
    picture = np.full((4, 6, 3), highest, np.int32)
    np.save(tmp_path / "a.npy", picture)
    notes = InputNotes(SPECS)
    notes.add({"photo": str(tmp_path / "a.npy")}, {"photo": picture})
    found = remarks(notes)
    assert len(found) == bool(bits) and all(f"({bits} bits in 16?)" in words for words in found)


@pytest.mark.parametrize(("lowest", "found"), [([], False), ([0.0, 0.2], True), ([0.1, -0.01], False)])
def test_floats_from_0_to_1(lowest: list[float], found: bool) -> None:
    assert bool(float_finding(lowest)) is found
