"""Methods and kinds come from the package and from the entry points of installed packages."""

import sys
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from hdtrans.common.errors import UnknownName, UserError
from hdtrans.config import registry
from hdtrans.config.recipe import check_recipe
from hdtrans.config.registry import method_kinds, method_module, plugin_kinds, plugin_module

METHOD = """
from typing import Literal
from hdtrans.config.recipe import MethodSection

class Config(MethodSection):
    kind: Literal["mine"] = "mine"

    def complete(self, stage):
        return stage

    def reads(self, data):
        return frozenset({"label", "photo"})
"""


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[list[EntryPoint]]:
    """Return a list of entry points that stands for what is installed; the modules lie in a folder of their own."""
    points: list[EntryPoint] = []
    monkeypatch.setattr(registry, "entry_points", lambda group: [p for p in points if p.group == group])
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "my_method.py").write_text(METHOD, encoding="utf-8")
    registry._installed.cache_clear()
    yield points
    registry._installed.cache_clear()
    sys.modules.pop("my_method", None)


def point(name: str, module: str) -> EntryPoint:
    return EntryPoint(name, module, "hdtrans.methods")


def test_an_installed_method_is_one_like_ours(installed: list[EntryPoint]) -> None:
    own = method_kinds()
    registry._installed.cache_clear()
    installed.append(point("mine", "my_method"))
    assert method_kinds() == sorted([*own, "mine"])
    assert method_module("mine").__name__ == "my_method"
    values = {
        "name": "x",
        "data": {"kind": "label_maps", "root": ".", "labels": 3},
        "method": {"kind": "mine"},
        "stages": [{"size": "8x8"}],
    }
    assert check_recipe(values, "here").method.kind == "mine"


def test_a_recipe_cannot_name_a_module(installed: list[EntryPoint]) -> None:
    installed.append(point("mine", "my_method"))
    with pytest.raises(UnknownName, match="there is no method 'my_method'; there are"):
        method_module("my_method")
    assert "my_method" not in sys.modules


@pytest.mark.parametrize(
    ("points", "message"),
    [
        ([("pix2pix", "my_method")], "the name 'pix2pix' is taken by hdtrans.methods.pix2pix"),
        ([("mine", "my_method"), ("mine", "other")], "the name 'mine' is taken by entry point hdtrans.methods mine"),
    ],
)
def test_a_clash_of_names(installed: list[EntryPoint], points: list[tuple[str, str]], message: str) -> None:
    installed += [point(*one) for one in points]
    with pytest.raises(UserError, match=message):
        method_module("cyclegan")


@pytest.mark.parametrize("module", ["nowhere", "my_method:Config"])
def test_a_module_that_cannot_be_imported(installed: list[EntryPoint], module: str) -> None:
    installed.append(point("mine", module))
    with pytest.raises(UserError, match=f"entry point hdtrans.methods mine = {module}: cannot be imported: No module"):
        method_module("mine")


def test_groups_do_not_mix(installed: list[EntryPoint]) -> None:
    installed.append(point("mine", "my_method"))
    assert plugin_kinds("hdtrans.kinds", "hdtrans.methods") == [kind for kind in method_kinds() if kind != "mine"]
    with pytest.raises(ValueError, match="there is no kind 'mine'"):
        plugin_module("hdtrans.kinds", "hdtrans.methods", "mine")
