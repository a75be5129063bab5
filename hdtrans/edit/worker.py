"""Translate for the editor in one thread that owns the model; of the requests of a document, only the newest runs."""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

Job = Callable[[], Any]


class Superseded(Exception):
    """A newer request of the same document took the place of this one, which was not computed."""


class Worker:
    """Runs jobs one after the other in a thread of its own."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._newest: OrderedDict[str, tuple[Job, Future[Any]]] = OrderedDict()
        self._all: deque[tuple[Job, Future[Any]]] = deque()
        self._ended = False
        self._thread = threading.Thread(target=self._work, name="translator", daemon=True)
        self._thread.start()

    def newest(self, key: str, job: Job) -> Future[Any]:
        """Run a job unless a newer one of the same key comes first; the future then raises Superseded."""
        future: Future[Any] = Future()
        with self._changed:
            if (before := self._newest.pop(key, None)) is not None:
                before[1].set_exception(Superseded())
            self._newest[key] = job, future
            self._changed.notify()
        return future

    def every(self, job: Job) -> Future[Any]:
        """Run a job that nothing supersedes: an export, the style of a photo."""
        future: Future[Any] = Future()
        with self._changed:
            self._all.append((job, future))
            self._changed.notify()
        return future

    def waits(self, key: str) -> bool:
        """Return True if a job of this key waits."""
        with self._changed:
            return key in self._newest

    def close(self) -> None:
        """End the thread after its present job; jobs that wait are superseded."""
        with self._changed:
            self._ended = True
            waiting = [*self._newest.values(), *self._all]
            self._newest.clear()
            self._all.clear()
            self._changed.notify()
        for _, future in waiting:
            future.set_exception(Superseded())
        self._thread.join(60)

    def _next(self) -> tuple[Job, Future[Any]] | None:
        with self._changed:
            while not (self._newest or self._all or self._ended):
                self._changed.wait()
            if self._newest:
                return self._newest.popitem(last=False)[1]
            return self._all.popleft() if self._all else None

    def _work(self) -> None:
        while (given := self._next()) is not None:
            job, future = given
            try:
                future.set_result(job())
            except BaseException as error:
                future.set_exception(error)
