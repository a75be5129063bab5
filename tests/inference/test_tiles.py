"""Tiles: every generator makes the same picture tile by tile as in one piece, within the memory limit."""

import re
import shutil
import subprocess
import sys
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from hdtrans.cli import run_tool
from hdtrans.common.errors import UserError
from hdtrans.inference import tiles
from hdtrans.inference.memory import MIB, Memory
from hdtrans.inference.translator import Translator
from tests.bars import Figure
from tests.mutants.tiles import by_the_last_tile, without_halo
from tests.small_runs import made_checkpoint, translated

SAME = pytest.mark.bar("B7.5", "tiles make the picture that the whole makes, within one level of 255")
LIMIT = pytest.mark.bar("B7.6", "translating stays below --max-memory, or says how much it needs before it begins")
CPU = torch.device("cpu")
LABELS = {"kind": "label_maps", "root": ".", "labels": 5}
PAIRS = {"kind": "picture_pairs", "root": "."}
SMALL = {"width": 4, "downsamples": 2, "blocks": 2}
RESNET = {"kind": "resnet", **SMALL}
UNET = {"kind": "unet", "width": 4, "downsamples": 6}


def hd(boundary: str = "instance", **generator: Any) -> dict[str, Any]:
    return {
        "kind": "pix2pixhd",
        "condition": {"boundary": boundary},
        "generator": SMALL | generator,
        "perceptual": {"kind": "none"},
    }


def pix2pix(generator: dict[str, Any], boundary: str = "none", norm: str = "image") -> dict[str, Any]:
    condition, translate = {"boundary": boundary}, {"norm": norm}
    return {"kind": "pix2pix", "condition": condition, "generator": generator, "translate": translate}


KINDS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "global": (LABELS, hd()),
    "global, deep, resize": (LABELS, hd("labels", downsamples=4, upsampling="resize")),
    "one enhancer": (LABELS, hd(enhancers=1)),
    "two enhancers": (LABELS, hd(enhancers=2, enhancer_blocks=1)),
    "features": (LABELS, hd(enhancers=1) | {"features": {"count": 3, "width": 4, "downsamples": 2}}),
    "features of classes": (LABELS, hd("none") | {"features": {"count": 2, "width": 4, "pool": "label"}}),
    "batch norm": (LABELS, hd("none", norm="batch")),
    "pictures and instances": (PAIRS, hd()),
    "U-Net, dropout, each picture's statistics": (LABELS, pix2pix(UNET, "instance")),
    "U-Net, gathered statistics": (PAIRS, pix2pix(UNET, norm="running")),
    "U-Net, instance norm": (PAIRS, pix2pix(UNET | {"norm": "instance"})),
    "ResNet, dropout": (PAIRS, pix2pix(RESNET)),
    "ResNet that adds to its input": (PAIRS, pix2pix(RESNET | {"norm": "none", "residual": True})),
    "ResNet of CycleGAN": ({"kind": "unpaired", "root": "."}, {"kind": "cyclegan", "generator": RESNET}),
}


def checkpoint(folder: Path, kind: str) -> Path:
    data, method = KINDS[kind]
    return made_checkpoint(folder / "model.pt", data, method)


def inputs_for(translator: Translator, height: int, width: int) -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    made = {
        "label": random.integers(0, 5, (height, width), dtype=np.uint8),
        "instance": random.integers(0, 2, (height, width), dtype=np.int32),
        "source": random.integers(0, 256, (height, width, 3), dtype=np.uint8),
    }
    return {name: made[name] for name in translator.reads}


def off(a: np.ndarray, b: np.ndarray) -> int:
    return int(np.abs(a.astype(np.int64) - b).max())


@SAME
@pytest.mark.parametrize(("height", "width"), [(200, 141), (64, 320), (5, 300)])
@pytest.mark.parametrize("kind", KINDS)
def test_tiles_make_the_same_picture(
    kind: str, height: int, width: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The smallest tiles, some, and one; kept in memory, and in a file."""
    translator = Translator.load(checkpoint(tmp_path, kind))
    inputs = inputs_for(translator, height, width)
    whole = translated(translator, inputs, seed=3)
    assert np.ptp(whole) > 20
    translator.max_memory = 1
    monkeypatch.setattr(tiles, "SIDE", 24)
    for tile, limit in ((1, 0), (300_000, 2**40), (2**40, 2**40)):
        memory = Memory(limit, CPU, tile)
        left = memory.left
        monkeypatch.setattr("hdtrans.inference.translator.Memory", lambda *_, memory=memory, **__: memory)
        tiled = translated(translator, inputs, seed=3)
        assert tiled.shape == whole.shape and off(tiled, whole) <= 1, tile
        assert memory.left == left, "what was kept is given back"


@SAME
@pytest.mark.parametrize(
    ("wrong", "kind"),
    [(without_halo, "global"), (without_halo, "U-Net, gathered statistics"), (by_the_last_tile, "global")],
    ids=["without a halo", "without a halo, statistics gathered", "with the last tile's statistics"],
)
def test_mutant_tiles_make_another_picture(
    wrong: Any,
    kind: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
    figure: Figure,
) -> None:
    translator = Translator.load(checkpoint(tmp_path, kind))
    inputs = inputs_for(translator, 200, 141)
    whole = translated(translator, inputs, seed=3)
    translator.max_memory = 1
    monkeypatch.setattr(tiles, "SIDE", 24)
    memory = Memory(0, CPU, 1)
    monkeypatch.setattr("hdtrans.inference.translator.Memory", lambda *_, **__: memory)
    assert off(translated(translator, inputs, seed=3), whole) <= 1
    wrong(monkeypatch)
    apart = off(translated(translator, inputs, seed=3), whole)
    assert apart > 1
    figure(f"mutant {request.node.callspec.id}: {apart} levels")


def test_a_tile_is_padded_only_where_the_picture_ends() -> None:
    """A function that tells its own border from its inside: it may see only the picture's."""
    memory = Memory(2**40, CPU, 1)
    x = tiles.whole(memory, torch.zeros(1, 1, 100, 70))

    def count_padding(x: Tensor) -> Tensor:
        return (
            nn.functional.pad(torch.zeros_like(x), (1, 1, 1, 1), value=1).unfold(2, 3, 1).unfold(3, 3, 1).amax((4, 5))
        )

    seen = x.through(count_padding, 1, Fraction(1), lambda x, _: x, False).read(((0, 100), (0, 70)))
    wanted = torch.ones(100, 70)
    wanted[1:-1, 1:-1] = 0
    assert torch.equal(seen[0, 0], wanted)


def test_statistics_of_tiles_are_those_of_the_whole() -> None:
    """Also where the mean is large beside the deviation, as in sums of squares it would be lost."""
    x = torch.rand(2, 3, 90, 70) * torch.tensor([1, 1e-2, 10]).view(3, 1, 1) + torch.tensor([0, 30, -500]).view(3, 1, 1)
    found = []

    def finish(x: Tensor, statistics: tuple[Tensor, Tensor] | None) -> Tensor:
        found.append(statistics)
        return x

    parts = tiles.whole(Memory(2**40, CPU, 1), x)
    assert torch.equal(
        parts.through(lambda x: x, 0, Fraction(1), finish, True).read(((3, 5), (2, 9))), x[..., 3:5, 2:9]
    )
    mean, variance = found[0]
    assert torch.allclose(mean.double(), x.double().mean((2, 3), keepdim=True), rtol=1e-6, atol=1e-7)
    assert torch.allclose(variance.double(), x.double().var((2, 3), correction=0, keepdim=True), rtol=1e-3, atol=1e-9)


@LIMIT
def test_too_little_memory_is_reported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, figure: Figure
) -> None:
    model = checkpoint(tmp_path, "batch norm")
    cv2.imwrite(str(tmp_path / "map.png"), np.zeros((40, 30), np.uint8))
    command = [str(model), "--input", str(tmp_path / "map.png"), "--out", str(tmp_path / "out")]
    assert run_tool("infer", [*command, "--max-memory", "10M"]) == 2
    printed = capsys.readouterr().err
    assert "the program and the model take" in printed and "give at least" in printed
    assert not (tmp_path / "out").exists()
    assert run_tool("infer", [*command, "--max-memory", "many"]) == 2
    assert "not a size" in capsys.readouterr().err
    assert run_tool("infer", [*command, "--max-memory", "64G"]) == 0
    shutil.rmtree(tmp_path / "out")
    monkeypatch.setattr("hdtrans.inference.memory.LEAST", float("-inf"))
    monkeypatch.setattr("hdtrans.inference.memory.keep_freed_memory", lambda keep: True)  # not for all tests after it
    assert run_tool("infer", [*command, "--max-memory", "10M"]) == 0
    figure("mutant that does not look: begins with 10 MB")


def test_a_full_disk_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.posix_fallocate", refuse)
    with pytest.raises(UserError, match=r"cannot hold 64M of feature maps.*No space left.*TMPDIR"):
        Memory(0, CPU, 1).keep((1, 16, 1024, 1024), torch.float32)


@pytest.mark.slow
@pytest.mark.parametrize("enhancers", [0, 1])
def test_a_large_map(enhancers: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """2048x1024: at most one level apart, and at most five times the processor time, of tiles that are mostly halo."""
    generator = {"width": 16, "downsamples": 4, "blocks": 3, "enhancers": enhancers}
    translator = Translator.load(made_checkpoint(tmp_path / "model.pt", LABELS, hd(**generator)))
    inputs = inputs_for(translator, 64, 128)
    inputs = {name: x.repeat(16, 0).repeat(16, 1) for name, x in inputs.items()}
    start = time.process_time()
    whole = translated(translator, inputs)
    took = time.process_time() - start
    translator.max_memory = 1
    for tile in (1, 4 * MIB, 64 * MIB):
        memory = Memory(2**40, CPU, tile)
        monkeypatch.setattr("hdtrans.inference.translator.Memory", lambda *_, memory=memory, **__: memory)
        start = time.process_time()
        tiled = translated(translator, inputs)
        ratio = (time.process_time() - start) / took
        print(f"tiles of {tile} bytes: {off(tiled, whole)} levels apart, {ratio:.2f} times the work")
        assert off(tiled, whole) <= 1 and ratio < 5


def run_infer(place: Path, *more: str) -> tuple[int, str, float]:
    """Translate `map.png` by `model.pt` in a process of its own; return its exit code, output and MiB."""
    # Not ru_maxrss: it counts what the process that starts this one takes, until this one is loaded.
    program = (
        "import sys; from hdtrans.cli import run_tool; code = run_tool('infer', sys.argv[1:]);"
        "print(next(line.split()[1] for line in open('/proc/self/status') if 'VmHWM' in line)); sys.exit(code)"
    )
    files = [str(place / "model.pt"), "--input", str(place / "map.png"), "--out", str(place / "out")]
    done = subprocess.run(
        [sys.executable, "-c", program, *files, "--device", "cpu", *more], check=False, capture_output=True, text=True
    )
    return done.returncode, done.stdout + done.stderr, int(done.stdout.split()[-1]) * 1024 / MIB


def write_map(place: Path, height: int, width: int) -> None:
    """Write a map of squares of a few labels."""
    coarse = np.random.default_rng(0).integers(0, 5, (-(-height // 32), -(-width // 32)), dtype=np.uint8)
    cv2.imwrite(str(place / "map.png"), coarse.repeat(32, 0).repeat(32, 1)[:height, :width])


LIMITED = hd("labels", width=16, downsamples=4, blocks=2, enhancers=1)


@LIMIT
@pytest.mark.slow
def test_a_process_stays_below_its_limit(tmp_path: Path, figure: Figure) -> None:
    made_checkpoint(tmp_path / "model.pt", LABELS, LIMITED)
    write_map(tmp_path, 2048, 4096)
    most = []
    for given in (["--max-memory", "1G"], []):
        code, said, mib = run_infer(tmp_path, *given)
        assert code == 0, said
        most.append(mib)
        assert cv2.imread(str(tmp_path / "out/map.png")).shape == (2048, 4096, 3)
        shutil.rmtree(tmp_path / "out")
    assert most[0] < 1024 < most[1]
    figure(f"1024 MiB: {most[0]:.0f} MiB; mutant without it {most[1]:.0f} MiB")


@LIMIT
@pytest.mark.slow
def test_the_reported_minimum_suffices_and_is_not_much_too_large(tmp_path: Path, figure: Figure) -> None:
    made_checkpoint(tmp_path / "model.pt", LABELS, LIMITED)
    shares = []
    for height, width in ((128, 256), (256, 512), (512, 1024), (1024, 2048), (1500, 3000)):
        write_map(tmp_path, height, width)
        code, limit = 2, "10"
        while code:  # the first time for the model, then perhaps for the size of the picture
            code, said, mib = run_infer(tmp_path, "--max-memory", f"{limit}M")
            least = re.search(r"give at least (\d+)M", said)
            assert (least is None) == (code == 0), said
            limit = least[1] if least else limit
        shutil.rmtree(tmp_path / "out")
        shares.append(mib / int(limit))
    assert min(shares) >= 0.7 and max(shares) <= 1, shares
    figure(f"of the reported minimum, 5 sizes take {min(shares):.0%} to {max(shares):.0%}")
