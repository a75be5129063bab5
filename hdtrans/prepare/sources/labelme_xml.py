"""Convert XML files of the first LabelMe to the keys of its JSON files."""

import base64
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element

from hdtrans.common.errors import UserError
from hdtrans.prepare.sources.documents import read_xml


def xml_as_json(path: Path) -> dict[str, Any]:
    """Read an XML file into the keys of a LabelMe JSON file, without deleted objects.

    Annotations/SUB/x.xml belongs to a photo in Images/SUB/ and masks in Masks/SUB/.

    Raises:
        UserError: the file or a mask cannot be read, or a value is missing.
    """
    tree = read_xml(path)
    photos = masks = path.parent
    for folder in path.parents:
        if folder.name == "Annotations":
            inside = path.parent.relative_to(folder)
            photos, masks = folder.with_name("Images") / inside, folder.with_name("Masks") / inside
            break
    shapes = []
    for index, thing in enumerate(tree.findall("object")):
        if _text(thing, "deleted", "0") != "1":
            shapes.append(_shape(thing, masks, f"{path}: object {index}"))
    return {
        "imagePath": str(photos / _text(tree, "filename")),
        "imageHeight": _integer(tree, "imagesize/nrows", str(path)),
        "imageWidth": _integer(tree, "imagesize/ncols", str(path)),
        "shapes": shapes,
    }


def _shape(thing: Element, masks: Path, where: str) -> dict[str, Any]:
    name = _text(thing, "name")
    outline = thing.find("polygon")
    if outline is not None:
        points = [[_text(point, "x"), _text(point, "y")] for point in outline.iter("pt")]
        return {"label": name, "shape_type": "polygon", "points": points}
    mask = _text(thing, "segm/mask")
    if not mask:
        raise UserError(f"{where} ({name}): has neither a polygon nor a mask")
    try:
        data = (masks / mask).read_bytes()
    except OSError as error:
        raise UserError(f"{masks / mask}: cannot be read: {error.strerror or error}") from error
    return {"label": name, "shape_type": "mask", "points": [0, 0, 0, 0], "mask": base64.b64encode(data).decode()}


def _text(element: Element, tag: str, default: str = "") -> str:
    return (element.findtext(tag) or default).strip()


def _integer(element: Element, tag: str, where: str) -> int:
    text = _text(element, tag)
    if not text.isdecimal():
        raise UserError(f"{where}: <{tag}> is no integer: {text!r}")
    return int(text)
