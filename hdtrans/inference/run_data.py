"""Training folder of a run, which may have moved since training."""

import os
from pathlib import Path

from hdtrans.common.errors import Advice, MissingFile, UserError, shown
from hdtrans.config.recipe import Recipe
from hdtrans.data.kinds.base import DataKind
from hdtrans.inference.translator import Translator


def current_data(translator: Translator, checkpoint: Path, root: Path | None = None) -> DataKind:
    """Return the section `data` of a run with the folder where the data are now.

    A relative `data.root` is looked up in the current folder, then in the folder where training was started: the one
    from which `out` of the recipe leads to the run folder.

    Args:
        translator: model of the run.
        checkpoint: its checkpoint, in the run folder.
        root: training folder; None: `data.root` of the recipe.

    Raises:
        UserError: there is no such folder; the message lists the places.
    """
    data = translator.data
    if root is not None:
        if not root.is_dir():
            siblings = [path.name for path in root.parent.iterdir()] if root.parent.is_dir() else []
            raise MissingFile(root, "folder", siblings, argument="data")
        return data.model_copy(update={"root": root})
    places = [data.root, *_where_it_started(translator.recipe, checkpoint, data.root)]
    for place in places:
        if place.is_dir():
            return data if place == data.root else data.model_copy(update={"root": place})
    looked = " and ".join(dict.fromkeys(shown(os.path.abspath(place)) for place in places))
    finding = f"there is no such folder (looked for {looked})"
    raise UserError(finding, argument="data.root", path=data.root, advice=[Advice("data", "DIR")])


def _where_it_started(recipe: Recipe, checkpoint: Path, root: Path) -> list[Path]:
    """Return the training folder as seen from where training was started; empty if that is unknown."""
    run, out = checkpoint.resolve().parent.parent, recipe.folder
    ends = out.parts
    if root.is_absolute() or out.is_absolute() or ".." in ends or run.parts[-len(ends) :] != ends:
        return []
    return [run.parents[len(ends) - 1] / root]
