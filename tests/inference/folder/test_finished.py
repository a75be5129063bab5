"""Finished pictures are not touched again, and no name of an input leads outside `--out`."""

import json
import os
import shutil
import urllib.parse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from hdtrans.cli import run_tool
from hdtrans.common.errors import UserError
from hdtrans.common.files import write_bytes
from hdtrans.inference.folder import files
from hdtrans.inference.translator import Translator
from tests.bars import Figure
from tests.common.test_pages import Reader
from tests.small_runs import small_recipe, toy_data, train_values

BAR = pytest.mark.bar("B5.5", "nothing is written outside --out, whatever inputs are called")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `run`, a model of label maps, and `maps`, three of them of one size in bytes."""
    folder = tmp_path_factory.mktemp("finished")
    values = small_recipe(toy_data(folder / "city"), folder / "run")
    values["method"]["condition"] = {"boundary": "none"}
    train_values(values)
    (folder / "maps").mkdir()
    for number in range(3):
        np.save(folder / "maps" / f"{number}.npy", np.full((16, 24), number, np.uint8))
    return folder


@pytest.fixture
def inputs(place: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(place / "maps", tmp_path / "maps"))


def infer(*arguments: object) -> int:
    return run_tool("infer", [str(a) for a in arguments])


def stats(folder: Path) -> dict[str, tuple[int, int]]:
    """Return inode and time of every picture and thumbnail."""
    found = [f for f in folder.rglob("*") if f.suffix in (".png", ".jpg")]
    return {str(f): (f.stat().st_ino, f.stat().st_mtime_ns) for f in found}


def everything(folder: Path) -> dict[str, bytes]:
    return {str(f.relative_to(folder)): f.read_bytes() for f in folder.rglob("*") if f.is_file()}


def test_results_among_the_inputs_are_refused(
    place: Path, inputs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Else the second run would translate the results and thumbnails of the first."""
    given = [place / "run", "--input", inputs, "--out"]
    assert infer(*given, inputs / "out") == 2
    assert f"--out {inputs / 'out'}: is inside {inputs}, whose sub-folders are searched" in capsys.readouterr().err
    assert infer(*given, tmp_path) == 2
    assert f"holds inputs of this command as well ({inputs})" in capsys.readouterr().err
    (mask := tmp_path / "mask").mkdir()
    assert infer(*given, mask / "out", "--with", f"mask={mask}") == 2
    assert f"is inside {mask}, whose sub-folders are searched" in capsys.readouterr().err
    assert infer(*given, tmp_path / "out", "--bits", 8) == 0
    (inputs / "earlier").symlink_to(tmp_path / "out")
    before = everything(tmp_path / "out")
    for again in (inputs, f"{inputs}/*/*.png"):
        assert infer(place / "run", "--input", again, "--out", tmp_path / "out") == 2
        assert f"holds inputs of this command as well ({inputs}/earlier/" in capsys.readouterr().err
    assert everything(tmp_path / "out") == before
    assert infer(place / "run", "--input", *inputs.glob("*.npy"), "--out", inputs / "out") == 0, "files are no folder"


def test_results_of_another_translation_are_inputs_without_their_thumbnails(
    place: Path, inputs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert infer(place / "run", "--input", inputs, "--out", tmp_path / "first") == 0
    for file in (tmp_path / "first").glob("*.png"):
        shutil.copy(inputs / f"{file.stem}.npy", file.with_suffix(".npy")), file.unlink()
    capsys.readouterr()
    assert infer(place / "run", "--input", tmp_path / "first", "--out", tmp_path / "second") == 0
    printed = capsys.readouterr().out
    assert "3 made, 0 there already, 0 failed" in printed
    assert "note: 6 thumbnails of an earlier translation are passed over" in printed


def test_a_name_that_leaves_no_room_for_its_thumbnail(place: Path, tmp_path: Path) -> None:
    """A result decides by itself: its thumbnails take a name with a hash."""
    (inputs := tmp_path / "maps").mkdir()
    stem = "汽" * 82  # 246 bytes
    for end in "ab":
        cv2.imwrite(str(inputs / f"{stem}{end}.png"), np.full((16, 24), 1, np.uint8))
    out = tmp_path / "out"
    assert infer(place / "run", "--input", inputs, "--out", out) == 0
    assert {f"{stem}{end}.png" for end in "ab"} < set(os.listdir(out))
    thumbnails = os.listdir(out / "thumbnails")
    assert len(thumbnails) == 4 and all(len(os.fsencode(name)) < 100 for name in thumbnails)
    assert all(urllib.parse.quote(f"thumbnails/{name}") in (out / "index.html").read_text() for name in thumbnails)


def test_a_thumbnail_that_cannot_be_written_stops_no_result(
    place: Path, inputs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert infer(place / "run", "--input", inputs / "0.npy", "--out", out) == 0
    shutil.rmtree(out / "thumbnails")
    (out / "thumbnails").write_text("in the way")
    (out / "0.png").unlink()
    assert infer(place / "run", "--input", inputs, "--out", out) == 0
    printed = capsys.readouterr().out
    assert "3 made, 0 there already, 0 failed" in printed
    words = f"note: the page shows 3 of them without thumbnails: {out}/thumbnails/0_input.jpg: cannot be written: "
    assert words in printed and "remove the file that is in the way" in printed
    assert (out / "index.html").read_text().count('<img src="0.png"') == 1


def test_a_second_run_touches_nothing(place: Path, inputs: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    command = [place / "run", "--input", inputs, "--out", tmp_path / "out"]
    assert infer(*command) == 0
    before, whole = stats(tmp_path / "out"), everything(tmp_path / "out")
    assert len(before) == 3 + 6
    for file in inputs.iterdir():
        os.utime(file)  # younger than their pictures, and the same
    assert infer(*command) == 0
    assert "0 made, 3 there already" in capsys.readouterr().out
    assert stats(tmp_path / "out") == before and everything(tmp_path / "out") == whole
    entries = [json.loads(line) for line in (tmp_path / "out/finished.jsonl").read_text().splitlines()]
    assert [entry["name"] for entry in entries] == ["0", "1", "2"]
    assert all(len(entry["inputs"]["label"]) == 64 for entry in entries)


def test_an_input_of_another_content_is_translated_again(place: Path, inputs: Path, tmp_path: Path) -> None:
    """Though it has the time and the size of the one before."""
    command = [place / "run", "--input", inputs, "--out", tmp_path / "out"]
    assert infer(*command) == 0
    before = stats(tmp_path / "out")
    was = (inputs / "1.npy").stat()
    np.save(inputs / "1.npy", np.arange(16 * 24, dtype=np.uint8).reshape(16, 24) % 19)
    os.utime(inputs / "1.npy", ns=(was.st_atime_ns, was.st_mtime_ns))
    assert (inputs / "1.npy").stat().st_size == was.st_size
    assert infer(*command) == 0
    after = stats(tmp_path / "out")
    changed = {Path(file).name for file in before if after[file] != before[file]}
    assert changed == {"1.png", "1_input.jpg", "1_result.jpg"}


def test_a_killed_run_is_continued(place: Path, inputs: Path, tmp_path: Path) -> None:
    """Entries that were not collected, one of them torn, and a picture whose entry was not written any more."""
    out = tmp_path / "out"
    command = [place / "run", "--input", inputs, "--out", out]
    assert infer(*command) == 0
    whole = everything(out)
    lines = (out / "finished.jsonl").read_text().splitlines()
    (out / "finished.jsonl").write_text(lines[2] + "\n")
    (out / ".finished-3.jsonl").write_text(f"{lines[0]}\n{lines[1][:30]}")
    (out / "2.png").unlink()
    before = stats(out)
    assert infer(*command) == 0
    assert everything(out) == whole
    assert {name: stats(out)[name] for name in before if name.endswith(".png")} == {
        name: stat for name, stat in before.items() if name.endswith(".png")
    }


def test_other_options_need_another_folder(
    place: Path, inputs: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    command = [place / "run", "--input", inputs, "--out", tmp_path / "out"]
    assert infer(*command) == 0
    before = everything(tmp_path / "out")
    assert infer(*command, "--dtype", "fp64") == 2
    assert "another model, direction, seed, style, dtype or format" in capsys.readouterr().err
    assert everything(tmp_path / "out") == before


HOSTILE = [
    "../x", "../../x", "../../../x", "a/../../x", "a/./../../x", "a/b/../../../x", "./../x", "..//x", "../..",
    "../out/../x", "../out2/x", "sub/../../out2/x", "ROOT/x", "/ROOT/x", "away/x", "away/deep/x", "away/../../x",
    "chain/x", "up/x", "sub/../up/x", "x\0y", "\0",
]  # fmt: skip
HARMLESS = [
    "x",
    ".",
    "...",
    "a/../x",
    "con",
    "-rf",
    "a b",
    "x" * 200,
    "a\nb",
    "*",
    "$(touch x)",
    "%2e%2e%2fx",
    "~",
    "sub/x",
]


def write(name: str, root: Path) -> None:
    """Check and write the files of an input of this name, in a folder with links that lead outside."""
    out, elsewhere = root / "a" / "b" / "out", root / "c" / "d" / "elsewhere"
    for made in (out, elsewhere):
        made.mkdir(parents=True)
    for link, target in (("away", elsewhere), ("chain", "away"), ("up", "..")):
        (out / link).symlink_to(target)
    picture = out / f"{name.replace('ROOT', str(root))}.png"
    files.check_results(out, [("fine", [out / "fine.png"]), (name, [picture])])
    picture.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(picture, b"picture")


def outside(root: Path) -> int:
    """Return how many files lie outside the folder of the results."""
    out = os.path.join(root / "a" / "b" / "out", "")
    return sum(not os.path.realpath(file).startswith(out) for file in root.rglob("*") if file.is_file())


@BAR
@pytest.mark.parametrize("name", HOSTILE)
def test_names_that_lead_outside_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="inputs.*(would lie outside|no file can have)"):
        write(name, tmp_path)
    assert everything(tmp_path) == {}


@BAR
def test_mutant_that_checks_no_name_writes_outside(
    tmp_path: Path, figure: Figure, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "check_results", lambda out, results: None)
    for number, name in enumerate(HOSTILE):
        if "\0" in name:
            with pytest.raises(ValueError, match="null byte"):
                write(name, tmp_path / str(number))
        else:
            write(name, tmp_path / str(number))
            assert outside(tmp_path / str(number)) == 1, name
    figure(f"mutant that checks no name: {len(HOSTILE) - 2} of {len(HOSTILE)} write outside, the others break it off")


@BAR
@pytest.mark.parametrize("name", ["away/x", "away/deep/x", "chain/x", "up/x"])
def test_mutant_that_follows_no_link_lets_names_through(
    name: str, tmp_path: Path, figure: Figure, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert name in HOSTILE
    with monkeypatch.context() as patch:
        patch.setattr("hdtrans.inference.folder.files.os.path.realpath", os.path.abspath)
        write(name, tmp_path)
    assert outside(tmp_path) == 1
    figure(f"mutant that follows no link: {name} passes")


@BAR
def test_other_names_are_fine(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "real")  # the folder itself may be a link
    names = [name for name in HARMLESS if name != "a/../x"]
    files.check_results(tmp_path / "out", [(name, [tmp_path / "out" / f"{name}.png"]) for name in names])
    with pytest.raises(UserError, match=r"x and a/\.\./x would both be written as"):
        files.check_results(tmp_path / "out", [(name, [tmp_path / "out" / f"{name}.png"]) for name in ("x", "a/../x")])


def translate_through_a_link(place: Path, inputs: Path, out: Path) -> tuple[int, list[str]]:
    """Translate `sub/x` where `sub` is a link that leads outside; return the exit code, and the files outside."""
    (inputs / "sub").mkdir()
    shutil.copy(inputs / "0.npy", inputs / "sub" / "x.npy")
    elsewhere = out.with_name("elsewhere")
    elsewhere.mkdir()
    (out / "sub").symlink_to(elsewhere)
    return infer(place / "run", "--input", inputs, "--out", out), os.listdir(elsewhere)


@BAR
def test_nothing_is_written_outside_or_twice(
    place: Path, inputs: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    out = tmp_path / "out"
    assert infer(place / "run", "--input", inputs / "0.npy", "--out", out) == 0
    before = everything(out)
    assert translate_through_a_link(place, inputs, out) == (2, [])
    assert "sub/x: its result would lie outside" in capsys.readouterr().err
    assert everything(out) == before
    (inputs / "thumbnails").mkdir()
    shutil.copy(inputs / "0.npy", inputs / "thumbnails" / "0_result.npy")
    assert infer(place / "run", "--input", inputs, "--out", tmp_path / "jpg", "--format", "jpg") == 2
    assert "0 and thumbnails/0_result would both be written as" in capsys.readouterr().err
    assert not (tmp_path / "jpg").exists()


@BAR
def test_mutant_that_checks_no_result_writes_outside(
    place: Path, inputs: Path, tmp_path: Path, figure: Figure, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hdtrans.inference.folder.translate.check_results", lambda out, results: None)
    assert infer(place / "run", "--input", inputs / "0.npy", "--out", tmp_path / "out") == 0
    assert translate_through_a_link(place, inputs, tmp_path / "out") == (0, ["x.png"])
    figure("mutant that checks no result: writes x.png outside")


def names_that_end_otherwise(place: Path, inputs: Path, out: Path) -> list[object]:
    """Two inputs whose names differ in their ending."""
    shutil.copy(inputs / "0.npy", inputs / "0.png")
    return []


def a_thumbnail(place: Path, inputs: Path, out: Path) -> list[object]:
    """An input whose result has the name of another's thumbnail."""
    (inputs / "thumbnails").mkdir()
    shutil.copy(inputs / "0.npy", inputs / "thumbnails" / "0_result.npy")
    return ["--format", "jpg"]


def a_link_between(place: Path, inputs: Path, out: Path) -> list[object]:
    """Two folders of inputs, whose results lie in one, by a link inside the results."""
    for name in ("p", "q"):
        (inputs / name).mkdir()
        shutil.copy(inputs / "0.npy", inputs / name / "0.npy")
    assert infer(place / "run", "--input", inputs / "0.npy", "--out", out) == 0
    (out / "q").mkdir()
    (out / "p").symlink_to("q")
    return []


@BAR
@pytest.mark.parametrize(
    ("prepare", "guard"),
    [
        (names_that_end_otherwise, "hdtrans.data.folders._check_twins"),
        (a_thumbnail, "hdtrans.inference.folder.translate.check_results"),
        (a_link_between, "hdtrans.inference.folder.translate.check_results"),
    ],
)
def test_inputs_with_one_result_are_refused_before_the_first_is_translated(
    prepare: Callable[[Path, Path, Path], list[object]],
    guard: str,
    place: Path,
    inputs: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    figure: Figure,
) -> None:
    command = [place / "run", "--input", inputs, "--out", tmp_path / "out"]
    command += prepare(place, inputs, tmp_path / "out")
    translated = []
    begin = Translator.begin

    def noted(self: Translator, batch: Any, *more: Any) -> Any:
        translated.extend(batch)
        return begin(self, batch, *more)

    monkeypatch.setattr(Translator, "begin", noted)
    before = everything(tmp_path)
    assert infer(*command) == 2
    assert translated == [] and everything(tmp_path) == before
    monkeypatch.setattr(guard, lambda *_: None)
    assert infer(*command) == 0
    assert len(translated) == 4
    figure(f"mutant that takes {prepare.__name__.replace('_', ' ')}: seen, 4 inputs are translated")


NAMES = [
    "<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "' onmouseover='alert(1)", "&lt;b&gt;",
    "javascript:alert(1)",
    "a#b", "a?b", "a%41", "a%2fb", "ü é 日本", "\u202egnp", "]]>", "<!--", "${7*7}", "a\tb",
]  # fmt: skip


def hostile_gallery(place: Path, folder: Path) -> tuple[Reader, list[bool]]:
    """Translate maps of hostile names; return their gallery, and whether each of its addresses leads to a file."""
    (folder / "maps").mkdir()
    for name in NAMES:
        cv2.imwrite(str(folder / "x.png"), np.zeros((16, 24), np.uint8))
        shutil.copy(folder / "x.png", folder / "maps" / f"{name.replace('/', '|')}.png")
    out = folder / "out"
    assert infer(place / "run", "--input", folder / "maps", "--out", out) == 0
    reader = Reader((out / "index.html").read_text(encoding="utf-8"))
    pages = [urllib.parse.unquote(value.split("#")[0].split("?")[0]) for value in addresses(reader)]
    return reader, [(out / page).is_file() for page in pages]


def addresses(reader: Reader) -> list[str]:
    return [*reader.values["src"], *reader.values["href"]]


def runs(reader: Reader) -> set[str]:
    """Return tags and attributes of a page that would run code."""
    handlers = {name for name in reader.values if name.startswith("on")}
    return {"script", "iframe", "object", "base"} & set(reader.tags) | handlers


@pytest.mark.bar("B5.6", "galleries show every name and run none")
def test_a_gallery_of_hostile_names_shows_every_picture_and_runs_nothing(place: Path, tmp_path: Path) -> None:
    reader, found = hostile_gallery(place, tmp_path)
    assert not runs(reader)
    assert any(content.startswith("default-src 'none'; img-src 'self'") for content in reader.values["content"])
    assert len(found) == 4 * len(NAMES) and all(found)
    assert not any(":" in value.split("/")[0] for value in reader.values["href"]), "a scheme"


@pytest.mark.bar("B5.6", "galleries show every name and run none")
def test_mutant_galleries_that_take_names_as_they_are_are_seen(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, figure: Figure
) -> None:
    (tmp_path / "escape").mkdir()
    (tmp_path / "quote").mkdir()
    with monkeypatch.context() as patch:
        patch.setattr("hdtrans.common.pages.escape", str)
        run = runs(hostile_gallery(place, tmp_path / "escape")[0])
    monkeypatch.setattr("hdtrans.common.pages.urllib.parse.quote", os.fsdecode)
    lost = hostile_gallery(place, tmp_path / "quote")[1].count(False)
    assert run and lost
    figure(f"mutant without escaping runs {', '.join(sorted(run))}; mutant without quoting loses {lost} pictures")
