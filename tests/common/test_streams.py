"""Standard streams of a command: any encoding, closed ones, readers that leave, and full disks."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
COMMAND = """
import os, sys
from hdtrans.common.streams import lost_output, make_lasting
make_lasting()
print("ä 汽车 " + os.fsdecode(b"\\xff"))
print("ä 汽车", file=sys.stderr)
for _ in range(int(sys.argv[1])):
    print("x" * 1000)
    print("y" * 1000, file=sys.stderr)
descriptor = os.open(sys.argv[2], os.O_WRONLY | os.O_CREAT)
assert descriptor > 2, "a file took the number of a standard stream"
os.write(2, b"words of a library")
os.write(descriptor, b"done")
sys.exit(5 if lost_output("command") else 0)
"""


def run(shell: str, out: Path, count: int = 0, **environment: str) -> subprocess.CompletedProcess[bytes]:
    """Run the command above with redirections of a shell."""
    file = out / "command.py"
    file.write_text(COMMAND, encoding="utf-8")
    words = shell.replace("COMMAND", f"{sys.executable} {file} {count} {out / 'result'}")
    given = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", **environment}
    return subprocess.run(["bash", "-c", words], check=False, capture_output=True, env=given)


@pytest.mark.parametrize(
    ("encoding", "printed"),
    [
        ("latin-1", b"\xe4 \\u6c7d\\u8f66 \\udcff\n"),
        ("ascii", b"\\xe4 \\u6c7d\\u8f66 \\udcff\n"),
        ("cp1252:replace", b"\xe4 ?? ?\n"),
        ("utf-8", "ä 汽车 \\udcff\n".encode()),
    ],
)
def test_characters_that_an_encoding_lacks_are_escaped(tmp_path: Path, encoding: str, printed: bytes) -> None:
    done = run("COMMAND", tmp_path, PYTHONIOENCODING=encoding)
    assert (done.returncode, done.stdout) == (0, printed), done.stderr


def test_a_locale_without_an_encoding(tmp_path: Path) -> None:
    done = run("COMMAND", tmp_path, LC_ALL="POSIX")
    assert (done.returncode, done.stdout) == (0, b"\\xe4 \\u6c7d\\u8f66 \xff\n"), "names keep their bytes"


@pytest.mark.parametrize(
    "shell", ["COMMAND <&- >&- 2>&-", "COMMAND >&-", "COMMAND 2>&-", "COMMAND | head -c 9; exit ${PIPESTATUS[0]}"]
)
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_nobody_reads_and_the_work_goes_on(tmp_path: Path, shell: str, unbuffered: str) -> None:
    done = run(shell, tmp_path, 200, PYTHONUNBUFFERED=unbuffered)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "result").read_bytes() == b"done"
    assert b"Error" not in done.stderr


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full, which is always full")
def test_a_full_disk_is_no_success(tmp_path: Path) -> None:
    assert run("COMMAND > /dev/full", tmp_path).returncode == 5
    assert (tmp_path / "result").read_bytes() == b"done"


def test_a_reader_that_leaves_a_command(tmp_path: Path) -> None:
    """The command itself, whose exit code is that of its work."""
    command = f"{sys.executable} -m hdtrans --help | head -c 9; exit ${{PIPESTATUS[0]}}"
    assert run(command, tmp_path).returncode == 0
    done = run(f"{sys.executable} -m hdtrans no-such-command 2>&-", tmp_path)
    assert done.returncode == 2
