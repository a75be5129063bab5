"""Sample grids: what the networks make of a few fixed inputs."""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from hdtrans.common.classes import ClassTable
from hdtrans.data.batch import Batch
from hdtrans.data.fields import as_bytes
from hdtrans.engine.stage import StageTraining
from hdtrans.methods.base import StepContext

Columns = dict[str, list[npt.NDArray[np.uint8]]]
Viewable = Callable[[dict[str, Tensor]], dict[str, Tensor]]


@torch.no_grad()
def sample_pictures(
    work: StageTraining,
    networks: nn.ModuleDict,
    stills: Sequence[Batch],
    images_seen: int,
    classes: ClassTable | None,
    viewable: Viewable = dict,
) -> tuple[list[str], Columns]:
    """Return the names of the samples and the columns of the grid, each picture (H, W, 3) uint8.

    Args:
        work: the stage at work; `train_mode` is to be called after.
        networks: what to make the pictures with; put in evaluation mode.
        stills: the samples, one by one, so that memory holds one.
        images_seen: by the whole run.
        classes: the colours of label maps.
        viewable: turns columns that show nothing as they are into some that do.
    """
    networks.eval()
    device = next(networks.parameters()).device
    columns: Columns = {}
    for slot, still in enumerate(stills):
        batch = still.to(device)
        context = StepContext(
            images_seen, work.training.seed, batch.sample_indices, range(slot, slot + 1), work.precision.compute
        )
        with work.precision.autocast():
            pictures = work.method.pictures(networks, batch, context)
        for name, picture in viewable(pictures).items():
            columns.setdefault(name, []).append(to_rgb(picture[0], classes))
    return [name for still in stills for name in still.names], columns


def to_rgb(picture: Tensor, classes: ClassTable | None) -> npt.NDArray[np.uint8]:
    """Return (H, W) class ids in their colours, or (C, H, W) in [-1, 1], as (H, W, 3) uint8."""
    if picture.ndim == 2:
        ids = picture.cpu().numpy()
        return (classes or ClassTable.generic(int(ids.max()) + 1)).colourise(ids)
    channels = as_bytes(picture).cpu().numpy()
    if channels.shape[0] == 1:
        channels = np.repeat(channels, 3, 0)
    padded = np.zeros((3, *channels.shape[1:]), np.uint8)
    padded[: min(3, len(channels))] = channels[:3]
    return np.ascontiguousarray(padded.transpose(1, 2, 0))
