"""Recorded outputs and training traces of the original programs: a small set in tests/golden, all in ../shared/golden.

`python -m tests.golden_files` packs the small set anew from the whole one.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor

SHARED = Path(__file__).resolve().parents[2] / "shared"
CARRIED = Path(__file__).resolve().parent / "golden"
PACKED = (  # what a clone carries: both stages of pix2pixHD, pix2pix and CycleGAN
    ("pix2pixhd", "label_encoding.npz"),
    ("pix2pixhd", "train_trace_global.npz"),
    ("pix2pixhd", "train_trace_local.npz"),
    ("pix2pixhd", "train_trace_global_features.npz"),
    ("pix2pix", "train_trace.npz"),
    ("cyclegan", "train_trace.npz"),
)
UNIT = 2.0**-24  # of the final weights in a packed file, which are kept as differences from the start weights
OUTPUTS = ("step0/fake", "step0/fake_A", "step0/fake_B")  # the only generated pictures in a packed file

Arrays = dict[str, npt.NDArray[Any]]


def shared(*parts: str) -> Path:
    """Return a path under ../shared; skip the test if it is not there."""
    path = SHARED.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"needs ../shared/{'/'.join(parts)}, which is not there")
    return path


class Golden:
    """One golden file: `config`, and tensors by prefix.

    Args:
        parts: folder and name, the same in tests/golden and in ../shared/golden.
        whole: read the file in ../shared/golden even if tests/golden carries a packed one.
    """

    def __init__(self, *parts: str, whole: bool = False) -> None:
        carried = not whole and parts in PACKED
        with np.load(CARRIED.joinpath(*parts) if carried else shared("golden", *parts)) as file:
            self.arrays = {name: file[name] for name in file.files}
        self.config: dict[str, Any] = json.loads(bytes(self.arrays.pop("config")))
        if carried:
            self.arrays = unpack(self.arrays)

    def __getitem__(self, name: str) -> Tensor:
        return torch.from_numpy(self.arrays[name])

    def under(self, prefix: str) -> dict[str, Tensor]:
        """Return the tensors whose names start with `prefix/`, without it."""
        prefix += "/"
        return {
            name.removeprefix(prefix): torch.from_numpy(array)
            for name, array in self.arrays.items()
            if name.startswith(prefix)
        }


def pack(arrays: Mapping[str, npt.NDArray[Any]]) -> Arrays:
    """Return the arrays of a golden file as fewer bytes.

    Floats of one kind stand one after the other in one array, float32 and differences split into planes of bytes,
    which compress. `layout` lists [name, kind, shape] in order. Integers stay as they are.
    """
    layout: list[tuple[str, str, tuple[int, ...]]] = []
    floats: dict[str, list[npt.NDArray[Any]]] = {"float32": [], "float64": [], "moved": []}
    packed: Arrays = {}
    for name, array in arrays.items():
        if "/fake" in name and name not in OUTPUTS:
            continue
        if array.dtype.kind != "f":
            kind, packed[name] = "own", array
        elif name.startswith("final/"):
            moved = np.rint((array - arrays[name.removeprefix("final/")].astype(np.float64)) / UNIT).astype(np.int64)
            assert np.abs(moved).max(initial=0) < 2**31, f"{name} moved too far for 32 bits"
            kind, array = "moved", (moved << 1 ^ moved >> 63).astype(np.uint32)  # small numbers of either sign: zigzag
        else:
            kind = "float64" if array.dtype == np.float64 and name not in OUTPUTS else "float32"
        if kind != "own":
            floats[kind].append(array.ravel())
        layout.append((name, kind, array.shape))
    for kind, dtype in (("float32", np.float32), ("moved", np.uint32)):
        values = np.concatenate([np.zeros(0), *floats[kind]]).astype(dtype)
        packed[kind] = np.ascontiguousarray(values.view(np.uint8).reshape(-1, 4).T)
    packed["float64"] = np.concatenate([np.zeros(0), *floats["float64"]])
    packed["layout"] = np.frombuffer(json.dumps(layout).encode(), np.uint8)
    return packed


def unpack(packed: Arrays) -> Arrays:
    """Return the arrays that `pack` was given, final weights in float64 to within `UNIT` / 2."""
    values = {
        "float32": np.ascontiguousarray(packed["float32"].T).view(np.float32).ravel(),
        "float64": packed["float64"],
        "moved": np.ascontiguousarray(packed["moved"].T).view(np.uint32).ravel(),
    }
    arrays: Arrays = {}
    for name, kind, shape in json.loads(bytes(packed["layout"])):
        if kind == "own":
            arrays[name] = packed[name]
            continue
        count = int(np.prod(shape))
        array, values[kind] = values[kind][:count].reshape(shape), values[kind][count:]
        if kind == "moved":
            moved = (array >> 1).astype(np.int64) ^ -(array & 1).astype(np.int64)
            array = arrays[name.removeprefix("final/")] + moved * UNIT
        arrays[name] = array
    return arrays


def main() -> None:
    """Pack the small set anew from ../shared/golden."""
    for parts in PACKED:
        golden = Golden(*parts, whole=True)
        file = CARRIED.joinpath(*parts)
        file.parent.mkdir(parents=True, exist_ok=True)
        config = np.frombuffer(json.dumps(golden.config).encode(), np.uint8)
        np.savez_compressed(file, config=config, **pack(golden.arrays))
        print(f"{file.stat().st_size:9,} bytes  {'/'.join(parts)}")


if __name__ == "__main__":
    main()
