"""High-resolution image-to-image translation in PyTorch."""

from typing import TYPE_CHECKING

__version__ = "0.1.0"
__all__ = ["Translator", "__version__"]

if TYPE_CHECKING:
    from hdtrans.inference.translator import Translator
else:

    def __getattr__(name: str) -> object:
        """Import the Translator, and torch with it, when it is first asked for."""
        if name != "Translator":
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from hdtrans.inference.translator import Translator

        return Translator
