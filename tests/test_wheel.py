"""The wheel: what is in it, and that it works without the checkout."""

import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

from hdtrans import __version__

ROOT = Path(__file__).resolve().parents[1]
SOURCES = ("setup.cfg", "pyproject.toml", "README.md", "LICENSE", "hdtrans", "options")

pytestmark = pytest.mark.slow


def run(command: list[str | Path], folder: Path) -> str:
    """Return what a command prints; fail with all of it if it fails."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "COV_"))}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command} leaves with {done.returncode}:\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build it from a copy, so that neither is an earlier `build/` packed again nor the checkout written to."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("dist")
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, source / name)
    run([sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", out], source)
    (file,) = out.iterdir()
    return file


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install it alone into a new environment, which finds everything else in this one."""
    folder = tmp_path_factory.mktemp("environment")
    run([sys.executable, "-m", "venv", "--without-pip", folder], folder)
    python = folder / "bin" / "python"
    packages = Path(run([python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], folder).strip())
    (packages / "others.pth").write_text("\n".join(sorted({sysconfig.get_path(p) for p in ("purelib", "platlib")})))
    run([sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--no-index", wheel], folder)
    assert (packages / "hdtrans").is_dir()
    return folder / "bin"


def test_it_holds_the_package_and_the_recipes(wheel: Path) -> None:
    assert wheel.name == f"hdtrans-{__version__}-py3-none-any.whl"
    names = set(zipfile.ZipFile(wheel).namelist())
    package = {
        str(f.relative_to(ROOT))
        for kind in ("*.py", "*.txt", "py.typed", "page/*")
        for f in (ROOT / "hdtrans").rglob(kind)
    }
    recipes = {f"hdtrans/recipes/{file.name}" for file in (ROOT / "options").glob("*.yaml")}
    info = f"hdtrans-{__version__}.dist-info/"
    assert {name for name in names if not name.startswith(info)} == package | recipes
    assert recipes
    assert f"{info}licenses/LICENSE" in names


def test_its_metadata(wheel: Path) -> None:
    text = zipfile.ZipFile(wheel).read(f"hdtrans-{__version__}.dist-info/METADATA").decode()
    lines = text.split("\n\n")[0].splitlines()
    assert "Requires-Python: >=3.11" in lines
    assert {"License: Apache-2.0", "License-Expression: Apache-2.0"} & set(lines)
    needed = [line.removeprefix("Requires-Dist: ") for line in lines if line.startswith("Requires-Dist: ")]
    assert needed[:2] == ["torch>=2.11", "torchvision"]
    extras = {line.removeprefix("Provides-Extra: ") for line in lines if line.startswith("Provides-Extra: ")}
    assert extras == {"dev", "edit", "export", "tensorboard", "video"}


def test_it_works_from_an_empty_folder(installed: Path, tmp_path: Path) -> None:
    assert "hdtrans COMMAND" in run([installed / "hdtrans", "--help"], tmp_path)
    assert "hdtrans COMMAND" in run([installed / "python", "-m", "hdtrans", "--help"], tmp_path)
    place = run([installed / "python", "-c", "import hdtrans; print(hdtrans.__file__)"], tmp_path)
    assert Path(place.strip()).is_relative_to(installed.parent), place
    told = run([installed / "hdtrans", "train", "pix2pixhd_toycity", "--dry-run"], tmp_path)
    assert "pix2pixhd" in told
    assert not list(tmp_path.iterdir()), "a dry run touches nothing"


def test_it_does_its_main_job(installed: Path, tmp_path: Path) -> None:
    """Its own demo trains, translates, and ends with two pages and the command of the editor, without the checkout."""
    words = ["--out", "mine", "--train", "2", "--test", "1", "--epochs", "3"]
    said = run([installed / "hdtrans", "demo", *words], tmp_path).splitlines()
    assert [(tmp_path / line.split(": ")[1]).is_file() for line in said[-3:-1]] == [True, True]
    assert ": hdtrans edit " in said[-1]
