"""Signals that ask a process to stop: SIGINT, SIGTERM, and SIGUSR1 and SIGHUP where the system has them."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager

STOP_SIGNALS: tuple[signal.Signals, ...] = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGUSR1", "SIGHUP") if hasattr(signal, name)
)

_HAS_MASK = hasattr(signal, "pthread_sigmask")  # not on Windows, where no process inherits one


def obeyed() -> tuple[signal.Signals, ...]:
    """Return the signals that stop this process: all but a SIGHUP that its starter has it ignore, as nohup does."""
    return tuple(n for n in STOP_SIGNALS if n.name != "SIGHUP" or signal.getsignal(n) != signal.SIG_IGN)


@contextmanager
def held_back() -> Iterator[None]:
    """Hold the signals back inside the context; processes that start there inherit that."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS) if _HAS_MASK else None
    try:
        yield
    finally:
        if before is not None:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


def leave_to_parent() -> None:
    """Ignore the signals, those held back too: in a process whose parent obeys them."""
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    if _HAS_MASK:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
