"""Mapillary Vistas v1.2 and v2.0: classes from a config, maps from labels/ and instances/, panoptic/ or polygons/.

Values in instances/ are 256 * class + number, panoptic ids R + 256 G + 65536 B; polygons are drawn in order.
"""

from argparse import ArgumentParser, Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from hdtrans.common.errors import UserError, nearest
from hdtrans.data.io.read import read_instance, read_label
from hdtrans.prepare.sources.class_names import clean_name, space_notes
from hdtrans.prepare.sources.dataset_files import (
    ListedSource,
    PhotoIndex,
    files_under,
    listing,
    option_path,
    sorted_items,
    split_of,
)
from hdtrans.prepare.sources.documents import claim, field, flag, read_json, size_of, to_points
from hdtrans.prepare.sources.foreign_paths import foreign_path
from hdtrans.prepare.sources.shapes import NO_PIXEL, Canvas, Undrawn, polygon
from hdtrans.prepare.sources.source import NO_INSTANCE, Item, Maps
from hdtrans.prepare.sources.tables import check_same_size, class_table, parse_colour, translate

HELP = "Mapillary Vistas v1.2 and v2.0 (config*.json, training/, validation/)"
NEEDS_PHOTOS = True

KINDS = ("labels", "panoptic", "polygons")


def add_options(parser: ArgumentParser) -> None:
    """Add the options of this format."""
    parser.add_argument(
        "--config",
        metavar="JSON",
        help="class file; a name with v1.2 or v2.0 selects the annotations of that version (default: the newest)",
    )
    parser.add_argument(
        "--read", choices=KINDS, help="annotation type to read (default: the first present, in this order)"
    )


def open_source(root: Path, options: Namespace) -> "Mapillary":
    """Read the config and index the annotations of its version."""
    configs = sorted(root.glob("*config*.json"))
    if not configs and not options.config:
        raise UserError(f"{root}: contains no config.json, config_v1.2.json or config_v2.0.json. {listing(root)}")
    return Mapillary(root, option_path(root, options.config) if options.config else configs[-1], options.read)


class Mapillary(ListedSource):
    """Mapillary items; `Item.detail` is (annotation type, the picture's entry in the panoptic JSON or None)."""

    def __init__(self, root: Path, config: Path, kind: str | None) -> None:
        written, colours, self._counted = [], [], set()
        for index, entry in enumerate(field(read_json(config), "labels", list, str(config))):
            where = f"{config}: labels[{index}]"
            written.append(field(entry, "name", str, where))
            colours.append(parse_colour(entry.get("color")))
            if field(entry, "instances", bool, where):
                self._counted.add(index)
        names = [clean_name(name) for name in written]
        self.notes = tuple(space_notes(written))
        self.classes = class_table(names, colours)
        self._class_ids = {name: index for index, name in enumerate(names)}
        self._ignore = self.classes.ignore or 0
        items = _items(root, config, kind)
        self.shared = frozenset(path for item in items for path in item.inputs if path != config)
        self._items = sorted_items(items, root)

    def part(self, item: Item) -> object:
        """Return the picture's entry in the panoptic JSON, and the categories there."""
        return item.detail[1]

    def read(self, item: Item) -> Maps:
        """Read an item's label and instance map, or draw its polygons."""
        kind, detail = item.detail
        if kind == "panoptic":
            return self._from_panoptic(item.annotations[0], detail)
        if kind == "polygons":
            return self._from_polygons(item.annotations[0])
        path, *more = item.annotations
        label = translate(read_label(path), {index: index for index in range(len(self.classes))}, str(path))
        if not more:
            return Maps(label)
        values = read_instance(more[0])
        check_same_size(values.shape, label.shape, str(more[0]), path)
        counted = np.isin(label, sorted(self._counted)) & (values // 256 == label)
        differ = int((values // 256 != label).sum())
        notes = (f"instances/ and labels/ have different classes: in {differ} pixels",) if differ else ()
        return Maps(label, np.where(counted, values.astype(np.int64), NO_INSTANCE), notes)

    def _from_panoptic(self, path: Path, detail: tuple[Mapping[str, Any], dict[int, str]]) -> Maps:
        annotation, categories = detail
        labels, counted = {0: self._ignore}, []
        known: dict[int, str] = {0: ""}
        for index, segment in enumerate(field(annotation, "segments_info", list, str(path))):
            number, category = field(segment, "id", int, str(path)), field(segment, "category_id", int, str(path))
            where = f"{path}: segment {number}"
            claim(known, number, f"{path}: segments_info[{index}]", "id")
            if category not in categories:
                raise UserError(f"{where}: category_id {category} is not listed in the categories of the panoptic JSON")
            labels[number] = self._class_id(categories[category], where)
            if labels[number] in self._counted and not flag(segment, "iscrowd", False, where):
                counted.append(number)
        ids = read_instance(path)
        label = translate(ids, labels, str(path), "panoptic ids")
        return Maps(label, np.where(np.isin(ids, counted), ids.astype(np.int64), NO_INSTANCE))

    def _from_polygons(self, path: Path) -> Maps:
        values = read_json(path)
        canvas, undrawn = Canvas(*size_of(values, str(path)), self._ignore), Undrawn()
        for number, thing in enumerate(field(values, "objects", list, str(path))):
            where = f"{path}: object {number}"
            class_id = self._class_id(field(thing, "label", str, where), where)
            points = to_points(field(thing, "polygon", list, where), where)
            instance = number if class_id in self._counted else NO_INSTANCE
            if undrawn.outline(points, f"object {number}") and not canvas.draw(
                polygon(points, *canvas.label.shape), class_id, instance
            ):
                undrawn.add(NO_PIXEL, f"object {number}")
        return Maps(canvas.label, canvas.instance, tuple(undrawn.notes()))

    def _class_id(self, written: str, where: str) -> int:
        name = clean_name(written)
        if name not in self._class_ids:
            raise UserError(f"{where}: the class {name!r} is not in the config.{nearest(name, self._class_ids)}")
        return self._class_ids[name]


def _items(root: Path, config: Path, wanted: str | None) -> list[Item]:
    version = next((version for version in ("v2.0", "v1.2") if version in config.name), "")
    splits = sorted(path for path in root.iterdir() if path.is_dir() and split_of(path.name))
    if not any((split / version).is_dir() for split in splits):
        version = ""
    items = []
    for split in splits:
        base = split / version
        kind = next((kind for kind in (wanted, *KINDS) if kind and (base / kind).is_dir()), None)
        if kind is None or kind != (wanted or kind):
            continue
        photos = PhotoIndex(split / "images")
        document, panoptic = _panoptic_entries(base / "panoptic") if kind == "panoptic" else ((), {})
        for path in files_under(base / kind, (".json",) if kind == "polygons" else (".png",)):
            if kind == "panoptic" and path.name not in panoptic:
                raise UserError("is not listed in the panoptic JSON of its folder; add it, or move it away", path=path)
            both = kind == "labels" and (base / "instances").is_dir()
            annotations = (path, base / "instances" / path.name) if both else (path,)
            photo = photos.find(path.stem)
            detail, inputs = (kind, panoptic.get(path.name)), (config, *document)
            items.append(Item(path.stem, split_of(split.name), path.stem, photo, annotations, detail, inputs))
    if not items:
        kinds = " or ".join(f"{kind}/" for kind in ((wanted,) if wanted else KINDS))
        inside = f" {version}/ with" if version else ""
        raise UserError(f"{root}: no training/ or validation/ contains{inside} {kinds}. {listing(root)}")
    return items


_Entries = dict[str, tuple[Mapping[str, Any], dict[int, str]]]


def _panoptic_entries(folder: Path) -> tuple[tuple[Path], _Entries]:
    """Return the JSON beside the PNGs, and {PNG name: (its entry there, category names by id)}."""
    documents = sorted(folder.glob("*.json"))
    if not documents:
        raise UserError(f"contains no panoptic_*.json beside its PNGs. {listing(folder)}", path=folder)
    path = documents[-1]
    values, categories, entries = read_json(path), dict[int, str](), _Entries()
    places: dict[object, str] = {}
    for index, entry in enumerate(field(values, "categories", list, str(path))):
        where = f"{path}: categories[{index}]"
        number = field(entry, "id", int, where)
        claim(places, number, where, "id")
        categories[number] = field(entry, "name", str, where)
    for index, entry in enumerate(field(values, "annotations", list, str(path))):
        where = f"{path}: annotations[{index}]"
        name = "/".join(foreign_path(field(entry, "file_name", str, where)).parts[-1:])
        claim(places, name, where, "file_name")
        entries[name] = entry, categories
    return (path,), entries
