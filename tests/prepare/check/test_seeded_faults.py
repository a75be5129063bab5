"""Every fault at once: one run of the data check names all of them, and finds nothing in sound files."""

import json
import os
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from hdtrans.cli import run_tool
from hdtrans.prepare.check import findings as check_findings
from tests.bars import Figure
from tests.mutants.checking import stopping_at_the_first_fault, without_look
from tests.small_runs import small_recipe, write_recipe

bar = pytest.mark.bar("B4.1", "one run of the data check names every fault, and nothing in sound files")
HEIGHT, WIDTH, LABELS = 24, 40, 6

Fault = tuple[str, Callable[[dict[str, Path]], Any]]


def encoded(array: np.ndarray, kind: str = ".png") -> bytes:
    """Return an array, RGB or grey, as the bytes of a file."""
    return cv2.imencode(kind, array if array.ndim == 2 else array[..., [2, 1, 0, 3][: array.shape[2]]])[1].tobytes()


def sample(number: int, height: int = HEIGHT) -> dict[str, np.ndarray]:
    """Return label map, instance map and photo that no other number has."""
    label = np.zeros((height, WIDTH), np.uint8)
    label[2:8, 4:20], label[10:18, 8:30] = 1, 2
    label[-1, : number % WIDTH], label[-2, : number // WIDTH] = 3, 3
    instance = label.astype(np.uint16)
    instance[:, :15][label[:, :15] == 2] = 2000
    photo = np.random.default_rng(number).integers(0, 256, (height, WIDTH, 3), dtype=np.uint8)
    return {"label": label, "inst": instance, "img": photo}


def put(root: Path, split: str, name: str, arrays: dict[str, np.ndarray]) -> dict[str, Path]:
    """Write a sample; return its files."""
    files = {kind: root / f"{split}_{kind}" / f"{name}.png" for kind in arrays}
    for kind, file in files.items():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(encoded(arrays[kind]))
    return files


def pixels(file: Path) -> np.ndarray:
    """Return what `encoded` was given."""
    array = cv2.imread(str(file), cv2.IMREAD_UNCHANGED)
    return array if array.ndim == 2 else array[..., ::-1]


def rewritten(kind: str, change: Callable[[np.ndarray], np.ndarray], ending: str = ".png") -> Any:
    """Return what writes a changed picture in the place of a file."""
    return lambda files: files[kind].write_bytes(encoded(change(pixels(files[kind])), ending))


def filled(kind: str, data: bytes) -> Any:
    return lambda files: files[kind].write_bytes(data)


def cut(kind: str, ending: str = ".png") -> Any:
    return lambda files: files[kind].write_bytes(encoded(pixels(files[kind]), ending)[:-60])


def replaced(kind: str, make: Callable[[Path], Any]) -> Any:
    """Return what makes something else in the place of a file."""
    return lambda files: (files[kind].unlink(), make(files[kind]))


def turned(file: Path, orientation: int = 6) -> None:
    exif = Image.Exif()
    exif[274] = orientation
    Image.fromarray(sample(0)["img"]).save(file, "PNG", exif=exif)


def from_0_to_1(file: Path) -> None:
    with file.open("wb") as opened:
        np.save(opened, sample(0)["img"] / np.float32(255))


def with_pixel(value: int) -> Callable[[np.ndarray], np.ndarray]:
    def change(array: np.ndarray) -> np.ndarray:
        array[0, 0] = value
        return array

    return change


BOMB = b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sIIBBBBBI", 13, b"IHDR", 50_000, 50_000, 8, 2, 0, 0, 0, 0) + bytes(40)
# By name: what is found of the file that is broken so, and what breaks it.
FAULTS: dict[str, Fault] = {
    "no photo": ("unpaired", lambda files: files["img"].unlink()),
    "no label map": ("unpaired", lambda files: files["label"].unlink()),
    "no instance map": ("unpaired", lambda files: files["inst"].unlink()),
    "two photos": ("same name", lambda files: shutil.copy(files["img"], files["img"].with_suffix(".jpg"))),
    "another size": ("sizes differ", rewritten("img", lambda photo: photo[1:])),
    "turned by EXIF": ("sizes differ", replaced("img", turned)),
    "no class": ("ids", rewritten("label", with_pixel(77))),
    "colours as ids": ("wrong kind", rewritten("label", lambda label: np.stack([label] * 3, 2))),
    "JPEG of ids": ("wrong kind", rewritten("label", lambda label: label, ".jpg")),
    "alpha in instances": ("wrong kind", rewritten("inst", lambda ids: np.stack([ids] * 4, 2))),
    "no bytes": ("unreadable", filled("img", b"")),
    "text": ("unreadable", filled("img", b"no picture")),
    "EPS": ("unreadable", filled("img", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 40 24\n")),
    "cut PNG": ("unreadable", cut("img")),
    "cut JPEG": ("unreadable", cut("img", ".jpg")),
    "cut label map": ("unreadable", cut("label")),
    "bomb": ("unreadable", filled("img", BOMB)),
    "pipe": ("unreadable", replaced("img", os.mkfifo)),
    "link to nothing": ("unreadable", replaced("img", lambda file: file.symlink_to("nothing"))),
    "torn instance": ("instances", rewritten("inst", with_pixel(2000))),
    "one colour": ("constant", rewritten("img", lambda photo: photo * 0 + 7)),
    "one class": ("constant", rewritten("label", lambda label: label * 0)),
    "16 bits": ("mixed bits", rewritten("img", lambda photo: photo.astype(np.uint16) * 257)),
    "grey": ("mixed channels", rewritten("img", lambda photo: photo[..., 0].copy())),
    "alpha": ("mixed channels", rewritten("img", lambda photo: np.dstack([photo, photo[..., 0]]))),
    "transparent": ("alpha", rewritten("img", lambda photo: np.dstack([photo, photo[..., 0]]))),
    "mirrored by EXIF": ("orientation", replaced("img", lambda file: turned(file, 2))),
    "floats from 0 to 1": ("float range", replaced("img", from_0_to_1)),
    "copy": ("duplicates", lambda files: shutil.copy(files["img"].with_name("001.png"), files["img"])),
    "maps alike": ("same file", lambda files: shutil.copy(files["label"], files["inst"])),
    "too small": ("crop", lambda files: put(files["img"].parents[1], "train", "too small", sample(99, 20))),
}
# Of other places than a training file.
MORE = {
    "missing folder": "val_label",
    "overlap": "test_img/1.png",
    "untrained classes": "4 class 4",
    "absent classes": "5 class 5",
}
LEFT_OUT = "train_img: 1 file is not read: 1 .tga"  # a folder, and no place of a file


def palette(label: np.ndarray, file: Path) -> None:
    picture = Image.fromarray(label)
    picture.putpalette([255 - place % 256 for place in range(768)])
    picture.save(file)


# Sound, though they look as if they were not.
SOUND: dict[str, Callable[[dict[str, Path]], Any]] = {
    "sound": lambda files: None,
    "palette": lambda files: palette(pixels(files["label"]), files["label"]),
    "ids of 16 bits": rewritten("label", lambda label: label.astype(np.uint16)),
    "ignored": rewritten("label", with_pixel(255)),
    "JPEG by another name": rewritten("img", lambda photo: photo, ".jpg"),
    "link": lambda files: (files["img"].rename(files["img"].parents[1] / "x"), files["img"].symlink_to("../x")),
    "ü # % ' \n": lambda files: None,
}


@pytest.fixture(scope="module")
def seeded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the recipe of a folder in which every fault is once, and many sound files."""
    root = tmp_path_factory.mktemp("seeded") / "data"
    for number, name in enumerate([*SOUND, *FAULTS, *(f"{n:03d}" for n in range(40))]):
        put(root, "train", name, sample(number))
    for number in range(3):
        put(root, "test", str(number), sample(100 + number))
        put(root, "val", str(number), sample(110 + number))
    shutil.rmtree(root / "val_label")
    (root / "train_img" / "000.tga").write_bytes(encoded(sample(0)["img"]))
    for name, (_, break_it) in FAULTS.items():
        break_it({kind: root / f"train_{kind}" / f"{name}.png" for kind in ("label", "inst", "img")})
    for name, change in SOUND.items():
        change({kind: root / f"train_{kind}" / f"{name}.png" for kind in ("label", "inst", "img")})
    shutil.copy(root / "train_img" / "000.png", root / "test_img" / "1.png")
    (root / "test_label" / "2.png").write_bytes(encoded(with_pixel(4)(sample(102)["label"])))
    values = small_recipe(root, root.parent / "run")
    values["data"] |= {"labels": LABELS, "validation": "val"}
    values["stages"] = [{"size": "32x24", "geometry": "crop", "epochs": 1}]
    return write_recipe(root.parent / "recipe.yaml", values)


def check(recipe: Path, capsys: pytest.CaptureFixture[str], workers: int = 2) -> tuple[int, dict[str, Any]]:
    """Run the command; return its exit code and its JSON."""
    code = run_tool("check_data", [str(recipe), "--json", "--workers", str(workers)])
    return code, json.loads(capsys.readouterr().out)


def named(report: dict[str, Any]) -> dict[str, set[str]]:
    """Return the names of samples and other places, by what was found of them."""
    found: dict[str, set[str]] = {}
    for finding in report["findings"]:
        places = [place["place"] for place in finding["places"]]
        found.setdefault(finding["kind"], set()).update(
            Path(place).stem if "/train_" in place else place for place in places
        )
    return found


def missed(report: dict[str, Any]) -> list[str]:
    """Return the faults that a report does not name."""
    found = named(report)
    files = [name for name, (kind, _) in FAULTS.items() if name not in found.get(kind, ())]
    files += [] if any(LEFT_OUT in finding["words"] for finding in report["findings"]) else [LEFT_OUT]
    return files + [kind for kind, end in MORE.items() if not any(p.endswith(end) for p in found.get(kind, ()))]


@bar
def test_one_run_names_every_fault_and_no_sound_file(
    seeded: Path, capsys: pytest.CaptureFixture[str], figure: Figure
) -> None:
    code, report = check(seeded, capsys)
    assert code == 1 and missed(report) == []
    found = named(report)
    blamed = set().union(*found.values()) - {*FAULTS}
    assert {place.removeprefix(f"{seeded.parent}/data/") for place in blamed} == {*MORE.values()}
    assert check(seeded, capsys, 1) == (code, report), "whatever the number of workers"
    assert run_tool("check_data", [str(seeded)]) == 1
    table = capsys.readouterr().out
    assert all(finding["words"] in table for finding in report["findings"])
    faults = len(FAULTS) + len(MORE) + 1
    figure(f"{faults} of {faults} faults, none of {len(SOUND) + 40} sound files")


LOOKS = [name for name in vars(check_findings) if name.startswith("_of_") and name != "_of_stride"]


@bar
@pytest.mark.parametrize("look", LOOKS)
def test_mutant_without_one_look_misses_some(
    look: str, seeded: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, figure: Figure
) -> None:
    without_look(monkeypatch, look)
    _, report = check(seeded, capsys)
    assert missed(report) != []
    figure(f"mutant without {look.replace('_of_', 'a look at ')}: misses {len(missed(report))}")


@bar
def test_mutant_that_stops_at_the_first_fault(
    seeded: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, figure: Figure
) -> None:
    stopping_at_the_first_fault(monkeypatch)
    _, report = check(seeded, capsys)
    assert len(missed(report)) > 20
    figure(f"mutant that stops at the first: misses {len(missed(report))}")


@bar
def test_nothing_is_found_in_a_thousand_sound_samples(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], figure: Figure
) -> None:
    for number in range(1000):
        put(tmp_path, "train", f"{number}", sample(number))
    code, report = check(tmp_path, capsys)
    assert (code, report["findings"]) == (0, [])
    figure("nothing in 1000 sound samples")
