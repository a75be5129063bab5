"""Broken twins of the data check."""

import pytest

from hdtrans.prepare.check import findings


def without_look(patch: pytest.MonkeyPatch, look: str) -> None:
    """Leave out one of the looks at a data set."""
    patch.setattr(findings, look, lambda facts: ())


def stopping_at_the_first_fault(patch: pytest.MonkeyPatch) -> None:
    """Report one finding and no other."""
    find = findings.find_all
    patch.setattr("hdtrans.prepare.check.run.find_all", lambda facts: find(facts)[:1])
