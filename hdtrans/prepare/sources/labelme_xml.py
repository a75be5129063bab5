"""Convert XML files of the first LabelMe to the keys of its JSON files."""

import base64
import os
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element

from hdtrans.common.errors import UserError
from hdtrans.prepare.sources.documents import read_xml, whole_number
from hdtrans.prepare.sources.foreign_paths import foreign_path


def xml_as_json(path: Path) -> dict[str, Any]:
    """Read an XML file into the keys of a LabelMe JSON file, without deleted objects.

    Annotations/SUB/x.xml belongs to a photo in Images/SUB/ and masks in Masks/SUB/.

    An object with neither a polygon nor a mask has the type `box`, which is not drawn. `masks` has the mask files.

    Raises:
        UserError: the file or a mask cannot be read, or its size is missing.
    """
    tree = read_xml(path)
    photos = masks = path.parent
    for folder in path.parents:
        if folder.name == "Annotations":
            inside = path.parent.relative_to(folder)
            photos, masks = folder.with_name("Images") / inside, folder.with_name("Masks") / inside
            break
    shapes = []
    for thing in tree.findall("object"):
        if _text(thing, "deleted", "0") != "1":
            shapes.append(_shape(thing, masks))
    return {
        "imagePath": f"{os.path.relpath(photos, path.parent)}/{_text(tree, 'filename')}",
        "imageHeight": _integer(tree, "imagesize/nrows", str(path)),
        "imageWidth": _integer(tree, "imagesize/ncols", str(path)),
        "shapes": shapes,
        "masks": [shape["file"] for shape in shapes if "file" in shape],
    }


def _shape(thing: Element, masks: Path) -> dict[str, Any]:
    name = _text(thing, "name")
    outline = thing.find("polygon")
    if outline is not None:
        points = [[_text(point, "x"), _text(point, "y")] for point in outline.iter("pt")]
        return {"label": name, "shape_type": "polygon", "points": points}
    mask = _text(thing, "segm/mask")
    if not mask:
        return {"label": name, "shape_type": "box", "points": []}
    file = masks.joinpath(*foreign_path(mask).parts)
    try:
        data = base64.b64encode(file.read_bytes()).decode()
    except OSError as error:
        raise UserError(f"{file}: cannot be read: {error.strerror or error}") from error
    return {"label": name, "shape_type": "mask", "points": [0, 0, 0, 0], "mask": data, "file": file}


def _text(element: Element, tag: str, default: str = "") -> str:
    return (element.findtext(tag) or default).strip()


def _integer(element: Element, tag: str, where: str) -> int:
    text = _text(element, tag)
    if (number := whole_number(text)) is None:
        raise UserError(f"{where}: <{tag}> is no integer: {text!r}")
    return number
