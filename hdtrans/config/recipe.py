"""The recipe: what one experiment is, read from YAML, checked whole before anything runs.

A recipe has four sections. `data` says which files are read, `method` which networks and losses are trained (its
model lives in the method's own file), `training` how, and `stages` in which order and at which sizes. A fifth,
`validate`, says what is measured meanwhile.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    Field,
    SerializeAsAny,
    ValidationError,
    ValidationInfo,
    field_serializer,
    field_validator,
    model_validator,
)

from hdtrans.common.errors import UserError
from hdtrans.config.data import Data
from hdtrans.config.problems import describe
from hdtrans.config.registry import method_kinds, method_module
from hdtrans.config.section import Section
from hdtrans.config.stage import Stage
from hdtrans.config.training import Training
from hdtrans.config.validation import Validate


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
