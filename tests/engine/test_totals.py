"""Sums over processes in losses and norms: two processes equal one, gradients included."""

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from hdtrans.engine.distributed import Processes
from hdtrans.networks.context import ForwardContext, alone
from hdtrans.networks.norm import Norm

SCRIPT = Path(__file__).with_name("totals_script.py")


def batch() -> Tensor:
    return torch.sin(torch.arange(4 * 3 * 4 * 5, dtype=torch.float64)).view(4, 3, 4, 5) * 3 + 1


def part(rank: int) -> Tensor:
    return batch()[2 * rank : 2 * rank + 2]


def normalised(x: Tensor, total: Callable[[Tensor], Tensor]) -> list[Tensor]:
    """Return the batch norm of a part, gradients of each process's sums, and the running statistics."""
    torch.manual_seed(0)
    norm = Norm(3, "batch", "leaky_relu").double()
    with torch.no_grad():
        for parameter in norm.parameters():
            nn.init.uniform_(parameter)
    x = x.clone().requires_grad_()
    y = norm(x, ForwardContext(total=total))
    weighted = y.square() / total((y.detach() > 0).double().sum())  # a loss that divides by a count of the whole batch
    weighted.sum().backward()
    assert x.grad is not None
    return [y.detach(), x.grad, *(b.double() for b in norm.buffers())]


def test_one_process_sums_nothing() -> None:
    x = torch.ones(2)
    assert Processes().total(x) is x


def test_two_processes_normalise_as_one(tmp_path: Path) -> None:
    from tests.engine.test_processes import spawn

    ended = spawn([str(SCRIPT), str(tmp_path)])
    assert ended.returncode == 0, ended.stderr
    wanted = normalised(batch(), alone)
    parts = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2)]
    for place, one in enumerate(wanted):
        both = [found[place] for found in parts]
        if place < 2:
            assert torch.allclose(torch.cat(both), one, rtol=0, atol=1e-12)
        else:
            assert all(torch.allclose(each, one, rtol=0, atol=1e-12) for each in both)
