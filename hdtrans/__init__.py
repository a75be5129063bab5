"""High-resolution image-to-image translation in PyTorch."""

import importlib
from typing import TYPE_CHECKING

__version__ = "0.1.0"
__all__ = [
    "PictureWarning",
    "Recipe",
    "Run",
    "Translator",
    "UserError",
    "__version__",
    "evaluate",
    "load_recipe",
    "train",
]

if TYPE_CHECKING:
    from hdtrans.api import Run, evaluate, train
    from hdtrans.common.errors import PictureWarning, UserError
    from hdtrans.config.loading import load_recipe
    from hdtrans.config.recipe import Recipe
    from hdtrans.inference.translator import Translator
else:
    _MODULES = {
        "PictureWarning": "hdtrans.common.errors",
        "Recipe": "hdtrans.config.recipe",
        "Run": "hdtrans.api",
        "Translator": "hdtrans.inference.translator",
        "UserError": "hdtrans.common.errors",
        "evaluate": "hdtrans.api",
        "load_recipe": "hdtrans.config.loading",
        "train": "hdtrans.api",
    }

    def __getattr__(name: str) -> object:
        """Import a public name, and torch with most of them, at its first use."""
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(importlib.import_module(_MODULES[name]), name)
        globals()[name] = value
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
