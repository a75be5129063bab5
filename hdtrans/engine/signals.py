"""Signals that end a run: remembered when they come, obeyed at the end of a step."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from hdtrans.common.stop_signals import obeyed


class Signals:
    """SIGTERM, SIGUSR1, SIGHUP and the first SIGINT of this process; a second SIGINT ends it at once.

    Attributes:
        number: number of the last signal, 0 before the first.
        came_after: images seen when the first signal came; None before it.
    """

    def __init__(self) -> None:
        self.number = 0
        self.came_after: int | None = None

    @contextmanager
    def caught(self, images_seen: Callable[[], int]) -> Iterator[None]:
        """Remember signals instead of dying; outside the main thread, where Python sets no handlers, do nothing.

        Args:
            images_seen: returns the images seen by the whole run.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def remember(number: int, frame: object) -> None:
            self.came_after = self.came_after if self.number else images_seen()
            self.number = number
            signal.signal(signal.SIGINT, before[signal.SIGINT])

        before = {number: signal.signal(number, remember) for number in obeyed()}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
