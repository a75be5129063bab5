"""Parse sizes in bytes, such as 4G."""

import re

from hdtrans.common.errors import UserError


def read_bytes(text: str, argument: str) -> int:
    """Parse a size such as 4G, 512M or 1.5GB (units of 1024) to bytes; raise UserError, with the argument, for another.

    Example: `read_bytes("1.5k", "size")` gives 1536.
    """
    found = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?) ?([KMGT])(?:I?B)?", text.strip().upper())
    if found is None or not float(found[1]):
        raise UserError("not a size; give one such as 4G or 512M", argument=argument, value=text)
    return int(float(found[1]) * 1024 ** (1 + "KMGT".index(found[2])))
