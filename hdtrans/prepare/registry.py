"""The formats by name, and the way from a command line to a prepared folder."""

import argparse
import hashlib
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from hdtrans.common.classes import ClassTable
from hdtrans.common.errors import UserError
from hdtrans.prepare.formats import (
    ade20k,
    camvid,
    celebamask,
    cityscapes,
    coco,
    cvat,
    folder,
    indexed,
    labelme,
    mapillary,
    pairs,
    palette,
    voc,
)
from hdtrans.prepare.options import SPLITS, Options, common_options, own_options, plain
from hdtrans.prepare.sources.remap import class_id, read_remap
from hdtrans.prepare.sources.source import Format, PairSource, Source
from hdtrans.prepare.writing.instances import LARGEST_ID
from hdtrans.prepare.writing.making import Maker, MapsMaker, PairMaker
from hdtrans.prepare.writing.manifest import Folder
from hdtrans.prepare.writing.pictures import MAP_FILTER, PHOTO_FILTER
from hdtrans.prepare.writing.splits import Work, limited, with_splits
from hdtrans.prepare.writing.summary import Report, table
from hdtrans.prepare.writing.writer import check_names, write_items

FORMATS: Mapping[str, Format] = {
    "cityscapes": cityscapes,
    "coco": coco,
    "ade20k": ade20k,
    "mapillary": mapillary,
    "voc": voc,
    "camvid": camvid,
    "indexed": indexed,
    "labelme": labelme,
    "cvat": cvat,
    "palette": palette,
    "celebamask": celebamask,
    "folder": folder,
    "pairs": pairs,
}


def prepare(name: str, given: argparse.Namespace) -> Report | str:
    """Prepare a folder as a command line says; return the report, or the text of a dry run.

    Raises:
        UserError: something that was given is wrong, before anything is written.
    """
    options = common_options(given)
    root = given.root.resolve()
    if not root.is_dir():
        raise UserError(f"--in {given.root}: there is no such folder")
    if given.out.resolve().is_relative_to(root):
        raise UserError(f"--out {given.out}: lies in the data set itself; give a folder outside of {given.root}")
    source = FORMATS[name].open_source(root, given)
    maker, classes = _maker(source, root, options)
    own = plain(own_options(given))
    mark = {"format": name, "from": str(root), "format_options": own, "format_files": _digests(root, own)}
    target = Folder(given.out, classes, {**mark, **_marked(options, maker)})
    work = with_splits(source.items(), options)
    if given.dry_run:
        check_names(work)
        target.check()
        return _dry(target, limited(work, given.limit), len(work))
    return write_items(target, maker, work, given.workers, given.limit)


def _maker(source: Source | PairSource, root: Path, options: Options) -> tuple[Maker, ClassTable | None]:
    """Return what makes the files of items, and the classes of their label maps."""
    if isinstance(source, PairSource):
        if options.remap or options.instances != "own":
            raise UserError("--remap and --instances are for label maps, which this format has not")
        return PairMaker(source, root, options), None
    remap = read_remap(options.remap, source.classes) if options.remap else None
    classes = remap.classes if remap else source.classes
    if classes.ignore is not None and not 0 <= classes.ignore <= LARGEST_ID:
        raise UserError(f"the ignored id {classes.ignore} does not fit 16 bits; give one from 0 to {LARGEST_ID}")
    things = tuple(class_id(name, classes, "--things") for name in options.things)
    return MapsMaker(source, root, options, remap, things or tuple(range(len(classes)))), classes


def _digests(root: Path, own: Mapping[str, Any]) -> dict[str, str]:
    """Return the SHA-256 of files that a format's options name: with other contents they make another folder."""
    found = {}
    for name, value in own.items():
        for path in (Path(str(value)), root / str(value)):
            if value and path.is_file():
                with path.open("rb") as file:
                    found[name] = hashlib.file_digest(file, "sha256").hexdigest()[:16]
                break
    return found


def _marked(options: Options, maker: Maker) -> dict[str, Any]:
    """Return the options that change files, and how pictures are resized."""
    values = plain(asdict(options))
    if options.size:
        values["size"] = f"{options.size[1]}x{options.size[0]}"
    if isinstance(maker, MapsMaker) and maker.remap:
        values["remap"] = maker.remap.to_dict(maker.source.classes)
    return {"options": values, "resized": {"maps": MAP_FILTER, "photos": PHOTO_FILTER} if options.size else None}


def _dry(target: Folder, work: Work, found: int) -> str:
    rows = [("split", "items", "first", "last")]
    for split in SPLITS:
        names = [item.name for item, its in work if its == split]
        if names:
            rows.append((split, str(len(names)), names[0], names[-1]))
    lines = [table(rows), f"{len(work)} of {found} items would be written to {target.out}; nothing was."]
    if target.classes is not None:
        shown = ", ".join(target.classes.names[:12]) + (", ..." if len(target.classes) > 12 else "")
        lines.append(f"{len(target.classes)} classes: {shown}; ignored: {target.classes.ignore}")
    return "\n".join(lines)
