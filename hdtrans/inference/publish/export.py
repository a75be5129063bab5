"""Export a model as .safetensors, .onnx or .pt2, and compare its pictures with the checkpoint's."""

from __future__ import annotations

import json
import shutil
import tempfile
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.fx.experimental._config as shape_config
from torch import Tensor

import hdtrans
from hdtrans.common.errors import UnknownName, UserError, nearest
from hdtrans.common.files import plain_path, whole_file
from hdtrans.config.stage import Size
from hdtrans.data.fields import BATCH, HEIGHT, WIDTH, as_floats, kind_of
from hdtrans.inference.publish.published import FORMS, IN_PROGRAM, as_graph_inputs, need, to_metadata
from hdtrans.inference.publish.trial_inputs import Samples
from hdtrans.inference.translator import Translator

OPSET = 18
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
WRITERS = {".safetensors": ("safetensors",), ".onnx": ("onnx", "onnxscript", "onnxruntime"), ".pt2": ()}
PICTURE = {0: BATCH, 2: HEIGHT, 3: WIDTH}  # dynamic dimensions of the result
LEVEL = 1.0  # largest difference of a published model, in levels of 255


def export(
    model: Path,
    out: Path,
    size: Size,
    dtype: str = "fp32",
    averaged: bool = True,
    direction: str = "",
    given: Path | None = None,
    instances: Path | None = None,
) -> tuple[list[str], bool]:
    """Write a model for publication, if the file makes the same pictures.

    Args:
        model: run folder or checkpoint.
        out: new file; its ending decides the form.
        size: size of the first comparison; the second has another multiple of the network's stride, the third is odd.
        dtype: type of the weights in a .safetensors: `fp32`, `bf16` or `fp16`.
        averaged: publish averaged weights if the checkpoint has them.
        direction: direction of the translation; a .safetensors without one holds all.
        given, instances: input to compare on: see `Samples`.

    Returns:
        Lines on the comparison, and True if the file was written; it is not if its pictures differ.

    Raises:
        UserError: there is no such model, ending, type or direction, `out` exists, or a package is missing.
    """
    if out.suffix not in FORMS:
        finding = f"ends in none of {', '.join(FORMS)}.{nearest(out.suffix, FORMS)}"
        raise UserError(finding, argument="out", path=out)
    if dtype not in DTYPES:
        raise UnknownName("type", dtype, DTYPES, argument="dtype", value=dtype)
    if dtype != "fp32" and out.suffix != ".safetensors":
        raise UserError(f"is for .safetensors; {out.suffix} holds fp32", argument="dtype", value=dtype)
    if model.suffix in FORMS:
        raise UserError("is published already; give its run folder or checkpoint", argument="model", path=model)
    if out.exists():
        raise UserError("exists already; remove it or choose another name", argument="out", path=out)
    need(WRITERS[out.suffix], out)
    own = Translator.load(model, "cpu", "fp32", averaged, direction)
    samples = Samples(own, given, instances)
    lines = _round(own, samples, size, dtype)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name[:40]}.", dir=out.parent) as folder:
        file = Path(folder) / f"model{out.suffix}"
        with plain_path(folder) as plain:
            _write(own, Path(plain) / file.name, DTYPES[dtype], every=not direction)
        read_back = Translator.load(file, "cpu", "fp32", direction=own.direction, trust=True)
        compared, equal = _compare(own, read_back, samples, size)
        if equal:
            with file.open("rb") as source, whole_file(out) as target:
                shutil.copyfileobj(source, target, 1 << 24)
    written = f"{out.stat().st_size / 2**20:.1f} MiB" if equal else "was not written: it makes other pictures"
    return [*lines, *compared, f"{out}: {written}"], equal


def _round(own: Translator, samples: Samples, size: Size, dtype: str) -> list[str]:
    """Round the weights to the type of the file; return a line on the change of a picture."""
    if dtype == "fp32":
        return []
    inputs = samples.inputs(size.height, size.width)
    before = _picture(own, inputs)
    for weight in own.module.parameters():
        weight.data = weight.data.to(DTYPES[dtype]).float()
    apart = float((_picture(own, inputs) - before).abs().max())
    return [f"{dtype}: rounding the weights changes a picture by up to {apart:.1f} levels of 255"]


def _write(own: Translator, file: Path, dtype: torch.dtype, every: bool) -> None:
    state = {
        "version": hdtrans.__version__,
        "recipe": own.recipe.model_dump(mode="json"),
        "classes": None if own.classes is None else own.classes.to_dict(),
        "images_seen": own.images_seen,
        "stage": own.stage,
        "route": own.direction,
        "styles": None if own.styles is None else own.styles.to_dict(),
    }
    if file.suffix == ".safetensors":
        _write_safetensors(own, file, dtype, {**state, "route": "" if every else own.direction}, every)
        return
    # Two pictures whose size is no multiple of the stride, so that the graph takes any batch and size.
    stride = _stride(own)
    inputs = as_graph_inputs(Samples(own).inputs(3 * stride - 1, 4 * stride - 3, batch=2), own.inputs)
    varying = {each.name: kind_of(each).dynamic() for each in own.inputs if each.name in inputs}
    sizes = {name: dict.fromkeys(dims, torch.export.Dim.DYNAMIC) for name, dims in varying.items()}
    # Else the graph would fail if the smallest feature maps have one pixel.
    with torch.no_grad(), shape_config.patch(backed_size_oblivious=True):  # type: ignore[attr-defined]
        program = torch.export.export(own.module, (), inputs, dynamic_shapes=sizes)
    if file.suffix == ".pt2":
        torch.export.save(program, str(file), extra_files={IN_PROGRAM: json.dumps(to_metadata(state))})
    else:
        _write_onnx(program, inputs, varying, file, to_metadata(state))


def _stride(own: Translator) -> int:
    stride: Any = own.module.stride
    return int(stride if isinstance(stride, int) else stride[0])


def _write_safetensors(own: Translator, file: Path, dtype: torch.dtype, state: Mapping[str, Any], every: bool) -> None:
    from safetensors.torch import save_file

    method = own.method
    directions = method.directions if every else (own.direction,)
    modules = [method.translator(method.networks, direction) for direction in directions]
    modules += [own.encoder] if own.style_size and own.style_encoder.has_encoder else []
    used = {id(x) for module in modules for x in module.state_dict(keep_vars=True).values()}
    weights = {
        name: (x.detach().to(dtype) if x.is_floating_point() else x).contiguous()
        for name, x in method.networks.state_dict(keep_vars=True).items()
        if id(x) in used
    }
    save_file(weights, str(file), to_metadata(state))


def _write_onnx(
    program: Any,
    inputs: Mapping[str, Tensor],
    varying: Mapping[str, Mapping[int, str]],
    file: Path,
    metadata: Mapping[str, str],
) -> None:
    import onnx

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # internal to the exporter
        made = torch.onnx.export(
            program, (), kwargs=dict(inputs), dynamo=True, opset_version=OPSET, output_names=["picture"], verbose=False
        )
    assert made is not None
    proto = made.model_proto
    del proto.graph.value_info[:]  # inner sizes, under the names of dimensions that change below
    for value in (*proto.graph.input, *proto.graph.output):
        dims = value.type.tensor_type.shape.dim
        for place, name in varying.get(value.name, PICTURE).items():
            dims[place].dim_param = name
    for key, value in metadata.items():
        proto.metadata_props.add(key=key, value=value)
    onnx.save_model(proto, str(file))


def _compare(own: Translator, other: Translator, samples: Samples, size: Size) -> tuple[list[str], bool]:
    """Translate at three sizes with both; return a line per size, and True if they agree."""
    stride = _stride(own)
    height, width = (max(stride, length // stride * 3 // 4 * stride) for length in (size.height, size.width))
    odd = size.height * 5 // 8 | 1, size.width * 5 // 8 | 1
    lines, worst = [], 0.0
    for h, w in ((size.height, size.width), (height, width), odd):
        inputs = samples.inputs(h, w)
        apart = float((_picture(own, inputs) - _picture(other, inputs)).abs().max())
        worst = max(worst, apart if apart == apart else float("inf"))
        lines.append(f"{w}x{h}: at most {apart:.4f} levels of 255 from the checkpoint's picture")
    return lines, worst <= LEVEL


@torch.inference_mode()
def _picture(translator: Translator, inputs: Mapping[str, Tensor]) -> Tensor:
    """Return a picture (B, C, H, W) in levels of 255."""
    return (as_floats(translator.module(**inputs), torch.float32) + 1) * 127.5
