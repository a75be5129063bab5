"""Digests, places of names, and the mixing function of SplitMix64."""

import hashlib
from pathlib import Path

import torch

from hdtrans.common.hashing import GOLDEN_GAMMA, MASK_64, file_digest, mix64, name_share
from hdtrans.networks import dropout


def test_the_first_numbers_of_splitmix64_are_the_published_ones() -> None:
    """Seed 1234567, as in the reference implementation's test vector."""
    state, numbers = 1234567, []
    for _ in range(3):
        state = (state + GOLDEN_GAMMA) & MASK_64
        numbers.append(mix64(state))
    assert numbers == [6457827717110365317, 3203168211198807973, 9817491932198370423]


def test_networks_mix_as_the_host_does() -> None:
    values = [0, 1, 12345, 2**63 - 1, MASK_64]
    mixed = dropout._scramble(torch.tensor([value - (value >> 63 << 64) for value in values]))
    assert [int(x) % 2**64 for x in mixed] == [mix64(value) for value in values]


def test_digests_and_places(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    assert file_digest(tmp_path / "a") == hashlib.sha256(b"abc").hexdigest()
    assert name_share("abc") == int(hashlib.sha256(b"abc").hexdigest()[:16], 16) / 2**64
