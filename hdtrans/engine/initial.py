"""Weights that a new run takes over from another, classes by their names where the class tables differ."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from torch import Tensor, nn

from hdtrans.common.classes import ClassTable
from hdtrans.common.errors import UserError
from hdtrans.engine import checkpoint
from hdtrans.methods.base import ClassAxes, ClassAxis


@dataclass(frozen=True)
class Classes:
    """Classes of two tables.

    Attributes:
        before, after: numbers of classes there and here.
        pairs: ids of the same class, there and here.
        new: names that are here alone.
        gone: names that are there alone.
        by_id: True if one table has no names, so that ids count.
    """

    before: int
    after: int
    pairs: tuple[tuple[int, int], ...]
    new: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()
    by_id: bool = False

    @classmethod
    def between(cls, there: ClassTable, here: ClassTable) -> "Classes | None":
        """Match classes by name, of equal names the first with the first.

        Where a table has no names, ids count, if both are of one length; else the result is None.
        """
        nameless = [table.names == ClassTable.generic(len(table)).names for table in (there, here)]
        if any(nameless):
            ids = tuple((n, n) for n in range(len(there)))
            by_id = not all(nameless)
            return cls(len(there), len(here), ids, by_id=by_id) if len(there) == len(here) else None
        ours, theirs = _named(here), _named(there)
        pairs = tuple((theirs[name], ours[name]) for name in ours if name in theirs)
        new, gone = (tuple(key[0] for key in a if key not in b) for a, b in ((ours, theirs), (theirs, ours)))
        return cls(len(there), len(here), pairs, new, gone)

    @property
    def unchanged(self) -> bool:
        """True if every class keeps its id."""
        return self.before == self.after and self.pairs == tuple((n, n) for n in range(self.after))

    def __str__(self) -> str:
        if self.by_id:
            return "classes by id, for one of the two class tables has no names"
        text = f"classes by name: {len(self.pairs)} of {self.after}"
        more = (("new", self.new), ("left out", self.gone))
        return text + "".join(f"; {what}: {', '.join(names)}" for what, names in more if names)


def _named(table: ClassTable) -> dict[tuple[str, int], int]:
    """Return ids by name and number among equal names."""
    numbers: dict[str, count[int]] = {}
    return {(name, next(numbers.setdefault(name, count()))): n for n, name in enumerate(table.names)}


def reordered(given: Tensor, own: Tensor, axis: ClassAxis, classes: Classes) -> Tensor | None:
    """Return a tensor of another run with its classes in the order of this one; new classes as in `own`.

    Args:
        given: tensor there.
        own: tensor here, as initialised.
        axis: place of the classes in both.
        classes: classes of both.

    Returns:
        The tensor in the shape of `own`; None if the two differ in more than their classes.
    """
    grouped = [x.unflatten(axis.dim, (-1, axis.group)).movedim(axis.dim, 0) for x in (given, own)]
    there, here = grouped[0], grouped[1].clone()
    rest = len(there) - axis.start - classes.before
    if rest < 0 or rest != len(here) - axis.start - classes.after or there.shape[1:] != here.shape[1:]:
        return None
    here[: axis.start] = there[: axis.start]
    here[axis.start + classes.after :] = there[axis.start + classes.before :]
    for old, new in classes.pairs:
        here[axis.start + new] = there[axis.start + old]
    return here.movedim(0, axis.dim).reshape(own.shape)


def initialise_from(
    networks: nn.ModuleDict,
    path: Path,
    table: ClassTable | None = None,
    class_axes: Callable[[], ClassAxes] | None = None,
) -> str:
    """Load the networks from another run or checkpoint; return a message that lists loaded and new ones.

    Args:
        networks: networks of the new run, initialised.
        path: run folder or checkpoint.
        table: classes of the new run's label maps; None without.
        class_axes: returns the tensors with an axis of classes; None where the method does not know.

    Raises:
        UserError: a network of the same name has other shapes, or none has the same name.
    """
    file = checkpoint.find_checkpoint(path)
    state = checkpoint.load(file)
    weights, classes, lines = state["networks"], None, []
    if table is not None and state.get("classes") is not None:
        classes = Classes.between(ClassTable.from_dict(state["classes"], f"{file} (its classes)"), table)
    axes: ClassAxes = {}
    if classes is not None and not classes.unchanged:
        if class_axes is None:
            lines.append("classes keep their ids, for the method does not say where its networks have classes")
        else:
            axes = class_axes()
    if classes is not None and (axes or classes.by_id):
        lines.append(str(classes))
    taken = []
    for name, network in networks.items():
        prefix = f"{name}."
        given = {key.removeprefix(prefix): value for key, value in weights.items() if key.startswith(prefix)}
        if not given:
            continue
        own = network.state_dict()
        if classes is not None:
            for key in [key for key in own if key in given and prefix + key in axes]:
                moved = reordered(given[key], own[key], axes[prefix + key], classes)
                given[key] = given[key] if moved is None else moved
        wrong = [k for k in {*own, *given} if k not in own or k not in given or own[k].shape != given[k].shape]
        if wrong:
            raise UserError(
                f"init_from: {file}: {name} there has other weights than here (first: {sorted(wrong)[0]}); "
                "give both recipes the same section method and data.labels, or both data sets named classes "
                "(dataset.json), which are taken over by name"
            )
        network.load_state_dict(given)
        taken.append(name)
    if not taken:
        raise UserError(f"init_from: {file}: has no network of this method's names ({', '.join(networks)})")
    if fresh := [name for name in networks if name not in taken]:
        lines.insert(0, f"new: {', '.join(fresh)}")
    return "; ".join([f"started from {file}: {', '.join(taken)}", *lines])
