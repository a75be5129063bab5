"""The recipe: what one experiment is, read from YAML, checked whole before anything runs.

A recipe has four sections. `data` says which files are read, `method` which networks and losses are trained (its
model lives in the method's own file), `training` how, and `stages` in which order and at which sizes. A fifth,
`validate`, says what is measured meanwhile.
"""

import importlib
import pkgutil
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, Literal

from pydantic import (
    Field,
    PositiveInt,
    SerializeAsAny,
    ValidationError,
    ValidationInfo,
    field_serializer,
    field_validator,
    model_validator,
)

from hdtrans.common.errors import UserError, nearest
from hdtrans.common.yaml_text import read_yaml
from hdtrans.config.data import (
    Data,
    DataSection,
    Edges,
    Grey,
    Lab,
    LabelMaps,
    LowResolution,
    Photos,
    PhotosToMaps,
    PicturePairs,
    Pictures,
    Section,
    SideBySide,
    Unpaired,
)
from hdtrans.config.problems import describe
from hdtrans.config.validation import Validate

__all__ = [
    "Adam",
    "Data",
    "DataSection",
    "Edges",
    "Ema",
    "GeometryKind",
    "Grey",
    "Lab",
    "LabelMaps",
    "LowResolution",
    "MethodSection",
    "Photos",
    "PhotosToMaps",
    "PicturePairs",
    "Pictures",
    "Recipe",
    "Section",
    "SideBySide",
    "Size",
    "Stage",
    "Timeouts",
    "Training",
    "Unpaired",
    "Validate",
    "check_recipe",
    "find_recipe",
    "load_recipe",
    "method_kinds",
    "method_module",
    "packaged_recipes",
    "set_value",
]


class Size(Section):
    """A picture size in pixels; written `WIDTHxHEIGHT`, as in `2048x1024`."""

    height: PositiveInt
    width: PositiveInt

    @model_validator(mode="before")
    @classmethod
    def _parse(cls, value: Any) -> Any:
        if isinstance(value, Size | Mapping):
            return value
        match = re.fullmatch(r"\s*([0-9]{1,9})\s*[xX]\s*([0-9]{1,9})\s*", str(value))
        if not match:
            raise ValueError(f"a size is written WIDTHxHEIGHT in pixels, for instance 1024x512; given: {value!r}")
        return {"width": int(match[1]), "height": int(match[2])}

    def __str__(self) -> str:
        return f"{self.width}x{self.height}"


def _size_or_text(size: Size | None) -> str | None:
    return None if size is None else str(size)


GeometryKind = Literal["resize", "scale_width", "crop", "resize_and_crop", "scale_width_and_crop", "none"]


class Stage(Section):
    """One leg of the schedule: fresh optimizers over the networks it trains, its own size, length and batch.

    `size` is what the networks see. `geometry` says how a file gets there: `resize` to it; `scale_width` to its width,
    keeping the aspect; `crop` it at random from the file; `resize_and_crop` and `scale_width_and_crop`, the same after
    scaling to `load`; `none`: as the file is. `batch_size` is per process.
    """

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")] = "train"
    size: Size | None = None
    geometry: GeometryKind = "resize"
    load: Size | None = None
    output: str | None = None
    train: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    epochs: Annotated[float, Field(ge=0)] = 100
    decay_epochs: Annotated[float, Field(ge=0)] = 0
    batch_size: PositiveInt = 1
    learning_rate: Annotated[float, Field(gt=0)] | None = None

    _serialize = field_serializer("size", "load")(_size_or_text)

    @model_validator(mode="after")
    def _sizes_fit(self) -> "Stage":
        if self.epochs + self.decay_epochs <= 0:
            raise ValueError("epochs and decay_epochs are both 0: a stage trains for some epochs")
        if self.geometry == "none":
            if self.size is not None:
                raise ValueError("geometry: none takes the files as they are; leave out size")
        elif self.size is None:
            raise ValueError(f"geometry: {self.geometry} needs a size, for instance size: 1024x512")
        crops_after_scaling = self.geometry in ("resize_and_crop", "scale_width_and_crop")
        if crops_after_scaling and self.load is None:
            raise ValueError(f"geometry: {self.geometry} scales to load before it crops size; give load: WIDTHxHEIGHT")
        if not crops_after_scaling and self.load is not None:
            raise ValueError(f"load is not used by geometry: {self.geometry}; leave it out")
        if self.load and self.size and self.load.width < self.size.width:
            raise ValueError(f"load {self.load} is narrower than the crop size {self.size}")
        if self.geometry == "resize_and_crop" and self.load and self.size and self.load.height < self.size.height:
            raise ValueError(f"load {self.load} is lower than the crop size {self.size}")
        return self


class Adam(Section):
    """Adam (Kingma and Ba, 2015), one for each phase, with the betas of the pix2pix family."""

    learning_rate: Annotated[float, Field(gt=0)] = 2e-4
    betas: tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]] = (0.5, 0.999)
    eps: Annotated[float, Field(gt=0)] = 1e-8


class Ema(Section):
    """A running average of the generator's weights; `half_life` is counted in images seen."""

    half_life: Annotated[float, Field(gt=0)] = 10_000


class Timeouts(Section):
    """Seconds after which a process that does not answer ends the run.

    `step` holds for another process or a data worker in a step; `pause` where all wait for one that looks through the
    data, saves or draws sample grids.
    """

    step: Annotated[float, Field(gt=0, le=86400)] = 300
    pause: Annotated[float, Field(gt=0, le=86400)] = 1800


class Training(Section):
    """How to train: seeds, precision, optimizer, and how often something is written (all in images seen)."""

    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    precision: Literal["auto", "fp32", "bf16", "fp16", "fp64"] = "auto"
    deterministic: bool = False
    optimizer: Adam = Adam()
    ema: Ema | None = None
    non_finite: Literal["stop", "skip"] = "stop"
    bad_files: Literal["stop", "skip"] = "stop"
    workers: Annotated[int, Field(ge=0)] = 2
    device: Literal["auto", "cpu", "cuda"] = "auto"
    timeouts: Timeouts = Timeouts()
    log_every: PositiveInt = 100
    sample_every: PositiveInt = 2000
    save_every: PositiveInt = 5000
    keep: Annotated[int, Field(ge=2)] = 2
    sample_count: Annotated[int, Field(ge=0, le=64)] = 4


class MethodSection(Section):
    """What the recipe says of a method. Every method's own `Config` derives from it."""

    kind: str

    def complete(self, stage: Stage) -> Stage:
        """Return the stage with `output` and `train` filled in and checked; raise ValueError saying what is allowed."""
        raise NotImplementedError

    def reads(self, data: Data) -> frozenset[str]:
        """Return the batch fields the method needs from such data; raise ValueError if it cannot use them."""
        raise NotImplementedError

    def stride(self, stage: Stage) -> int:
        """Return what height and width are made multiples of, by repeating the last row and column."""
        return 1


class Recipe(Section):
    """One experiment, resolved: with every default filled in."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]
    out: Path | None = None
    init_from: str | None = None
    data: Data
    method: SerializeAsAny[MethodSection]
    training: Training = Training()
    validation: Annotated[Validate | None, Field(alias="validate")] = None  # pydantic's models have a validate already
    stages: Annotated[tuple[Stage, ...], Field(min_length=1)]

    @field_serializer("out")
    def _out_text(self, out: Path | None) -> str | None:
        return None if out is None else str(out)

    @field_validator("method", mode="wrap")
    @classmethod
    def _method_by_kind(cls, value: Any, handler: Any, info: ValidationInfo) -> Any:
        if isinstance(value, MethodSection):
            return value
        if not isinstance(value, Mapping) or "kind" not in value:
            raise ValueError(f"a method section starts with kind: one of {', '.join(method_kinds())}")
        return method_module(str(value["kind"])).Config.model_validate(value)

    @model_validator(mode="after")
    def _stages_fit_the_method(self) -> "Recipe":
        stages, problems = [], []
        try:
            if lacking := self.method.reads(self.data) - self.data.fields:
                has, needs = ", ".join(sorted(self.data.fields)), ", ".join(sorted(lacking))
                problems.append(f"data.kind: {self.data.kind} has {has}, but the method also reads {needs}")
        except ValueError as error:
            problems.append(str(error))
        for stage in self.stages:
            try:
                stages.append(self.method.complete(stage))
            except ValueError as error:
                problems.append(f"stage {stage.name}: {error}")
        names = [stage.name for stage in self.stages]
        if len(set(names)) < len(names):
            problems.append(f"stages need different names, these are: {', '.join(names)}")
        if self.validation is not None:
            sides = [min(stage.size.height, stage.size.width) for stage in self.stages if stage.size]
            try:
                validation = self.validation.complete(self.data, min(sides, default=None))
                object.__setattr__(self, "validation", validation)
            except ValueError as error:
                problems.append(str(error))
        if problems:
            raise ValueError("\n".join(problems))
        object.__setattr__(self, "stages", tuple(stages))
        return self

    @property
    def folder(self) -> Path:
        """The run folder: `out`, or `runs/<name>`."""
        return self.out or Path("runs") / self.name


def method_kinds() -> list[str]:
    """Return the names of the methods there are: the files of `hdtrans/methods/` but base."""
    package = importlib.import_module("hdtrans.methods")
    return sorted(m.name for m in pkgutil.iter_modules(package.__path__) if m.name != "base")


def method_module(kind: str) -> ModuleType:
    """Import the one file that holds the method `kind`; raise ValueError where there is none."""
    if kind not in method_kinds():
        allowed = method_kinds()
        raise ValueError(f"there is no method {kind!r}; there are {', '.join(allowed)}.{nearest(kind, allowed)}")
    return importlib.import_module(f"hdtrans.methods.{kind}")


def load_recipe(name: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read, override and check a recipe.

    Args:
        name: a YAML file, or the name of a recipe that comes with the package (`pix2pixhd_toycity`).
        overrides: `section.key=value`, values written as in YAML; a stage is named (`stages.joint.epochs=2`) or
            numbered from 0.

    Raises:
        UserError: listing everything that is wrong at once, each with file, key, value and what is allowed.
    """
    file = find_recipe(name)
    try:
        values = read_yaml(file.read_text(encoding="utf-8"), str(file))
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{file}: cannot be read as a recipe, a YAML file in UTF-8: {error}") from None
    if not isinstance(values, dict):
        raise UserError(f"{file}: a recipe is a mapping with data, method, training and stages; see options/")
    for override in overrides:
        set_value(values, override)
    values.setdefault("name", file.stem)
    return check_recipe(values, str(file))


def check_recipe(values: Mapping[str, Any], where: str) -> Recipe:
    """Return the recipe that plain `values` describe; raise UserError with every problem found, naming `where`."""
    values = dict(values)
    problems = []
    try:
        kind = values["method"]["kind"]
        config = method_module(str(kind)).Config
    except (KeyError, TypeError):
        problems.append(f"method: starts with kind: one of {', '.join(method_kinds())}")
    except ValueError as error:
        problems.append(f"method.kind: {error}")
    else:
        try:
            values["method"] = config.model_validate(values["method"])
        except ValidationError as error:
            problems += describe(error, config, ("method",))
    try:
        recipe = Recipe.model_validate(values)
    except ValidationError as error:
        told = bool(problems)  # what is wrong inside method has been said
        problems += [p for p in describe(error, Recipe) if not (told and p.startswith("method"))]
    if problems:
        raise UserError("\n  ".join([f"{where}: {len(problems)} problem(s) in this recipe:", *problems]))
    return recipe


def find_recipe(name: str | Path) -> Path:
    """Return the file of a recipe given by path or by the name of one that comes with the package."""
    path = Path(name)
    if path.is_file():
        return path
    known = packaged_recipes()
    if str(name) in known:
        return known[str(name)]
    if path.is_dir():
        raise UserError(f"{name}: is a folder; a recipe is a YAML file or one of: {', '.join(sorted(known))}")
    raise UserError(
        f"{name}: no such file, and no recipe of that name; there are {', '.join(sorted(known))}."
        f"{nearest(path.stem, sorted(known))}"
    )


def packaged_recipes() -> dict[str, Path]:
    """Return name and file of the recipes that come with the package (in a checkout: the files of `options/`)."""
    package = Path(__file__).parent.parent
    folders = [package / "recipes", package.parent / "options"]
    folder = next((f for f in folders if f.is_dir()), None)
    return {file.stem: file for file in sorted(folder.glob("*.yaml"))} if folder else {}


def set_value(values: dict[str, Any], override: str) -> None:
    """Set one `section.key=value` in the nested plain values; raise UserError where it has no place."""
    key, sign, text = override.partition("=")
    parts = key.strip().split(".")
    if not sign or not all(parts):
        raise UserError(f"{override!r}: an override is written section.key=value, for instance training.seed=1")
    section: Any = values
    for depth, part in enumerate(parts):
        place: Any = _stage_index(section, part, override) if isinstance(section, list) else part
        if not isinstance(section, dict | list):
            raise UserError(f"{override!r}: {'.'.join(parts[:depth])} is a value, not a section; it has no {part!r}")
        if depth == len(parts) - 1:
            section[place] = read_yaml(text, override)
        elif isinstance(section, dict) and section.get(place) is None:
            section[place] = {}
        section = section[place]


def _stage_index(stages: list[Any], part: str, override: str) -> int:
    names = [str(s.get("name", "train")) if isinstance(s, dict) else str(n) for n, s in enumerate(stages)]
    if part in names:
        return names.index(part)
    if part.isdecimal() and int(part) < len(stages):
        return int(part)
    there = f"there are {', '.join(names)} (or 0 to {len(stages) - 1})" if names else "the list is empty"
    raise UserError(f"{override!r}: there is no {part!r}; {there}.{nearest(part, names)}")
