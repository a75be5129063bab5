"""Reading the recorded outputs and training traces of the original programs, kept beside the checkout."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

SHARED = Path(__file__).resolve().parents[2] / "shared"


def shared(*parts: str) -> Path:
    """Return a path under ../shared; skip the test if it is not there."""
    path = SHARED.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"needs ../shared/{'/'.join(parts)}, which is not there")
    return path


class Golden:
    """One golden file: `config`, and tensors by prefix."""

    def __init__(self, *parts: str) -> None:
        with np.load(shared("golden", *parts)) as file:
            self.arrays = {name: file[name] for name in file.files}
        self.config: dict[str, Any] = json.loads(bytes(self.arrays.pop("config")))

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
