"""Keep the results of a command apart from its inputs."""

import os
from collections.abc import Iterable
from pathlib import Path

from hdtrans.common.errors import UserError, shown


def check_apart(
    out: Path, folders: Iterable[Path] = (), files: Iterable[str | Path] = (), argument: str = "out"
) -> None:
    """Raise UserError if results would lie among the inputs, or inputs lie among the results; links are followed.

    Else the next run of the command would read its own results.

    Args:
        out: folder of the results; it need not exist.
        folders: folders that are searched for inputs, with their sub-folders.
        files: single inputs, which only have to lie outside of `out`.
        argument: argument that names `out`.
    """
    own = os.path.realpath(out)
    for folder in folders:
        real = os.path.realpath(folder)
        if real == own or not _inside(own, real):
            _check_outside(real, own, out, folder, argument)
            continue
        finding = f"is inside {shown(folder)}, whose sub-folders are searched too; give a folder outside of it"
        raise UserError(finding, argument=argument, path=out)
    known: dict[str, str] = {}
    for file in files:
        parent, name = os.path.split(file)
        if parent not in known:
            known[parent] = os.path.realpath(parent)
        real = os.path.join(known[parent], name)
        _check_outside(os.path.realpath(real) if os.path.islink(real) else real, own, out, file, argument)


def _check_outside(real: str, own: str, out: Path, given: str | Path, argument: str) -> None:
    if _inside(real, own):
        finding = f"holds inputs of this command as well ({shown(given)}); give results a folder of their own"
        raise UserError(finding, argument=argument, path=out)


def _inside(path: str, folder: str) -> bool:
    return f"{path}/".startswith(os.path.join(folder, ""))
