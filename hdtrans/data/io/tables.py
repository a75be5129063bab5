"""Tables of numbers, one row a sample: `root/train_points.csv/NAME` is the path of the row NAME.

A table is a CSV file in UTF-8 with a header; its first column holds the names of the samples (with their sub-folder,
with or without an extension), all others numbers. Empty cells are missing numbers (NaN). Rows are paired with files by
name, as the files of a folder are. Cells end at commas; where the header has none, at semicolons or tabs. Beside
semicolons, numbers may have a decimal comma, as spreadsheets write them in many languages.
"""

import csv
import io
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from hdtrans.common.errors import UserError, shown
from hdtrans.common.files import decoded

ENDING = ".csv"
_ENDS = (",", ";", "\t")  # of cells; the first that the header has

Row = npt.NDArray[np.float32]

_LARGEST = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class Table:
    """Table in memory: names of its columns, without the first, and a float32 row (N,) for each name."""

    columns: tuple[str, ...]
    rows: Mapping[str, Row]


def is_table(path: Path) -> bool:
    """Return True if a path names an existing table."""
    return path.suffix.lower() == ENDING and path.is_file()


def split_row(path: str) -> tuple[str, str]:
    """Split a path into its table and the name of the row; ('', '') for a path outside tables."""
    start = path.lower().find(f"{ENDING}/")
    while start >= 0:
        end = start + len(ENDING)
        if os.path.isfile(path[:end]):
            return path[:end], path[end + 1 :]
        start = path.lower().find(f"{ENDING}/", start + 1)
    return "", ""


def read_table(path: str | Path) -> Table:
    """Read a table; it is read again when the file changes.

    Raises:
        UserError: the file cannot be read, a row has another number of cells than the header, a cell is no number, or a
            name is empty or stands twice; the message names the line.
    """
    try:
        state = os.stat(path)
    except OSError as error:
        raise UserError(f"cannot be opened: {error.strerror or error}", path=path) from error
    return _read(os.fspath(path), state.st_size, state.st_mtime_ns)


def read_row(path: str) -> Row:
    """Return the numbers of one row, (N,) float32; raise UserError if there is no such row."""
    table, name = split_row(path)
    if not table:
        raise UserError("a row of a table (FILE.csv/NAME) is expected", path=path)
    rows = read_table(table).rows
    if name not in rows:
        raise UserError(f"has no row {shown(name)}", path=table)
    return rows[name].copy()


@lru_cache(maxsize=16)
def _read(path: str, size: int, changed: int) -> Table:
    rows: dict[str, Row] = {}
    try:
        text = decoded(Path(path).read_bytes())
        headers = {end: next(csv.reader(io.StringIO(text, newline=""), delimiter=end), []) for end in _ENDS}
        end = next((end for end in _ENDS if len(headers[end]) > 1), "")
        if not end:
            finding = "line 1: a header with a name and at least one number is expected, with commas between them"
            raise UserError(finding, path=path)
        header = headers[end]
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=end)
        next(reader)
        for cells in reader:
            if not cells:
                continue
            where = f"{shown(path)}: line {reader.line_num}"
            if len(cells) != len(header):
                raise UserError(f"{where}: has {len(cells)} cells, but the header has {len(header)}")
            if not cells[0]:
                raise UserError(f"{where}: the name is empty")
            if cells[0] in rows:
                raise UserError(f"{where}: the name {shown(cells[0])} stands twice; keep one of the rows")
            rows[cells[0]] = np.array([_number(cell, where, end == ";") for cell in cells[1:]], np.float32)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"cannot be read as a CSV table in UTF-8: {error}", path=path) from error
    return Table(tuple(header[1:]), rows)


def _number(cell: str, where: str, decimal_comma: bool) -> float:
    if not cell.strip():
        return math.nan
    try:
        number = float(cell.replace(",", ".") if decimal_comma else cell)
    except ValueError:
        raise UserError(f"{where}: {cell!r} is no number") from None
    if not abs(number) <= _LARGEST:
        raise UserError(f"{where}: {cell!r} is not finite; leave the cell empty for a missing number")
    return number
