"""Documents of COCO: categories, pictures and annotations, merged over all files; keys are not taken to be unique."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hdtrans.common.classes import Colour
from hdtrans.common.errors import UserError
from hdtrans.prepare.sources import documents as parsing
from hdtrans.prepare.sources.class_names import clean_name, space_notes
from hdtrans.prepare.sources.dataset_files import split_of
from hdtrans.prepare.sources.documents import abridged, claim, flag, identifier, size_of
from hdtrans.prepare.sources.foreign_paths import foreign_path
from hdtrans.prepare.sources.tables import check_same_size, parse_colour

Documents = list[tuple[Path, Any]]
"""Annotation files with their JSON values."""


@dataclass(frozen=True)
class Category:
    """A category; `thing` is its `isthing`, or else True unless its file is a stuff file."""

    name: str
    thing: bool
    colour: Colour | None


@dataclass(frozen=True)
class Picture:
    """One picture of the annotation files.

    Attributes:
        text: its `file_name`, as written first.
        where: file and place of its first entry.
        split: split by the names of the annotation file and its folder.
        size: (height, width) in pixels.
        files: annotation files that list it.
        annotations: (annotation file, entry of its `annotations`).
        notes: warnings.
    """

    text: str
    where: str
    split: str | None
    size: tuple[int, int]
    files: list[Path] = field(default_factory=list)
    annotations: list[tuple[Path, Mapping[str, Any]]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def read_categories(documents: Documents) -> tuple[dict[int, Category], list[str]]:
    """Return the categories of all files by id, and notes.

    Raises:
        UserError: a category has no id or no name, or an id has two names; the message has both places.
    """
    found: dict[int, Category] = {}
    places: dict[int, str] = {}
    names: list[str] = []
    twice: list[str] = []
    for path, document in documents:
        for index, category in enumerate(parsing.field(document, "categories", list, str(path))):
            where = f"{path}: categories[{index}]"
            number, name = parsing.field(category, "id", int, where), parsing.field(category, "name", str, where)
            names.append(name)
            if not (name := clean_name(name)):
                raise UserError(f"{where}: has an empty name")
            thing = flag(category, "isthing", "stuff" not in path.name, where)
            before = found.setdefault(number, Category(name, thing, parse_colour(category.get("color"))))
            place = places.setdefault(number, where)
            if place != where and place.startswith(f"{path}: "):
                twice.append(f"{where}, as {place}")
            if before.name != name:
                raise UserError(
                    f"{where}: the id {number} is that of {place} as well, which is {before.name!r}, not {name!r}; "
                    "give each its own"
                )
    return found, [*space_notes(names), *_repeated(twice), *_shared_names(found)]


def _repeated(places: list[str]) -> list[str]:
    return [f"{len(places)} category entries are listed twice, first {places[0]}"] if places else []


def _shared_names(categories: Mapping[int, Category]) -> list[str]:
    ids = defaultdict(list)
    for number, category in sorted(categories.items()):
        ids[category.name].append(str(number))
    shared = [f"{name!r} (ids {' and '.join(numbers)})" for name, numbers in ids.items() if len(numbers) > 1]
    return [f"categories of one name are one class: {', '.join(shared)}"] if shared else []


def read_pictures(documents: Documents) -> tuple[list[Picture], list[str]]:
    """Return one picture per split and cleaned file name, with its annotations from all files, and notes.

    Raises:
        UserError: a picture has no name, no id or two sizes, two pictures of a file have one id, or all annotations of
            a file are those of pictures that it does not list.
    """
    pictures: dict[tuple[str | None, tuple[str, ...]], Picture] = {}
    notes: list[str] = []
    for path, document in documents:
        by_id: dict[int | str, Picture] = {}
        places: dict[int | str, str] = {}
        split = split_of(path.stem, path.parent.name)
        for index, image in enumerate(parsing.field(document, "images", list, str(path))):
            where = f"{path}: images[{index}]"
            text, size = parsing.field(image, "file_name", str, where), size_of(image, where)
            number, parts = identifier(image.get("id")), foreign_path(text).parts
            if not parts or number is None:
                raise UserError(f"{where}: has no file_name or no id")
            picture = pictures.setdefault((split, parts), Picture(text, where, split, size))
            check_same_size(size, picture.size, where, picture.where)
            if by_id.get(number, picture) is not picture:
                claim(places, number, where, "id")
            places.setdefault(number, where)
            if path in picture.files:
                picture.notes.append(f"picture listed twice, with the annotations of both: {where}")
            else:
                picture.files.append(path)
            by_id[number] = picture
        notes += _assign_annotations(path, document, by_id)
    return list(pictures.values()), notes


def _assign_annotations(path: Path, document: Any, by_id: Mapping[int | str, Picture]) -> list[str]:
    """Add a file's annotations to their pictures, and return notes."""
    notes: list[str] = []
    strangers: list[str] = []
    first: dict[int | str, int] = {}
    repeated: list[str] = []
    panoptic: dict[int | str, str] = {}
    annotations = parsing.field(document, "annotations", list, str(path))
    for index, annotation in enumerate(annotations):
        where = f"{path}: annotations[{index}]"
        if not isinstance(annotation, Mapping):
            raise UserError(f"{where}: expected an object, got {abridged(annotation)}")
        number = identifier(annotation.get("image_id"))
        if number is None or number not in by_id:
            strangers.append(f"annotations[{index}]: image_id {abridged(annotation.get('image_id'))}")
            continue
        if "segments_info" in annotation:
            claim(panoptic, number, where, "image_id of a panoptic picture")
        own = identifier(annotation.get("id"))
        if own is not None and (before := first.setdefault(own, index)) != index:
            repeated.append(f"{own} in annotations[{before}] and annotations[{index}]")
        by_id[number].annotations.append((path, annotation))
    if strangers and len(strangers) == len(annotations):
        raise UserError(f"{path}: {strangers[0]} is not listed in images, and no other annotation's is")
    if strangers:
        count = len(strangers)
        notes.append(f"{count} annotation(s) of pictures that are not listed are left out: {path}: {strangers[0]}")
    if repeated:
        notes.append(f"{len(repeated)} annotation id(s) are not unique, and all are drawn: {path}: {repeated[0]}")
    return notes


def panoptic_picture(path: Path, annotation: Mapping[str, Any], where: str) -> Path:
    """Return the PNG of a panoptic annotation, in the folder named after its file."""
    folder, text = path.with_suffix(""), parsing.field(annotation, "file_name", str, where)
    parts = foreign_path(text).parts
    if not parts:
        raise UserError(f"{where}: has no file_name")
    whole, last = folder.joinpath(*parts), folder / parts[-1]
    return last if last.is_file() and not whole.is_file() else whole
