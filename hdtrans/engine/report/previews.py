"""Sample grids: results of the networks for a few fixed inputs."""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from hdtrans.common.classes import ClassTable
from hdtrans.data.batch import Batch
from hdtrans.data.derived import to_rgb
from hdtrans.data.fields import as_bytes
from hdtrans.engine.stage import StageTraining
from hdtrans.methods.base import StepContext

Columns = dict[str, list[npt.NDArray[np.uint8]]]
Viewable = Callable[[dict[str, Tensor]], dict[str, Tensor]]


@torch.no_grad()
def preview_columns(
    work: StageTraining,
    networks: nn.ModuleDict,
    preview_batches: Sequence[Batch],
    images_seen: int,
    classes: ClassTable | None,
    viewable: Viewable = dict,
) -> tuple[list[str], Columns]:
    """Return the names of the samples and the columns of the grid, each picture (H, W, 3) uint8.

    The networks are left in evaluation mode; call `work.train_mode` before the next step.

    Args:
        work: stage in training.
        networks: networks to translate with, averaged or not.
        preview_batches: one sample each, so that memory holds one at a time.
        images_seen: images drawn by the whole run.
        classes: colours of label maps; None for generic ones.
        viewable: turns columns that the eye cannot read into pictures.
    """
    networks.eval()
    device = next(networks.parameters()).device
    columns: Columns = {}
    for index, on_cpu in enumerate(preview_batches):
        batch = on_cpu.to(device)
        context = StepContext(
            images_seen, work.training.seed, batch.sample_indices, range(index, index + 1), work.precision.compute
        )
        with work.precision.autocast():
            previews = work.method.previews(networks, batch, context)
        for name, picture in viewable(previews).items():  # (1, H, W) ids or (1, C, H, W)
            columns.setdefault(name, []).append(_to_rgb(picture[0], classes))
    return [name for batch in preview_batches for name in batch.names], columns


def _to_rgb(picture: Tensor, classes: ClassTable | None) -> npt.NDArray[np.uint8]:
    """Return class ids (H, W) in their colours, or an image (C, H, W) in [-1, 1], as (H, W, 3) uint8."""
    array = picture if picture.ndim == 2 else as_bytes(picture).permute(1, 2, 0)
    return to_rgb(array.cpu().numpy(), classes)
