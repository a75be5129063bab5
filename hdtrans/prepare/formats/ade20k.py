"""ADE20K with the 150 classes of its challenge: challenge label maps, or the full data set of 2016, 2017 or 2021.

In `_seg.png` the class is R // 10 * 256 + G and the instance B. Where it is missing, the visible masks that the json
of 2021 names are put together. Classes that are none of the 150 are ignored.
"""

from argparse import ArgumentParser, Namespace
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from hdtrans.common.errors import UserError
from hdtrans.data.io.read import read_label, read_picture
from hdtrans.prepare.sources.documents import field, read_json, size_of
from hdtrans.prepare.sources.places import Listed, Photos, arranged, files_under, split_of, there
from hdtrans.prepare.sources.shapes import Canvas, Region
from hdtrans.prepare.sources.source import UNCOUNTED, Item, Maps
from hdtrans.prepare.sources.tables import class_table, same_size, translate

HELP = "ADE20K in its 150 classes: challenge label maps, or the full data set (_seg.png, json)"

_LARGEST_RAW = 26 * 256
_VISIBLE = 255  # in the mask of an object; hidden parts are 128


def add_options(parser: ArgumentParser) -> None:
    """Add nothing: the files tell what they are."""


def open_source(root: Path, options: Namespace) -> "Ade20k":
    """Find the annotations: `*_seg.png` or json beside the photos, or else `annotations/` beside `images/`."""
    return Ade20k(root)


def challenge_classes() -> tuple[list[str], dict[int, int]]:
    """Return the names of the 150 classes, and the place of each index of the full data set that is one of them."""
    text = resources.files("hdtrans.prepare.formats").joinpath("ade20k_150.txt").read_text(encoding="utf-8")
    rows = [line.split("\t") for line in text.splitlines() if not line.startswith("#")]
    places = {int(raw): place for place, (raws, _) in enumerate(rows) for raw in raws.split(",")}
    return [name for _, name in rows], places


class Ade20k(Listed):
    """ADE20K's items; `detail` is the kind of annotation that an item has: challenge, seg or json."""

    def __init__(self, root: Path) -> None:
        names, self._places = challenge_classes()
        self.classes = class_table(names)
        self._ignore = 255
        full, challenge = _full(root), _challenge(root)
        if full and challenge:
            raise UserError(
                f"{root}: holds both the full data set ({full[0].annotations[0]}) and the challenge's label maps "
                f"({challenge[0].annotations[0]}); give the folder of one of them"
            )
        if not full and not challenge:
            raise UserError(f"{root}: has neither *_seg.png nor annotations/*.png beside images/. {there(root)}")
        self._items = arranged([*full, *challenge], root)

    def read(self, item: Item) -> Maps:
        """Read or draw the maps of a picture."""
        (path,) = item.annotations
        if item.detail == "challenge":
            ids = {0: self._ignore, **{place + 1: place for place in range(len(self.classes))}}
            return Maps(translate(read_label(path), ids, str(path)))
        return self._from_seg(path) if item.detail == "seg" else self._from_json(path)

    def _from_seg(self, path: Path) -> Maps:
        picture = read_picture(path).astype(np.int64)
        raw = picture[..., 0] // 10 * 256 + picture[..., 1]
        table = np.full(_LARGEST_RAW, self._ignore, np.int32)
        table[list(self._places)] = list(self._places.values())
        return Maps(table[raw], np.where(raw > 0, raw * 256 + picture[..., 2], UNCOUNTED))

    def _from_json(self, path: Path) -> Maps:
        values = field(_document(path), "annotation", dict, str(path))
        sizes = zip(("height", "width"), field(values, "imsize", list, str(path)), strict=False)
        height, width = size_of(dict(sizes), str(path))
        canvas = Canvas(height, width, self._ignore)
        for place, thing in enumerate(field(values, "object", list, str(path))):
            where = f"{path}: object {place}"
            if field(field(thing, "parts", dict, where), "part_level", int, where) == 0:
                label = self._places.get(field(thing, "name_ndx", int, where), self._ignore)
                mask = path.parent / field(thing, "instance_mask", str, where)
                seen = read_label(mask) == _VISIBLE
                same_size(seen.shape, (height, width), str(mask), path)
                canvas.draw(Region(0, 0, seen), label, place)
        return Maps(canvas.label, canvas.instance)


def _document(path: Path) -> Any:
    try:
        return read_json(path)
    except UserError as error:
        if isinstance(error.__cause__, UnicodeDecodeError):  # the json files of 2021 are in Latin 1
            return read_json(path, "latin-1")
        raise


def _full(root: Path) -> list[Item]:
    photos = Photos(root)
    segs = {stem[:-4]: path for stem, path in photos.paths.items() if stem.endswith("_seg")}
    documents = {path.relative_to(root).with_suffix("").as_posix(): path for path in files_under(root, (".json",))}
    items = []
    for stem in sorted({*segs, *(stem for stem in documents if stem in photos.paths)}):
        path, kind = (segs[stem], "seg") if stem in segs else (documents[stem], "json")
        name = Path(stem).name
        items.append(Item(name, split_of(*Path(stem).parts), name, photos.paths.get(stem), (path,), kind))
    return items


def _challenge(root: Path) -> list[Item]:
    items = []
    for folder in (root / "annotations", *root.glob("*/annotations")):
        photos = Photos(folder.with_name("images"))
        for path in files_under(folder, (".png",)):
            stem = path.relative_to(folder).with_suffix("").as_posix()
            split = split_of(*Path(stem).parts)
            items.append(Item(path.stem, split, path.stem, photos.find(stem), (path,), "challenge"))
    return items
