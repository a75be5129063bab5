"""hdtrans without what Windows and macOS lack: simulated here, run there by the hosted workflow."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.small_runs import small_recipe, toy_data, write_recipe

ROOT = Path(__file__).parent.parent


@pytest.mark.slow
@pytest.mark.parametrize("system", ["windows", "macos"])
def test_commands(system: str, tmp_path: Path) -> None:
    city, run, made = toy_data(tmp_path / "city"), tmp_path / "run", tmp_path / "made"
    values = small_recipe(city, run)
    values["training"] |= {"workers": 1, "timeouts": {"step": 60}}
    recipe = write_recipe(tmp_path / "small.yaml", values)
    commands = [
        f"train {recipe}",
        f"infer {run} --input {city / 'test_label'} --with instance={city / 'test_inst'} --out {made}",
        f"infer {run} --input {city / 'test_label'} --with instance={city / 'test_inst'} --out {made}2 --max-memory 2G",
        f"evaluate {run}",
        f"export {run} --out {tmp_path / 'small.safetensors'} --size 64x32",
        f"prepare folder --in {city} --label-dir train_label --photo-dir train_img --classes 19 --out {made}3",
    ]
    program = [sys.executable, str(ROOT / "tests/without_posix.py"), system, " then ".join(commands)]
    found = subprocess.run(program, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert found.returncode == 0, found.stderr[-3000:]
    assert len(list((made).glob("*.png"))) == 3 and (tmp_path / "small.safetensors").is_file()
    assert len(list(Path(f"{made}3").rglob("*.png"))) == 12
