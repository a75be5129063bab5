"""Finds the way of the original programs, which lies outside the package."""

import importlib.util
from pathlib import Path
from typing import Any

from hdtrans.common.errors import UserError

_BESIDE = "tools/original_way.py"


def load_original(file: Path | None) -> Any | None:
    """Return the module of a file, or of the checkout's own; None where hdtrans is no checkout.

    Raises:
        UserError: the file given is not there.
    """
    own = Path(__file__).resolve().parents[2] / _BESIDE
    if file is None and not own.is_file():
        return None
    file = file or own
    if not file.is_file():
        raise UserError(f"--original {file}: there is no such file; a checkout of hdtrans has {_BESIDE}")
    spec = importlib.util.spec_from_file_location("original_way", file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
