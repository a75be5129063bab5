"""Inputs as data: the named fields of a batch, the inputs of a model, and its style.

A data kind says which fields its batches hold (`Field`). A method says which of them it needs, and for what (`Input`).
Everything else (loading, tiles, export, the estimate, previews, `infer`) loops over these tables.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Kind = Literal["ids", "image", "vector", "points", "seed"]
"""The kinds of field; `hdtrans.data.fields` holds how each is read, moved, stacked, padded and exported.

- `ids`: (H, W) integers. `size` is the number of classes; None for opaque ids (instances).
- `image`: (H, W, C) with `size` channels.
- `vector`: (N,) numbers, N = `size`.
- `points`: (N, 2) pixel coordinates x, y, N = `size`; NaN where a point is missing.
- `seed`: one integer, from which the network draws its noise on the device.
"""

Values = Literal[
    "classes", "instances", "symmetric", "binary", "lab", "one_hot", "boundaries", "features", "pixels", "normal"
]
"""Meaning of the numbers.

Ids are `classes` or `instances` (opaque). Images lie in [-1, 1]: pictures (`symmetric`), masks (`binary`: -1 or 1),
colours a and b of CIE Lab (`lab`), a channel for each class (`one_hot`), white on `boundaries`, or learnt `features`.
Points are `pixels`. Vectors are `normal` (drawn from N(0, 1) where none is given) or `symmetric` (read, in [-1, 1]).
"""

Role = Literal["condition", "guide", "style", "target"]
"""`condition`: needed to translate. `guide`: drawn by a user, may be missing. `style`: appearance, drawn, taken from a
reference or given. `target`: the true picture, of training alone."""


@dataclass(frozen=True)
class Field:
    """One named field of a batch, or one file of a sample: its kind, size and values (see `Kind`, `Values`)."""

    kind: Kind
    size: int | None = None
    values: Values = "symmetric"


@dataclass(frozen=True)
class Input:
    """One input of a model.

    Attributes:
        name: keyword of the translator's module, of `translator(...)`, of the exported graph, and of `infer`.
        kind, size, values: as of `Field`.
        role: purpose of the input; a `target` is read in training alone.
        over: the input that it lies upon (a mask over the photo): both have one size.
        optional: True if it may be missing, in training data and in translating.
        field: the field of a training batch that holds it; its name, unless a direction says otherwise.
    """

    name: str
    kind: Kind
    size: int | None = None
    values: Values = "symmetric"
    role: Role = "condition"
    over: str | None = None
    optional: bool = False
    field: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "field", self.field or self.name)

    @classmethod
    def of(
        cls, name: str, field: Field, role: Role = "condition", optional: bool = False, source: str = "", over: str = ""
    ) -> "Input":
        """Return the input `name` that is read from a field of the data, called `source` there if not `name`."""
        return cls(name, field.kind, field.size, field.values, role, over or None, optional, source)

    @property
    def spatial(self) -> bool:
        """True if it has a value for every pixel."""
        return self.kind in ("ids", "image")

    @property
    def from_data(self) -> bool:
        """True if training batches hold it; seeds and styles are drawn or encoded instead, unless they are read."""
        return self.kind != "seed" and (self.role != "style" or (self.values == "symmetric" and self.kind == "vector"))


Inputs = tuple[Input, ...]


def translated(inputs: Iterable[Input]) -> Inputs:
    """Return the inputs of translating: all but targets."""
    return tuple(each for each in inputs if each.role != "target")


def lead(inputs: Iterable[Input]) -> Input:
    """Return the input whose files lead in translating: the first required condition with a value for every pixel."""
    return next(each for each in translated(inputs) if each.spatial and not each.optional and each.role == "condition")


def read_fields(inputs: Iterable[Input], optional: bool = True) -> frozenset[str]:
    """Return the fields that training reads; those of optional inputs only if `optional`."""
    return frozenset(each.field for each in inputs if each.from_data and (optional or not each.optional))


@dataclass(frozen=True)
class Style:
    """Appearance that an encoder takes from a photo, or that is drawn.

    Attributes:
        name: the input that carries it: an image of painted per-instance features, or a vector of the whole picture.
        size: numbers of one style.
        of: one style for each `instance`, each `class`, or the whole `picture`.
        ids: the field whose ids own a style each; '' for the whole picture.
        prior: `clusters` of encoded training objects, fitted after training, or `normal`: N(0, 1).
    """

    name: str
    size: int
    of: Literal["instance", "class", "picture"] = "instance"
    ids: str = "instance"
    prior: Literal["clusters", "normal"] = "clusters"
