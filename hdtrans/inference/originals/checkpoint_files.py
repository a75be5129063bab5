"""The files of the original programs: which belong together, their weights and their options."""

import re
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from hdtrans.common.errors import UserError, reading_failure

GENERATORS = ("G", "G_A", "G_B")
ENCODER = "E"
LETTERS = (*GENERATORS, "D", "D_A", "D_B", ENCODER)
_NAME = re.compile(r"(.+)_net_([A-Z](?:_[AB])?)\.pth")
_OPTION = re.compile(r"\s*(\w+): (.*?)\s*(?:\[default: .*\])?\s*")
_CLUSTERS = "features_clustered_*.npy"
_OPTION_FILES = ("train_opt.txt", "opt.txt")


@dataclass(frozen=True)
class OriginalFiles:
    """What lies together in a folder of `checkpoints/`.

    Attributes:
        weights: files by the original's letters for networks: `G`, `D`, `E` (pix2pixHD's encoder of features), or
            `G_A`, `G_B`, `D_A`, `D_B`.
        options: as the original wrote them into its options file; empty where there is none.
        clusters: names of files with clusters of features, which cannot be read.
    """

    weights: dict[str, Path]
    options: dict[str, str]
    clusters: tuple[str, ...] = ()

    @property
    def generator(self) -> Path:
        """The file of the generator, or of the first of two."""
        return next(self.weights[letter] for letter in GENERATORS if letter in self.weights)


def find_originals(path: Path) -> OriginalFiles:
    """Find what belongs to a generator's file, or to the latest generator in a folder.

    Raises:
        UserError: nothing is there, or no generator.
    """
    if not path.exists():
        raise UserError(f"{path}: there is no such file or folder")
    if path.suffix == ".npy":
        raise UserError(
            f"{path}: an array of pickled Python objects, as the original keeps its clusters of features in, could run "
            "code and is not loaded. Bring in the networks (give latest_net_G.pth or its folder), and make clusters "
            "with hdtrans encode_styles"
        )
    if path.is_dir():
        path = _latest(path)
    name = _NAME.fullmatch(path.name)
    if name is None:
        return OriginalFiles({"G": path}, _options_beside(path))
    beside = {letter: path.with_name(f"{name[1]}_net_{letter}.pth") for letter in LETTERS}
    there = {letter: file for letter, file in beside.items() if file.is_file()}
    if name[2] not in GENERATORS:
        raise UserError(f"{path}: is no generator; give the generator's file, and this one is found beside it")
    sides = name[2] != "G"
    weights = {letter: file for letter, file in there.items() if ("_" in letter) == sides}
    clusters = tuple(sorted(file.name for file in path.parent.glob(_CLUSTERS)))
    return OriginalFiles(weights, _options_beside(path), clusters)


def _latest(folder: Path) -> Path:
    found = sorted(file for letter in GENERATORS for file in folder.glob(f"*_net_{letter}.pth"))
    latest = [file for file in found if file.name.startswith("latest_")]
    if latest:
        return latest[0]
    if found:
        raise UserError(f"{folder}: has no latest_net_G.pth; give one of {', '.join(file.name for file in found[:8])}")
    raise UserError(f"{folder}: holds no generator of the original programs (latest_net_G.pth, latest_net_G_A.pth)")


def _options_beside(path: Path) -> dict[str, str]:
    """Return the options in the first file of options beside `path`; they are lines `name: value`."""
    for name in _OPTION_FILES:
        file = path.with_name(name)
        if file.is_file():
            lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
            return {match[1]: match[2] for line in lines if (match := _OPTION.fullmatch(line))}
    return {}


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read a state dict as the original programs save it, with the keys that their present versions use.

    `module.` in front of all keys is taken off. What old versions kept of instance norm is left out, and the counter
    that they did not keep of batch norm is set to 0.

    Raises:
        UserError: the file cannot be read, or holds something else; the message says what.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(64)
    if start.strip() and all(byte in b"\t\r\n" or 32 <= byte < 127 for byte in start):
        raise UserError(f"{path}: is a text file ({start[:32].decode()!r}...), no weights; was the download complete?")
    try:
        weights = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load raises many kinds for a file that holds no weights
        reason = reading_failure(error)
        if "could run code" in reason:
            raise UserError(
                f"{path}: holds Python objects beside weights: {reason}; save the network's state_dict() alone, as the "
                "original programs do"
            ) from None
        raise UserError(
            f"{path}: cannot be read as weights; it has {size:,} bytes and is cut off or damaged, or no file of "
            f"PyTorch ({reason[:160]})"
        ) from None
    if isinstance(weights, dict) and "networks" in weights and "recipe" in weights:
        raise UserError(f"{path}: is a checkpoint of hdtrans already; --to-original turns it into the original's")
    if not isinstance(weights, dict) or not weights or not all(isinstance(x, Tensor) for x in weights.values()):
        keys = f" with {', '.join(map(str, list(weights)[:4]))}" if isinstance(weights, dict) else ""
        raise UserError(f"{path}: holds a {type(weights).__name__}{keys}, not the weights of one network by name")
    return _as_today(weights)


def _as_today(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    wrapped = all(key.startswith("module.") for key in weights)
    weights = {key.removeprefix("module.") if wrapped else key: value.detach() for key, value in weights.items()}
    norms = [key.removesuffix(".running_mean") for key in weights if key.endswith(".running_mean")]
    for norm in norms:
        if f"{norm}.weight" in weights:
            weights.setdefault(f"{norm}.num_batches_tracked", torch.tensor(0))
        else:
            for leaf in ("running_mean", "running_var", "num_batches_tracked"):
                weights.pop(f"{norm}.{leaf}", None)
    return weights
