"""Find coded pictures that are cut off: decoders fill what is missing, or refuse it in words of their own."""

import re

_JPEG_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")  # what ends the coded pixels: no stuffing, fill or restart


def check_png(data: bytes) -> None:
    """Raise ValueError unless every chunk up to IEND is complete."""
    place = 8
    while place + 12 <= len(data):
        length, name = int.from_bytes(data[place : place + 4], "big"), data[place + 4 : place + 8]
        place += length + 12
        if name == b"IEND" and place <= len(data):
            return
    raise ValueError("is cut off: its last chunk is missing")


def still_png(data: bytes) -> bytes:
    """Return a complete PNG without its animation (acTL, fcTL, fdAT), whose first frame may differ from the picture."""
    parts, place = [data[:8]], 8
    while place + 12 <= len(data):
        length, name = int.from_bytes(data[place : place + 4], "big"), data[place + 4 : place + 8]
        if name not in (b"acTL", b"fcTL", b"fdAT"):
            parts.append(data[place : place + length + 12])
        place += length + 12
    return b"".join(parts)


def check_jpeg(data: bytes) -> None:
    """Raise ValueError unless there are coded pixels and an end marker after them."""
    place, scans = 2, 0
    while marker := _JPEG_MARKER.search(data, place):
        code, place = data[marker.start() + 1], marker.end()
        if code == 0xD9 and scans:
            return
        scans += code == 0xDA
        place += int.from_bytes(data[place : place + 2], "big")
    raise ValueError("is cut off: its end marker is missing")
