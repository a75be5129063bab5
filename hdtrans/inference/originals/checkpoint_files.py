"""Files of the original programs: find them, and read weights and options."""

import re
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from hdtrans.common.errors import Advice, MissingFile, UserError, reading_failure
from hdtrans.common.files import plain_path

GENERATORS = ("G", "G_A", "G_B")
ENCODER = "E"
LETTERS = (*GENERATORS, "D", "D_A", "D_B", ENCODER)
_NAME = re.compile(r"(.+)_net_([A-Z](?:_[AB])?)\.pth")
_OPTION = re.compile(r"\s*(\w+): (.*?)\s*(?:\[default: .*\])?\s*")
_CLUSTERS = "features_clustered_*.npy"
_OPTION_FILES = ("train_opt.txt", "opt.txt")


@dataclass(frozen=True)
class OriginalFiles:
    """The files of one model in a folder of `checkpoints/`.

    Attributes:
        weights: files by the original's letters for networks: `G`, `D`, `E` (encoder of pix2pixHD), or `G_A`, `G_B`,
            `D_A`, `D_B`.
        options: options as the original wrote them into its options file; empty without a file.
        clusters: names of files with clusters of features, which are not read.
    """

    weights: dict[str, Path]
    options: dict[str, str]
    clusters: tuple[str, ...] = ()

    @property
    def generator(self) -> Path:
        """The file of the generator, or of the first of two generators."""
        return next(self.weights[letter] for letter in GENERATORS if letter in self.weights)


def find_originals(path: Path) -> OriginalFiles:
    """Return the files that belong to a generator's file, or to the latest generator in a folder.

    Args:
        path: file of a generator, or a folder.

    Raises:
        UserError: the path does not exist, or holds no generator.
    """
    if not path.exists():
        raise MissingFile(path, "file or folder")
    if path.suffix == ".npy":
        raise UserError(
            "an array of pickled Python objects, as the original stores its clusters of features, could run code and "
            "is not loaded. Convert the networks (give latest_net_G.pth or its folder), then make clusters with "
            "hdtrans encode_styles",
            path=path,
        )
    if path.is_dir():
        path = _latest(path)
    name = _NAME.fullmatch(path.name)
    if name is None:
        return OriginalFiles({"G": path}, _options_beside(path))
    beside = {letter: path.with_name(f"{name[1]}_net_{letter}.pth") for letter in LETTERS}
    there = {letter: file for letter, file in beside.items() if file.is_file()}
    if name[2] not in GENERATORS:
        raise UserError("is no generator; give the generator's file, and this one is found beside it", path=path)
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
        names = ", ".join(file.name for file in found[:8])
        raise UserError(f"has no latest_net_G.pth; give one of {names}", path=folder)
    raise UserError("holds no generator of the original programs (latest_net_G.pth, latest_net_G_A.pth)", path=folder)


def _options_beside(path: Path) -> dict[str, str]:
    """Return the options of the first options file beside `path`, from its lines `name: value`."""
    for name in _OPTION_FILES:
        file = path.with_name(name)
        if file.is_file():
            lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
            return {match[1]: match[2] for line in lines if (match := _OPTION.fullmatch(line))}
    return {}


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read a state dict of the original programs, with the keys of their present versions.

    A prefix `module.` is removed. Statistics of instance norm, which old versions kept, are dropped; the counter of
    batch norm, which they lacked, is set to 0.

    Raises:
        UserError: the file cannot be read, or holds something else.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(64)
    if start.strip() and all(byte in b"\t\r\n" or 32 <= byte < 127 for byte in start):
        finding = f"is a text file ({start[:32].decode()!r}...), no weights; was the download complete?"
        raise UserError(finding, path=path)
    try:
        with plain_path(path) as plain:
            weights = torch.load(plain, map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load raises many kinds for a file that holds no weights
        reason = reading_failure(error)
        if "could run code" in reason:
            finding = f"holds Python objects beside weights: {reason}"
            advice = ["save the network's state_dict() alone, as the original programs do"]
            raise UserError(finding, path=path, advice=advice) from None
        raise UserError(
            f"cannot be read as weights; it has {size:,} bytes and is cut off or damaged, or no file of PyTorch "
            f"({reason[:160]})",
            path=path,
        ) from None
    if isinstance(weights, dict) and "networks" in weights and "recipe" in weights:
        way = Advice("folder", "DIR", "to convert it to the original's")
        raise UserError("is a checkpoint of hdtrans already", path=path, advice=[way])
    if not isinstance(weights, dict) or not weights or not all(isinstance(x, Tensor) for x in weights.values()):
        keys = f" with {', '.join(map(str, list(weights)[:4]))}" if isinstance(weights, dict) else ""
        finding = f"holds a {type(weights).__name__}{keys}, not the weights of one network by name"
        raise UserError(finding, path=path)
    return _present_keys(weights)


def _present_keys(weights: dict[str, Tensor]) -> dict[str, Tensor]:
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
