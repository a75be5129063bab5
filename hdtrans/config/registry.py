"""Find the module of a kind: in the package, or in an installed package that offers it by an entry point."""

import functools
import importlib
import pkgutil
from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points
from types import ModuleType

from hdtrans.common.errors import UnknownName, UserError

METHODS = "hdtrans.methods"
"""Entry-point group of methods, and the package of those that come with hdtrans."""

KINDS = "hdtrans.kinds"
"""Entry-point group of data kinds."""

KINDS_PACKAGE = "hdtrans.data.kinds"
"""Package of the data kinds that come with hdtrans."""

# Files beside the kinds of a package that hold no kind.
_NO_KIND = frozenset({"augmentation", "base", "history", "inputs", "perceptual", "segmenter"})


def plugin_kinds(group: str, package: str) -> list[str]:
    """Return the names of all kinds of a group, sorted: the package's own and those of installed entry points.

    Raises:
        UserError: two of them have the same name.
    """
    return sorted({*package_kinds(package), *_installed(group, package)})


def plugin_module(group: str, package: str, kind: str) -> ModuleType:
    """Import the module of one kind.

    Whoever installs a package trusts its code; a recipe names a kind, never a module or class.

    Args:
        group: entry-point group, as `hdtrans.methods`; an entry point's name is a kind, its value a module.
        package: dotted name of the package whose modules are the kinds that come with hdtrans.
        kind: name of a kind.

    Raises:
        UnknownName: there is no such kind.
        UserError: two kinds have the same name, or the module of an installed one cannot be imported.
    """
    allowed = plugin_kinds(group, package)
    if kind not in allowed:
        noun = group.rpartition(".")[2].removesuffix("s")
        raise UnknownName(noun, kind, allowed)
    entry = _installed(group, package).get(kind)
    if entry is None:
        return importlib.import_module(f"{package}.{kind}")
    try:
        return importlib.import_module(entry.value)
    except ImportError as error:
        raise UserError(f"{_origin(entry)}: cannot be imported: {error}") from error


def method_kinds() -> list[str]:
    """Return the names of all methods, sorted."""
    return plugin_kinds(METHODS, METHODS)


def method_module(kind: str) -> ModuleType:
    """Import the one file that holds the method `kind`; raise UnknownName for another kind."""
    return plugin_module(METHODS, METHODS, kind)


def data_kinds() -> list[str]:
    """Return the names of all data kinds, sorted."""
    return plugin_kinds(KINDS, KINDS_PACKAGE)


def data_module(kind: str) -> ModuleType:
    """Import the one file that holds the data kind `kind`; raise ValueError for an unknown one."""
    return plugin_module(KINDS, KINDS_PACKAGE, kind)


@functools.cache
def package_kinds(package: str) -> tuple[str, ...]:
    """Return the names of the kinds that come with hdtrans: modules of the package."""
    path = importlib.import_module(package).__path__
    return tuple(m.name for m in pkgutil.iter_modules(path) if m.name not in _NO_KIND and m.name[0] != "_")


@functools.cache
def _installed(group: str, package: str) -> Mapping[str, EntryPoint]:
    """Return the entry points of a group by name."""
    found: dict[str, EntryPoint] = {}
    for entry in entry_points(group=group):
        other = f"{package}.{entry.name}" if entry.name in package_kinds(package) else None
        if entry.name in found and found[entry.name].value != entry.value:
            other = _origin(found[entry.name])
        if other is not None:
            raise UserError(f"{_origin(entry)}: the name {entry.name!r} is taken by {other}; uninstall one of them")
        found[entry.name] = entry
    return found


def _origin(entry: EntryPoint) -> str:
    """Return a short name of an entry point for a message: distribution, group, name and module."""
    distribution = f"{entry.dist.name}: " if entry.dist is not None else ""
    return f"{distribution}entry point {entry.group} {entry.name} = {entry.value}"
