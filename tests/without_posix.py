"""Run commands of hdtrans without the modules and names that Windows, or macOS, does not have.

`python tests/without_posix.py windows train recipe.yaml then infer run --input maps --out made`. Names go after torch
and Python have taken what they need of Linux for themselves. Processes are spawned, and start like this one.
"""

import importlib.abc
import os
import sys

WINDOWS = {
    "modules": ("resource", "fcntl", "pwd", "grp", "termios"),
    "os": (
        *("fork", "memfd_create", "posix_fallocate", "sched_getaffinity", "sysconf", "geteuid", "getuid", "O_NONBLOCK"),
        *("getloadavg", "uname", "killpg", "setsid", "mkfifo", "chown", "statvfs", "O_DIRECTORY", "O_NOFOLLOW"),
    ),
    "signal": ("SIGUSR1", "SIGUSR2", "SIGHUP", "SIGPIPE", "SIGALRM", "SIGKILL", "SIGCHLD", "pthread_sigmask"),
    "mmap": ("MADV_DONTNEED",),
    "socket": (),  # torch hands tensors over in sockets here, and in named memory there
}
MACOS = {
    "modules": (),
    "os": ("memfd_create", "posix_fallocate", "sched_getaffinity"),
    "signal": (),
    "mmap": (),
    "socket": (),
}
VARIABLE = "HDTRANS_TESTED_WITHOUT"
SYSTEMS = {"windows": WINDOWS, "macos": MACOS}


class _NoModule(importlib.abc.MetaPathFinder):
    def __init__(self, names: tuple[str, ...]) -> None:
        self.names = names

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        if name in self.names:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def strip(system: str) -> None:
    """Take modules and names away, for this process and those that it spawns."""
    import multiprocessing.resource_tracker

    import psutil  # noqa: F401 - here it takes `resource` itself
    import torchvision  # noqa: F401 - loads torch too
    from torch.utils.data._utils import signal_handling

    missing = SYSTEMS[system]
    for name in missing["modules"]:
        sys.modules.pop(name, None)
    sys.meta_path.insert(0, _NoModule(missing["modules"]))
    for module in ("os", "signal", "mmap", "socket"):
        found = importlib.import_module(module)
        for name in missing[module]:
            if hasattr(found, name):
                delattr(found, name)
    if system == "windows":  # what Python and torch find there
        multiprocessing.resource_tracker._HAVE_SIGMASK = False
        signal_handling.IS_WINDOWS = True
    multiprocessing.set_start_method("spawn", force=True)
    os.environ[VARIABLE] = system


if system := os.environ.get(VARIABLE):  # in a process that was spawned
    strip(system)

if __name__ == "__main__":
    strip(sys.argv[1])
    from hdtrans.cli import main

    for command in " ".join(sys.argv[2:]).split(" then "):
        if code := main(command.split()):
            sys.exit(f"{command}: {code}")
