"""Private torch API that networks use: a test for each use, to fail where a new torch changes it."""

import pytest
import torch
import torch.nn.functional as F

from hdtrans.networks.compat import can_prepack, fans, prepacked_convolution, prepacked_weight


def test_fans_count_the_window() -> None:
    assert fans(torch.empty(8, 3, 5, 5)) == (3 * 25, 8 * 25)
    assert fans(torch.empty(7, 2)) == (2, 7)


@pytest.mark.parametrize("shaped", [False, True])
def test_a_prepacked_convolution_is_the_convolution(shaped: bool) -> None:
    if not can_prepack(torch.float32):
        pytest.skip("this torch has no oneDNN operators")
    x, weight, bias = torch.randn(2, 3, 9, 11), torch.randn(4, 3, 3, 3), torch.randn(4)
    how = [[1, 1], [2, 2], [1, 1]]
    with torch.inference_mode():
        packed = prepacked_weight(weight, False, how, x.shape if shaped else None)
        found = prepacked_convolution(x, packed, bias, False, how)
    assert torch.allclose(found, F.conv2d(x, weight, bias, stride=2, padding=1), atol=1e-5)


def test_a_prepacked_transposed_convolution_is_the_transposed_convolution() -> None:
    if not can_prepack(torch.float32):
        pytest.skip("this torch has no oneDNN operators")
    x, weight, bias = torch.randn(2, 3, 9, 11), torch.randn(3, 4, 3, 3), torch.randn(4)
    how = [[1, 1], [1, 1], [2, 2], [1, 1]]
    with torch.inference_mode():
        found = prepacked_convolution(x, prepacked_weight(weight, True, how), bias, True, how)
    wanted = F.conv_transpose2d(x, weight, bias, stride=2, padding=1, output_padding=1)
    assert torch.allclose(found, wanted, atol=1e-5)


def test_a_cpu_without_bf16_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: False)
    assert not can_prepack(torch.bfloat16)
