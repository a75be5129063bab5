"""Manifest of an output folder: its model, and a line per finished picture with the SHA-256 of its inputs."""

import contextlib
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hdtrans.common.errors import UserError
from hdtrans.common.files import PART_SUFFIX, append_line, write_text
from hdtrans.common.folder_lock import holds_files
from hdtrans.data.folders import SampleFiles
from hdtrans.data.io.read import contents
from hdtrans.data.pairing import natural

TRUTH = "truth"
"""Name of the true picture among the files of a sample; it is shown, and is no input."""

THUMBNAILS = "thumbnails"
"""Sub-folder of the small pictures of the page."""

_NAME = "finished.jsonl"
_NOTE = "inference.json"  # model and options of the pictures in a folder
Digests = dict[str, str]


def input_digests(sample: SampleFiles) -> Digests:
    """Return the SHA-256 of each input file of a sample, by name; raise UserError if one cannot be read."""
    return {
        field: hashlib.sha256(contents(path)).hexdigest()
        for field, path in sorted(sample.paths.items())
        if field != TRUTH
    }


class Finished:
    """The list of finished pictures of an output folder, as one process reads and continues it.

    Each process appends to its own file, `.finished-<rank>.jsonl`; `collect` merges them.

    Args:
        out: folder of the results.
        rank: number of this process, >= 0.
    """

    def __init__(self, out: Path, rank: int) -> None:
        self._known = _read(out / _NAME)
        self._own = out / f".finished-{rank}.jsonl"

    def has(self, name: str, digests: Mapping[str, str]) -> bool:
        """Return whether the picture of exactly these inputs was finished."""
        return self._known.get(name) == digests

    def add(self, name: str, digests: Digests) -> None:
        """Append a picture that was just written; raise UserError if the disk refuses."""
        append_line(self._own, _line(name, digests))


def open_out_dir(out: Path, note: Mapping[str, Any]) -> None:
    """Create the folder of the results, or continue it, and clear what a killed run left half written.

    Args:
        out: folder of the results.
        note: model and options of its pictures, in plain values, stored as `inference.json`.

    Raises:
        UserError: the folder holds pictures of another model or other options, or anything else.
    """
    file = out / _NOTE
    if file.is_file():
        try:
            was = json.loads(file.read_text(encoding="utf-8"))
        except ValueError:
            was = None
        if was != note:
            raise UserError(
                f"holds pictures of another model, direction, seed, style, dtype or format ({_NOTE} holds "
                f"{was}, this command {note})",
                argument="out",
                path=out,
                advice=["choose another folder", "remove this one to make its pictures anew"],
            )
    elif out.exists() and holds_files(out):
        finding = "is not empty and was not made by hdtrans infer; choose another folder"
        raise UserError(finding, argument="out", path=out)
    else:
        write_text(file, json.dumps(note, indent=1) + "\n")
    for part in out.rglob(f".*{PART_SUFFIX}"):
        part.unlink()
    collect(out)


def without_thumbnails(inputs: Path | list[Path], samples: list[SampleFiles]) -> list[SampleFiles]:
    """Return the inputs without the thumbnails that an earlier translation left in their folder."""
    if not isinstance(inputs, Path) or not (inputs / _NOTE).is_file():
        return samples
    return [sample for sample in samples if not sample.name.startswith(f"{THUMBNAILS}/")]


def collect(out: Path) -> None:
    """Merge the lists of all processes, of this run or a killed one, into `finished.jsonl`; by one process alone."""
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
    """Return the entries of a list; a line that was not written to its end is skipped."""
    entries: dict[str, Digests] = {}
    if file.is_file():
        for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
            with contextlib.suppress(ValueError, TypeError, KeyError):
                entry = json.loads(line)
                entries[str(entry["name"])] = dict(entry["inputs"])
    return entries
