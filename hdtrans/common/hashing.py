"""Digests of files, the place of a name in [0, 1), and the mixing function of SplitMix64."""

import hashlib
import os
from pathlib import Path

GOLDEN_GAMMA = 0x9E3779B97F4A7C15
"""Increment of SplitMix64: 2^64 over the golden ratio, odd."""

MASK_64 = 2**64 - 1


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def name_share(name: str) -> float:
    """Return a name's place in [0, 1]: the first 64 bits of its SHA-256 as a fraction of their range."""
    return int.from_bytes(hashlib.sha256(os.fsencode(name)).digest()[:8], "big") / 2**64


def mix64(value: int) -> int:
    """Mix an integer in [0, 2^64) into another (finaliser of SplitMix64, Steele et al., 2014)."""
    value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9 & MASK_64
    value = (value ^ (value >> 27)) * 0x94D049BB133111EB & MASK_64
    return value ^ (value >> 31)
