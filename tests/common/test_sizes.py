"""Sizes in bytes, parsed from text."""

import pytest

from hdtrans.common.errors import UserError
from hdtrans.common.sizes import read_bytes


@pytest.mark.parametrize(
    ("text", "expected"), [("1k", 1024), ("512M", 512 << 20), ("1.5GB", 3 << 29), (" 2 GiB ", 2 << 30)]
)
def test_sizes(text: str, expected: int) -> None:
    assert read_bytes(text, "size") == expected


@pytest.mark.parametrize("text", ["", "4", "0G", "-1G", "1e3M", "G"])
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(UserError, match=f"^size={text}: not a size; give one such as 4G or 512M"):
        read_bytes(text, "size")
