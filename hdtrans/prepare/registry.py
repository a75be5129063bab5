"""Format registry, and preparation of a folder from command-line options.

Every module of `hdtrans.prepare.formats` is a format, named after its file; adding one means adding a file.
"""

import argparse
import importlib
import pkgutil
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, cast

from hdtrans.common.apart import check_apart
from hdtrans.common.classes import ClassTable
from hdtrans.common.errors import UserError
from hdtrans.common.folder_lock import FolderLock
from hdtrans.common.hashing import file_digest
from hdtrans.prepare import formats
from hdtrans.prepare.options import SPLITS, Options, common_options, format_options, to_json_values
from hdtrans.prepare.sources.remap import class_id, read_remap
from hdtrans.prepare.sources.source import LARGEST_ID, Format, PairSource, Source
from hdtrans.prepare.writing.making import Maker, MapsMaker, PairMaker
from hdtrans.prepare.writing.manifest import OPTION_FILES, PreparedFolder
from hdtrans.prepare.writing.pictures import MAP_FILTER, PHOTO_FILTER
from hdtrans.prepare.writing.splits import SplitItems, assign_splits, limit_per_split
from hdtrans.prepare.writing.summary import Report, printable, table
from hdtrans.prepare.writing.writer import check_names, write_items


def format_names() -> list[str]:
    """Return the names of all formats, sorted: the public modules in formats/, found without import."""
    found = (module.name for module in pkgutil.iter_modules(formats.__path__))
    return sorted(name for name in found if not name.startswith("_"))


def load_format(name: str) -> Format:
    """Import the format `name`, one of `format_names()`."""
    return cast(Format, importlib.import_module(f"{formats.__name__}.{name}"))


def prepare(name: str, given: argparse.Namespace) -> Report | str:
    """Prepare a folder.

    Args:
        name: format, one of `format_names()`.
        given: parsed command line, with the common options and those of the format.

    Returns:
        The report, or the text of a dry run.

    Raises:
        UserError: an option or the data set is wrong; raised before anything is written.
    """
    options = common_options(given)
    root = given.root.resolve()
    if not root.is_dir():
        raise UserError("no such folder", argument="root", path=given.root)
    own, module = to_json_values(format_options(given)), load_format(name)
    searched = module.searched(given.root, given) if hasattr(module, "searched") else [given.root]
    others = (root / value for value in own.values() if isinstance(value, str))  # folders of photos may lie elsewhere
    check_apart(given.out, [*searched, *(path for path in others if path.is_dir())])
    source = module.open_source(root, given)
    maker, classes = _maker(source, root, options)
    settings = {"format": name, "from": str(root), "format_options": own, OPTION_FILES: _digests(root, own)}
    target = PreparedFolder(given.out, classes, {**settings, **_recorded_options(options, maker)})
    items = assign_splits(source.items(), options)
    if given.dry_run:
        check_names(items)
        target.check()
        return _dry_run_text(target, limit_per_split(items, given.limit), len(items))
    with FolderLock(given.out):
        report = write_items(target, maker, items, given.workers, given.limit)
    return replace(report, needs_photos=getattr(module, "NEEDS_PHOTOS", False))


def _maker(source: Source | PairSource, root: Path, options: Options) -> tuple[Maker, ClassTable | None]:
    """Return the maker of an item's files, and the class table of the written label maps (None for pairs)."""
    if isinstance(source, PairSource):
        if options.remap or options.instances != "own":
            name, value = ("remap", options.remap) if options.remap else ("instances", options.instances)
            finding = "not allowed for a format without label maps; leave it out"
            raise UserError(finding, argument=name, value=value)
        return PairMaker(source, root, options), None
    remap = read_remap(options.remap, source.classes) if options.remap else None
    classes = remap.classes if remap else source.classes
    if classes.ignore is not None and not 0 <= classes.ignore <= LARGEST_ID:
        raise UserError(f"ignored id {classes.ignore}: does not fit 16 bits; give one from 0 to {LARGEST_ID}")
    things = tuple(class_id(name, classes, argument="things") for name in options.things)
    return MapsMaker(source, root, options, remap, things or tuple(range(len(classes)))), classes


def _digests(root: Path, own: Mapping[str, Any]) -> dict[str, str]:
    """Return the SHA-256 of files given in format options, so that changed contents are noticed on resume."""
    found = {}
    for name, value in own.items():
        for path in (Path(str(value)), root / str(value)):
            if value and path.is_file():
                found[name] = file_digest(path)[:16]
                break
    return found


def _recorded_options(options: Options, maker: Maker) -> dict[str, Any]:
    """Return the options recorded in dataset.json: those that affect the files, and the resize filters."""
    values = to_json_values(asdict(options))
    if options.size:
        values["size"] = f"{options.size[1]}x{options.size[0]}"
    if isinstance(maker, MapsMaker) and maker.remap:
        values["remap"] = maker.remap.to_dict(maker.source.classes)
    return {"options": values, "resized": {"maps": MAP_FILTER, "photos": PHOTO_FILTER} if options.size else None}


def _dry_run_text(target: PreparedFolder, items: SplitItems, found: int) -> str:
    rows = [("split", "items", "first", "last")]
    for split in SPLITS:
        names = [item.name for item, its in items if its == split]
        if names:
            rows.append((split, str(len(names)), names[0], names[-1]))
    lines = [table(rows), f"dry run: {len(items)} of {found} items would be written to {target.out}"]
    if target.classes is not None:
        shown = ", ".join(target.classes.names[:12]) + (", ..." if len(target.classes) > 12 else "")
        lines.append(f"{len(target.classes)} classes: {shown}; ignored: {target.classes.ignore}")
    return printable("\n".join(lines))
