"""What an output folder holds: of which model, and a line for each finished picture with the SHA-256 of its inputs."""

import contextlib
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hdtrans.common.errors import UserError
from hdtrans.common.files import PART_SUFFIX, append_line, write_text
from hdtrans.data.folders import SampleFiles
from hdtrans.data.io.read import contents
from hdtrans.data.pairing import natural

TRUTH = "truth"
"""Role of the true picture among the files of a sample; it is shown, and no input."""

_NAME = "finished.jsonl"
_NOTE = "inference.json"  # says which model made the pictures of a folder
Digests = dict[str, str]


def input_digests(sample: SampleFiles) -> Digests:
    """Return the SHA-256 of each of a sample's inputs, by field; raise UserError where one cannot be read."""
    return {
        field: hashlib.sha256(contents(path)).hexdigest()
        for field, path in sorted(sample.paths.items())
        if field != TRUTH
    }


class Finished:
    """The list of an output folder, as one process reads and continues it.

    Each process adds to a file of its own, `.finished-<rank>.jsonl`; `collect` makes them one.
    """

    def __init__(self, out: Path, rank: int) -> None:
        self._known = _read(out / _NAME)
        self._own = out / f".finished-{rank}.jsonl"

    def has(self, name: str, digests: Mapping[str, str]) -> bool:
        """Whether the picture of these very inputs was finished; one that is there is whole, as all files are."""
        return self._known.get(name) == digests

    def add(self, name: str, digests: Digests) -> None:
        """Note a picture that was just written; raise UserError where the disk refuses."""
        append_line(self._own, _line(name, digests))


def claim(out: Path, note: Mapping[str, Any]) -> None:
    """Note in `out` which model its pictures are of, and how they were made, in plain values.

    Raises:
        UserError: it holds other pictures, or anything else.
    """
    file = out / _NOTE
    if file.is_file():
        try:
            was = json.loads(file.read_text(encoding="utf-8"))
        except ValueError:
            was = None
        if was != note:
            raise UserError(
                f"holds pictures of another model, direction, seed, style, dtype or format ({_NOTE} says "
                f"{was}, this is {note}); choose another folder, or remove it to make them anew",
                argument="out",
                path=out,
            )
    elif out.exists() and any(out.iterdir()):
        finding = "is not empty and was not made by hdtrans infer; choose another folder"
        raise UserError(finding, argument="out", path=out)
    else:
        write_text(file, json.dumps(note, indent=1) + "\n")
    for part in out.rglob(f".*{PART_SUFFIX}"):  # what a killed run left half written
        part.unlink()
    collect(out)


def collect(out: Path) -> None:
    """Put what all processes added, of this run or of one that was killed, into the one list; by one process alone."""
    known, parts = _read(out / _NAME), sorted(out.glob(".finished-*.jsonl"))
    for part in parts:
        known |= _read(part)
    if parts:
        write_text(out / _NAME, "".join(f"{_line(name, known[name])}\n" for name in sorted(known, key=natural)))
    for part in parts:
        part.unlink()


def _line(name: str, digests: Mapping[str, str]) -> str:
    return json.dumps({"name": name, "inputs": digests}, sort_keys=True)


def _read(file: Path) -> dict[str, Digests]:
    """Return the entries of a list; a line that was not written to its end is passed over."""
    entries: dict[str, Digests] = {}
    if file.is_file():
        for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
            with contextlib.suppress(ValueError, TypeError, KeyError):
                entry = json.loads(line)
                entries[str(entry["name"])] = dict(entry["inputs"])
    return entries
