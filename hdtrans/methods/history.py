"""History of generated images, kept by index in the global batch (Shrivastava et al., 2017, section 2.3)."""

from typing import Any

import torch
from torch import Tensor

from hdtrans.methods.base import StepContext


class Pool:
    """Generated images of earlier steps, some for each index of the global batch.

    Args:
        size: images kept for each index; 0 keeps none.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.kept: dict[str, list[Tensor]] = {}

    def exchange(self, fakes: Tensor, context: StepContext, purpose: int) -> list[Tensor]:
        """Return each index's new image or, with probability 0.5 once its pool is full, an old one that it replaces."""
        if self.size == 0:
            return list(fakes)
        return [
            self._at_index(self.kept.setdefault(str(index), []), fake, generator)
            for index, fake, generator in zip(context.global_indices, fakes, context.generators(purpose), strict=True)
        ]

    def _at_index(self, kept: list[Tensor], fake: Tensor, generator: torch.Generator) -> Tensor:
        if len(kept) < self.size:
            kept.append(fake.clone())
            return fake
        chance = torch.rand((), generator=generator, device="cpu")
        place = int(torch.randint(self.size, (), generator=generator, device="cpu"))
        if chance < 0.5:
            return fake
        old, kept[place] = kept[place].to(fake), fake.clone()
        return old

    def state_dict(self, indices: range) -> dict[str, Any]:
        """Return the images of these indices, keyed by index."""
        return {str(index): list(self.kept[str(index)]) for index in indices if str(index) in self.kept}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from the union of the states of all processes."""
        self.kept = {index: list(kept) for index, kept in state.items()}
