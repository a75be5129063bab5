"""ADE20K, 150 challenge classes: challenge label maps, or the full data set of 2016, 2017 or 2021.

`_seg.png` encodes the class as R // 10 * 256 + G and the instance as B. Without it, the visible object masks listed in
the 2021 JSON are merged. Classes outside the 150 are ignored.
"""

from argparse import ArgumentParser, Namespace
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from hdtrans.common.errors import UserError
from hdtrans.data.io.read import read_label, read_picture
from hdtrans.prepare.sources.dataset_files import ListedSource, PhotoIndex, files_under, listing, sorted_items, split_of
from hdtrans.prepare.sources.documents import field, read_json, size_of
from hdtrans.prepare.sources.foreign_paths import foreign_path
from hdtrans.prepare.sources.shapes import Canvas, Region
from hdtrans.prepare.sources.source import NO_INSTANCE, Item, Maps
from hdtrans.prepare.sources.tables import check_same_size, class_table, translate

HELP = "ADE20K in its 150 classes: challenge label maps, or the full data set (_seg.png, json)"
NEEDS_PHOTOS = True

_LARGEST_RAW = 26 * 256
_VISIBLE = 255  # value of visible pixels in an object's mask; hidden ones are 128


def add_options(parser: ArgumentParser) -> None:
    """Add no options: the variant is recognised by its files."""


def open_source(root: Path, options: Namespace) -> "Ade20k":
    """Index the annotations: `*_seg.png` or JSON beside the photos, or else `annotations/` beside `images/`."""
    return Ade20k(root)


def challenge_classes() -> tuple[list[str], dict[int, int]]:
    """Return the 150 class names, and a map from `name_ndx` (full data set) to class id in [0, 149]."""
    text = resources.files("hdtrans.prepare.formats").joinpath("ade20k_150.txt").read_text(encoding="utf-8")
    rows = [line.split("\t") for line in text.splitlines() if not line.startswith("#")]
    class_ids = {int(raw): index for index, (raws, _) in enumerate(rows) for raw in raws.split(",")}
    return [name for _, name in rows], class_ids


class Ade20k(ListedSource):
    """ADE20K items; `Item.detail` is the annotation kind: `challenge`, `seg` or `json`."""

    def __init__(self, root: Path) -> None:
        names, self._class_ids = challenge_classes()
        self.classes = class_table(names)
        self._ignore = 255
        full, challenge = _full_items(root), _challenge_items(root)
        if full and challenge:
            raise UserError(
                f"{root}: contains both the full data set ({full[0].annotations[0]}) and the challenge label maps "
                f"({challenge[0].annotations[0]}); give the folder of one of them"
            )
        if not full and not challenge:
            raise UserError(f"{root}: contains neither *_seg.png nor annotations/*.png beside images/. {listing(root)}")
        self._items = sorted_items([*full, *challenge], root)

    def read(self, item: Item) -> Maps:
        """Read the label and instance map of an item, or merge them from object masks."""
        (path,) = item.annotations
        if item.detail == "challenge":
            ids = {0: self._ignore, **{index + 1: index for index in range(len(self.classes))}}
            return Maps(translate(read_label(path), ids, str(path)))
        return self._from_seg(path) if item.detail == "seg" else self._from_json(path)

    def _from_seg(self, path: Path) -> Maps:
        picture = read_picture(path).astype(np.int64)
        raw = picture[..., 0] // 10 * 256 + picture[..., 1]
        table = np.full(_LARGEST_RAW, self._ignore, np.int32)
        table[list(self._class_ids)] = list(self._class_ids.values())
        return Maps(table[raw], np.where(raw > 0, raw * 256 + picture[..., 2], NO_INSTANCE))

    def _from_json(self, path: Path) -> Maps:
        values = field(_document(path), "annotation", dict, str(path))
        sizes = zip(("height", "width"), field(values, "imsize", list, str(path)), strict=False)
        height, width = size_of(dict(sizes), str(path))
        canvas = Canvas(height, width, self._ignore)
        for index, thing in enumerate(field(values, "object", list, str(path))):
            where = f"{path}: object {index}"
            if field(field(thing, "parts", dict, where), "part_level", int, where) == 0:
                label = self._class_ids.get(field(thing, "name_ndx", int, where), self._ignore)
                mask = path.parent.joinpath(*foreign_path(field(thing, "instance_mask", str, where)).parts)
                seen = read_label(mask) == _VISIBLE
                check_same_size(seen.shape, (height, width), str(mask), path)
                canvas.draw(Region(0, 0, seen), label, index)
        return Maps(canvas.label, canvas.instance)


def _document(path: Path) -> Any:
    try:
        return read_json(path)
    except UserError as error:
        if isinstance(error.__cause__, UnicodeDecodeError):  # the 2021 JSON files are encoded in Latin 1
            return read_json(path, "latin-1")
        raise


def _full_items(root: Path) -> list[Item]:
    photos = PhotoIndex(root)
    segs = {stem[:-4]: path for stem, path in photos.paths.items() if stem.endswith("_seg")}
    documents = {path.relative_to(root).with_suffix("").as_posix(): path for path in files_under(root, (".json",))}
    items = []
    for stem in sorted({*segs, *(stem for stem in documents if stem in photos.paths)}):
        path, kind = (segs[stem], "seg") if stem in segs else (documents[stem], "json")
        name, masks = Path(stem).name, files_under(path.with_suffix(""), (".png",)) if kind == "json" else ()
        split, photo = split_of(*Path(stem).parts), photos.paths.get(stem)
        items.append(Item(name, split, name, photo, (path,), kind, tuple(masks)))
    return items


def _challenge_items(root: Path) -> list[Item]:
    items = []
    for folder in (root / "annotations", *root.glob("*/annotations")):
        photos = PhotoIndex(folder.with_name("images"))
        for path in files_under(folder, (".png",)):
            stem = path.relative_to(folder).with_suffix("").as_posix()
            split = split_of(*Path(stem).parts)
            items.append(Item(path.stem, split, path.stem, photos.find(stem), (path,), "challenge"))
    return items
