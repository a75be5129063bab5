"""The golden files that a clone carries: whole, small, and the same numbers as the files they were packed from."""

from pathlib import Path

import numpy as np
import pytest

from tests.golden_files import CARRIED, OUTPUTS, PACKED, UNIT, Golden, pack, unpack

LIMIT = 3_000_000  # bytes altogether


def test_all_are_there_and_nothing_else_is() -> None:
    found = {file.relative_to(CARRIED).parts for file in CARRIED.rglob("*") if file.is_file()}
    assert found == {*PACKED, ("README.md",)}
    assert sum(file.stat().st_size for file in CARRIED.rglob("*") if file.is_file()) <= LIMIT


@pytest.mark.parametrize("parts", PACKED, ids=lambda parts: Path(*parts).stem)
def test_a_packed_file_holds_the_numbers_of_the_whole_one(parts: tuple[str, ...]) -> None:
    whole, packed = Golden(*parts, whole=True), Golden(*parts)
    assert packed.config == whole.config
    left_out = set(whole.arrays) - set(packed.arrays)
    assert not set(packed.arrays) - set(whole.arrays)
    assert all("/fake" in name and name not in OUTPUTS for name in left_out)
    for name, found in packed.arrays.items():
        expected = whole.arrays[name]
        assert found.shape == expected.shape
        if name.startswith("final/") and expected.dtype == np.float64:
            assert found.dtype == np.float64
            assert np.abs(found - expected).max() <= UNIT / 2
        elif name in OUTPUTS:
            assert np.array_equal(found, expected.astype(np.float32))
        else:
            assert found.dtype == expected.dtype
            assert np.array_equal(found, expected)


def test_packing_keeps_any_numbers() -> None:
    random = np.random.default_rng(0)
    start = random.normal(size=(3, 4)).astype(np.float32)
    arrays = {
        "state/G/a": start,
        "state/G/none": np.zeros((0, 2), np.float32),
        "state/G/count": np.array(3),
        "step0/loss": np.array(0.1),
        "step0/fake": random.normal(size=(1, 3)),
        "step1/fake": random.normal(size=(1, 3)),
        "final/state/G/a": start + random.normal(size=(3, 4)) * np.array([1e-9, 1e-3, 1, 30]),
        "final/state/G/count": np.array(7),
    }
    found = unpack(pack(arrays))
    assert list(found) == [name for name in arrays if name != "step1/fake"]
    for name in set(found) - {"final/state/G/a", "step0/fake"}:
        assert found[name].dtype == arrays[name].dtype
        assert np.array_equal(found[name], arrays[name])
    assert np.abs(found["final/state/G/a"] - arrays["final/state/G/a"]).max() <= UNIT / 2
    assert np.abs(found["step0/fake"] - arrays["step0/fake"]).max() < 1e-6
