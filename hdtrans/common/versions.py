"""Minimum versions of packages that read untrusted files: older ones have known vulnerabilities."""

import re
from importlib.metadata import PackageNotFoundError, version

from hdtrans.common.errors import UserError

OLDEST = {"torch": "2.11", "pillow": "12.3"}
"""Minimum versions, equal to those in `setup.cfg`; an environment may have changed since the installation."""


def check_versions() -> None:
    """Raise an error for an installed version that is too old; packages without metadata are skipped.

    Raises:
        UserError: a version is too old; the message has both versions and the command to update.
    """
    for name, oldest in OLDEST.items():
        try:
            found = version(name)
        except PackageNotFoundError:
            continue
        if _numbers(found) < _numbers(oldest):
            raise UserError(
                f"{name} {found} is installed; hdtrans needs {oldest} or newer, since files can do harm through older "
                f"versions. Run python -m pip install --upgrade '{name}>={oldest}'"
            )


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", text)[:2])
