"""Batches on their way to the GPU, beside what it computes."""

from collections.abc import Iterable, Iterator

import torch

from hdtrans.data.batch import Batch


def moved(batches: Iterable[Batch], device: torch.device) -> Iterator[Batch]:
    """Go over the batches on `device`, each fetched when it is asked for.

    Whoever trains asks for a batch when the GPU has the step before it still to do. On the stream of that step, the
    copy would begin after it; on a stream of its own, from pinned memory, it begins at once, and the next step waits
    for it alone. Nothing is fetched ahead, so that what is counted, and where an error comes, stay as they are.
    """
    if device.type != "cuda":
        for batch in batches:
            yield batch.to(device)
        return
    beside = torch.cuda.Stream(device)
    for batch in batches:
        with torch.cuda.stream(beside):
            there = batch.to(device)
        computing = torch.cuda.current_stream(device)
        computing.wait_stream(beside)
        there.record_stream(computing)
        yield there
