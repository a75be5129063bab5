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
from hdtrans.prepare.sources.dataset_files import (
    ListedSource,
    PhotoIndex,
    files_under,
    listing,
    option_path,
    sorted_items,
    split_of,
)
from hdtrans.prepare.sources.documents import field, read_json, size_of, to_points
from hdtrans.prepare.sources.shapes import Canvas, empty_note, polygon
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
        names, colours, self._counted = [], [], set()
        for index, entry in enumerate(field(read_json(config), "labels", list, str(config))):
            where = f"{config}: labels[{index}]"
            names.append(field(entry, "name", str, where))
            colours.append(parse_colour(entry.get("color")))
            if field(entry, "instances", bool, where):
                self._counted.add(index)
        self.classes = class_table(names, colours)
        self._class_ids = {name: index for index, name in enumerate(names)}
        self._ignore = self.classes.ignore or 0
        self._items = sorted_items(_items(root, config, kind), root)

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
        for segment in field(annotation, "segments_info", list, str(path)):
            number, category = field(segment, "id", int, str(path)), field(segment, "category_id", int, str(path))
            where = f"{path}: segment {number}"
            if category not in categories:
                raise UserError(f"{where}: category_id {category} is not listed in the categories of the panoptic JSON")
            labels[number] = self._class_id(categories[category], where)
            if labels[number] in self._counted and not segment.get("iscrowd"):
                counted.append(number)
        ids = read_instance(path)
        label = translate(ids, labels, str(path), "panoptic ids")
        return Maps(label, np.where(np.isin(ids, counted), ids.astype(np.int64), NO_INSTANCE))

    def _from_polygons(self, path: Path) -> Maps:
        values = read_json(path)
        canvas, empty = Canvas(*size_of(values, str(path)), self._ignore), []
        for number, thing in enumerate(field(values, "objects", list, str(path))):
            where = f"{path}: object {number}"
            class_id = self._class_id(field(thing, "label", str, where), where)
            region = polygon(to_points(field(thing, "polygon", list, where), 3, where), *canvas.label.shape)
            if not canvas.draw(region, class_id, number if class_id in self._counted else NO_INSTANCE):
                empty.append(f"object {number}")
        return Maps(canvas.label, canvas.instance, tuple(empty_note(empty)))

    def _class_id(self, name: str, where: str) -> int:
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
        panoptic = _panoptic_entries(base / "panoptic") if kind == "panoptic" else {}
        for path in files_under(base / kind, (".json",) if kind == "polygons" else (".png",)):
            if kind == "panoptic" and path.name not in panoptic:
                raise UserError("is not listed in the panoptic JSON of its folder; add it, or move it away", path=path)
            both = kind == "labels" and (base / "instances").is_dir()
            annotations = (path, base / "instances" / path.name) if both else (path,)
            photo = photos.find(path.stem)
            items.append(
                Item(path.stem, split_of(split.name), path.stem, photo, annotations, (kind, panoptic.get(path.name)))
            )
    if not items:
        kinds = " or ".join(f"{kind}/" for kind in ((wanted,) if wanted else KINDS))
        inside = f" {version}/ with" if version else ""
        raise UserError(f"{root}: no training/ or validation/ contains{inside} {kinds}. {listing(root)}")
    return items


def _panoptic_entries(folder: Path) -> dict[str, tuple[Mapping[str, Any], dict[int, str]]]:
    """Return {PNG name: (its entry in the JSON beside it, category names by id)}."""
    documents = sorted(folder.glob("*.json"))
    if not documents:
        raise UserError(f"contains no panoptic_*.json beside its PNGs. {listing(folder)}", path=folder)
    values, where = read_json(documents[-1]), str(documents[-1])
    entries = field(values, "categories", list, where)
    categories = {field(entry, "id", int, where): field(entry, "name", str, where) for entry in entries}
    annotations = field(values, "annotations", list, where)
    return {field(entry, "file_name", str, where): (entry, categories) for entry in annotations}
