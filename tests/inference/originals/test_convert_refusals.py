"""Refused conversions and required values: each is reported in plain words, and nothing is written."""

from pathlib import Path

import numpy as np
import pytest
import torch

from hdtrans.engine import checkpoint
from hdtrans.engine.checkpoint import load
from hdtrans.inference.originals.convert import import_original
from tests.golden_files import shared
from tests.inference.originals.programs import (
    convert,
    infer,
    random_weights,
    save,
    save_trace,
    true_shapes,
    write_pictures,
)


def test_an_encoder_that_the_generator_does_not_know(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, features = save_trace(tmp_path / "features", "pix2pixhd", "train_trace_global_features.npz")
    save_trace(tmp_path / "plain", "pix2pixhd", "train_trace_global.npz")
    save(tmp_path / "plain", {"E": features["E"]})
    assert convert(tmp_path / "plain", "--out", tmp_path / "run") == 0
    assert "left out: latest_net_E.pth; the generator was trained without features" in capsys.readouterr().out
    assert load(checkpoint.find_checkpoint(tmp_path / "run"))["recipe"]["method"]["features"] is None


def test_features_without_their_encoder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Options or the user can tell of them; the weights of the generator alone cannot."""
    save_trace(tmp_path / "original", "pix2pixhd", "train_trace_global_features.npz")
    (tmp_path / "original" / "latest_net_E.pth").unlink()
    assert convert(tmp_path / "original", "--out", tmp_path / "run") == 0
    assert "left out: the encoder of features, which is not there" in capsys.readouterr().out
    assert convert(tmp_path / "run", "--to-original", tmp_path / "back") == 0
    assert "note: there are no weights of E" in capsys.readouterr().out
    (tmp_path / "original" / "opt.txt").unlink()
    given = ["data.labels=6", "--out", tmp_path / "model.pt"]
    assert convert(tmp_path / "original", *given) == 2
    printed = capsys.readouterr().err
    assert "reads 10 channels, which are not 6 classes" in printed and "put latest_net_E.pth beside it" in printed
    assert convert(tmp_path / "original", "method.features.pool=label", *given) == 0
    section = load(tmp_path / "model.pt")["recipe"]["method"]["features"]
    assert section == {"count": 3, "width": 16, "downsamples": 4, "pool": "label"}
    assert convert(tmp_path / "original", "method.features.count=5", *given[:2], tmp_path / "other.pt") == 2
    assert "with 5 features of an encoder (method.features.count)" in capsys.readouterr().err


def test_values_required_beside_features(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_trace(tmp_path / "original", "pix2pixhd", "train_trace_global_features.npz", options=False)
    assert convert(tmp_path / "original", "--out", tmp_path / "run") == 2
    printed = capsys.readouterr().err
    assert "beside 3 features of an encoder" in printed and all(f"data.labels={count}" in printed for count in (6, 7))
    for labels, boundary in ((6, "instance"), (7, "none")):
        assert convert(tmp_path / "original", f"data.labels={labels}", "--out", tmp_path / f"{labels}.pt") == 0
        assert "assumed: features are pooled by instance (method.features.pool)" in capsys.readouterr().out
        method = load(tmp_path / f"{labels}.pt")["recipe"]["method"]
        assert method["condition"]["boundary"] == boundary
        assert method["features"] == {"count": 3, "width": 4, "downsamples": 2, "pool": "instance"}


def test_pickled_clusters_are_not_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_trace(tmp_path / "original", "pix2pixhd", "train_trace_global_features.npz")
    file = tmp_path / "original" / "features_clustered_010.npy"
    np.save(file, np.array({7: np.zeros((10, 3))}, dtype=object), allow_pickle=True)
    assert convert(tmp_path / "original", "--out", tmp_path / "run") == 0
    shown = capsys.readouterr().out
    assert f"left out: {file.name}, pickled" in shown
    assert f"next: hdtrans encode_styles {tmp_path / 'run'} --data FOLDER\n" in shown
    assert convert(file, "--out", tmp_path / "other") == 2
    shown = capsys.readouterr().err
    assert str(file) in shown and "could run code and is not loaded" in shown and "hdtrans encode_styles" in shown


def test_required_values_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_trace(tmp_path / "original", "pix2pixhd", "train_trace_global.npz", options=False)
    assert convert(tmp_path / "original", "--out", tmp_path / "run") == 2
    printed = capsys.readouterr().err
    assert all(f"data.labels={count}" in printed for count in (6, 7)) and "data.kind=picture_pairs" in printed
    assert not (tmp_path / "run").exists()
    for given, reads in (("data.labels=6", {"instance"}), ("data.labels=7", set()), ("data.kind=picture_pairs", None)):
        more = ["data.source_channels=6"] if reads is None else []
        assert convert(tmp_path / "original", given, *more, "--out", tmp_path / f"{given}.pt") == 0
        recipe = load(tmp_path / f"{given}.pt")["recipe"]
        assert recipe["method"]["condition"]["boundary"] == ("none" if reads == set() else "instance")


def test_a_generator_of_cyclegan_under_the_name_of_pix2pix(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """So the published ones are named; alone it is as good as pix2pix's, and another file name makes it CycleGAN's."""
    weights = random_weights(true_shapes("G_A"))
    file = save(tmp_path / "original", {"G": weights}) / "latest_net_G.pth"
    assert convert(file, "--out", tmp_path / "model.pt") == 0
    assert load(tmp_path / "model.pt")["recipe"]["method"]["kind"] == "pix2pix"
    assert convert(file, "method.kind=cyclegan", "--out", tmp_path / "other.pt") == 2
    assert "cyclegan has no network G; it has G_A, G_B" in capsys.readouterr().err


def test_one_direction_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, weights = save_trace(tmp_path / "trace", "cyclegan", "train_trace.npz")
    save(tmp_path / "original", {"G_B": weights["G_B"]})
    assert convert(tmp_path / "original", "--out", tmp_path / "run") == 0
    given = write_pictures(tmp_path / "B", torch.zeros(1, 3, 16, 16))
    assert infer(tmp_path / "run", "--input", given, "--out", tmp_path / "a") == 2
    assert "lacks weights to translate with in the direction AtoB" in capsys.readouterr().err
    assert infer(tmp_path / "run", "--input", given, "--out", tmp_path / "b", "--direction", "BtoA") == 0


def test_original_weights_are_no_checkpoints(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "latest_net_G.pth"
    for new in (True, False):
        torch.save({"model.1.weight": torch.zeros(1)}, file, _use_new_zipfile_serialization=new)
        assert infer(file, "--input", file, "--out", tmp_path / "out") == 2
        assert "bring them in with hdtrans convert_checkpoint" in capsys.readouterr().err


class Foreign:
    """An object that a file of PyTorch could hold beside weights."""


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"<!DOCTYPE html><html>not found", "is a text file ('<!DOCTYPE html>"),
        (b"", "has 0 bytes and is cut off or damaged"),
        (b"\x80\x02garbage", "is cut off or damaged, or no file of PyTorch"),
        ({"state_dict": {"a": 1}}, "holds a dict with state_dict, not the weights of one network by name"),
        ([torch.zeros(1)], "holds a list, not the weights"),
        (
            Foreign(),
            "holds Python objects beside weights: it asks for tests.inference.originals.test_convert_refusals.Foreign",
        ),
        ({"features.0.weight": torch.zeros(1)}, "no weights of a generator of pix2pixHD, pix2pix or CycleGAN"),
        ({"model.0.weight": torch.zeros(4, 3, 4, 4)}, "no weights of a generator"),
    ],
)
def test_files_that_hold_no_generator(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: object, message: str
) -> None:
    file = tmp_path / "latest_net_G.pth"
    if isinstance(content, bytes):
        file.write_bytes(content)
    else:
        torch.save(content, file)
    assert convert(file, "--out", tmp_path / "run") == 2
    printed = capsys.readouterr().err
    assert str(file) in printed and message in printed and not (tmp_path / "run").exists()


@pytest.mark.parametrize("letter", ["G_A", "D_A"])
def test_cut_off_files(tmp_path: Path, capsys: pytest.CaptureFixture[str], letter: str) -> None:
    cut = shared("data", "weights", "truncated_cyclegan", f"maps_cyclegan_latest_net_{letter}.pth")
    whole = {name: random_weights(true_shapes(name)) for name in ("G_A", "D_A") if name != letter}
    save(tmp_path, whole)
    (tmp_path / f"latest_net_{letter}.pth").write_bytes(cut.read_bytes())
    assert convert(tmp_path, "--out", tmp_path / "run") == 2
    printed = capsys.readouterr().err
    assert f"latest_net_{letter}.pth: cannot be read as weights; it has 3,211,264 bytes and is cut off" in printed


def test_weights_that_do_not_fit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    weights = random_weights(true_shapes("G_A"))
    del weights["model.22.weight"]
    weights["model.12.conv_block.1.bias"] = torch.zeros(7)
    weights["model.99.weight"] = torch.zeros(7)
    save(tmp_path, {"G_A": weights})
    assert convert(tmp_path, "--out", tmp_path / "run") == 2
    printed = capsys.readouterr().err
    for words in (
        "model.22.weight is missing",
        "model.12.conv_block.1.bias has shape (7,)",
        "model.99.weight has no place",
    ):
        assert words in printed


def test_existing_files_are_not_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_trace(tmp_path / "original", "cyclegan", "train_trace.npz")
    command = [tmp_path / "original", "--out", tmp_path / "run"]
    assert convert(*command) == 0 and convert(*command) == 2
    assert "exists already; choose another name" in capsys.readouterr().err
    assert convert(tmp_path / "run", "--to-original", tmp_path / "original") == 2
    assert "latest_net_G_A.pth, latest_net_G_B.pth" in capsys.readouterr().err
    assert convert(tmp_path / "run", "--to-original", tmp_path / "back", "data.labels=3") == 2


def test_layers_that_the_originals_lack_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_trace(tmp_path / "original", "cyclegan", "train_trace.npz")
    import_original(tmp_path / "original", tmp_path / "model.pt")
    state = load(tmp_path / "model.pt")
    state["recipe"]["method"]["generator"]["upsampling"] = "resize"
    checkpoint.save(tmp_path / "resize.pt", state)
    assert convert(tmp_path / "resize.pt", "--to-original", tmp_path / "back") == 2
    assert "the original programs have transposed convolutions alone" in capsys.readouterr().err
