"""The command: its start, its end by signals, its folder, and what it leaves behind."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from hdtrans.cli import run_tool
from hdtrans.common.folder_lock import FolderLock
from hdtrans.edit.projects import ENDING
from tests.edit.running import Editor, small_model


def test_wrong_options(maps: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = small_model(tmp_path / "m.pt")
    vector = tmp_path / "elsewhere"
    for words, message in [
        (["--port", "70000"], "--port 70000: a port is a number from 0 to 65535"),
        (["--input", str(vector)], f"--input {vector}: there is no such file or folder"),
        (["--input", str(maps), "--out", str(maps)], f"--out {maps}: holds inputs of this command as well"),
        (["--max-memory", "x"], "--max-memory x: not a size"),
    ]:
        assert (
            run_tool("edit", [str(model), "--device", "cpu", "--no-browser", "--out", str(tmp_path / "o"), *words]) == 2
        )
        assert f"hdtrans edit: {message}" in capsys.readouterr().err


def test_a_folder_in_use_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    with FolderLock(out):
        assert run_tool("edit", [str(small_model(tmp_path / "m.pt")), "--device", "cpu", "--out", str(out)]) == 2
    assert f"hdtrans edit: --out {out}: is in use" in capsys.readouterr().err


def test_a_model_of_points_is_refused(tmp_path: Path, plain: Editor, monkeypatch: pytest.MonkeyPatch) -> None:
    from hdtrans.common.errors import UserError
    from hdtrans.config.inputs import Input
    from hdtrans.edit.layers import layers_of

    translator = plain.studio.translator
    points = Input("landmarks", "points", 5, "pixels")
    monkeypatch.setattr(translator, "given", {**translator.given, "landmarks": points})
    with pytest.raises(UserError, match=r"requires the input landmarks \(points, 5 pixels\), which the editor cannot"):
        layers_of(translator)
    optional = Input("landmarks", "points", 5, "pixels", "guide", optional=True)
    monkeypatch.setattr(translator, "given", {**translator.given, "landmarks": optional})
    layers, left_out = layers_of(translator)
    assert list(layers) == ["label", "instance"] and left_out == ["landmarks"]


@pytest.mark.slow
def test_nothing_is_lost_at_the_end(maps: Path, tmp_path: Path) -> None:
    """Saved within seconds, so that even SIGKILL loses little; SIGINT and SIGTERM save at once and end with 0."""
    model, out = small_model(tmp_path / "m.pt"), tmp_path / "out"
    words = [sys.executable, "-u", "-m", "hdtrans", "edit", str(model), "--input", str(maps), "--out", str(out)]
    for number in (signal.SIGKILL, signal.SIGINT, signal.SIGTERM):
        command = [*words, "--device", "cpu", "--no-browser"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        assert process.stdout is not None
        line = ""
        while "http" not in line:
            line = process.stdout.readline()
            assert line
        found = re.search(r"http://127.0.0.1:(\d+)/#(\S+)", line)
        assert found is not None
        running, token = Editor(None, int(found[1])), found[2]  # type: ignore[arg-type]
        opened = running.send("POST", "/api/documents", {"input": 0}, X_Hdtrans_Token=token).json
        path, body = f"/api/documents/{opened['document']}", bytes(8)
        answer = running.send("PATCH", f"{path}?base=0&x=0&y=20&w=1&h=1", body, X_Hdtrans_Token=token)
        assert answer.json["revision"] == 1
        if number == signal.SIGKILL:
            while running.send("GET", path, X_Hdtrans_Token=token).json["saved"] != 1:
                pass
        os.kill(process.pid, number)
        process.communicate(timeout=60)
        assert process.returncode == (0 if number != signal.SIGKILL else -number)
        assert (out / f"{opened['name']}{ENDING}").is_file()
    assert len(list(out.iterdir())) == 3, "three projects, and no lock"
