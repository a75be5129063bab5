"""Random numbers of a step: of each sample, whatever the number of processes; and the history of images."""

import torch

from hdtrans.methods.base import Lazy, StepContext


def test_numbers_follow_from_the_sample_alone() -> None:
    whole = StepContext(images_seen=10, seed=3, global_indices=range(4))
    halves = [StepContext(images_seen=10, seed=3, global_indices=part) for part in (range(2), range(2, 4))]
    for draw in (
        lambda context: context.normals(1, 2, 5),
        lambda context: context.uniform(1, 3, like=torch.zeros((), dtype=torch.float64)),
        lambda context: context.uniform(1, like=torch.zeros(())),
        lambda context: context.seeds(1),
    ):
        together = draw(whole)
        assert together.shape[0] == 4
        assert torch.equal(together, torch.cat([draw(half) for half in halves]))
        assert len({float(numbers.double().sum()) for numbers in together}) == 4
    assert not torch.equal(whole.normals(1, 8), whole.normals(2, 8))


def test_normals_are_normal_and_uniform_numbers_uniform() -> None:
    context = StepContext(global_indices=range(3))
    normals = context.normals(0, 100, 100)
    assert normals.shape == (3, 100, 100) and normals.dtype == torch.float32
    assert abs(float(normals.mean())) < 0.02 and abs(float(normals.std()) - 1) < 0.02
    uniform = context.uniform(0, 10000, like=normals)
    assert 0 <= float(uniform.min()) < 0.01 and 0.99 < float(uniform.max()) < 1
    assert context.normals(0, 2, like=torch.zeros((), dtype=torch.float64)).dtype == torch.float64


def test_the_forward_context_carries_the_sum_over_processes() -> None:
    context = StepContext(total=lambda x: 2 * x)
    forward = context.forward_context(seeds=torch.tensor([1]))
    assert float(forward.total(torch.tensor(3.0))) == 6 and forward.seeds is not None
    assert float(StepContext().total(torch.tensor(3.0))) == 3


def test_a_lazy_value_is_computed_once() -> None:
    calls: list[int] = []
    value = Lazy(StepContext(), lambda: calls.append(1) or len(calls))
    assert not value.made and value.get() == value.get() == 1 and value.made and calls == [1]
