"""What `--style` asks for, over the inputs of a folder."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hdtrans.common.errors import UserError
from hdtrans.data.folders import SampleFiles
from hdtrans.data.io.read import read_instance, read_label, read_picture
from hdtrans.inference.folder.files import MAPS, REFERENCE, Folders
from hdtrans.inference.styles.objects import Objects
from hdtrans.inference.styles.style import Look, Style, read_style
from hdtrans.inference.translator import Map, Picture, StyleLike, Translator

_READERS = {"label": read_label, "instance": read_instance}


@dataclass(frozen=True)
class Reference:
    """A picture that a style is taken from, and its files; without maps of its own, by those of the input."""

    paths: tuple[str, ...]
    picture: Picture
    maps: Mapping[str, Map] | None


class AskedStyle:
    """Gives inputs the style that the command line asks for.

    Args:
        translator: the model.
        folders: say the style.

    Raises:
        UserError: the model takes no style, or lacks what this one needs; or all samples would be the same.
    """

    def __init__(self, translator: Translator, folders: Folders) -> None:
        self.translator = translator
        self.text = folders.style or "mean"
        self.style: StyleLike = None
        self._last: tuple[tuple[str, ...], Look] | None = None
        if folders.style and not translator.features:
            raise UserError(f"--style {folders.style}: this model takes none; leave it out")
        if folders.reference is not None:
            translator.encoder  # noqa: B018 - tells now if there is none
        elif folders.style_file is not None:
            self.style = read_style(folders.style_file, translator.classes)
            self.text = f"file {hashlib.sha256(folders.style_file.read_bytes()).hexdigest()}"
        elif translator.features:
            self.style = Style("sample" if self.text == "sample" else "mean")
            translator.need_styles()
        drawn = isinstance(self.style, Style) and self.style.others == "sample"
        self.seeded = translator.noisy or drawn
        if folders.num_samples > 1 and not self.seeded:
            instead = "; give --style sample" if translator.features else "; leave it out"
            raise UserError(f"--num-samples {folders.num_samples}: they would all be the same picture{instead}")

    def note(self) -> dict[str, Any]:
        """Return what `inference.json` says of the style."""
        if not self.translator.features:
            return {}
        styles = self.translator.styles
        values = json.dumps(None if styles is None else styles.to_dict(), sort_keys=True)
        text = "from" if self.style is None else self.text
        return {"style": text, "styles": hashlib.sha256(values.encode()).hexdigest()}

    def read(self, sample: SampleFiles) -> Reference | None:
        """Read what the style of a sample is taken from; None where it is taken from no picture."""
        if self.style is not None or not self.translator.features:
            return None
        if REFERENCE not in sample.paths:
            raise UserError("no picture of --style has its name")
        paths = {field: sample.paths.get(f"{REFERENCE}_{field}") for field in sorted(MAPS & self.translator.reads)}
        picture = read_picture(sample.paths[REFERENCE], self.translator.recipe.data.photo_channels)
        maps = None
        if paths and all(paths.values()):
            given = {field: _READERS[field](path) for field, path in paths.items() if path}
            maps = self.translator.check(given["label"], given.get("instance")) if "label" in given else given
        return Reference((sample.paths[REFERENCE], *(str(path) for path in paths.values())), picture, maps)

    def objects(self, inputs: Mapping[str, Map]) -> Objects | None:
        """Return what takes a feature of its own; None where nothing does."""
        return self.translator.objects(inputs) if self.translator.features else None

    def dress(
        self, inputs: Mapping[str, Map], objects: Objects | None, reference: Reference | None, seed: int
    ) -> Mapping[str, Map]:
        """Return inputs with the features of their objects, where there are some."""
        if objects is None:
            return inputs
        style = self.style if reference is None else self._look(reference, inputs)
        return self.translator.dress(inputs, style, seed, objects)

    def _look(self, reference: Reference, inputs: Mapping[str, Map]) -> Look:
        """Return what a reference looks like; one that is given to all inputs is encoded once."""
        if reference.maps is None:
            return self.translator.look(reference.picture, inputs)
        if self._last is None or self._last[0] != reference.paths:
            self._last = reference.paths, self.translator.look(reference.picture, reference.maps)
        return self._last[1]
