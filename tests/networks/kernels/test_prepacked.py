"""Weights that are laid out once: the same numbers as torch's own convolutions, and where they are put."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from hdtrans.inference.translator import Translator
from hdtrans.networks.kernels.fast_io_convs import LabelConvolution, NarrowConvolution
from hdtrans.networks.kernels.prepacked import PrepackedConv, prepack
from tests.conftest import needs_bf16
from tests.small_runs import made_checkpoint

NONE = {"kind": "none"}
CONVOLUTIONS = {
    "7x7": lambda: nn.Conv2d(5, 8, 7),
    "down": lambda: nn.Conv2d(16, 32, 3, stride=2, padding=1),
    "without bias": lambda: nn.Conv2d(4, 6, 4, padding=2, bias=False),
    "up": lambda: nn.ConvTranspose2d(32, 16, 3, stride=2, padding=1, output_padding=1),
}


@pytest.mark.parametrize(
    ("dtype", "most"), [(torch.float32, 1e-6), pytest.param(torch.bfloat16, 0.02, marks=needs_bf16)]
)
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("kind", CONVOLUTIONS)
def test_it_computes_what_torch_does(kind: str, layout: torch.memory_format, dtype: torch.dtype, most: float) -> None:
    torch.manual_seed(0)
    convolution = CONVOLUTIONS[kind]()
    for size in ((13, 18), (20, 31)):  # weights are laid out for no size in particular
        x = torch.randn(2, convolution.in_channels, *size).to(memory_format=layout)
        with torch.inference_mode():
            wanted = convolution.double()(x.double())
            convolution.float()
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=dtype == torch.bfloat16):
                found = PrepackedConv(convolution, dtype)(x)
        assert found.dtype == dtype and found.shape == wanted.shape
        assert (found.double() - wanted).abs().max() < most * wanted.abs().max()


def test_float32_is_laid_out_anew_where_the_shape_changes_and_only_there() -> None:
    """Without AVX-512 what is laid out for one picture takes up to ten times as long for two."""
    torch.manual_seed(0)
    plain = nn.Conv2d(16, 24, 3)
    module = PrepackedConv(plain, torch.float32)
    for batch, height in ((1, 12), (2, 12), (1, 12), (1, 30)):
        x = torch.randn(batch, 16, height, 20)
        with torch.inference_mode():
            assert (module(x) - plain(x)).abs().max() < 1e-5
            laid_out = module.weight
            module(x)
        assert module.weight is laid_out and module.shape == x.shape
        assert torch.equal(laid_out.to_dense(), plain.weight)


def test_where_memory_is_short_float32_is_laid_out_once(tmp_path: Path) -> None:
    method = {"kind": "pix2pixhd", "generator": {"width": 2, "downsamples": 1, "blocks": 1}, "perceptual": NONE}
    file = made_checkpoint(tmp_path / "model.pt", {"kind": "label_maps", "root": ".", "labels": 5}, method)
    for most, wanted in ((None, {True, False}), (2**36, {False})):
        translator = Translator.load(file, "cpu", "fp32", max_memory=most)
        translator(np.random.default_rng(0).integers(0, 5, (9, 12), dtype=np.uint8))
        assert {m.by_shape for m in translator.module.modules() if isinstance(m, PrepackedConv)} == wanted


def test_what_is_not_plain_is_left_alone() -> None:
    plain, grouped = nn.Conv2d(4, 4, 3), nn.Conv2d(4, 4, 3, groups=2)
    module = nn.Sequential(plain, nn.Sequential(grouped, nn.Conv2d(4, 4, 3, dilation=2)))
    prepack(module, torch.float32)
    assert [type(m).__name__ for m in module.modules() if not list(m.children())] == [
        "PrepackedConv",
        "Conv2d",
        "Conv2d",
    ]


@pytest.mark.parametrize(
    ("dtype", "levels", "mean"), [("fp32", 1, 0.01), pytest.param("bf16", 16, 2, marks=needs_bf16)]
)
def test_pictures_of_a_translator_stay_the_same(tmp_path: Path, dtype: str, levels: int, mean: float) -> None:
    """Of a small network with large weights, whose pictures are all contrast, against double precision."""
    method = {
        "kind": "pix2pixhd",
        "generator": {"width": 8, "downsamples": 2, "blocks": 2},
        "perceptual": NONE,
    }
    file = made_checkpoint(tmp_path / "model.pt", {"kind": "label_maps", "root": ".", "labels": 5}, method)
    label = np.random.default_rng(0).integers(0, 5, (9, 12), dtype=np.uint8).repeat(7, 0).repeat(7, 1)
    exact = Translator.load(file, "cpu", "fp64")(label).astype(int)
    translator = Translator.load(file, "cpu", dtype)
    assert not any(isinstance(m, PrepackedConv) for m in translator.module.modules()), "the module is for export, too"
    for _ in range(2):
        difference = np.abs(translator(label).astype(int) - exact)
        assert difference.max() <= levels and difference.mean() <= mean
    made = [m for m in translator.module.modules() if isinstance(m, LabelConvolution | NarrowConvolution)]
    assert [type(m).__name__ for m in made] == ["LabelConvolution", "NarrowConvolution"]
    laid_out = [m for m in translator.module.modules() if isinstance(m, PrepackedConv)]
    assert len(laid_out) == 1 + 2 + 4 + 2 + 1
    assert not any(isinstance(m, nn.Conv2d | nn.ConvTranspose2d) for m in translator.module.modules())


def test_bf16_is_translated_where_onednn_cannot_compute_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on CPUs without AVX-512, where oneDNN refuses to lay such weights out."""
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: False)
    monkeypatch.setattr(PrepackedConv, "__init__", lambda *_: pytest.fail("laid out"))
    method = {"kind": "pix2pixhd", "generator": {"width": 2, "downsamples": 1, "blocks": 1}, "perceptual": NONE}
    file = made_checkpoint(tmp_path / "model.pt", {"kind": "label_maps", "root": ".", "labels": 5}, method)
    label = np.random.default_rng(0).integers(0, 5, (9, 12), dtype=np.uint8)
    exact, found = (Translator.load(file, "cpu", dtype)(label).astype(int) for dtype in ("fp64", "bf16"))
    assert np.abs(exact - found).mean() <= 2


def test_where_onednn_cannot_weights_get_the_type_and_norms_keep_theirs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hdtrans.networks.kernels.prepacked.can_prepack", lambda dtype: False)
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.ConvTranspose2d(8, 2, 3)).eval()
    x = torch.randn(1, 3, 12, 14)
    with torch.inference_mode():
        with torch.autocast("cpu", dtype=torch.bfloat16):
            wanted = module(x)
        prepack(module, torch.bfloat16)
        found = module(x.bfloat16())
    assert [p.dtype for p in module.parameters()] == 2 * [torch.bfloat16] + 2 * [torch.float32] + 2 * [torch.bfloat16]
    assert torch.equal(found, wanted)
