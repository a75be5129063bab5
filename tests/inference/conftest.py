"""Every picture of these tests is of fp32 where no type is named: their tolerances are."""

import pytest


@pytest.fixture(scope="module", autouse=True)
def _in_fp32(in_fp32: None) -> None:
    """Ask for it in every module."""
