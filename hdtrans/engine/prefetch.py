"""Copy batches to the GPU on a side stream."""

from collections.abc import Iterable, Iterator

import torch

from hdtrans.data.batch import Batch


def prefetch(batches: Iterable[Batch], device: torch.device) -> Iterator[Batch]:
    """Yield the batches on `device`, each copied when it is requested.

    The host requests a batch while the GPU still computes the step before it. On the stream of that step, the copy
    would begin after it. On a side stream, from pinned memory, it begins at once, and the next step waits for it alone.
    No batch is read ahead of its step, so that counts and the place of an error stay exact.
    """
    if device.type != "cuda":
        for batch in batches:
            yield batch.to(device)
        return
    side = torch.cuda.Stream(device)
    for batch in batches:
        with torch.cuda.stream(side):
            copied = batch.to(device)
        computing = torch.cuda.current_stream(device)
        computing.wait_stream(side)
        copied.record_stream(computing)  # the allocator may reuse its memory only after the step
        yield copied
