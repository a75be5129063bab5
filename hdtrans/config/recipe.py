"""The recipe: one experiment, read from YAML and checked whole before anything runs.

Sections: `data` (files and their kind), `method` (networks and losses; each method's own file has its model),
`training` (seed, precision, optimizer, intervals), `stages` (order, sizes, lengths), and `validate` (metrics during
training).
"""

import contextlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, ClassVar

from pydantic import (
    Field,
    SerializeAsAny,
    ValidationError,
    ValidationInfo,
    field_serializer,
    field_validator,
    model_validator,
)

from hdtrans.common.errors import RecipeError
from hdtrans.config.data import Data
from hdtrans.config.inputs import Inputs, read_fields
from hdtrans.config.problems import Problem, describe, fields_of
from hdtrans.config.registry import data_kinds, data_module, method_kinds, method_module
from hdtrans.config.section import Section
from hdtrans.config.stage import Stage
from hdtrans.config.training import Training
from hdtrans.config.validation import Validate


class MethodSection(Section):
    """The section `method`. Every method's own `Config` derives from it.

    Attributes:
        directions: names of the directions in which a trained model translates.
        renamed: today's name of each network that had another; recipes and checkpoints may hold the old one.
    """

    directions: ClassVar[tuple[str, ...]] = ("",)
    renamed: ClassVar[Mapping[str, str]] = {}

    kind: str

    def complete(self, stage: Stage) -> Stage:
        """Return the stage with `output` and `train` filled in and checked; raise ValueError saying what is allowed."""
        raise NotImplementedError

    def inputs(self, data: Data, direction: str = "") -> Inputs:
        """Return the inputs of the model in one direction, targets included.

        Raises:
            ValueError: the method cannot be trained on such data; the message names the key to change.
        """
        raise NotImplementedError

    def reads(self, data: Data, optional: bool = True) -> frozenset[str]:
        """Return the fields that training reads, of all directions; raise ValueError as `inputs`.

        Without those that are `optional` in every direction, they are what each sample must have.
        """
        tables = [self.inputs(data, direction) for direction in self.directions]
        return frozenset().union(*(read_fields(table, optional) for table in tables))

    def too_small(self, stage: Stage, height: int, width: int) -> list[str]:
        """Return the reasons why the networks of a completed stage cannot be trained on pictures of this size."""
        return []

    @property
    def must_train(self) -> tuple[str, ...]:
        """Networks that the recipe asks for, and that are of no use unless some stage trains them."""
        return ()

    def stride(self, stage: Stage) -> int:
        """Return the number that height and width are padded to multiples of, by repeating the last row and column."""
        return 1


class Recipe(Section):
    """One experiment with every default filled in."""

    name: Annotated[
        str,
        Field(
            pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$",
            description="Name of the run. Unset: that of the recipe's file, other characters made `_`.",
        ),
    ]
    out: Annotated[Path | None, Field(description="Run folder. Unset: runs/NAME.")] = None
    init_from: Annotated[
        str | None,
        Field(
            description="Run folder or checkpoint whose networks a new run starts with, as far as names and shapes are "
            "the same. Unset: random weights."
        ),
    ] = None
    data: SerializeAsAny[Data]
    method: SerializeAsAny[MethodSection]
    training: Training = Training()
    validation: Annotated[  # pydantic's models have a validate already
        Validate | None,
        Field(alias="validate", description="Measurements during training. Unset: none."),
    ] = None
    stages: Annotated[tuple[Stage, ...], Field(min_length=1, description="Stages, trained one after the other.")]

    @field_serializer("out")
    def _out_text(self, out: Path | None) -> str | None:
        return None if out is None else str(out)

    @field_validator("data", "method", mode="wrap")
    @classmethod
    def _by_kind(cls, value: Any, handler: Any, info: ValidationInfo) -> Any:
        if isinstance(value, MethodSection | Data):
            return value
        assert info.field_name is not None
        return _model_of(info.field_name, value).model_validate(value)

    @model_validator(mode="after")
    def _stages_fit_the_method(self) -> "Recipe":
        stages, problems = [], []
        try:
            if lacking := self.method.reads(self.data) - self.data.fields.keys():
                has, needs = ", ".join(sorted(self.data.fields)), ", ".join(sorted(lacking))
                problems.append(f"data.kind: {self.data.kind} has {has}, but the method also reads {needs}")
        except ValueError as error:
            problems.append(str(error))
        for stage in self.stages:
            if stage.train:
                train = tuple(self.method.renamed.get(name, name) for name in stage.train)
                stage = stage.model_copy(update={"train": train})
            try:
                stages.append(stage := self.method.complete(stage))
            except ValueError as error:
                problems.append(f"stage {stage.name}: {error}")
                continue
            if stage.size is not None:
                found = self.method.too_small(stage, stage.size.height, stage.size.width)
                problems += [f"stages.{stage.name}.size: {finding}" for finding in found]
        problems += self._untrained(stages) if len(stages) == len(self.stages) else []
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

    def _untrained(self, stages: Sequence[Stage]) -> list[str]:
        """Return the problems of networks that the recipe mentions and no stage trains, or not that stage."""
        found = [
            f"stage {stage.name}: segmenter_at: {stage.segmenter_at}, but it trains no segmenter; leave it out"
            for stage in stages
            if stage.segmenter_at and "segmenter" not in (stage.train or ())
        ]
        trained = {name for stage in stages for name in stage.train or ()}
        for name in self.method.must_train:
            if name not in trained:
                places = ", ".join(f"stages.{stage.name}.train" for stage in stages)
                found.append(f"method.{name}: no stage trains it; add {name} to {places}")
        return found

    @property
    def folder(self) -> Path:
        """The run folder: `out`, or `runs/<name>`."""
        return self.out or Path("runs") / self.name


_BY_KIND: Mapping[str, tuple[Callable[[], list[str]], Callable[[str], ModuleType], str]] = {
    "data": (data_kinds, data_module, "Section"),
    "method": (method_kinds, method_module, "Config"),
}
"""Sections whose key `kind` names the file that holds their model: names of all kinds, their modules, the class."""


def _model_of(section: str, value: Any) -> type[Section]:
    """Return the model of a section by its kind; raise ValueError where there is none."""
    kinds, module, name = _BY_KIND[section]
    if not isinstance(value, Mapping) or "kind" not in value:
        raise ValueError(f"starts with kind: one of {', '.join(kinds())}")
    model: type[Section] = getattr(module(str(value["kind"])), name)
    return model


def section_model(key: str, value: Any) -> Any:
    """Return the type of a key of the recipe; of a section with a `kind`, the model of that kind where it is known."""
    if key in _BY_KIND:
        with contextlib.suppress(ValueError):
            return _model_of(key, value)
    return next(field.annotation for name, field in fields_of(Recipe).items() if name == key)


def renamed_networks(values: Any) -> Mapping[str, str]:
    """Return `MethodSection.renamed` for the plain values of a recipe; empty where the method is unknown."""
    method = values.get("method") if isinstance(values, Mapping) else None
    kind = method.get("kind") if isinstance(method, Mapping) else None
    renamed: Mapping[str, str] = method_module(kind).Config.renamed if kind in method_kinds() else {}
    return renamed


def check_recipe(values: Mapping[str, Any], where: str) -> Recipe:
    """Return the recipe that plain `values` describe; raise RecipeError with every problem found."""
    values = dict(values)
    problems: list[Problem] = []
    wrong: set[str] = set()  # sections that are checked once more within Recipe, and whose problems are already listed
    for section in _BY_KIND:
        if section not in values:
            continue
        try:
            model = _model_of(section, values[section])
            values[section] = model.model_validate(values[section])
        except ValidationError as error:
            problems += describe(error, model, (section,))
        except ValueError as error:
            kind = ".kind" if isinstance(values[section], Mapping) and "kind" in values[section] else ""
            problems.append(Problem(f"{section}{kind}", str(error)))
        else:
            continue
        wrong.add(section)
    try:
        recipe = Recipe.model_validate(values)
    except ValidationError as error:
        problems += [problem for problem in describe(error, Recipe) if problem.key.split(".")[0] not in wrong]
    if problems:
        raise RecipeError(where, problems)
    return recipe
