"""Which folders and files each kind of data has, what is read of them, and which a field of a batch is made from."""

from collections.abc import Iterable
from pathlib import Path

from hdtrans.common.errors import UserError
from hdtrans.config.data import Data, Lab, LabelMaps, Photos, PhotosToMaps, PicturePairs, Pictures, SideBySide, Unpaired
from hdtrans.data.io.shards import is_folder

LABEL_FOLDERS = {"label": "_label", "instance": "_inst", "photo": "_img"}
"""The endings of the folders of label maps."""


def files_for(data: Data, fields: Iterable[str]) -> list[str]:
    """Return which files of a sample the fields of a batch are made from.

    Files are `label`, `instance`, `source` and `photo`, as the fields they become, and `pair`, a picture that holds
    both sides beside each other.

    Raises:
        UserError: such data have no such field.
    """
    wanted = set(fields)
    if unknown := wanted - data.fields:
        has = ", ".join(name for name in ("label", "source", "photo", "instance") if name in data.fields)
        raise UserError(f"data.kind: {data.kind} has {has}, but {', '.join(sorted(unknown))} is asked for")
    if isinstance(data, SideBySide):
        wanted = {"pair"}
    elif isinstance(data, Photos):
        wanted = {"photo"}
    elif isinstance(data, PhotosToMaps) and "photo" in wanted:
        wanted = wanted - {"photo"} | {"instance" if data.target == "instance_boundaries" else "label"}
    elif makes_instances(data) and "instance" in wanted:
        wanted = wanted - {"instance"} | {"label"}
    return [name for name in ("label", "instance", "source", "photo", "pair") if name in wanted]


def folder_names(data: Data, split: str) -> dict[str, str]:
    """Return the folder in `data.root` of each file of a sample.

    Folders of A and B are named `train_A/` and `train_B/`, or `trainA/` and `trainB/`: whichever are there.

    Raises:
        UserError: both are there.
    """
    if isinstance(data, LabelMaps):
        endings = {name: end for name, end in LABEL_FOLDERS.items() if name != "instance" or not makes_instances(data)}
        return {name: f"{split}{ending}" for name, ending in endings.items()}
    if isinstance(data, PhotosToMaps):
        return {"source": f"{split}_img", "label": f"{split}_label", "instance": f"{split}_inst"}
    if isinstance(data, SideBySide):
        return {"pair": split}
    if isinstance(data, Photos):
        return {"photo": split}
    assert isinstance(data, PicturePairs | Unpaired)
    sides = _sides(data.root, split, isinstance(data, Unpaired))
    if isinstance(data, Unpaired):
        return sides
    if data.direction == "BtoA":
        sides = {"source": sides["photo"], "photo": sides["source"]}
    return sides | {"instance": f"{split}_inst"}


def _sides(root: Path, split: str, joined: bool) -> dict[str, str]:
    """Return the folders of A and B that are there; where there are none, those expected (`joined`: trainA)."""
    styles = [{"source": f"{split}_A", "photo": f"{split}_B"}, {"source": f"{split}A", "photo": f"{split}B"}]
    there = [style for style in styles if any(is_folder(root / folder) for folder in style.values())]
    if len(there) > 1:
        found = ", ".join(f"{name}/" for style in there for name in style.values() if is_folder(root / name))
        raise UserError(f"data.root {root}: has {found}: which are the two sides? Move those away that are not")
    return there[0] if there else styles[joined]


def makes_instances(data: Data) -> bool:
    """Say whether instance maps are made from label maps, and not read from files."""
    return isinstance(data, LabelMaps) and data.instances == "components"


def channels_read(data: Photos) -> int:
    """Return how many channels of a photo's file are read."""
    return 3 if isinstance(data.input, Lab) else data.photo_channels


def classes_wanted(data: Data) -> int | None:
    """Return the number of classes that the label maps of such data have, or None."""
    return data.labels if isinstance(data, LabelMaps | PhotosToMaps) else None


def file_channels(data: Data, file: str) -> int:
    """Return how many channels are read from the file of a sample (`source`, `photo` or `pair`)."""
    if isinstance(data, Photos):
        return channels_read(data)
    source_channels = data.source_channels if isinstance(data, Pictures) else 3
    if file == "pair":
        return max(source_channels, data.photo_channels)
    return source_channels if file == "source" else data.photo_channels


def odd_width(width: int) -> str:
    """Say why a picture of this width cannot hold two sides, or ''."""
    if width % 2 == 0:
        return ""
    return f"is {width} pixels wide; data.kind: side_by_side holds A and B of one width, so it must be even"
