"""Mapillary Vistas, v1.2 and v2.0: the classes of a config, and labels/ with instances/, panoptic/ or polygons/.

A value of instances/ is 256 * class + number; a panoptic id is R + 256 G + 65536 B; polygons are drawn in order.
"""

from argparse import ArgumentParser, Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from hdtrans.common.errors import UserError, nearest
from hdtrans.data.io.read import read_instance, read_label
from hdtrans.prepare.sources.documents import field, read_json, size_of, to_points
from hdtrans.prepare.sources.places import Listed, Photos, arranged, files_under, given, split_of, there
from hdtrans.prepare.sources.shapes import Canvas, empty_note, polygon
from hdtrans.prepare.sources.source import UNCOUNTED, Item, Maps
from hdtrans.prepare.sources.tables import class_table, same_size, to_colour, translate

HELP = "Mapillary Vistas v1.2 and v2.0 (config*.json, training/, validation/)"

KINDS = ("labels", "panoptic", "polygons")


def add_options(parser: ArgumentParser) -> None:
    """Add what Mapillary alone is asked."""
    parser.add_argument(
        "--config",
        metavar="JSON",
        help="the classes; with v2.0 in its name the annotations are those of v2.0/ (default: the newest)",
    )
    parser.add_argument("--read", choices=KINDS, help="which annotations to read (default: the first that are there)")


def open_source(root: Path, options: Namespace) -> "Mapillary":
    """Read the config, and find the annotations of its version."""
    configs = sorted(root.glob("*config*.json"))
    if not configs and not options.config:
        raise UserError(f"{root}: has no config.json, config_v1.2.json or config_v2.0.json. {there(root)}")
    return Mapillary(root, given(root, options.config) if options.config else configs[-1], options.read)


class Mapillary(Listed):
    """Mapillary's items; `detail` is the kind of annotation, and what panoptic.json says of the picture."""

    def __init__(self, root: Path, config: Path, kind: str | None) -> None:
        names, colours, self._counted = [], [], set()
        for place, entry in enumerate(field(read_json(config), "labels", list, str(config))):
            where = f"{config}: labels[{place}]"
            names.append(field(entry, "name", str, where))
            colours.append(to_colour(entry.get("color")))
            if field(entry, "instances", bool, where):
                self._counted.add(place)
        self.classes = class_table(names, colours)
        self._places = {name: place for place, name in enumerate(names)}
        self._ignore = self.classes.ignore or 0
        self._items = arranged(_items(root, config, kind), root)

    def read(self, item: Item) -> Maps:
        """Read or draw the maps of a picture."""
        kind, detail = item.detail
        if kind == "panoptic":
            return self._from_panoptic(item.annotations[0], detail)
        if kind == "polygons":
            return self._from_polygons(item.annotations[0])
        path, *more = item.annotations
        label = translate(read_label(path), {place: place for place in range(len(self.classes))}, str(path))
        if not more:
            return Maps(label)
        values = read_instance(more[0])
        same_size(values.shape, label.shape, str(more[0]), path)
        counted = np.isin(label, sorted(self._counted)) & (values // 256 == label)
        differ = int((values // 256 != label).sum())
        notes = (f"instances/ is of another class than labels/: in {differ} pixels",) if differ else ()
        return Maps(label, np.where(counted, values.astype(np.int64), UNCOUNTED), notes)

    def _from_panoptic(self, path: Path, detail: tuple[Mapping[str, Any], dict[int, str]]) -> Maps:
        annotation, categories = detail
        labels, counted = {0: self._ignore}, []
        for segment in field(annotation, "segments_info", list, str(path)):
            number, category = field(segment, "id", int, str(path)), field(segment, "category_id", int, str(path))
            where = f"{path}: segment {number}"
            if category not in categories:
                raise UserError(f"{where}: its category {category} is not among the categories of panoptic.json")
            labels[number] = self._place(categories[category], where)
            if labels[number] in self._counted and not segment.get("iscrowd"):
                counted.append(number)
        ids = read_instance(path)
        label = translate(ids, labels, str(path), "panoptic ids")
        return Maps(label, np.where(np.isin(ids, counted), ids.astype(np.int64), UNCOUNTED))

    def _from_polygons(self, path: Path) -> Maps:
        values = read_json(path)
        canvas, empty = Canvas(*size_of(values, str(path)), self._ignore), []
        for number, thing in enumerate(field(values, "objects", list, str(path))):
            where = f"{path}: object {number}"
            place = self._place(field(thing, "label", str, where), where)
            region = polygon(to_points(field(thing, "polygon", list, where), 3, where), *canvas.label.shape)
            if not canvas.draw(region, place, number if place in self._counted else UNCOUNTED):
                empty.append(f"object {number}")
        return Maps(canvas.label, canvas.instance, tuple(empty_note(empty)))

    def _place(self, name: str, where: str) -> int:
        if name not in self._places:
            raise UserError(f"{where}: its class {name!r} is not in the config.{nearest(name, self._places)}")
        return self._places[name]


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
        photos = Photos(split / "images")
        panoptic = _panoptic(base / "panoptic") if kind == "panoptic" else {}
        for path in files_under(base / kind, (".json",) if kind == "polygons" else (".png",)):
            if kind == "panoptic" and path.name not in panoptic:
                raise UserError(f"{path}: is not in the json of its folder")
            both = kind == "labels" and (base / "instances").is_dir()
            annotations = (path, base / "instances" / path.name) if both else (path,)
            photo = photos.find(path.stem)
            items.append(
                Item(path.stem, split_of(split.name), path.stem, photo, annotations, (kind, panoptic.get(path.name)))
            )
    if not items:
        kinds = " or ".join(f"{kind}/" for kind in ((wanted,) if wanted else KINDS))
        inside = f" {version}/ with" if version else ""
        raise UserError(f"{root}: no training/ or validation/ has{inside} {kinds}. {there(root)}")
    return items


def _panoptic(folder: Path) -> dict[str, tuple[Mapping[str, Any], dict[int, str]]]:
    """Return what the json beside the panoptic PNGs says of each, and the names of its categories."""
    documents = sorted(folder.glob("*.json"))
    if not documents:
        raise UserError(f"{folder}: has no panoptic_*.json beside its pictures. {there(folder)}")
    values, where = read_json(documents[-1]), str(documents[-1])
    entries = field(values, "categories", list, where)
    categories = {field(entry, "id", int, where): field(entry, "name", str, where) for entry in entries}
    annotations = field(values, "annotations", list, where)
    return {field(entry, "file_name", str, where): (entry, categories) for entry in annotations}
