"""Label maps with raw numbers, described by a mapping file: Synthia and most simulators.

The mapping file (YAML or JSON) gives the folders, how a number is stored in a pixel, and the numbers of each class:

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
from hdtrans.prepare.sources.documents import read_json, read_text
from hdtrans.prepare.sources.source import NO_INSTANCE, Item, Maps
from hdtrans.prepare.sources.tables import check_same_size, class_table, pack_rgb, translate

HELP = "Synthia and other label maps with raw numbers, described by a mapping file"


def add_options(parser: ArgumentParser) -> None:
    """Add the options of this format."""
    parser.add_argument(
        "--mapping",
        required=True,
        metavar="FILE",
        help="mapping file (YAML or JSON): folders, pixel encoding, and raw numbers per class (see docs/prepare.md)",
    )


def open_source(root: Path, options: Namespace) -> "Indexed":
    """Read the mapping file and pair the files in its folders by name."""
    path = option_path(root, options.mapping)
    values = read_json(path) if path.suffix.lower() == ".json" else read_yaml(read_text(path), str(path))
    if not isinstance(values, dict):
        raise UserError(f"expected the keys {', '.join(_Mapping.model_fields)}", path=path)
    try:
        return Indexed(root, _Mapping.model_validate(values), path)
    except ValidationError as error:
        problems = describe(error, _Mapping)
        raise UserError("\n".join(f"{path}: {key}: {finding}" for key, finding in problems)) from None


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class _Folder(_Strict):
    """A folder of label or instance maps, and the pixel encoding of their numbers."""

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
    """Contents of a mapping file; `others: ignore` ignores unlisted numbers."""

    labels: _Folder
    instances: _Folder | None = None
    photos: str | None = None
    ignore: _Numbers = ()
    others: Literal["ignore", "error"] = "error"
    classes: Annotated[tuple[_Class, ...], Field(min_length=1)]


class Indexed(ListedSource):
    """Label maps translated by a mapping file; class ids are its `id` keys, or else the order of its classes."""

    def __init__(self, root: Path, mapping: _Mapping, path: Path) -> None:
        self._mapping = mapping
        ordered = _sorted_by_id(mapping.classes, path)
        self.notes = tuple(space_notes(c.name for c in ordered))
        self.classes = class_table([clean_name(c.name) for c in ordered], [c.colour for c in ordered])
        self._ignore = self.classes.ignore or 255
        self._ids = dict.fromkeys(mapping.ignore, self._ignore)
        for index, entry in enumerate(ordered):
            if twice := [raw for raw in entry.raw if raw in self._ids]:
                raise UserError(
                    f"{path}: the raw number {twice[0]} is listed twice, the second time for {entry.name!r}"
                )
            self._ids |= dict.fromkeys(entry.raw, index)
        self._items = sorted_items(_items(root, mapping), root)

    def read(self, item: Item) -> Maps:
        """Read an item's label and instance map."""
        path, *more = item.annotations
        raw, ids = _numbers(path, self._mapping.labels.read), self._ids
        if self._mapping.others == "ignore":
            ids = {**dict.fromkeys(np.unique(raw).tolist(), self._ignore), **ids}
        label = translate(raw, ids, str(path), "numbers")
        if not more or self._mapping.instances is None:
            return Maps(label)
        instance = _numbers(more[0], self._mapping.instances.read)
        check_same_size(instance.shape, label.shape, str(more[0]), path)
        return Maps(label, np.where(instance == 0, NO_INSTANCE, instance))


def _sorted_by_id(classes: tuple[_Class, ...], path: Path) -> list[_Class]:
    """Sort the classes by id; without ids, keep their order."""
    ids = [entry.id for entry in classes]
    if ids.count(None) == len(ids):
        return list(classes)
    if sorted(number for number in ids if number is not None) != list(range(len(ids))):
        raise UserError(f"classes: got the ids {ids}; give ids 0, 1, 2, ... to all classes, or to none", path=path)
    return sorted(classes, key=lambda entry: entry.id or 0)


def _items(root: Path, mapping: _Mapping) -> list[Item]:
    folder = root / mapping.labels.folder
    if not folder.is_dir():
        raise UserError(f"no such folder (labels.folder in the mapping file). {listing(root)}", path=folder)
    photos = PhotoIndex(root / mapping.photos) if mapping.photos else None
    instances = PhotoIndex(root / mapping.instances.folder) if mapping.instances else None
    if photos and not photos.paths:
        raise UserError(f"{photos.folder}: contains no photos (photos in the mapping file). {listing(root)}")
    items = []
    for path in files_under(folder):
        stem = path.relative_to(folder).with_suffix("").as_posix()
        instance = instances.find(stem) if instances else None
        annotations = (path, instance) if instance else (path,)
        photo = photos.find(stem) if photos else None
        items.append(Item(stem, split_of(*stem.split("/")[:-1]), stem, photo, annotations))
    return items


def _numbers(path: Path, encoding: str) -> npt.NDArray[Any]:
    """Read the raw numbers, (H, W), stored in one channel or in all three."""
    if encoding == "grey":
        return read_label(path).astype(np.int64)
    picture = read_picture(path).astype(np.int64)
    return pack_rgb(picture) if encoding == "rgb" else picture[..., ("red", "green", "blue").index(encoding)]
