"""The condition in every type and layout, against one made pixel by pixel."""

from typing import Any

import pytest
import torch
from torch import Tensor

from hdtrans.networks.condition import Condition, boundaries

LABELS, IGNORE = 5, 9


def pixel_by_pixel(label: Tensor, instance: Tensor, condition: Condition, ignored: str) -> Tensor:
    """Return the channels of (B, H, W) maps, set one at a time."""
    made = torch.zeros(label.shape[0], condition.channels, *label.shape[1:])
    edge = boundaries(instance if condition.boundary == "instance" else label)
    for place in torch.cartesian_prod(*(torch.arange(length) for length in label.shape)).tolist():
        picture, row, column = place
        channel = int(label[picture, row, column])
        if channel != IGNORE:
            made[picture, channel, row, column] = 1
        elif ignored == "channel":
            made[picture, LABELS, row, column] = 1
        if condition.boundary != "none":
            made[picture, -1, row, column] = float(edge[picture, row, column])
    return made


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("boundary", ["instance", "labels", "none"])
@pytest.mark.parametrize("ignored", ["zeros", "channel"])
def test_maps_become_channels(dtype: torch.dtype, boundary: Any, ignored: Any) -> None:
    generator = torch.Generator().manual_seed(1)
    label = torch.randint(0, LABELS, (2, 6, 7), generator=generator)
    label[:, 2:4, 1:5] = IGNORE
    instance = torch.randint(0, 3, (2, 6, 7), generator=generator)
    condition = Condition(LABELS, 0, IGNORE, ignored, boundary)
    seen = condition(label, instance, dtype=dtype)
    assert seen.dtype == dtype
    assert torch.equal(seen.float(), pixel_by_pixel(label, instance, condition, ignored))
    layout = torch.contiguous_format if dtype == torch.float32 else torch.channels_last
    assert seen.is_contiguous(memory_format=layout) or boundary == "none"
