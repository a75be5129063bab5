"""Broken twin of the look at installed versions."""

import sys

import pytest

from hdtrans.common import versions
from hdtrans.common.errors import UserError


def tell_and_start(patch: pytest.MonkeyPatch) -> None:
    """Print what is missing and start all the same."""
    check = versions.check_versions

    def tell() -> None:
        try:
            check()
        except UserError as error:
            print(error, file=sys.stderr)

    patch.setattr("hdtrans.common.versions.check_versions", tell)
