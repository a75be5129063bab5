"""Find the files to translate: a folder, files, patterns, lists, or names on standard input."""

import glob
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from hdtrans.common.apart import check_apart
from hdtrans.common.errors import Advice, MissingFile, UnknownName, UnreadableFile, UserError, nearest, shown
from hdtrans.common.files import decoded
from hdtrans.config.inputs import Input, Style
from hdtrans.data.folders import SampleFiles, partners_of
from hdtrans.data.index import slashed
from hdtrans.data.io.shards import is_folder
from hdtrans.data.io.tables import is_table
from hdtrans.data.kinds.base import PHOTO, DataKind
from hdtrans.data.pairing import natural
from hdtrans.inference.folder.finished import TRUTH
from hdtrans.inference.styles.style import OTHERS

REFERENCE = "reference"
"""Name, among the files of a sample, of the picture that the style is taken from."""


def find_inputs(given: Sequence[str], standard_input: TextIO | None = None) -> Path | list[Path]:
    """Return the folder, or the files in their order, that the argument `inputs` names.

    Args:
        given: one folder; or any number of files, patterns (`maps/*.png`, `**` for sub-folders; in natural order),
            lists (`@FILE`) and `-` for a list on standard input. A list has one name a line, or names that end in a
            zero byte; lines that start with `#` are comments. A name is looked up in the current folder, then in that
            of the list; `~` is the home folder.
        standard_input: stream that `-` reads; None: that of the process.

    Raises:
        UserError: a file is missing, a pattern matches nothing, or a folder is one of several entries.
    """
    if len(given) == 1 and is_folder(Path(given[0])):
        return Path(given[0])
    files = [Path(name) for entry in given for name in _expanded(entry, standard_input or sys.stdin)]
    for file in files:
        if not file.exists():
            raise MissingFile(file, "file or folder", argument="inputs")
        if file.is_dir():
            advice = [f"give one folder alone, or files (as {file}/*)"]
            raise UserError("is a folder", argument="inputs", path=file, advice=advice)
    if not files:
        raise UserError("names no file", argument="inputs", value=" ".join(given))
    return list(dict.fromkeys(files))


def _expanded(entry: str, standard_input: TextIO | None) -> Iterator[str]:
    """Yield the names that one entry stands for."""
    if entry == "-":
        if standard_input is not None:
            raw = getattr(standard_input, "buffer", None)
            yield from _listed(standard_input.read() if raw is None else decoded(raw.read()), entry, "")
    elif entry.startswith("@") and not Path(entry).exists():
        file = os.path.expanduser(entry[1:])
        try:
            text = decoded(Path(file).read_bytes())
        except (OSError, UnicodeDecodeError) as error:
            raise UnreadableFile(entry, str(error), "a list of file names", argument="inputs") from error
        yield from _listed(text, entry, os.path.dirname(file))
    elif any(sign in entry for sign in "*?[") and not Path(entry).exists():
        found = sorted(glob.glob(entry, recursive=True), key=natural)
        if not found:
            raise UserError("no file matches", argument="inputs", value=entry)
        yield from found
    else:
        yield entry


def _listed(text: str, entry: str, folder: str) -> Iterator[str]:
    """Yield the files of a list, as `find_inputs` looks them up.

    Args:
        text: the list.
        entry: argument that names the list, for messages.
        folder: folder of the list; '' is the current one.
    """
    for number, line in enumerate(text.split("\0" if "\0" in text else "\n"), start=1):
        name = line.removesuffix("\r")
        words = name.strip()
        if not words:
            continue
        spelled = [name, words, os.path.expanduser(words)]
        places = [*spelled, *(os.path.join(folder, one) for one in spelled)]
        found = next((place for place in places if os.path.exists(place)), "")
        if not found and not words.startswith("#"):
            value = f"{entry}, line {number}: {words}"
            raise MissingFile(words, "file or folder", argument="inputs", value=value)
        if found:
            yield found


def check_results(out: Path, results: Iterable[tuple[str, Sequence[Path]]]) -> None:
    """Raise UserError if a result would lie outside `out`, or two results would be one file.

    Args:
        out: folder of the results; it may be a link itself.
        results: name of each input, and the files that would be written for it.
    """
    inside = os.path.join(os.path.realpath(out), "")
    folders: dict[Path, str] = {}
    taken: dict[str, str] = {}
    for name, paths in results:
        for path in paths:
            if "\0" in str(path):
                raise UserError("has a name that no file can have; rename it", argument="inputs", value=name)
            if path.parent not in folders:
                folders[path.parent] = os.path.realpath(path.parent)
            real = os.path.join(folders[path.parent], path.name)
            if not real.startswith(inside):
                advice = ["rename the input", "remove the link that leads there"]
                finding = f"its result would lie outside the folder {out}, as {shown(real)}"
                raise UserError(finding, argument="inputs", value=name, advice=advice)
            if taken.setdefault(real, name) != name:
                finding = f"{taken[real]} and {name} would both be written as {shown(path)}; rename one of them"
                raise UserError(finding, argument="inputs")


@dataclass(frozen=True)
class Folders:
    """Inputs to translate, folder of the results, and options of the pictures.

    Attributes:
        inputs: label maps, or pictures: a folder, or files in their order.
        extra: folders (or tables) of further inputs by name; others are searched beside the inputs.
        truth: folder of true pictures to show beside the results, or None.
        out: folder of the results.
        seed: seed of the noise, for a model with noise, and of the style `sample`, in [0, 2**63).
        ready: inputs are already preprocessed (drawn edges, small pictures); else they are read as training data are.
        ending: ending of the results' names, `png` or `jpg`.
        bits: bits per channel of the results, 8 or 16.
        style: `sample`, `mean`, `from=PICTURE`, `from=FOLDER` or `file=JSON`; None: the default of the model.
        num_samples: pictures of each input, >= 1; the first has `seed`, each of the others the next one.
    """

    inputs: Path | list[Path]
    extra: Mapping[str, Path]
    truth: Path | None
    out: Path
    seed: int = 0
    ready: bool = False
    ending: str = "png"
    bits: int = 8
    style: str | None = None
    num_samples: int = 1

    @property
    def reference(self) -> Path | None:
        """The picture that the style is taken from, or a folder of such pictures; None without."""
        return self._named_by_style("from=")

    @property
    def style_file(self) -> Path | None:
        """The JSON file of the style; None without."""
        return self._named_by_style("file=")

    def _named_by_style(self, start: str) -> Path | None:
        return Path(self.style.removeprefix(start)) if self.style and self.style.startswith(start) else None

    def check(self) -> None:
        """Raise UserError if a file is missing, an option cannot be used, or a result would overwrite an input."""
        folder = self.inputs if isinstance(self.inputs, Path) else None
        named = [("inputs", folder, ""), ("truth", self.truth, "")]
        named += [("extra", path, f"{name}=") for name, path in self.extra.items()]
        named += [("style", self.reference, "from="), ("style", self.style_file, "file=")]
        if self.style is not None and not (self.reference or self.style_file) and self.style not in OTHERS:
            allowed = (*OTHERS, "from=PICTURE", "from=FOLDER", "file=JSON")
            raise UnknownName("style", self.style, allowed, argument="style", value=self.style)
        for argument, path, start in named:
            if path is not None and not path.exists() and not is_folder(path):
                raise MissingFile(path, "file or folder", argument=argument, value=f"{start}{path}")
        check_apart(self.out, (path for _, path, _ in named if path is not None))
        if not 0 <= self.seed <= 2**63 - self.num_samples:
            last = ", and so is that of the last sample" if self.num_samples > 1 else ""
            raise UserError(f"a seed is a number from 0 to 2**63 - 1{last}", argument="seed", value=self.seed)
        if self.bits == 16 and self.ending == "jpg":
            raise UserError("has no 16 bits; leave it out", argument="ending", value="jpg")
        if self.out.exists() and not self.out.is_dir():
            raise UserError("is a file; give a folder", argument="out", path=self.out)

    def samples(self, data: DataKind, inputs: Mapping[str, Input], style: Style | None) -> list[SampleFiles]:
        """Return the samples: each input with its further inputs, true picture and reference, paired by name.

        The picture that gives the style is the file `reference`; its maps, if they lie beside it, are
        `reference_label`, `reference_instance`, ...

        Args:
            data: kind of the training data, which names folders.
            inputs: inputs that a user gives, by name, the lead first.
            style: style of the model, or None.

        Raises:
            UserError: the folder of a required input is neither given nor found, or the model does not read an input
                that is given.
        """
        first = next(iter(inputs.values()))
        folders: dict[str, Path | list[Path]] = {first.name: self.inputs}
        for name in self.extra:
            if name not in inputs or name == first.name:
                others = [other for other in inputs if other != first.name]
                raise UserError(
                    f"is no further input of this model, which reads {first.name} and "
                    f"{', '.join(others) or 'nothing else'}.{nearest(name, others)}",
                    argument="extra",
                    value=f"{name}={self.extra[name]}",
                )
        for spec in list(inputs.values())[1:]:
            if (place := self._place(data, first, spec)) is not None:
                folders[spec.name] = place
        if self.truth is not None:
            folders[TRUTH] = self.truth
        if self.reference is None:
            return self._checked(partners_of(first.name, folders), inputs)
        maps = [spec for spec in inputs.values() if spec.kind == "ids" and style is not None and style.of != "picture"]
        references = _with_maps(self.reference, data, maps)
        if is_folder(self.reference):
            return self._checked(partners_of(first.name, folders | references), inputs)
        paths = partners_of(REFERENCE, references)[0].paths
        samples = self._checked(partners_of(first.name, folders), inputs)
        return [SampleFiles(sample.name, {**sample.paths, **paths}) for sample in samples]

    def _checked(self, samples: list[SampleFiles], inputs: Mapping[str, Input]) -> list[SampleFiles]:
        """Return the samples; raise UserError if all of them lack an optional input that was given.

        Samples that lack a required input fail one by one, with a message each.
        """
        for name, path in self.extra.items():
            if inputs[name].optional and not any(name in sample.paths for sample in samples):
                finding = f"no file there has the name of an input, as {samples[0].name}"
                raise UserError(finding, argument="extra", value=f"{name}={path}")
        return samples

    def _place(self, data: DataKind, first: Input, spec: Input) -> Path | None:
        """Return the folder (or table) of a further input: as given, else beside the lead's folder; None if missing."""
        if spec.name in self.extra:
            return self.extra[spec.name]
        file = self.inputs if isinstance(self.inputs, Path) else self.inputs[0]
        folder = file if is_folder(file) else file.parent
        own, other = data.endings.get(first.field), data.endings.get(spec.field)
        looked = f"data.kind {data.kind} names no folder for it"
        if own and other and folder.name.endswith(own):
            beside = folder.with_name(folder.name.removesuffix(own) + other)
            if is_folder(beside) or is_table(beside):
                return beside
            looked = f"there is no {slashed([beside.name])} beside {folder.name}/"
        elif own and other:
            looked = f"it is found without an option only beside a folder named ...{own}, not {folder.name}/"
        if spec.optional:
            return None
        advice = Advice("instances", "FOLDER") if spec.name == "instance" else Advice("extra", f"{spec.name}=FOLDER")
        raise UserError(f"this model requires {spec.name} inputs, and {looked}", advice=[advice])


def _with_maps(reference: Path, data: DataKind, maps: Sequence[Input]) -> dict[str, Path | list[Path]]:
    """Return a picture, or a folder, with the folders of all its maps (`x_label` of `x_img`) if all of them exist."""
    folder = reference if is_folder(reference) else reference.parent
    ending = data.endings.get(PHOTO, "")
    places: dict[str, Path | list[Path]] = {REFERENCE: reference if is_folder(reference) else [reference]}
    if not ending or not folder.name.endswith(ending) or any(spec.field not in data.endings for spec in maps):
        return places
    start = folder.name.removesuffix(ending)
    beside = {spec.name: folder.with_name(start + data.endings[spec.field]) for spec in maps}
    if all(map(is_folder, beside.values())):
        places |= {f"{REFERENCE}_{name}": place for name, place in beside.items()}
    return places
