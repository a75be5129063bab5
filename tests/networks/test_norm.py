"""Batch norm over all processes, which the forward context sums up."""

import threading
from collections.abc import Callable

import torch
from torch import Tensor

from hdtrans.networks.context import ForwardContext
from hdtrans.networks.norm import Norm


class Exchange:
    """Sums over threads in place of processes; one graph spans them."""

    def __init__(self, world: int) -> None:
        self.given: list[Tensor] = [torch.zeros(())] * world
        self.barrier = threading.Barrier(world)

    def of(self, rank: int) -> Callable[[Tensor], Tensor]:
        def total(x: Tensor) -> Tensor:
            self.given[rank] = x
            self.barrier.wait()
            summed = torch.stack(self.given).sum(0)
            self.barrier.wait()
            return summed

        return total


def batch_norm() -> Norm:
    norm = Norm(3, "batch", "relu").double()
    assert norm.batch is not None
    with torch.no_grad():
        norm.batch.weight.copy_(torch.tensor([0.5, 1, 2]))
        norm.batch.bias.copy_(torch.tensor([0.1, 0, -0.3]))
    return norm


def test_batch_norm_over_processes_is_that_of_the_whole_batch() -> None:
    x = (torch.randn(6, 3, 4, 5, dtype=torch.float64) * 2 + 1).requires_grad_()
    one = batch_norm()
    wanted = one(x)
    wanted.square().sin().sum().backward()
    gradient, x.grad = x.grad, None
    norms, exchange = [batch_norm(), batch_norm()], Exchange(2)
    made: list[Tensor] = [x, x]

    def work(rank: int) -> None:
        part = x[:2] if rank == 0 else x[2:]  # parts of different sizes
        made[rank] = norms[rank](part, ForwardContext(total=exchange.of(rank)))

    threads = [threading.Thread(target=work, args=(rank,)) for rank in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = torch.cat(made)
    assert torch.allclose(found, wanted, rtol=0, atol=1e-12)
    found.square().sin().sum().backward()
    assert x.grad is not None and gradient is not None
    assert torch.allclose(x.grad, gradient, rtol=0, atol=1e-12)
    for norm in norms:
        for (name, buffer), other in zip(norm.named_buffers(), one.buffers(), strict=True):
            assert torch.allclose(buffer, other, rtol=0, atol=1e-12), name


def test_in_evaluation_nothing_is_summed() -> None:
    norm, x = batch_norm().eval(), torch.randn(2, 3, 4, 5, dtype=torch.float64)

    def refuse(x: Tensor) -> Tensor:
        raise AssertionError

    assert torch.equal(norm(x, ForwardContext(total=refuse)), norm(x))
