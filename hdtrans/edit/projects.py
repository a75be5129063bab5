"""Project files: a document in one zip of maps, style and the command that makes its picture."""

from __future__ import annotations

import io
import json
import re
import shlex
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hdtrans import __version__
from hdtrans.common.errors import Spelling, UnreadableFile, UserError
from hdtrans.common.files import utf8
from hdtrans.edit.documents import State
from hdtrans.edit.layers import Array, Layer

ENDING = ".hdedit.zip"
"""End of the names of project files."""

FORMAT = 1
_NOTE, _STYLE = "edit.json", "style.json"
_LARGEST_NOTE = 4 * 2**20
_LARGEST_FILE = 512 * 2**20
_DATE = (1980, 1, 1, 0, 0, 0)  # equal documents give equal files


@dataclass(frozen=True)
class Model:
    """Facts about the model that project files hold.

    Attributes:
        name: name of its recipe.
        weights: SHA-256 of its file.
        layers: layers by name, the lead first.
        command: words of `hdtrans infer` with model and options, without inputs.
        spelling: spelling of further arguments of that command.
        ready: the lead's file is the input itself, not a photo that it is made from.
    """

    name: str
    weights: str
    layers: Mapping[str, Layer]
    command: Sequence[str]
    spelling: Spelling
    ready: bool

    def infer(self, files: Mapping[str, str], seed: int, style: str | None) -> str:
        """Return the command that makes the picture of unpacked project files.

        Args:
            files: file of each layer.
            seed: seed of the picture.
            style: name or file of the style; None without.
        """
        lead, *others = files.items()
        arguments: list[tuple[str, object]] = [("inputs", lead[1])]
        arguments += [("extra", f"{name}={file.rpartition('/')[0]}") for name, file in others]
        arguments += [("out", "pictures"), ("seed", seed)]
        arguments += [("ready", True)] if self.ready else []
        arguments += [] if style is None else [("style", style)]
        words = list(self.command)
        for argument, value in arguments:
            flag, _, rest = (self.spelling(argument, value) or "").partition(" ")
            words += [flag, rest] if rest else [flag]
        return shlex.join(words)


def file_name(text: str) -> str:
    """Return a text as the name of a file: letters, digits, `.`, `_` and `-`, at most 80; `untitled` for none."""
    return re.sub(r"[^\w.-]+", "-", text).strip(".-")[:80] or "untitled"


def write_project(model: Model, name: str, state: State, things: Sequence[int]) -> bytes:
    """Return the bytes of a project file: the same for the same document.

    Args:
        model: facts about the model.
        name: name of the document.
        state: layers, style and seed.
        things: classes whose strokes make objects.
    """
    contents: dict[str, bytes] = {}
    files = {}
    for layer, array in state.layers.items():
        ending, data = model.layers[layer].file(array)
        files[layer] = f"{file_name(layer)}/{file_name(name)}{ending}"
        contents[files[layer]] = data
    style = state.style if state.style is None or isinstance(state.style, str) else f"file={_STYLE}"
    note = {
        "format": FORMAT,
        "version": __version__,
        "name": name,
        "model": {"name": model.name, "weights": model.weights},
        "layers": files,
        "style": state.style,
        "seed": state.seed,
        "things": list(things),
        "command": model.infer(files, state.seed, style),
    }
    if not (state.style is None or isinstance(state.style, str)):
        contents[_STYLE] = json.dumps(state.style).encode()
    contents[_NOTE] = utf8(json.dumps(note, indent=1, ensure_ascii=False))
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for file, data in contents.items():
            entry = zipfile.ZipInfo(file, _DATE)
            entry.compress_type = zipfile.ZIP_STORED if file.endswith(".png") else zipfile.ZIP_DEFLATED
            archive.writestr(entry, data)
    return packed.getvalue()


@dataclass(frozen=True)
class Project:
    """Contents of a project file.

    Attributes:
        name: name of the document.
        arrays: layers by name, not yet checked against the model.
        style: values of a style file, or None.
        seed: seed of the picture.
        things: classes whose strokes make objects.
        notes: remarks for the user.
    """

    name: str
    arrays: dict[str, Array]
    style: Any
    seed: int
    things: list[int]
    notes: list[str]


def read_project(model: Model, place: str, data: bytes) -> Project:
    """Read a project file.

    Args:
        model: facts about the model.
        place: name of the file, for messages.
        data: its bytes.

    Raises:
        UserError: the file is no project, is damaged, was written by a later version, or lacks a layer of the model.
    """
    try:
        archive = zipfile.ZipFile(io.BytesIO(data))
        note = json.loads(_member(archive, _NOTE, _LARGEST_NOTE))
        found = int(note["format"])
        if found > FORMAT:
            raise UserError("was written by a later hdtrans", path=place, advice=["update hdtrans to open it"])
        files: dict[str, str] = {str(name): str(file) for name, file in note["layers"].items()}
        things = [int(number) for number in note["things"]]
        seed, name = int(note["seed"]), str(note["name"])
        contents = {layer: _member(archive, file, _LARGEST_FILE) for layer, file in files.items()}
        notes = [] if note["model"]["weights"] == model.weights else [_other_model(note)]
    except UserError:
        raise
    except (zipfile.BadZipFile, zipfile.LargeZipFile, RuntimeError, NotImplementedError, EOFError, OSError) as error:
        raise UnreadableFile(place, str(error) or "it is damaged", f"a project ({ENDING})") from None
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        reason = f"{_NOTE} is missing or wrong ({type(error).__name__}: {error})"
        raise UnreadableFile(place, reason, f"a project ({ENDING})") from None
    if missing := [name for name, layer in model.layers.items() if name not in files and not layer.spec.optional]:
        finding = f"has no {', '.join(missing)}, which this model reads; it was made with {note['model']['name']}"
        raise UserError(finding, path=place)
    notes += [f"{name}: is no input of this model; it was left out" for name in files if name not in model.layers]
    arrays = {
        name: layer.read(f"{place}: {files[name]}", contents[name])
        for name, layer in model.layers.items()
        if name in files
    }
    return Project(name, arrays, note.get("style"), seed, things, notes)


def _member(archive: zipfile.ZipFile, name: str, most: int) -> bytes:
    entry = archive.getinfo(name)
    if entry.file_size > most:
        raise ValueError(f"{name} has {entry.file_size:,} bytes; at most {most:,} are read")
    return archive.read(entry)


def _other_model(note: Mapping[str, Any]) -> str:
    return f"the project was made with other weights ({note['model']['name']}); its picture may differ"
