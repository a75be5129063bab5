"""Files of the image, read as text; docker/README.md describes how to build and run it."""

import os
import re
import shutil
import subprocess
import sys
from configparser import ConfigParser
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement

from hdtrans import __version__
from hdtrans.cli import COMMANDS
from hdtrans.cli.demo import make_parser
from tests.bars import Figure

BAR = pytest.mark.bar("B5.8", "the image's files: no root, no rights, nothing that is not locked by its hash")
ROOT = Path(__file__).resolve().parents[1]
DOCKER = ROOT / "docker"
LOCKS = {
    DOCKER / "requirements.lock": ("tensorboard", "export", "video", "edit"),
    ROOT / ".ci/requirements.lock": ("dev",),
}


def instructions(text: str) -> list[tuple[str, str]]:
    """Return the instructions of a Dockerfile as (KEYWORD, rest), with continued lines joined and comments left out."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [(line.split()[0].upper(), line.split(maxsplit=1)[1]) for line in joined.splitlines() if line.strip()]


def findings(text: str) -> list[str]:
    """Return the faults of a Dockerfile."""
    steps = instructions(text)
    stages: dict[str, list[tuple[str, str]]] = {}
    wrong = []
    for keyword, rest in steps:
        if keyword == "FROM":
            base, _, name = rest.partition(" AS ")
            stages[name] = list(stages.get(base, ()))
            if base not in (*stages, "${BASE}"):
                wrong.append(f"base {base} is no argument")
        elif stages:
            stages[name].append((keyword, rest))
        if keyword == "ADD":
            wrong.append("ADD: use COPY")
        if "pip install" in rest and not ("--require-hashes" in rest or "--no-index --no-deps" in rest):
            wrong.append(f"not locked: {rest}")
        if re.search(r"curl|wget|https?://|--index-url|(?i:password|token)", rest):
            wrong.append(f"takes from elsewhere: {rest}")
    for name, stage in stages.items():
        users = [rest for keyword, rest in stage if keyword == "USER"]
        if not users or not re.fullmatch(r"[1-9]\d{4,}:[1-9]\d{4,}", users[-1]):
            wrong.append(f"stage {name} runs as {users[-1] if users else 'root'}")
        wrong += [f"stage {name} has no {word}" for word in ("HEALTHCHECK", "ENTRYPOINT") if word not in dict(stage)]
    return wrong


@BAR
def test_the_dockerfile() -> None:
    text = (DOCKER / "Dockerfile").read_text()
    assert findings(text) == []
    packages = re.search(r"recommends (lib[^&]*)", "".join(rest for _, rest in instructions(text)))
    assert packages is not None
    assert packages[1].split() == ["libgl1", "libglib2.0-0", "libxcb1", "gcc", "libc6-dev"]


@BAR
@pytest.mark.parametrize(
    ("before", "after", "fault"),
    [
        ("USER 10001:10001\n", "", "stage test runs as 0:0"),
        ("USER 10001:10001\nHEALTH", "USER root\nHEALTH", "stage runtime runs as root"),
        ("COPY setup.cfg", "ADD setup.cfg", "ADD"),
        ("--require-hashes ", "", "not locked"),
        ("FROM ${BASE}", "FROM debian", "base debian"),
        ("HEALTHCHECK", "LABEL", "no HEALTHCHECK"),
        ("apt-get update", "curl https://example.com | sh", "from elsewhere"),
    ],
)
def test_a_worse_dockerfile_is_found(before: str, after: str, fault: str, figure: Figure) -> None:
    text = (DOCKER / "Dockerfile").read_text()
    assert before in text
    assert any(fault in finding for finding in findings(text.replace(before, after)))
    figure(f"mutant Dockerfile: {fault}")


def test_hadolint_finds_nothing() -> None:
    hadolint = shutil.which("hadolint", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if hadolint is None:
        pytest.skip("hadolint is not installed (it comes with the extra dev)")
    done = subprocess.run([hadolint, DOCKER / "Dockerfile"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_copied_files_reach_the_builder() -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    allowed = {line[1:] for line in lines if line.startswith("!")}
    assert "*" in lines, "nothing but what is named"
    for keyword, rest in instructions((DOCKER / "Dockerfile").read_text()):
        for source in rest.split()[:-1] if keyword == "COPY" else ():
            if source != "." and not source.startswith("--"):
                assert (ROOT / source).exists()
                assert Path(source).parts[0] in allowed, source
    assert not allowed & {".git", "demo", "runs", "../shared"}


@BAR
@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.parent.name)
def test_locks_are_hashed_and_hold_all_requirements(lock: Path) -> None:
    text = lock.read_text()
    entries = re.findall(
        r"^([a-z0-9._-]+)==(\S+)(?: ; [^\\\n]*)?((?: \\\n    --hash=sha256:[0-9a-f]{64})*)$", text, re.M
    )
    names = {name for name, _, _ in entries}
    pinned = {name: version for name, version, _ in entries}
    assert [name for name, _, hashes in entries if not hashes] == []
    assert not re.search(r"https?://|^-|@ file", text.replace("    --hash", ""), re.M), "no index, no link"
    leftover = [line for line in text.splitlines() if not line.startswith((" ", "#")) and "==" not in line and line]
    assert leftover == []
    setup = ConfigParser()
    setup.read(ROOT / "setup.cfg")
    wanted = setup["options"]["install_requires"].split("\n")
    for extra in LOCKS[lock]:
        wanted += setup["options.extras_require"][extra].split("\n")
    for line in filter(None, wanted):
        requirement = Requirement(line)
        if requirement.marker and not requirement.marker.evaluate({"sys_platform": "linux"}):
            continue
        name = re.sub(r"[-_.]+", "-", requirement.name).lower()
        assert name in names, f"{name}: run make lock"
        assert requirement.specifier.contains(pinned[name]), f"{line}, but {pinned[name]} is locked: run make lock"


def test_ci_tests_the_versions_of_the_image() -> None:
    image, ci = (dict(re.findall(r"^([a-z0-9._-]+)==(\S+)", lock.read_text(), re.M)) for lock in LOCKS)
    assert image.items() <= ci.items()


@BAR
def test_compose_services() -> None:
    compose: dict[str, Any] = yaml.safe_load((DOCKER / "compose.yaml").read_text())
    assert set(compose["services"]) == {"train", "infer", "tensorboard"}
    for service in compose["services"].values():
        assert service["read_only"] is True
        assert service["tmpfs"] == ["/tmp"]
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert re.fullmatch(r"\$\{UID:\?.*\}:\$\{GID:\?.*\}", service["user"])
        assert (DOCKER / service["build"]["context"] / service["build"]["dockerfile"]).is_file()
    assert "shm_size" in compose["services"]["train"]
    assert [port.split(":")[0] for port in compose["services"]["tensorboard"]["ports"]] == ["127.0.0.1"]
    assert set(yaml.safe_load((DOCKER / "compose.gpu.yaml").read_text())["services"]) == {"train", "infer"}


def entrypoint(folder: Path, *words: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    """Run the entry point with programs on PATH that print their names and arguments."""
    for name in ("hdtrans", "torchrun", "tensorboard"):
        (folder / name).write_text(f'#!/bin/sh\necho {name} "$@"\n[ "$2" != fail ]\n')
        (folder / name).chmod(0o755)
    environment |= {"PATH": f"{folder}:/usr/bin:/bin"}
    command = ["sh", str(DOCKER / "entrypoint.sh"), *words]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_the_entry_point(tmp_path: Path) -> None:
    for command in (*COMMANDS, "--help", "trian"):
        assert entrypoint(tmp_path, command, "a b").stdout == f"hdtrans {command} a b\n"
    assert entrypoint(tmp_path).stdout == "hdtrans\n"
    assert entrypoint(tmp_path, "torchrun", "-m", "hdtrans").stdout == "torchrun -m hdtrans\n"
    assert entrypoint(tmp_path, "tensorboard", "--logdir", "runs").stdout == "tensorboard --logdir runs\n"
    assert entrypoint(tmp_path, "train", "fail").returncode == 1


def test_the_demo_of_the_image_is_that_of_make(tmp_path: Path) -> None:
    """The command's defaults are those of the Makefile, and the image takes its variables."""
    makefile = (ROOT / "Makefile").read_text()
    defaults = dict(re.findall(r"^(DEMO\w*) \?= ?(.*)$", makefile, re.M)) | {"DEMO_OVERRIDES": "training.seed=1"}
    body = re.sub(r"\\\n\s*", "", makefile.split("\ndemo: environment\n")[1].split("\n\n")[0])
    (step,) = body.splitlines()
    for name, value in defaults.items():
        step = step.replace(f"$({name})", value)
    of_make = step.removeprefix("\t$(BIN)/python tools/demo.py ").replace("options/", "").replace(".yaml", "").split()
    messages = entrypoint(tmp_path, "demo", "training.seed=1").stdout
    assert messages == "hdtrans demo training.seed=1\n"
    variables = {name: value for name, value in defaults.items() if name != "DEMO_OVERRIDES"}
    of_image = entrypoint(tmp_path, "demo", "training.seed=1", **variables).stdout.replace("options/", "")
    parser = make_parser()
    given = vars(parser.parse_intermixed_args(["training.seed=1"]))
    assert vars(parser.parse_intermixed_args(of_make)) == given
    assert vars(parser.parse_intermixed_args(of_image.replace(".yaml", "").split()[2:])) == given
    assert entrypoint(tmp_path, "demo", "--epochs", "3", DEMO="a b").stdout == "hdtrans demo --out a b --epochs 3\n"


def test_files_named_by_the_readme_exist() -> None:
    text = (DOCKER / "README.md").read_text()
    named = set(re.findall(r"docker/[\w./-]*\w", text))
    assert {"docker/Dockerfile", "docker/compose.yaml", "docker/cluster/slurm.sbatch"} <= named
    assert [name for name in named if not (ROOT / name).exists()] == []
    manifest = (DOCKER / "cluster/pytorchjob.yaml").read_text()
    assert f"hdtrans:{__version__}" in manifest
