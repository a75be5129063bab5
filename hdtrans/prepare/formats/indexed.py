"""Label pictures that hold numbers of classes, described by a mapping file: Synthia, and most simulators' sets.

The file, in YAML or JSON, says where label pictures, instance pictures and photos are, how a number is stored in
them, and which numbers are which class:

    labels: {folder: GT/LABELS, read: red}      # red, green, blue, grey, or rgb: 65536 R + 256 G + B
    instances: {folder: GT/LABELS, read: green}
    photos: RGB
    ignore: [0]
    classes:
      - {raw: 1, name: sky, colour: [70, 130, 180]}
      - {raw: [2, 13], name: building}
"""

from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from hdtrans.common.errors import UserError
from hdtrans.common.yaml_text import read_yaml
from hdtrans.config.problems import describe
from hdtrans.data.io.read import read_label, read_picture
from hdtrans.prepare.sources.documents import read_json, read_text
from hdtrans.prepare.sources.places import Listed, Photos, arranged, files_under, given, split_of, there
from hdtrans.prepare.sources.source import UNCOUNTED, Item, Maps
from hdtrans.prepare.sources.tables import class_table, packed, same_size, translate

HELP = "Synthia and other label pictures that hold numbers, by a mapping file"


def add_options(parser: ArgumentParser) -> None:
    """Add what indexed sets are asked."""
    parser.add_argument(
        "--mapping", required=True, metavar="FILE", help="what the numbers mean, in YAML or JSON (see the README)"
    )


def open_source(root: Path, options: Namespace) -> "Indexed":
    """Read the mapping file, and pair the files of its folders by name."""
    path = given(root, options.mapping)
    values = read_json(path) if path.suffix.lower() == ".json" else read_yaml(read_text(path), str(path))
    if not isinstance(values, dict):
        raise UserError(f"{path}: expected the keys {', '.join(_Mapping.model_fields)}")
    try:
        return Indexed(root, _Mapping.model_validate(values), path)
    except ValidationError as error:
        raise UserError("\n".join(f"{path}: {line}" for line in describe(error, _Mapping))) from None


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class _Place(_Strict):
    """A folder of label or instance pictures, and how a number is stored in them."""

    folder: str
    read: Literal["grey", "red", "green", "blue", "rgb"] = "grey"


_Byte = Annotated[int, Field(ge=0, le=255)]
_Number = Annotated[int, Field(ge=0, lt=2**31)]
_Numbers = Annotated[tuple[_Number, ...], BeforeValidator(lambda v: v if isinstance(v, list) else (v,))]


class _Class(_Strict):
    raw: _Numbers
    name: Annotated[str, Field(min_length=1)]
    colour: tuple[_Byte, _Byte, _Byte] | None = None
    id: _Number | None = None


class _Mapping(_Strict):
    """A mapping file; `others: ignore` ignores numbers that it does not name."""

    labels: _Place
    instances: _Place | None = None
    photos: str | None = None
    ignore: _Numbers = ()
    others: Literal["ignore", "error"] = "error"
    classes: Annotated[tuple[_Class, ...], Field(min_length=1)]


class Indexed(Listed):
    """Label pictures whose numbers are translated by a mapping file; ids are its own, or the order of its classes."""

    def __init__(self, root: Path, mapping: _Mapping, path: Path) -> None:
        self._mapping = mapping
        ordered = _by_id(mapping.classes, path)
        self.classes = class_table([c.name for c in ordered], [c.colour for c in ordered])
        self._ignore = self.classes.ignore or 255
        self._ids = dict.fromkeys(mapping.ignore, self._ignore)
        for place, entry in enumerate(ordered):
            if twice := [raw for raw in entry.raw if raw in self._ids]:
                raise UserError(f"{path}: the number {twice[0]} is given twice, the second time to {entry.name!r}")
            self._ids |= dict.fromkeys(entry.raw, place)
        self._items = arranged(_items(root, mapping), root)

    def read(self, item: Item) -> Maps:
        """Read the maps of a picture."""
        path, *more = item.annotations
        raw, ids = _numbers(path, self._mapping.labels.read), self._ids
        if self._mapping.others == "ignore":
            ids = {**dict.fromkeys(np.unique(raw).tolist(), self._ignore), **ids}
        label = translate(raw, ids, str(path), "numbers")
        if not more or self._mapping.instances is None:
            return Maps(label)
        instance = _numbers(more[0], self._mapping.instances.read)
        same_size(instance.shape, label.shape, str(more[0]), path)
        return Maps(label, np.where(instance == 0, UNCOUNTED, instance))


def _by_id(classes: tuple[_Class, ...], path: Path) -> list[_Class]:
    """Return the classes in the order of their ids, where they have any."""
    ids = [entry.id for entry in classes]
    if ids.count(None) == len(ids):
        return list(classes)
    if sorted(number for number in ids if number is not None) != list(range(len(ids))):
        raise UserError(f"{path}: ids of classes are given to none, or to all and count from 0; got {ids}")
    return sorted(classes, key=lambda entry: entry.id or 0)


def _items(root: Path, mapping: _Mapping) -> list[Item]:
    folder = root / mapping.labels.folder
    if not folder.is_dir():
        raise UserError(f"{folder}: is not there (labels.folder of the mapping file). {there(root)}")
    photos = Photos(root / mapping.photos) if mapping.photos else None
    instances = Photos(root / mapping.instances.folder) if mapping.instances else None
    if photos and not photos.paths:
        raise UserError(f"{photos.folder}: has no photos (photos of the mapping file). {there(root)}")
    items = []
    for path in files_under(folder):
        stem = path.relative_to(folder).with_suffix("").as_posix()
        instance = instances.find(stem) if instances else None
        annotations = (path, instance) if instance else (path,)
        photo = photos.find(stem) if photos else None
        items.append(Item(stem, split_of(*stem.split("/")[:-1]), stem, photo, annotations))
    return items


def _numbers(path: Path, how: str) -> npt.NDArray[Any]:
    """Return the (H, W) numbers that a picture holds."""
    if how == "grey":
        return read_label(path).astype(np.int64)
    picture = read_picture(path).astype(np.int64)
    return packed(picture) if how == "rgb" else picture[..., ("red", "green", "blue").index(how)]
