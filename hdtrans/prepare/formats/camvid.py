"""CamVid and similar sets: colour-coded label maps with a colour table (label_colors.txt or class_dict.csv).

Known layouts: 701_StillsRaw_full/ with LabeledApproved_full/ (`*_L.png`), train/ with train_labels/, and train/ with
trainannot/. Grey label maps contain row numbers of the table, from 0. A class named void is ignored.
"""

import re
from argparse import ArgumentParser, Namespace
from pathlib import Path

from hdtrans.common.classes import Colour
from hdtrans.common.errors import Advice, UserError
from hdtrans.data.io.read import probe, read_label, read_picture
from hdtrans.prepare.sources.class_names import clean_name
from hdtrans.prepare.sources.dataset_files import (
    ListedSource,
    PhotoIndex,
    files_under,
    listing,
    option_path,
    sorted_items,
    split_of,
)
from hdtrans.prepare.sources.documents import read_lines
from hdtrans.prepare.sources.foreign_paths import foreign_path
from hdtrans.prepare.sources.source import Item, Maps
from hdtrans.prepare.sources.tables import class_table, parse_colour, translate, translate_colours

HELP = "CamVid and other colour-coded label maps with a label_colors.txt or class_dict.csv"
NEEDS_PHOTOS = True

_TABLES = ("label_colors.txt", "class_dict.csv")
_LABELS = re.compile(r"(.*?)(?:annot|_labels|_label)$|LabeledApproved_full$|labels$|GT$")
_STILLS = ("701_StillsRaw_full", "images", "RGB")
_CAMVID = """
64 128 64 Animal, 192 0 128 Archway, 0 128 192 Bicyclist, 0 128 64 Bridge, 128 0 0 Building, 64 0 128 Car,
64 0 192 CartLuggagePram, 192 128 64 Child, 192 192 128 Column_Pole, 64 64 128 Fence, 128 0 192 LaneMkgsDriv,
192 0 64 LaneMkgsNonDriv, 128 128 64 Misc_Text, 192 0 192 MotorcycleScooter, 128 64 64 OtherMoving,
64 192 128 ParkingBlock, 64 64 0 Pedestrian, 128 64 128 Road, 128 128 192 RoadShoulder, 0 0 192 Sidewalk,
192 128 128 SignSymbol, 128 128 128 Sky, 64 128 192 SUVPickupTruck, 0 0 64 TrafficCone, 0 64 64 TrafficLight,
192 64 128 Train, 128 128 0 Tree, 192 128 192 Truck_Bus, 64 0 64 Tunnel, 192 192 0 VegetationMisc, 0 0 0 Void,
64 192 0 Wall
"""


def add_options(parser: ArgumentParser) -> None:
    """Add the options of this format."""
    parser.add_argument(
        "--colours",
        metavar="FILE",
        help="colour table, one class a line: `R G B name` or `name,R,G,B` (default: label_colors.txt or "
        "class_dict.csv if present, else CamVid's 32 classes)",
    )
    parser.add_argument("--label-dir", metavar="DIR", help="label map folder below --in (default: found by name)")
    parser.add_argument("--photo-dir", metavar="DIR", help="photo folder below --in (default: found by name)")


def open_source(root: Path, options: Namespace) -> "Camvid":
    """Read the colour table and pair label maps with photos."""
    table = next((root / name for name in _TABLES if (root / name).is_file()), None)
    if options.colours:
        table = option_path(root, options.colours)
    return Camvid(root, table, _folder_pairs(root, options.label_dir, options.photo_dir))


class Camvid(ListedSource):
    """Colour-coded label maps with their table; the part of a name before the first `_` is its sequence."""

    def __init__(self, root: Path, table: Path | None, folders: list[tuple[Path, Path]]) -> None:
        rows = (
            _parse_rows(read_lines(table), str(table))
            if table
            else _parse_rows(_CAMVID.replace("\n", " ").split(","), "")
        )
        counted: dict[str, Colour] = {}
        for name, colour in rows:
            if name.lower() != "void":
                counted.setdefault(name, colour)
        self.classes = class_table(list(counted), list(counted.values()))
        class_ids = {name: index for index, name in enumerate(counted)}
        several = [name for name in counted if sum(other == name for other, _ in rows) > 1]
        if several:
            self.notes = (f"classes with several colours: {', '.join(several)}",)
        ids = [class_ids.get(name, self.classes.ignore or 255) for name, _ in rows]
        self._colours = {colour: number for (_, colour), number in zip(rows, ids, strict=True)}
        self._ids = dict(enumerate(ids)) if table else {}
        self._items = sorted_items(_items(root, folders, () if table is None else (table,)), root)

    def read(self, item: Item) -> Maps:
        """Read the label map of an item."""
        (path,) = item.annotations
        if probe(path).channels > 1 or probe(path).palette:
            return Maps(translate_colours(read_picture(path), self._colours, str(path)))
        if not self._ids:
            table = Advice("colours", "FILE", "with the classes in id order")
            raise UserError("contains ids, not colours", path=path, advice=[table])
        return Maps(translate(read_label(path), self._ids, str(path)))


def _parse_rows(lines: list[str], where: str) -> list[tuple[str, Colour]]:
    """Parse lines `64 128 64 Animal` or `Animal,64,128,64` into (name, colour); a heading line is skipped."""
    rows: list[tuple[str, Colour]] = []
    for index, line in enumerate(lines):
        words = [word.strip() for word in line.split(",")] if line.count(",") >= 3 else line.split(maxsplit=3)
        first = 0 if words[0].isdecimal() else 1
        numbers = [int(word) if word.isdecimal() else -1 for word in words[first : first + 3]]
        colour, names = parse_colour(numbers), words[:first] + words[first + 3 :]
        if colour is None and index == 0 and -1 in numbers:
            continue
        if colour is None or not names:
            raise UserError(f"{where}: expected red, green, blue and a name, got {line!r}")
        if colour in [other for _, other in rows]:
            raise UserError(f"{where}: the colour {list(colour)} is listed twice; keep one of the two lines")
        rows.append((clean_name(names[0]), colour))
    return rows


def _folder_pairs(root: Path, labels: str | None, photos: str | None) -> list[tuple[Path, Path]]:
    """Return (label map folder, photo folder) pairs."""
    if labels:
        if not (root / labels).is_dir():
            raise UserError(f"no such folder. {listing(root)}", argument="label_dir", path=root / labels)
        return [(root / labels, root / (photos or _photo_folder(root, "")))]
    found = []
    for folder in sorted(path for path in root.glob("*") if path.is_dir()):
        if match := _LABELS.match(folder.name):
            found.append((folder, root / (photos or _photo_folder(root, match[1] or ""))))
    if not found:
        raise UserError(
            "contains no label map folder such as LabeledApproved_full/, train_labels/ or trainannot/. "
            f"{listing(root)}",
            path=root,
            advice=[Advice("label_dir", "DIR")],
        )
    return found


def _photo_folder(root: Path, name: str) -> str:
    return name or next((still for still in _STILLS if (root / still).is_dir()), _STILLS[0])


def _items(root: Path, folders: list[tuple[Path, Path]], inputs: tuple[Path, ...]) -> list[Item]:
    listed: dict[str, str] = {}
    for path in sorted(root.glob("*.txt")):
        if split := split_of(path.stem):
            listed |= {foreign_path(line.split()[0]).stem.rpartition("/")[2]: split for line in read_lines(path)}
    items = []
    for labels, stills in folders:
        photos = PhotoIndex(stills)
        for path in files_under(labels, (".png",)):
            stem = path.relative_to(labels).with_suffix("").as_posix()
            name = stem if stem in photos.paths else stem.removesuffix("_L")
            split = listed.get(Path(name).name) or split_of(stills.name, *Path(name).parts[:-1])
            items.append(Item(name, split, Path(name).name.split("_")[0], photos.find(name), (path,), inputs=inputs))
    return items
