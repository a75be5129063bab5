"""Style of each input of a folder, as the argument `style` names it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hdtrans.common.errors import Advice, UserError
from hdtrans.config.inputs import Style as StyleSpec
from hdtrans.data.fields import kind_of
from hdtrans.data.folders import SampleFiles
from hdtrans.data.io.read import read_picture
from hdtrans.inference.folder.files import REFERENCE, Folders
from hdtrans.inference.styles.apply import StyleLike
from hdtrans.inference.styles.objects import Objects
from hdtrans.inference.styles.style import Style, StyleFeatures, no_styles, read_numbers, read_style
from hdtrans.inference.translator import Map, Picture, Translator


@dataclass(frozen=True)
class Reference:
    """A picture that a style is taken from.

    Attributes:
        paths: its file, and the files of its maps.
        picture: (H, W, C).
        maps: checked maps of ids by name; None: those of the input serve.
    """

    paths: tuple[str, ...]
    picture: Picture
    maps: Mapping[str, Map] | None


class StyleSource:
    """Adds the style input to the inputs of a folder.

    Args:
        translator: model.
        folders: options, among them the style.

    Raises:
        UserError: the model takes no style, or lacks the encoder or the clusters that this one needs; or all samples
            would be the same picture.

    Attributes:
        seeded: True if pictures vary with the seed.
    """

    def __init__(self, translator: Translator, folders: Folders) -> None:
        self.translator = translator
        spec = translator.method.style
        self.whole = spec is not None and spec.of == "picture"
        self.text = folders.style or ("sample" if self.whole else "mean")
        self.default, self.encodes = folders.style is None, folders.reference is not None
        self.style: StyleLike = None
        self._last: tuple[tuple[str, ...], StyleFeatures] | None = None
        if spec is None:
            if folders.style:
                raise UserError("this model takes none; leave it out", argument="style", value=folders.style)
        elif folders.reference is not None:
            translator.encoder  # noqa: B018 - raises now if there is none
        elif folders.style_file is not None:
            file = folders.style_file
            self.style = read_numbers(file, spec.size) if self.whole else read_style(file, translator.classes)
            self.text = f"file {hashlib.sha256(file.read_bytes()).hexdigest()}"
        else:
            self.style = self._named(spec)
        others = self.style.others if isinstance(self.style, Style) else self.style
        drawn = isinstance(others, str) and others == "sample"
        self.seeded = translator.noisy or drawn
        if folders.num_samples > 1 and not self.seeded:
            raise UserError(
                "they would all be the same picture",
                argument="num_samples",
                value=folders.num_samples,
                advice=[Advice("style", "sample") if spec is not None else "leave it out"],
            )

    def _named(self, spec: StyleSpec) -> StyleLike:
        """Return the style `sample` or `mean`; None for a model that reads its style from data."""
        if self.default and spec.name in self.translator.given:
            self.text = "data"
            return None
        if self.whole:
            return self.text
        if spec.prior == "clusters" and self.translator.styles is None:
            raise no_styles(Advice("style", "from=PICTURE"))
        return Style("sample" if self.text == "sample" else "mean")

    def note(self) -> dict[str, Any]:
        """Return the entries of `inference.json` about the style."""
        if not self.translator.style_size:
            return {}
        text = "from" if self.encodes else self.text
        if self.whole:
            return {"style": text}
        styles = self.translator.styles
        values = json.dumps(None if styles is None else styles.to_dict(), sort_keys=True)
        return {"style": text, "styles": hashlib.sha256(values.encode()).hexdigest()}

    def read(self, sample: SampleFiles) -> Reference | None:
        """Read the picture that the style of a sample is taken from; None for a style from no picture."""
        if not self.encodes:
            return None
        if REFERENCE not in sample.paths:
            raise UserError("no picture there has the name of this input", argument="style")
        channels = self.translator.target.size
        assert channels is not None
        picture = read_picture(sample.paths[REFERENCE], channels)
        given = self.translator.given
        paths = {n: sample.paths.get(f"{REFERENCE}_{n}") for n, spec in given.items() if spec.kind == "ids"}
        maps = None
        if paths and all(paths.values()) and not self.whole:
            maps = {name: kind_of(given[name]).read(given[name], path) for name, path in paths.items() if path}
            maps = self.translator.check_maps(**maps)
        return Reference((sample.paths[REFERENCE], *(str(path) for path in paths.values())), picture, maps)

    def objects(self, inputs: Mapping[str, Map]) -> Objects | None:
        """Return the objects that have a style each; None without such."""
        return self.translator.objects(inputs) if self.translator.style_size else None

    def apply(
        self, inputs: Mapping[str, Map], objects: Objects | None, reference: Reference | None, seed: int
    ) -> Mapping[str, Map]:
        """Return inputs with the style input, for a model that has one."""
        if not self.translator.style_size:
            return inputs
        style: StyleLike = self.style
        if reference is not None:
            style = reference.picture if self.whole else self._encoded(reference, inputs)
        return self.translator.apply_style(inputs, style, seed, objects)

    def _encoded(self, reference: Reference, inputs: Mapping[str, Map]) -> StyleFeatures:
        """Return the features of a reference; a reference that serves all inputs is encoded once."""
        if reference.maps is None:
            return self.translator.encode_style(reference.picture, inputs)
        if self._last is None or self._last[0] != reference.paths:
            self._last = reference.paths, self.translator.encode_style(reference.picture, reference.maps)
        return self._last[1]
