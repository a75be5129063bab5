"""The model, the inputs to choose from, the open documents and their project files."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2

from hdtrans import __version__
from hdtrans.common.classes import ClassTable
from hdtrans.common.errors import Spelling, UserError
from hdtrans.common.files import write_bytes
from hdtrans.common.folder_lock import FolderLock
from hdtrans.common.pages import shrink
from hdtrans.data.derived import to_rgb
from hdtrans.data.folders import SampleFiles
from hdtrans.edit.documents import Document, State, things_of
from hdtrans.edit.guard import MOST_BYTES
from hdtrans.edit.layers import MOST_PIXELS, Array, Layer, check_size, checked, layers_of
from hdtrans.edit.projects import ENDING, Model, file_name, read_project, write_project
from hdtrans.edit.worker import Worker
from hdtrans.inference.folder.files import Folders
from hdtrans.inference.folder.translate import read_inputs
from hdtrans.inference.styles.style import OTHERS, parse_numbers, parse_style
from hdtrans.inference.translator import Picture, Translator

_SAVED_AFTER = 1.0  # seconds without a change
_SAVED_WITHIN = 5.0  # seconds at most while changes go on
_MOST_OPEN = 16  # documents in memory; saved ones beyond are closed, and can be opened again
_LOOKED_AT = 16  # inputs that tell things from stuff


@dataclass(frozen=True)
class Options:
    """Options of the editor.

    Attributes:
        out: folder of the project files.
        folders: inputs to choose from, or None.
        command: words of `hdtrans infer` with model and options.
        spelling: spelling of further arguments of that command.
    """

    out: Path
    folders: Folders | None
    command: Sequence[str]
    spelling: Spelling


@dataclass(frozen=True)
class Answer:
    """A computed picture.

    Attributes:
        picture: result of the model.
        revision: revision of the document that it shows.
        milliseconds: time of the translation.
    """

    picture: Picture
    revision: int
    milliseconds: float


@dataclass
class Studio:
    """Everything that the requests of the page work on. Methods may be called from any thread.

    Attributes:
        translator: model; the worker's thread alone calls it.
        options: options of the editor.
        lock: lock of the output folder.
        documents: open documents by their key.
        problem: message of the last autosave that failed, or ''.
    """

    translator: Translator
    options: Options
    lock: FolderLock
    worker: Worker = field(default_factory=Worker)
    documents: dict[str, Document] = field(default_factory=dict)
    problem: str = ""

    def __post_init__(self) -> None:
        """Find the inputs, and start to save; raise UserError for a model or inputs that cannot be edited."""
        translator, folders = self.translator, self.options.folders
        self.layers, self.left_out = layers_of(translator)
        ready = bool(translator.data.ready_note)
        self.model = Model(
            translator.recipe.name,
            translator.weights,
            self.layers,
            self.options.command,
            self.options.spelling,
            ready,
        )
        self.samples: list[SampleFiles] = []
        if folders is not None:
            self.samples = folders.samples(translator.data, translator.given, translator.method.style)
        self.classes = translator.classes
        if translator.style_size:
            translator.style_encoder  # noqa: B018 - made once, before threads ask for it
        self._opening = threading.Lock()
        self._saving = threading.Lock()
        self._ended = threading.Event()
        self._things: list[int] | None = None
        self.thumbnail = lru_cache(500)(self._thumbnail)
        threading.Thread(target=self._save_often, name="autosave", daemon=True).start()

    def close(self) -> None:
        """Save all documents and end the threads."""
        self._ended.set()
        self.worker.close()
        self.save()

    def facts(self) -> dict[str, Any]:
        """Return facts about the model, for the page."""
        translator = self.translator
        table = self.classes
        count = len(table) if table else 0
        rows = [] if table is None else list(zip(range(count), table.names, table.colours, strict=True))
        return {
            "name": translator.recipe.name,
            "version": __version__,
            "weights": translator.weights,
            "device": str(translator.device),
            "dtype": translator.dtype,
            "layers": [
                {"name": layer.name, "paint": layer.paint, "channels": layer.channels} for layer in self.layers.values()
            ],
            "left_out": self.left_out,
            "classes": [{"id": number, "name": name, "colour": colour} for number, name, colour in rows],
            "ignore": table.ignore if table else None,
            "style": self._style_facts(),
            "noisy": translator.noisy,
            "inputs": len(self.samples),
            "limits": {"pixels": MOST_PIXELS, "bytes": MOST_BYTES},
        }

    def _style_facts(self) -> dict[str, Any] | None:
        translator, spec = self.translator, self.translator.method.style
        if spec is None or not translator.style_size:
            return None
        styles = translator.styles
        clusters = {} if styles is None else {str(number): len(one) for number, one in styles.classes.items()}
        return {
            "size": spec.size,
            "of": spec.of,
            "prior": spec.prior,
            "encoder": translator.style_encoder.has_encoder,
            "clusters": clusters,
        }

    # Inputs

    def read_sample(self, number: int) -> dict[str, Array]:
        """Return the layers of an input by its place in the list; raise UserError if it cannot be read."""
        inputs, _ = read_inputs(self.translator, self.samples[number], self.options.folders.ready)  # type: ignore[union-attr]
        arrays = checked(self.translator, inputs)
        return {name: layer.editable(arrays[name]) for name, layer in self.layers.items() if name in arrays}

    def _thumbnail(self, number: int) -> bytes:
        """Return a small JPEG of an input."""
        sample = self.samples[number]
        lead = self.translator.lead
        array, _ = self.translator.data.read_input(lead, sample.paths[lead.name], self.options.folders.ready)  # type: ignore[union-attr]
        return encoded(".jpg", shrink(self.as_rgb(array), 160))

    def as_rgb(self, array: Array) -> Array:
        """Return a layer or a result as people look at it, (H, W, 3) uint8."""
        table = self.classes or (ClassTable.generic(int(array.max()) + 1) if array.ndim == 2 else None)
        return to_rgb(array, table)

    def things(self, arrays: Mapping[str, Array]) -> list[int]:
        """Return the classes with objects of their own, in this input and the first of the list."""
        if self._things is None:
            found: set[int] = set()
            for number in range(min(_LOOKED_AT, len(self.samples))):
                try:
                    found |= set(things_of(self.layers, self.read_sample(number)))
                except (UserError, OSError):
                    continue  # reported when it is opened
            self._things = sorted(found)
        return sorted({*self._things, *things_of(self.layers, arrays)})

    # Documents

    def open_input(self, number: int) -> Document:
        """Open an input of the list; raise UserError if there is none or it cannot be read."""
        if not 0 <= number < len(self.samples):
            raise UserError(f"there is no input {number}; there are {len(self.samples)}", path="input")
        arrays = self.read_sample(number)
        return self._opened(self.samples[number].name, arrays)

    def open_blank(self, width: int, height: int, value: int) -> Document:
        """Open a document of one class; raise UserError for a size or class that does not exist."""
        check_size(width, height, "blank")
        arrays = {name: layer.blank(height, width, value) for name, layer in self.layers.items()}
        for name, array in arrays.items():
            self.translator.data.check_input(self.layers[name].spec, name, array)
        return self._opened("blank", arrays)

    def open_project(self, place: str, data: bytes) -> tuple[Document, list[str]]:
        """Open a project file and return its remarks; raise UserError if it cannot be used."""
        project = read_project(self.model, place, data)
        checked(self.translator, project.arrays)
        document = self._opened(project.name, project.arrays, project.things)
        self.set_style(document, project.style or document.style, project.seed)
        return document, project.notes

    def open_saved(self, name: str) -> tuple[Document, list[str]]:
        """Open a project of the output folder, and continue it under its name."""
        with self._opening:
            there = next((each for each in self.documents.values() if each.name == name), None)
        if there is not None:
            return there, []
        file = self.saved_projects()[name]
        project = read_project(self.model, str(file), file.read_bytes())
        checked(self.translator, project.arrays)
        document = self._opened(name, project.arrays, project.things, continued=True)
        self.set_style(document, project.style or document.style, project.seed)
        document.saved = document.revision
        return document, project.notes

    def upload(self, document: Document, layer: str, place: str, data: bytes) -> int:
        """Replace a layer by a file's contents; return the new revision."""
        if layer not in self.layers:
            raise UserError(f"this model has no layer {layer}; it has {', '.join(self.layers)}", path="layer")
        array = self.layers[layer].read(place, data)
        self.translator.data.check_input(self.layers[layer].spec, place, array)
        return document.set_layer(layer, array)

    def _opened(
        self, name: str, arrays: dict[str, Array], things: list[int] | None = None, continued: bool = False
    ) -> Document:
        """Return a new document; its name gets a number if another has it, unless it continues that project."""
        height, width = next(iter(arrays.values())).shape[:2]
        check_size(width, height, name)
        # An optional layer that is missing can be painted all the same; the table's order is that of requests.
        arrays = {
            each: arrays[each] if each in arrays else layer.blank(height, width, 0)
            for each, layer in self.layers.items()
        }
        style: Any = None
        if self.translator.style_size:
            style = "sample" if self._whole else {"others": "mean", "classes": {}, "instances": {}}
        found = self.things(arrays) if things is None else things
        with self._opening:
            taken = {each.name for each in self.documents.values()}
            taken |= set() if continued else set(self.saved_projects())
            base = name if continued else file_name(name)
            names = itertools.chain([base], (f"{base}-{number}" for number in itertools.count(2)))
            free = next(text for text in names if text not in taken)
            document = Document(free, self.layers, arrays, found, style)
            self.documents[document.key] = document
            closable = [
                each for each in self.documents.values() if each.saved == each.revision and each is not document
            ]
            for each in closable[: max(0, len(self.documents) - _MOST_OPEN)]:
                del self.documents[each.key]
        return document

    # Styles and pictures

    def set_style(self, document: Document, style: Any, seed: int) -> int:
        """Set style and seed; return the revision. Raises UserError for values that are no style."""
        if not 0 <= seed < 2**63:
            raise UserError("a seed is a number from 0 to 2**63 - 1", argument="seed", value=seed)
        if not self.translator.style_size:
            return document.set_style(None, seed)
        self._style(style)
        return document.set_style(style, seed)

    def _style(self, style: Any) -> Any:
        """Return a style as the Translator takes it, from the values of a style file or a name."""
        if not self._whole:
            return parse_style(style, self.classes, "style")
        return style if style in OTHERS else parse_numbers(style, self.translator.style_size, "style")

    @property
    def _whole(self) -> bool:
        """True if the model has one style for the whole picture."""
        spec = self.translator.method.style
        return spec is not None and spec.of == "picture"

    def picture(self, state: State, seed: int | None = None) -> Answer:
        """Translate a state; in the worker's thread. Raises UserError as the Translator does."""
        start = time.perf_counter()
        seed = state.seed if seed is None else seed
        inputs = checked(self.translator, state.layers)
        if self.translator.style_size:
            inputs = self.translator.apply_style(inputs, self._style(state.style), seed)
        picture = self.translator.translate([inputs], seed)[0]
        return Answer(picture, state.revision, (time.perf_counter() - start) * 1000)

    def objects(self, state: State) -> list[dict[str, Any]]:
        """Return the objects that have a style each: id, class and area in pixels, largest first."""
        if not self.translator.style_size:
            return []
        found = self.translator.objects(checked(self.translator, state.layers))
        if found is None:
            return []
        rows = zip(found.ids.tolist(), found.classes.tolist(), found.areas.tolist(), strict=True)
        listed = [{"id": number, "class": label, "area": area} for number, label, area in rows]
        return sorted(listed, key=lambda each: -each["area"])

    def encode(self, state: State, place: str, data: bytes) -> dict[str, Any]:
        """Return the style of a photo by the layers of a state; in the worker's thread.

        Raises:
            UserError: the model has no encoder, or the photo cannot be read or has another size.
        """
        target = self.translator.target
        photo = Layer(target, "picture", target.size or 3).read(place, data)
        if self._whole:
            return {"picture": [float(x) for x in self.translator.encode(photo)]}
        found = self.translator.encode_style(photo, checked(self.translator, state.layers))
        features = dict(zip(found.objects.ids.tolist(), found.features.tolist(), strict=True))
        return {"instances": {str(number): feature for number, feature in features.items()}}

    # Files

    def saved_projects(self) -> dict[str, Path]:
        """Return the project files of the output folder by name, the newest first."""
        found = [each for each in self.options.out.glob(f"*{ENDING}") if each.is_file()]
        found.sort(key=lambda each: -each.stat().st_mtime)
        return {each.name.removesuffix(ENDING): each for each in found}

    def project_file(self, document: Document) -> tuple[str, bytes]:
        """Return name and bytes of the project file of a document."""
        data = write_project(self.model, document.name, document.state(), document.things)
        return f"{document.name}{ENDING}", data

    def save(self) -> None:
        """Write the project files of changed documents; raise UserError if that fails."""
        with self._saving:
            for document in list(self.documents.values()):
                state = document.state()
                if state.revision != document.saved:
                    data = write_project(self.model, document.name, state, document.things)
                    self.lock.verify()
                    write_bytes(self.options.out / f"{document.name}{ENDING}", data)
                    document.saved = state.revision

    def _save_often(self) -> None:
        """Save a second after the last change, and every five seconds while changes go on."""
        before: tuple[int, ...] = ()
        since = time.monotonic()
        while not self._ended.wait(_SAVED_AFTER / 2):
            now = tuple(each.revision for each in list(self.documents.values()))
            unsaved = any(each.revision != each.saved for each in list(self.documents.values()))
            if unsaved and (now == before or time.monotonic() - since > _SAVED_WITHIN):
                try:
                    self.save()
                    self.problem = ""
                except (UserError, OSError) as error:
                    self.problem = str(error)
                since = time.monotonic()
            before = now


def encoded(ending: str, picture: Array) -> bytes:
    """Return an RGB picture as the bytes of a JPEG or PNG."""
    done, data = cv2.imencode(ending, cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_PNG_COMPRESSION, 1])
    assert done, "the encoder refused a uint8 picture"
    return data.tobytes()
