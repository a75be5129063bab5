"""Base model of every section of a recipe."""

from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """One section of a recipe: immutable, and unknown keys are errors.

    Attributes:
        written: form of a section that is written as one text, as WIDTHxHEIGHT; '' for a mapping.
    """

    written: ClassVar[str] = ""

    model_config = ConfigDict(
        frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False, serialize_by_alias=True
    )

    def _settle(self, key: str, value: Any, why: str) -> None:
        """Fill in a key that follows from others; raise ValueError if it was given otherwise."""
        if key in self.model_fields_set and getattr(self, key) != value:
            raise ValueError(f"{key} is {getattr(self, key)}, but {why} makes it {value}; leave {key} out")
        object.__setattr__(self, key, value)
