"""Read published models: .safetensors, .onnx, .pt2.

The description of the model in a checkpoint (version, recipe, classes with their palette, images seen) is in the file's
metadata as JSON, under the keys of the checkpoint.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from hdtrans.common.errors import Advice, UserError, reading_failure
from hdtrans.common.files import plain_path
from hdtrans.config.inputs import Inputs, lead, translated
from hdtrans.data.fields import kind_of
from hdtrans.engine.checkpoint import rename_networks
from hdtrans.inference.styles.clusters import Styles

FORMS = {".safetensors": ("safetensors",), ".onnx": ("onnxruntime",), ".pt2": ()}  # packages that read them
KEYS = ("version", "recipe", "classes", "images_seen", "stage", "route")
STYLES = "styles"  # only in files of models with styles
_PREFIX = "hdtrans."
IN_PROGRAM = _PREFIX + "json"  # extra file of a .pt2


def to_metadata(state: Mapping[str, Any]) -> dict[str, str]:
    """Return the metadata of a published file, from a state with `KEYS` and perhaps `STYLES`."""
    keys = [*KEYS, *([STYLES] if state.get(STYLES) is not None else [])]
    return {_PREFIX + key: json.dumps(state[key], ensure_ascii=False) for key in keys}


def need(packages: tuple[str, ...], file: Path) -> None:
    """Raise UserError, with the command that installs them, if packages for a file are missing."""
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(f"needs {' and '.join(missing)}: pip install 'hdtrans[export]'", path=file)


def read_published(path: Path, device: torch.device, trust: bool = False) -> dict[str, Any]:
    """Read a published model as the state of a checkpoint; an .onnx or .pt2 adds the `graph` that translates.

    Args:
        path: file that ends in one of `FORMS`.
        device: device of the module.
        trust: load a .pt2.

    Raises:
        UserError: the file is damaged, was not published by hdtrans, is not trusted, or a package is missing.
    """
    need(FORMS[path.suffix], path)
    if path.suffix == ".pt2" and not trust:
        raise UserError(
            "a .pt2 can run code of its maker when it is loaded",
            path=path,
            advice=[
                Advice("trust", reason="if it is yours or you trust who made it"),
                "take the .safetensors or .onnx of the same model, which cannot",
            ],
        )
    read = {".safetensors": _read_safetensors, ".onnx": _read_onnx, ".pt2": _read_pt2}[path.suffix]
    try:
        with plain_path(path) as plain:
            metadata, found = read(Path(plain), device)
    except Exception as error:  # each reader raises kinds of its own
        reason = reading_failure(error)
        size = f"{path.stat().st_size:,} bytes"
        raise UserError(f"cannot be read ({reason}); it has {size} and may be cut off", path=path) from None
    missing = [key for key in KEYS if _PREFIX + key not in metadata]
    if missing:
        raise UserError(f"is no model that hdtrans published (its metadata lack {', '.join(missing)})", path=path)
    state = {key: json.loads(metadata[_PREFIX + key]) for key in KEYS}
    return rename_networks({"networks": {}, "ema": None, STYLES: _styles(metadata, path), **state, **found})


def _styles(metadata: Mapping[str, str], path: Path) -> Styles | None:
    """Return the styles in a file's metadata, or None."""
    if _PREFIX + STYLES not in metadata:
        return None
    try:
        return Styles.from_dict(json.loads(metadata[_PREFIX + STYLES]))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(f"the styles in its metadata cannot be read: {error}", path=path) from None


def _read_safetensors(path: Path, device: torch.device) -> tuple[dict[str, str], dict[str, Any]]:
    from safetensors import safe_open

    with safe_open(str(path), "pt") as file:
        return file.metadata() or {}, {"networks": {name: file.get_tensor(name) for name in file.keys()}}  # noqa: SIM118


def _read_onnx(path: Path, device: torch.device) -> tuple[dict[str, str], dict[str, Any]]:
    import onnxruntime

    wanted = ["CUDAExecutionProvider"] if device.type == "cuda" else []
    there = onnxruntime.get_available_providers()
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors
    options.intra_op_num_threads = torch.get_num_threads()
    providers = [name for name in [*wanted, "CPUExecutionProvider"] if name in there]
    session = onnxruntime.InferenceSession(str(path), options, providers=providers)

    def run(inputs: Mapping[str, Tensor]) -> Tensor:
        return torch.from_numpy(session.run(None, {name: x.cpu().numpy() for name, x in inputs.items()})[0])

    names = [each.name for each in session.get_inputs()]
    return session.get_modelmeta().custom_metadata_map, {"graph": Graph(run, names)}


def _read_pt2(path: Path, device: torch.device) -> tuple[dict[str, str], dict[str, Any]]:
    from torch.export.passes import move_to_device_pass

    extra = {IN_PROGRAM: ""}
    program = torch.export.load(str(path), extra_files=extra)
    if device.type != "cpu":
        program = move_to_device_pass(program, device)
    module = program.module()
    return json.loads(extra[IN_PROGRAM] or "{}"), {"graph": Graph(lambda inputs: module(**inputs))}


def as_graph_inputs(inputs: Mapping[str, Tensor], specs: Inputs) -> dict[str, Tensor]:
    """Return inputs as exported graphs take them: ids int32, images and numbers float32, seeds int64."""
    return {each.name: kind_of(each).as_graph_input(inputs[each.name]) for each in specs if each.name in inputs}


class Graph:
    """An exported graph.

    Args:
        run: function from tensors by name to the picture (B, C, H, W).
        names: inputs of the graph; None: all inputs of the model.
    """

    def __init__(self, run: Callable[[Mapping[str, Tensor]], Tensor], names: Sequence[str] | None = None) -> None:
        self.run = run
        self.names = names

    def module(self, specs: Inputs) -> nn.Module:
        """Return a module with the signature of a method's translator with these inputs."""
        return _GraphModule(self, specs)


class _GraphModule(nn.Module):
    def __init__(self, graph: Graph, specs: Inputs) -> None:
        super().__init__()
        self.graph, self.specs = graph, translated(specs)

    def forward(self, **inputs: Tensor) -> Tensor:
        first = inputs[lead(self.specs).name]
        for each in self.specs:  # a graph requires all its inputs
            wanted = self.graph.names is None or each.name in self.graph.names
            if each.name not in inputs and each.optional and wanted:
                absent = kind_of(each).absent(each, len(first), *first.shape[-2:])
                inputs[each.name] = absent.to(first.device)
        return self.graph.run(as_graph_inputs(inputs, self.specs))

    def eval(self) -> _GraphModule:
        """Return itself: a graph is exported for translating, and PyTorch refuses to switch it."""
        return self

    def train(self, mode: bool = True) -> _GraphModule:
        """Return itself, as `eval`."""
        return self
