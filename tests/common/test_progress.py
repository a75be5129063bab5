import io

import pytest

from hdtrans.common.progress import bar_has_room, progress


class Terminal(io.StringIO):
    """A terminal that belongs to no system, as a notebook's."""

    def isatty(self) -> bool:
        return True


def test_a_bar_counts_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr", screen := Terminal())
    assert list(progress(range(3), unit=" pictures")) == [0, 1, 2]
    assert "3/3" in screen.getvalue()
    assert list(progress(range(3), unit=" pictures", show=False)) == [0, 1, 2]
    assert screen.getvalue().count("3/3") == 1


@pytest.mark.parametrize("stream", [None, io.StringIO()])
def test_without_a_terminal_it_shows_nothing(stream: io.StringIO | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process started without a standard error has None in its place."""
    monkeypatch.setattr("sys.stderr", stream)
    with progress(total=2, done=1, unit="item") as bar:
        bar.update()
    assert stream is None or stream.getvalue() == ""


def test_a_terminal_without_a_size_has_no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr", screen := Terminal())
    monkeypatch.setattr(screen, "fileno", lambda: 2)
    monkeypatch.setattr("os.get_terminal_size", lambda number: (0, 0))
    assert not bar_has_room()
