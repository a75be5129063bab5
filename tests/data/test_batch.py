"""Batches: what is stacked keeps its meaning."""

import pytest
import torch

from hdtrans.data.batch import Sample, collate
from hdtrans.data.fields import as_floats


def grey(value, dtype):
    """Return a picture of one pixel."""
    return torch.full((1, 1, 1), value, dtype=dtype)


@pytest.mark.parametrize("field", ["source", "photo"])
def test_pictures_of_different_depth_keep_their_brightness(field):
    pictures = [grey(51, torch.uint8), grey(13107, torch.int32), grey(-0.6, torch.float32)]
    for count, dtype in ((1, torch.uint8), (2, torch.int32), (3, torch.float32)):
        batch = collate([Sample("a", 0, {field: picture}) for picture in pictures[:count]])[field]
        assert batch.dtype == dtype
        assert as_floats(batch, torch.float64).flatten().tolist() == pytest.approx([-0.6] * count, abs=1e-6)


def test_ids_of_different_width_stay():
    labels = [torch.tensor([[200]], dtype=torch.uint8), torch.tensor([[300]], dtype=torch.int32)]
    batch = collate([Sample("a", 0, {"label": label}) for label in labels])
    assert batch["label"].flatten().tolist() == [200, 300]


def test_pictures_lie_channels_last_and_maps_as_they_did():
    sample = Sample("a", 0, {"label": torch.zeros(4, 6, dtype=torch.uint8), "photo": torch.arange(72).view(3, 4, 6)})
    batch = collate([sample, sample])
    laid_out = batch.channels_last()
    assert laid_out["photo"].is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(laid_out["photo"], batch["photo"]) and laid_out["label"] is batch["label"]
