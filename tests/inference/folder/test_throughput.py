"""Many inputs: lists and patterns, batches, several processes, a video, and an interrupted run."""

import io
import os
import shutil
import signal
import sys
import threading
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from hdtrans.cli import run_tool
from hdtrans.common.errors import UserError
from hdtrans.inference.folder import translate as folder_module
from hdtrans.inference.folder.files import Folders, find_inputs
from hdtrans.inference.folder.translate import translate_folder
from hdtrans.inference.translator import Translator
from tests.bars import Figure
from tests.forked import Forked, end_as_command, run_command, two_processes
from tests.mutants.translating import norms_of_the_whole_batch
from tests.shared_folder import filled_once
from tests.small_runs import made_checkpoint, small_recipe, toy_data, train_values


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `run`, a model of label maps, and `maps`, seven of them, two of another size."""
    return filled_once(tmp_path_factory, "throughput", train_on_maps)[0]


def train_on_maps(folder: Path) -> None:
    """Train the model and write the maps."""
    values = small_recipe(toy_data(folder / "city"), folder / "run")
    values["method"]["condition"] = {"boundary": "none"}
    train_values(values)
    (folder / "maps").mkdir()
    noise = np.random.default_rng(0)
    for number in (1, 2, 3, 8, 9, 10, 11):
        size = (16, 24) if number in (2, 9) else (20, 24)
        cv2.imwrite(str(folder / "maps" / f"f{number}.png"), noise.integers(0, 19, size, dtype=np.uint8))


def infer(*arguments: object) -> int:
    return run_tool("infer", [str(a) for a in arguments])


def made(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.glob("*.png")}


def test_inputs_are_named_in_many_ways(place: Path, tmp_path: Path) -> None:
    maps = place / "maps"
    assert find_inputs([str(maps)]) == maps
    in_order = [maps / f"f{number}.png" for number in (1, 2, 3, 8, 9, 10, 11)]
    assert find_inputs([f"{maps}/*.png"]) == in_order
    listed = io.StringIO(f"{maps}/f9.png\n\n  {maps}/f1.png\n{maps}/f9.png\n")
    assert find_inputs(["-"], listed) == [maps / "f9.png", maps / "f1.png"]
    (tmp_path / "list.txt").write_text(f"{maps}/f3.png\n")
    assert find_inputs([f"@{tmp_path}/list.txt", f"{maps}/f2.png"]) == [maps / "f3.png", maps / "f2.png"]


def test_lists_as_people_write_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder := tmp_path / "a b").mkdir()
    for name in ("1 2.png", "#3.png", "ü\u2028.png", " 4.png"):
        (folder / name).write_bytes(b"")
    (tmp_path / "1 2.png").write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(folder))
    text = "\ufeff# comment\r\n1 2.png\r\n\r\n#3.png\r\nü\u2028.png \r\n 4.png\r\n~/1 2.png"
    wanted = [Path(name) for name in ("1 2.png", "a b/#3.png", "a b/ü\u2028.png", "a b/ 4.png", f"{folder}/1 2.png")]
    for encoding in ("utf-8", "utf-16-le"):  # as Windows PowerShell writes
        (folder / "list.txt").write_bytes(text.encode(encoding))
        assert find_inputs(["@a b/list.txt"]) == wanted
        assert find_inputs(["@~/list.txt"]) == [tmp_path / p if p.parts[0] == "a b" else p for p in wanted]
    zeros = io.TextIOWrapper(io.BytesIO(b"a b/ 4.png\0" + os.fsencode("a b/ü\u2028.png\0")))
    assert find_inputs(["-"], zeros) == [wanted[3], wanted[2]]
    (folder / "list.txt").write_text("1 2.png\n\n5.png\n")
    with pytest.raises(UserError, match=r"inputs=@a b/list.txt, line 3: 5.png: there is no such file"):
        find_inputs(["@a b/list.txt"])


def test_a_list_without_a_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", None)
    with pytest.raises(UserError, match="names no file"):
        find_inputs(["-"])


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (["{maps}/f1.png", "{maps}"], "is a folder; give one folder alone"),
        (["{maps}/*.jpg"], "no file matches"),
        (["{maps}/g.png"], "there is no such file"),
        (["@{maps}/no.txt"], "cannot be read as a list"),
        (["-"], "names no file"),
    ],
)
def test_inputs_that_are_none(place: Path, given: list[str], words: str) -> None:
    with pytest.raises(UserError, match=words):
        find_inputs([entry.format(maps=place / "maps") for entry in given], io.StringIO())


def apart(folder: Path) -> int:
    """Return by how many levels the pictures in `one` and `four` differ at most."""
    one, four = made(folder / "one"), made(folder / "four")
    assert one.keys() == four.keys() and len(one) == 7
    pairs = ([cv2.imread(str(folder / out / name)).astype(int) for out in ("one", "four")] for name in one)
    return max(int(np.abs(first - second).max()) for first, second in pairs)


def translate_in_batches(place: Path, folder: Path) -> int:
    """Translate in float64 one by one, four together, and four together in another order; return how far apart."""
    maps = [place / "maps" / f"f{number}.png" for number in (1, 3, 8, 10, 2, 9, 11)]
    command = [place / "run", "--dtype", "fp64", "--device", "cpu"]
    assert infer(*command, "--input", place / "maps", "--out", folder / "one") == 0
    assert infer(*command, "--input", *maps, "--out", folder / "four", "--batch-size", 4) == 0
    first = apart(folder)
    (folder / "four").rename(folder / "by size")
    assert infer(*command, "--input", place / "maps", "--out", folder / "four", "--batch-size", 4) == 0
    return max(first, apart(folder))


@pytest.mark.bar("B7.4", "a batch gives the pictures that single inputs give")
def test_a_batch_equals_single_inputs(place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert infer(place / "run", "--input", place / "maps", "--out", tmp_path / "one") == 0
    files = [place / "maps" / f"f{number}.png" for number in (11, 10, 9, 8, 3, 2, 1)]
    assert infer(place / "run", "--input", *files, "--out", tmp_path / "four", "--batch-size", 4) == 0
    assert apart(tmp_path) <= 1
    printed = capsys.readouterr().out
    assert "7 made" in printed and "7 inputs (first: f1) are much wider or narrower than the 64" in printed
    page = (tmp_path / "four" / "index.html").read_text()
    assert page.index("f11.png") < page.index("f9.png") < page.index("f1.png"), "files keep the order they are given in"


@pytest.fixture
def sizes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return how many inputs the Translator gets together, in every call."""
    sizes: list[int] = []
    begin = Translator.begin

    def noted(self: Translator, batch: Any, *more: Any) -> Any:
        sizes.append(len(batch))
        return begin(self, batch, *more)

    monkeypatch.setattr(Translator, "begin", noted)
    return sizes


@pytest.mark.bar("B7.4", "a batch gives the pictures that single inputs give")
def test_batches_of_any_size_differ_in_nothing_in_float64(place: Path, tmp_path: Path, sizes: list[int]) -> None:
    assert translate_in_batches(place, tmp_path) == 0
    assert sizes == [1] * 7 + [4, 2, 1] + [1, 1, 2, 1, 2], "neighbours of one size together"
    assert made(tmp_path / "one") == made(tmp_path / "by size") == made(tmp_path / "four")


@pytest.mark.bar("B7.4", "a batch gives the pictures that single inputs give")
def test_mutant_whose_norms_look_at_the_whole_batch_is_seen(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, figure: Figure
) -> None:
    norms_of_the_whole_batch(monkeypatch)
    for out, size in (("one", 1), ("four", 4)):
        assert infer(place / "run", "--input", place / "maps", "--out", tmp_path / out, "--batch-size", size) == 0
    assert apart(tmp_path) > 1
    figure(f"mutant, norms of whole batches: {apart(tmp_path)} levels")
    (tmp_path / "float64").mkdir()
    far = translate_in_batches(place, tmp_path / "float64")
    assert far > 0
    figure(f"in float64 {far} levels")


def test_a_batch_that_is_too_large_is_taken_apart(place: Path, tmp_path: Path) -> None:
    translator = Translator.load(place / "run")
    whole, sizes = translator.begin, []

    def little_memory(batch: list[Any], *more: int) -> Any:
        sizes.append(len(batch))
        if len(batch) > 1 or batch[0]["label"].shape == (16, 24):
            raise RuntimeError(
                "[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"
            )
        return whole(batch, *more)

    translator.begin = little_memory  # type: ignore[method-assign]
    folders = Folders(place / "maps", {}, None, tmp_path / "out")
    outcome = translate_folder(translator, folders, batch_size=8)
    assert len(outcome.made) == 5 and max(sizes) > 1
    assert {str(error) for error in outcome.failed.values()} == {
        "there is too little memory for 24x16; give max_memory=SIZE to translate tile by tile"
    }


def test_two_processes_share_a_folder(place: Path, tmp_path: Path) -> None:
    assert infer(place / "run", "--input", place / "maps", "--out", tmp_path / "one", "--dtype", "fp32") == 0
    given = [str(place / "run"), "--input", str(place / "maps"), "--device", "cpu"]
    given += ["--out", str(tmp_path / "two"), "--dtype", "fp32"]
    ended = two_processes(run_command, "infer", given, folder=tmp_path)
    assert [each.value and each.value[0] for each in ended] == [0, 0], [each.said for each in ended]
    assert "".join(each.out for each in ended).count("7 made, 0 there already, 0 failed") == 1
    assert made(tmp_path / "two") == made(tmp_path / "one")
    assert (tmp_path / "two" / "index.html").read_text().count("<figure>") == 14


def test_a_video_of_frames_in_their_order(place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    av = pytest.importorskip("av")
    maps, out = Path(shutil.copytree(place / "maps", tmp_path / "maps")), tmp_path / "out"
    assert infer(place / "run", "--input", maps, "--out", out, "--video", 25) == 2
    assert "frames have one size" in capsys.readouterr().err
    assert len(made(out)) == 7 and not list(out.glob("*.webm")) and not list(out.glob(".*"))
    (maps / "damaged.png").write_bytes(b"x")
    frames = [maps / f"f{number}.png" for number in (1, 3, 8, 10)]
    assert infer(place / "run", "--input", *frames, maps / "damaged.png", "--out", out, "--video", 25) == 1
    with av.open(str(out / "video.webm")) as container:
        found = [frame.to_ndarray(format="bgr24").astype(int) for frame in container.decode(video=0)]
    results = [cv2.imread(str(out / file.name)).astype(int) for file in frames]
    for number, frame in enumerate(found):
        distances = [np.abs(frame - other).mean() for other in results]
        assert len(found) == 4 and distances[number] == min(distances)
    change = np.mean([np.abs(one - other).mean() for one, other in pairwise(results)])
    ids = [cv2.imread(str(file), cv2.IMREAD_UNCHANGED) for file in frames]
    share = np.mean([(one != other).mean() for one, other in pairwise(ids)])
    printed = capsys.readouterr().out
    assert f"video: {out}/video.webm: 4 frames of 24x20, 25 a second; 1 input(s) have no picture" in printed
    assert f"differ by {change:.2f} levels of 255 on average, their inputs by {100 * share:.2f} % of the" in printed


def test_a_video_without_its_package_is_refused_first(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    assert infer(place / "run", "--input", place / "maps", "--out", tmp_path / "out", "--video", 25) == 2
    assert "--video: needs av: pip install hdtrans[video]" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_an_interrupted_run_keeps_finished_pictures(place: Path, tmp_path: Path) -> None:
    inputs = tmp_path / "maps"
    inputs.mkdir()
    for number in range(1000):
        os.link(place / "maps" / "f1.png", inputs / f"{number}.png")
    given = [str(place / "run"), "--input", str(inputs), "--out", str(tmp_path / "out")]
    process = Forked(end_as_command, "infer", given, folder=tmp_path)
    deadline = time.monotonic() + 60
    while not made(tmp_path / "out") and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGINT)
    ended = process.wait(60)
    assert ended.code == 130 and "Traceback" not in ended.said, ended.said
    pictures = made(tmp_path / "out")
    assert 0 < len(pictures) < 1000, "the run was faster than this test"
    assert all(cv2.imdecode(np.frombuffer(data, np.uint8), 1) is not None for data in pictures.values())
    assert (tmp_path / "out" / "index.html").read_text().count("<figure>") == 2 * len(pictures)
    assert not list((tmp_path / "out").rglob("*.part"))


def test_a_missing_compiler_is_reported(place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from torch._inductor import config

    method = {"kind": "pix2pixhd", "generator": {"width": 2, "downsamples": 1, "blocks": 0}}  # little to compile
    method["condition"] = {"boundary": "none"}
    model = made_checkpoint(tmp_path / "m.pt", {"kind": "label_maps", "root": ".", "labels": 19}, method)
    command = [model, "--input", place / "maps" / "f1.png", "--out", tmp_path / "out", "--device", "cpu"]
    with config.patch({"cpp.cxx": (None, "no-such-compiler")}):
        assert infer(*command, "--compile") == 1
    printed = capsys.readouterr()
    assert "f1: --compile: this model cannot be compiled here" in printed.out
    assert "note: --compile: on a CPU it is faster without" in printed.err
    assert infer(*command, "--compile", "--max-memory", "64G") == 2
    assert "leave out --max-memory, or --compile" in capsys.readouterr().err


def test_a_gpu_has_more_threads_beside_it_by_the_cores_of_a_process(monkeypatch: pytest.MonkeyPatch) -> None:
    def threads(device: str, there: int, processes: str | None) -> tuple[int, int]:
        monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(there)), raising=False)
        monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
        if processes:
            monkeypatch.setenv("LOCAL_WORLD_SIZE", processes)
        return folder_module._threads(torch.device(device))

    assert threads("cpu", 64, None) == threads("cuda", 1, None) == threads("cuda", 16, "32") == (2, 2)
    assert threads("cuda", 16, None) == (4, 16) == threads("cuda", 64, "4")
    assert threads("cuda", 128, None) == (4, 16)


def test_many_threads_make_the_same_pictures(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And where a thread is slow, the others go on."""
    assert infer(place / "run", "--input", place / "maps", "--out", tmp_path / "two") == 0
    held, begun = threading.Event(), []
    write = folder_module.write_result

    def hold_the_first(target: Path, picture: np.ndarray[Any, Any]) -> None:
        begun.append(target.name)
        if len(begun) == 6:
            held.set()
        assert len(begun) > 1 or held.wait(60)
        write(target, picture)

    monkeypatch.setattr(folder_module, "write_result", hold_the_first)
    monkeypatch.setattr(folder_module, "_threads", lambda device: (3, 6))
    assert infer(place / "run", "--input", place / "maps", "--out", tmp_path / "many") == 0
    assert len(begun) == 7 and made(tmp_path / "many") == made(tmp_path / "two")


@pytest.mark.slow
def test_a_compiled_model_makes_the_same_pictures(place: Path) -> None:
    label = np.random.default_rng(0).integers(0, 19, (33, 50), dtype=np.uint8)
    plain = Translator.load(place / "run", "cpu")(label)
    compiled = Translator.load(place / "run", "cpu", compiled=True)(label)
    assert np.abs(plain.astype(int) - compiled).max() <= 1


def test_any_sizes_are_compiled_four_times_at_most(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By torch's own compiler of graphs, which takes long, it is the same graphs."""
    from torch import _dynamo as dynamo
    from torch._dynamo.utils import counters

    compile_it = torch.nn.Module.compile
    monkeypatch.setattr(torch.nn.Module, "compile", lambda self, **given: compile_it(self, backend="eager", **given))
    dynamo.reset()
    counters.clear()
    translator = Translator.load(place / "run", "cpu", compiled=True)
    stride, counts, random = translator.module.stride, [], np.random.default_rng(0)
    assert isinstance(stride, int)
    for height, width in ((4, 8), (3, 5), (7, 4), (4.5, 8), (6, 4.5), (8, 3), (4.5, 6.5), (9, 2.5), (5.5, 7)):
        translator(random.integers(0, 19, (int(height * stride), int(width * stride)), dtype=np.uint8))
        counts.append(counters["stats"]["unique_graphs"])
    dynamo.reset()
    # torch 2.11 takes what is compiled for what is exported, where one graph pads all sizes.
    assert counts in ([1, 1, 1, 2, 3, 3, 4, 4, 4], [1] * 9)
