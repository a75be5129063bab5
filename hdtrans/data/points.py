"""Order of points in a mirrored picture, from dataset.json.

`"points": {"names": ["left eye", "right eye", "nose"], "mirror": [1, 0, 2]}` says that in a picture mirrored left to
right, the first point is the one that was the second before: left and right exchange places.
"""

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

from hdtrans.common.errors import UserError

FILE = "dataset.json"


def mirror_order(root: Path, count: int) -> tuple[int, ...] | None:
    """Return the order of `count` points in a mirrored picture; None if dataset.json has none.

    Raises:
        UserError: the file is damaged, or the order is no permutation of the points that undoes itself.
    """
    file = root / FILE
    if not file.is_file():
        return None
    return _read(file, file.stat().st_mtime_ns, count)


@lru_cache(maxsize=16)
def _read(file: Path, changed: int, count: int) -> tuple[int, ...] | None:
    try:
        values: Any = json.loads(file.read_text(encoding="utf-8-sig"))
        points = values.get("points") if isinstance(values, dict) else None
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"not a JSON file: {error}", path=file) from error
    order = points.get("mirror") if isinstance(points, dict) else None
    if order is None:
        return None
    if not isinstance(order, list) or sorted(map(str, order)) != sorted(map(str, range(count))):
        raise UserError(f"points.mirror: expected the numbers 0 to {count - 1} in a new order", path=file)
    if any(order[order[place]] != place for place in range(count)):
        raise UserError("points.mirror: mirroring twice must give the points back in their old order", path=file)
    return tuple(order)
