"""One owner of an output folder at a time: a lock file with the owner's host and process, renewed while it works.

A lock is stale where its process is gone, which this machine can prove of processes it can see; elsewhere (another
machine, another container) where nobody renewed it for two minutes. Works on network file systems and without fcntl:
the file is created exclusively, and an existing one is changed by one process at a time.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shlex
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from hdtrans.common.errors import UserError, shown
from hdtrans.common.files import PART_SUFFIX

__all__ = ["LOCK_FILE", "FolderInUse", "FolderLock", "LostFolder", "Owner", "holds_files"]

LOCK_FILE = ".owner.json"
_GUARD = ".owner.changing"  # exists while a process replaces or removes a lock
_RENEWED = 10.0  # seconds between two renewals
_STALE = 120.0  # seconds without one after which an owner that cannot be seen counts as gone
_SETTLED = 10.0  # seconds after which a guard was left by a killed process
_LOOKED_AT = 0.2  # seconds between two looks at the lock of an owner that cannot be seen
_LONGEST_COMMAND = 160  # characters


@dataclass(frozen=True)
class Owner:
    """Process that writes to a folder.

    Attributes:
        host: name of its machine.
        machine: boot of that machine and namespace of its process ids, '' where the system shows none. Process ids
            compare within one alone.
        pid: process id.
        started: start of the process, so that a reused id is no owner.
        token: random text, one for each lock.
        command: command line.
        since: local time at which it took the folder.
        folder: absolute path of the folder, '' where unknown.
    """

    host: str = "an unknown machine"
    machine: str = ""
    pid: int = 0
    started: str = ""
    token: str = ""
    command: str = "a process"
    since: str = "an unknown time"
    folder: str = ""

    @classmethod
    def this_process(cls, folder: Path | None = None) -> Owner:
        """Return this process, the owner of a folder, with a new token."""
        program = os.path.basename(sys.argv[0]) if sys.argv else ""
        command = shown(shlex.join(["hdtrans" if program == "__main__.py" else program, *sys.argv[1:]]))
        return cls(
            socket.gethostname(),
            _machine(),
            os.getpid(),
            _start_of(os.getpid()) or "",
            secrets.token_hex(8),
            command if len(command) <= _LONGEST_COMMAND else f"{command[:_LONGEST_COMMAND]}...",
            time.strftime("%Y-%m-%d %H:%M:%S %z"),
            "" if folder is None else os.path.realpath(folder),
        )

    @property
    def lives(self) -> bool | None:
        """True if the process lives, False if it is gone, None where this process cannot see it."""
        machine = _machine()
        if not machine or machine != self.machine:
            return None
        if (started := _start_of(self.pid)) is not None:
            return started == self.started
        try:  # without an entry in /proc: gone, or another user's where these are hidden
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        except OSError:
            pass
        return None

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host} ({self.command})"


class FolderInUse(UserError):
    """Refusal of a folder that another process writes to.

    Args:
        folder: the folder.
        owner: process that holds it.
        argument: argument that named the folder.
    """

    def __init__(self, folder: Path, owner: Owner, argument: str = "out") -> None:
        self.owner = owner
        by_hand = f"remove {shown(folder / LOCK_FILE)} if that process is gone"
        super().__init__(
            f"is in use: {owner} writes to it since {owner.since}",
            argument=argument,
            path=folder,
            advice=["wait for its end", "give another folder", by_hand],
        )


class LostFolder(UserError):
    """End of a process whose folder another one took over, since it gave no sign of life for too long.

    Args:
        folder: the folder.
        owner: process that holds it now.
        argument: argument that named the folder.
    """

    def __init__(self, folder: Path, owner: Owner, argument: str = "out") -> None:
        self.owner = owner
        super().__init__(
            f"belongs to {owner} since {owner.since}: this process gave no sign of life for {_STALE:.0f} s; it stops "
            "and writes nothing more",
            argument=argument,
            path=folder,
        )


def _print(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


class FolderLock:
    """Own a folder while a command writes to it; a context manager.

    The folder is created if missing; at the end the lock goes, and so do the folders created that are still empty. A
    path that is a file is left to the checks of the caller.

    Args:
        folder: the folder.
        argument: argument that named it, for messages.
        say: called with a line where a stale lock is taken over, or a sign of life awaited.

    Raises:
        FolderInUse: another process owns the folder.
        UserError: the folder or the lock cannot be written.
    """

    def __init__(self, folder: Path, argument: str = "out", say: Callable[[str], None] = _print) -> None:
        self.folder, self.argument, self.say = folder, argument, say
        self.file = folder / LOCK_FILE
        self.owner: Owner | None = None
        self._made: list[Path] = []
        self._ended = threading.Event()
        self._renewing: threading.Thread | None = None

    def __enter__(self) -> FolderLock:
        if self.folder.exists() and not self.folder.is_dir():
            return self
        path = [self.folder, *self.folder.parents]
        self._made = path[: next(place for place, each in enumerate(path) if each.exists())]
        try:
            self.owner = self._take(Owner.this_process(self.folder))
        except OSError as error:
            self._remove_folders()
            reason = error.strerror or str(error)
            raise UserError(f"cannot be written: {reason}", argument=self.argument, path=self.folder) from error
        except BaseException:
            self._remove_folders()
            raise
        self._renewing = threading.Thread(target=self._renew, name="folder lock", daemon=True)
        self._renewing.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.owner is None or self._renewing is None or self.owner.pid != os.getpid():  # a forked child owns nothing
            return
        self._ended.set()
        self._renewing.join(_RENEWED)
        with contextlib.suppress(OSError), self._guarded():
            if self._held():
                self.file.unlink()
        self.owner = None
        self._remove_folders()

    def verify(self) -> None:
        """Raise LostFolder if another process took the folder over; called before something is written."""
        if self.owner is not None and (now := _read(self.file)) is not None and now.token not in ("", self.owner.token):
            raise LostFolder(self.folder, now, self.argument)

    def _take(self, own: Owner) -> Owner:
        """Create the lock, or take a stale one over."""
        watch = _Watch(self.file, Owner())
        while True:
            self.folder.mkdir(parents=True, exist_ok=True)  # its last owner may have removed it
            with contextlib.suppress(FileExistsError, FileNotFoundError):
                _create(self.file, own)
                return own
            there = _read(self.file)
            if there is None:
                continue  # released meanwhile
            if there != watch.owner:
                watch = _Watch(self.file, there)
            gone = watch.is_gone()
            if gone is False:
                raise FolderInUse(self.folder, there, self.argument)
            if gone and self._replace(there, own):
                self.say(f"{shown(self.folder)}: taken over from {there}: {watch.reason}")
                return own
            if watch.lasts():
                self.say(
                    f"{shown(self.folder)}: {there} holds it since {there.since} and cannot be seen from here; waiting "
                    f"up to {_STALE:.0f} s for a sign of life (or remove {shown(self.file)} if that process is gone)"
                )
            time.sleep(_LOOKED_AT)

    def _replace(self, there: Owner, own: Owner) -> bool:
        """Put a lock in the place of another's; return False if that changed meanwhile."""
        with self._guarded():
            if _read(self.file) != there:
                return False
            part = self.file.with_name(f"{LOCK_FILE}.{own.token}{PART_SUFFIX}")
            _create(part, own)
            os.replace(part, self.file)
            return True

    def _held(self) -> bool:
        there = _read(self.file)
        return there is not None and self.owner is not None and there.token == self.owner.token

    def _renew(self) -> None:
        """Set the lock's time again and again; create it again if someone removed it."""
        while not self._ended.wait(_RENEWED):
            with contextlib.suppress(OSError):
                if self._held():
                    os.utime(self.file)
                elif self.owner is not None and self.folder.is_dir() and not self._ended.is_set():
                    _create(self.file, self.owner)
                    self.say(
                        f"{shown(self.folder)}: its {LOCK_FILE} was gone, as after moving the folder; this process "
                        "goes on writing to this path"
                    )

    @contextlib.contextmanager
    def _guarded(self) -> Iterator[None]:
        """Change an existing lock: one process at a time."""
        guard, since = self.folder / _GUARD, time.monotonic()
        while True:
            with contextlib.suppress(FileExistsError):
                os.close(os.open(guard, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
                break
            if time.monotonic() - since > _SETTLED:  # a killed process left it
                guard.unlink(missing_ok=True)
                since = time.monotonic()
            time.sleep(0.02)
        try:
            yield
        finally:
            guard.unlink(missing_ok=True)

    def _remove_folders(self) -> None:
        with contextlib.suppress(OSError):
            for folder in self._made:
                folder.rmdir()


class _Watch:
    """Signs of life of a lock's owner.

    Args:
        file: lock.
        owner: process that it names.

    Attributes:
        reason: proof that the owner is gone, in words.
    """

    def __init__(self, file: Path, owner: Owner) -> None:
        self.file, self.owner, self.reason = file, owner, ""
        self._since = time.monotonic()
        self._renewed: int | None = None
        self._age = 0.0
        self._reported = False

    def is_gone(self) -> bool | None:
        """Return True if the owner is gone, or works elsewhere; False if it lives, None while that is not known."""
        if _is_copy(self.file, self.owner):
            self.reason = f"it works in {shown(self.owner.folder)}, of which this folder is a copy"
            return True
        if (lives := self.owner.lives) is not None:
            self.reason = "it ended without giving the folder back"
            return not lives
        try:
            renewed = self.file.stat().st_mtime_ns
        except FileNotFoundError:
            return None
        if self._renewed is None:
            self._renewed, self._age = renewed, max(0.0, _now_in(self.file.parent) - renewed / 1e9)
        elif self._renewed != renewed:
            return False
        self.reason = f"no sign of life for {_STALE:.0f} s"
        return True if self._age + time.monotonic() - self._since > _STALE else None

    def lasts(self) -> bool:
        """Return True once, when it has lasted for a second."""
        before = self._reported
        self._reported = before or time.monotonic() - self._since > 1
        return self._reported and not before


def _is_copy(file: Path, owner: Owner) -> bool:
    """Return True if a lock is a copy: the one of the same token is another file, in the folder that it names."""
    original = Path(owner.folder) / LOCK_FILE
    try:
        there = _read(original) if owner.folder and owner.token else None
        return there is not None and there.token == owner.token and original.stat().st_ino != file.stat().st_ino
    except OSError:
        return False


def _now_in(folder: Path) -> float:
    """Return the time by the clock that dates files in a folder, which may be that of a file server."""
    probe = folder / f"{LOCK_FILE}.{secrets.token_hex(8)}{PART_SUFFIX}"
    with open(probe, "x", encoding="utf-8") as file:
        now = os.fstat(file.fileno()).st_mtime
    probe.unlink(missing_ok=True)
    return now


def holds_files(folder: Path, beside: tuple[str, ...] = ()) -> bool:
    """Return True if a folder holds anything but its owner's lock, unfinished files, and names `beside` them."""
    ours = (LOCK_FILE, _GUARD, *beside)
    return any(not each.name.startswith(ours) and not each.name.endswith(PART_SUFFIX) for each in folder.iterdir())


def _create(file: Path, owner: Owner) -> None:
    """Create a lock; raise FileExistsError if there is one."""
    with open(file, "x", encoding="utf-8") as lock:
        try:
            lock.write(json.dumps(asdict(owner)))
            lock.flush()
        except OSError:
            file.unlink(missing_ok=True)
            raise


def _read(file: Path) -> Owner | None:
    """Return the owner that a lock names; None without one, an unknown owner while it is being written."""
    try:
        text = file.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return None
    try:
        values: Any = json.loads(text)
        return Owner(**values)
    except (ValueError, TypeError):
        return Owner()


def _machine() -> str:
    """Return the boot of this machine and the namespace of its process ids; '' where the system shows none."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""


def _start_of(pid: int) -> str | None:
    """Return the start of a process in clock ticks since boot, '' if it ended (a zombie), None without an entry."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
    return "" if fields[0] in ("Z", "X", "x") else fields[19]
