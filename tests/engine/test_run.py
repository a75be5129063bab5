"""Preparation of a run before the trainer starts."""

from typing import Any

import pytest

from hdtrans.config.stage import Stage
from hdtrans.engine.run import keep_global_batches

STAGES = [Stage(name="a", size="64x32", batch_size=1), Stage(name="b", size="64x32", batch_size=3)]  # type: ignore[arg-type]


def state(world: int, *sizes: int, stage: int = 0) -> dict[str, Any]:
    """Return the entries of a checkpoint, by `world` processes, about its batches."""
    recipe = {"stages": [{"batch_size": size} for size in sizes]}
    return {"stage": stage, "recipe": recipe, "global_batches": [world * size for size in sizes]}


@pytest.mark.parametrize(
    ("was", "world", "sizes"),
    [
        (None, 4, [1, 3]),
        (state(2, 1, 3), 2, [1, 3]),
        (state(2, 1, 3), 1, [2, 6]),
        (state(2, 1, 3), 3, [1, 2]),  # two images for three processes: the trainer refuses
        (state(4, 1, 3), 2, [2, 6]),
        (state(4, 1, 3, stage=1), 2, [1, 6]),  # the first stage is over
        (state(2, 2, 3), 1, [1, 6]),  # the first batch_size was changed by hand
    ],
)
def test_batches_stay_as_large_as_they_were(was: dict[str, Any] | None, world: int, sizes: list[int]) -> None:
    stages, message = keep_global_batches(STAGES, was, world)
    assert [stage.batch_size for stage in stages] == sizes
    changed = [stage for stage, before in zip(stages, STAGES, strict=True) if stage != before]
    assert message.splitlines() == [
        f"stage {stage.name}: batches stay {stage.batch_size * world} images: batch_size {stage.batch_size} for each "
        f"of {world}"
        for stage in changed
    ]
