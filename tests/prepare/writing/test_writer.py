"""The shared writer of `hdtrans prepare`: how it stops."""

import os
import signal

import pytest

from hdtrans.common.errors import Stopped
from hdtrans.prepare.writing.writer import _stop_on_signal


def test_signals_wait_for_the_items_in_progress() -> None:
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    with _stop_on_signal() as check_stop:
        check_stop()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGINT):  # nothing is raised where they come
            os.kill(os.getpid(), number)
        for _ in range(2):
            with pytest.raises(Stopped) as stopped:
                check_stop()
            assert stopped.value.exit_code == 128 + signal.SIGTERM
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before
