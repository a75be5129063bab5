"""Load segmentation networks: from `train_segmenter`, torchvision, ONNX, TorchScript or torch.export."""

import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from hdtrans.common.classes import ClassTable
from hdtrans.common.errors import Advice, MissingFile, MissingPackage, UnreadableFile, UserError, reading_failure
from hdtrans.common.files import plain_path
from hdtrans.common.hashing import file_digest
from hdtrans.evaluation.judges.features import torchvision_segmenter
from hdtrans.evaluation.judges.small_segmenter import SegmentationNetwork
from hdtrans.evaluation.judges.train_segmenter import FORMAT

INPUTS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "imagenet": lambda x: (
        (x / 255 - x.new_tensor([0.485, 0.456, 0.406]).view(3, 1, 1))
        / x.new_tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
    ),
    "unit": lambda x: x / 255,
    "symmetric": lambda x: x / 127.5 - 1,
    "bytes": lambda x: x,
}
"""Input normalisations of RGB in [0, 255]: ImageNet mean and deviation, [0, 1], [-1, 1], unchanged."""


@dataclass(frozen=True)
class Segmenter:
    """A segmentation network.

    Attributes:
        run: (B, 3, H, W) float32 RGB in [0, 255] -> (B, C, H', W') scores, or (B, H', W') ids.
        provenance: file and kind, for the protocol.
        size: (height, width) of its input; None for the pictures' own.
        classes: class table of its ids, or None if unknown.
    """

    run: Callable[[Tensor], Tensor]
    provenance: Mapping[str, Any]
    size: tuple[int, int] | None = None
    classes: ClassTable | None = None

    def __call__(self, pictures: Tensor, size: tuple[int, int]) -> tuple[Tensor, int | None]:
        """Return the class of each pixel, (B, H, W) int64 on the CPU, and the number of classes.

        Pictures are resized to the network's input (bicubic, antialiased); scores to `size` (bilinear) before the
        argmax; ids to `size` by nearest neighbour. The number of classes is None for a network that returns ids.

        Args:
            pictures: (B, 3, H, W) uint8 RGB in [0, 255].
            size: (height, width) of the result.
        """
        seen = pictures.float()
        if self.size and tuple(seen.shape[2:]) != self.size:
            seen = F.interpolate(seen, self.size, mode="bicubic", antialias=True).clamp(0, 255)
        found = self.run(seen)
        if found.ndim == 4 and found.shape[1] == 1:
            found = found[:, 0]
        if found.ndim not in (3, 4) or len(found) != len(pictures):
            raise UserError(
                f"returns {tuple(found.shape)} for {tuple(seen.shape)}; expected scores (B, classes, H, W) or ids "
                "(B, H, W)",
                path=self.provenance["file"],
                argument="segmenter",
            )
        if found.ndim == 3:
            ids = found[:, None].double()
            ids = ids if tuple(found.shape[1:]) == size else F.interpolate(ids, size, mode="nearest-exact")
            return ids[:, 0].long().cpu(), None
        scores = found.float()
        if tuple(scores.shape[2:]) != size:
            scores = F.interpolate(scores, size, mode="bilinear")
        return scores.argmax(1).cpu(), found.shape[1]


def load_segmenter(file: Path, device: torch.device, takes: str = "imagenet", trust: bool = False) -> Segmenter:
    """Load a segmentation network.

    Args:
        file: file of `hdtrans train_segmenter`, weights of a segmentation network of torchvision, ONNX, TorchScript, or
            `torch.export`.
        device: device of the network; ONNX runs on the CPU.
        takes: key of `INPUTS`, for networks other than those of `train_segmenter`.
        trust: allow TorchScript and torch.export, which can run code from the file.

    Raises:
        UserError: the file does not exist, cannot be used, or is a program without `trust`.
    """
    if not file.is_file():
        siblings = [path.name for path in file.parent.iterdir()] if file.parent.is_dir() else []
        raise MissingFile(file, there=siblings, argument="segmenter")
    provenance = {"file": str(file), "sha256": file_digest(file)}
    if file.suffix == ".onnx":
        return _onnx(file, takes, provenance)
    program = _program(file)
    if not program:
        return _weights(file, device, takes, provenance)
    if not trust:
        raise UserError(
            f"a {program} file can run code when it is loaded",
            path=file,
            argument="segmenter",
            advice=["export the network as ONNX", Advice("trust", reason="if you know its origin")],
        )
    try:
        if program == "torch.export":
            module: Any = torch.export.load(file).module().to(device)
        else:
            module = torch.jit.load(file, map_location=device).eval()
    except Exception as error:  # torch raises many kinds for a file that it cannot use
        raise UnreadableFile(file, reading_failure(error), argument="segmenter") from None
    return Segmenter(_runner(module, device, takes), {**provenance, "kind": program, "takes": takes})


def _runner(module: Callable[[Tensor], Any], device: torch.device, takes: str) -> Callable[[Tensor], Tensor]:
    """Return a call that normalises pictures and runs a network of torch."""

    def run(pictures: Tensor) -> Tensor:
        with torch.inference_mode():
            found = module(INPUTS[takes](pictures.to(device)))
        return found["out"] if isinstance(found, Mapping) else found

    return run


def _program(file: Path) -> str:
    """Return `torch.export` or `TorchScript` for a program file, else ''."""
    if not zipfile.is_zipfile(file):
        return ""
    with zipfile.ZipFile(file) as archive:
        names = archive.namelist()
    if file.suffix == ".pt2" or any(name.endswith("archive_format") for name in names):
        return "torch.export"
    return "TorchScript" if any("/code/" in name for name in names) else ""


def _weights(file: Path, device: torch.device, takes: str, provenance: Mapping[str, Any]) -> Segmenter:
    """Load a network of `train_segmenter` or torchvision from its weights."""
    try:
        with plain_path(file) as plain:
            state = torch.load(plain, map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load raises many kinds for a file that is no checkpoint
        raise UnreadableFile(file, reading_failure(error), argument="segmenter") from None
    if isinstance(state, Mapping) and "hdtrans_segmenter" in state:
        return _own(file, state, device, provenance)
    weights = (
        state.get("model", state) if isinstance(state, Mapping) else None
    )  # torchvision's training scripts save them under "model"
    found = torchvision_segmenter(weights) if isinstance(weights, Mapping) else None
    if found is None:
        raise UserError(
            "neither a file of hdtrans train_segmenter nor weights of a segmentation network of torchvision",
            path=file,
            argument="segmenter",
            advice=["export other networks as ONNX"],
        )
    name, network = found
    module = network.requires_grad_(False).eval().to(device)
    return Segmenter(_runner(module, device, takes), {**provenance, "kind": f"torchvision {name}", "takes": takes})


def _own(file: Path, state: Mapping[str, Any], device: torch.device, provenance: Mapping[str, Any]) -> Segmenter:
    if state["hdtrans_segmenter"] > FORMAT:
        raise UserError(f"written by a later hdtrans ({state['version']})", path=file, argument="segmenter")
    classes = ClassTable.from_dict(state["classes"], str(file))
    network = SegmentationNetwork(len(classes), state["width"])
    network.load_state_dict(state["weights"])
    network = network.requires_grad_(False).eval().to(memory_format=torch.channels_last).to(device)

    def run(pictures: Tensor) -> Tensor:
        with torch.inference_mode():
            return network(pictures.to(device, memory_format=torch.channels_last))

    height, width = state["size"]
    more = {"training": state["training"], "held_back": state["held_back"]}
    return Segmenter(
        run, {**provenance, "kind": "hdtrans", "size": f"{width}x{height}", **more}, (height, width), classes
    )


def _onnx(file: Path, takes: str, provenance: Mapping[str, Any]) -> Segmenter:
    try:
        import onnxruntime
    except ImportError:
        raise MissingPackage("onnxruntime", "export", path=file, argument="segmenter") from None
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's errors share no public base
        raise UnreadableFile(file, reading_failure(error), "ONNX", argument="segmenter") from None
    inputs = session.get_inputs()
    if len(inputs) != 1 or len(inputs[0].shape) != 4:
        raise UserError(
            f"has inputs {[x.shape for x in inputs]}; expected one (B, 3, H, W)", path=file, argument="segmenter"
        )
    height, width = inputs[0].shape[2:]
    fixed = isinstance(height, int) and isinstance(width, int)
    one_by_one = inputs[0].shape[0] == 1

    def run(pictures: Tensor) -> Tensor:
        given = INPUTS[takes](pictures.cpu()).numpy()
        parts = np.split(given, len(given)) if one_by_one else [given]
        found = [session.run(None, {inputs[0].name: part})[0] for part in parts]
        return torch.from_numpy(np.concatenate(found))

    size = (height, width) if fixed else None
    return Segmenter(run, {**provenance, "kind": "ONNX", "takes": takes, "onnxruntime": onnxruntime.__version__}, size)
