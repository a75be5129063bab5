"""The thread that owns the model: newest first, nothing piles up."""

import threading

import pytest

from hdtrans.edit.worker import Superseded, Worker


def test_only_the_newest_of_a_document_is_computed() -> None:
    worker, started, go, computed = Worker(), threading.Event(), threading.Event(), []

    def first() -> str:
        started.set()
        assert go.wait(30)
        return "first"

    running = worker.newest("a", first)
    assert started.wait(30)
    waiting = [worker.newest("a", lambda n=n: computed.append(n)) for n in range(3)]  # type: ignore[misc]
    other = worker.newest("b", lambda: "other")
    export = worker.every(lambda: "export")
    go.set()
    assert (running.result(30), other.result(30), export.result(30)) == ("first", "other", "export")
    waiting[2].result(30)
    assert computed == [2]
    for each in waiting[:2]:
        with pytest.raises(Superseded):
            each.result(30)
    worker.close()


def test_a_failure_is_the_jobs_own() -> None:
    worker = Worker()
    failing = worker.every(lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        failing.result(30)
    assert worker.every(lambda: 2).result(30) == 2
    worker.close()
