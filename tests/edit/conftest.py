"""Editors that several tests look at."""

from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("starlette", reason="the extra edit is not installed")
pytest.importorskip("uvicorn", reason="the extra edit is not installed")

from tests.edit.running import FEATURES, Editor, city, editor, small_model


@pytest.fixture(scope="session")
def maps(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of two label maps; their instance maps lie beside it."""
    return city(tmp_path_factory.mktemp("city"))


@pytest.fixture(scope="session")
def plain(tmp_path_factory: pytest.TempPathFactory, maps: Path) -> Iterator[Editor]:
    """An editor of a model without styles."""
    place = tmp_path_factory.mktemp("plain")
    with editor(small_model(place / "plain.pt"), place / "out", maps) as running:
        yield running


@pytest.fixture(scope="session")
def styled(tmp_path_factory: pytest.TempPathFactory, maps: Path) -> Iterator[Editor]:
    """An editor of a model with a style per object, without clusters."""
    place = tmp_path_factory.mktemp("styled")
    with editor(small_model(place / "styled.pt", **FEATURES), place / "out", maps) as running:
        yield running
