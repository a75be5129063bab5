"""Check the machine for the Makefile, before and after it installs. Standard library only.

`check_system.py python` checks the Python that makes the virtual environment, `check_system.py libraries` imports the
installed libraries. Exit code 0: complete; 2: something is missing, and the message says what to do.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys

OLDEST = (3, 11)
PYTHON_PACKAGES = ("python3", "python3-venv")
LIBRARY_PACKAGES = ("libgl1", "libglib2.0-0", "libxcb1")  # Debian packages that OpenCV's wheel needs
MODULES = ("cv2", "torch", "torchvision")
MISSING_LIBRARY = re.compile(r"ImportError: (lib\S+): cannot open shared object file")


def main() -> int:
    """Run the check that the command line names."""
    checks = {"python": check_python, "libraries": check_libraries}
    if len(sys.argv) != 2 or sys.argv[1] not in checks:
        print(f"usage: check_system.py {{{','.join(checks)}}}", file=sys.stderr)
        return 2
    problem = checks[sys.argv[1]]()
    if problem:
        print(f"check_system: {problem}", file=sys.stderr)
    return 2 if problem else 0


def check_python() -> str:
    """Return the reason why this Python cannot make the virtual environment, or ''."""
    version, oldest = (".".join(map(str, numbers)) for numbers in (sys.version_info[:3], OLDEST))
    if sys.version_info < OLDEST:
        return (
            f"{sys.executable} is Python {version}; hdtrans needs {oldest} or newer: "
            f"make PYTHON=/path/to/python{oldest} and the target"
        )
    missing = [name for name in ("venv", "ensurepip") if importlib.util.find_spec(name) is None]
    if missing:
        return (
            f"{sys.executable} (Python {version}) has no {' and no '.join(missing)}; "
            f"on Debian and Ubuntu: apt-get install {' '.join(PYTHON_PACKAGES)}"
        )
    return ""


def check_libraries() -> str:
    """Import the installed libraries; return the first failure, or ''. Missing system libraries are installed."""
    problem = failing_import()
    if MISSING_LIBRARY.search(problem) and install(LIBRARY_PACKAGES):
        problem = failing_import()
    missing = MISSING_LIBRARY.search(problem)
    if missing:
        return (
            f"{missing[1]}: this system library is needed (OpenCV's wheel does not bring it); on Debian and Ubuntu, "
            f"as root: apt-get install --no-install-recommends {' '.join(LIBRARY_PACKAGES)}"
        )
    return problem


def failing_import() -> str:
    """Return the end of the error of the first of MODULES that cannot be imported, or ''."""
    for module in MODULES:
        done = subprocess.run([sys.executable, "-c", f"import {module}"], capture_output=True, text=True, check=False)
        if done.returncode:
            return f"import {module} fails:\n{done.stderr.strip()[-2000:]}"
    return ""


def install(packages: tuple[str, ...]) -> bool:
    """Install Debian packages if this user may and apt-get exists; return True if that was done."""
    apt = shutil.which("apt-get")
    if apt is None or os.geteuid() != 0:
        return False
    print(f"check_system: OpenCV needs system libraries; installing {' '.join(packages)}", flush=True)
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    commands = ([apt, "update"], [apt, "install", "-y", "--no-install-recommends", *packages])
    return all(subprocess.run(command, env=environment, check=False).returncode == 0 for command in commands)


if __name__ == "__main__":
    sys.exit(main())
