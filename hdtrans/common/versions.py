"""The oldest versions of what reads files of strangers: older ones have known holes."""

import re
from importlib.metadata import PackageNotFoundError, version

from hdtrans.common.errors import UserError

OLDEST = {"torch": "2.11", "pillow": "12.3"}
"""As `setup.cfg` asks for; an environment may have been changed since."""


def check_versions() -> None:
    """Refuse to start with a version that is too old; what is not installed as a package is passed over.

    Raises:
        UserError: with both versions, and how to get a newer one.
    """
    for name, oldest in OLDEST.items():
        try:
            found = version(name)
        except PackageNotFoundError:
            continue
        if _numbers(found) < _numbers(oldest):
            raise UserError(
                f"{name} {found} is installed, and hdtrans needs {oldest} or newer: files can do harm through older "
                f"ones. python -m pip install --upgrade '{name}>={oldest}'"
            )


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", text)[:2])
