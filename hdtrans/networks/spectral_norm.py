"""Spectral norm: a convolution divided by its largest singular value (Miyato et al., 2018, algorithm 1).

With M the weight as (out, rest), each training forward makes one power iteration, v = M^T u / |M^T u|,
u = M v / |M v|, and uses M / sigma, sigma = u^T M v, u and v constants of the gradient. Evaluation uses u and v as
they are. Sums are elementwise, so that autocast leaves them in the type of the weights.
"""

from contextlib import AbstractContextManager
from contextvars import ContextVar, Token

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_EPSILON = 1e-12


class SpectralConv2d(nn.Conv2d):
    """`nn.Conv2d` with spectral norm, padded with zeros.

    Its state holds the plain `weight`, divided only when it is used, and the vectors `u` (out,) and `v` (rest,).
    """

    u: Tensor
    v: Tensor

    def __init__(
        self,
        channels: int,
        out_channels: int,
        kernel: int,
        stride: int = 1,
        padding: int = 0,
        bias: bool = True,
    ) -> None:
        super().__init__(channels, out_channels, kernel, stride=stride, padding=padding, bias=bias)
        for name, length in (("u", out_channels), ("v", self.weight[0].numel())):
            self.register_buffer(name, F.normalize(torch.randn(length), dim=0, eps=_EPSILON))

    @torch.no_grad()
    def draw_initial(self, generator: torch.Generator) -> None:
        """Draw u and v anew, called by `initialise`."""
        for vector in (self.u, self.v):
            vector.copy_(F.normalize(torch.randn(vector.shape, generator=generator), dim=0, eps=_EPSILON))

    def forward(self, x: Tensor) -> Tensor:
        u, v = self._vectors() if self.training else (self.u, self.v)
        return F.conv2d(x, self.divided(u, v), self.bias, self.stride, self.padding)

    def divided(self, u: Tensor, v: Tensor) -> Tensor:
        """Return weight / sigma, (out, in, k, k)."""
        rows = self.weight.flatten(1)  # M: (out, in*k*k)
        sigma = ((rows * v).sum(1) * u).sum()
        return self.weight / sigma

    @torch.no_grad()
    def _vectors(self) -> tuple[Tensor, Tensor]:
        """Return u and v of this training forward: iterated once, or those of the forward that is computed again."""
        tape = _tape.get()
        if tape is not None and tape.replaying:
            return tape.next(self)
        u, v = _iterated(self.weight.flatten(1), self.u)
        self.u.copy_(u)
        self.v.copy_(v)
        # Copies, for the next iteration would change in place what this graph keeps.
        if tape is not None:
            tape.add(self, (u, v))
        return u, v


def _iterated(rows: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
    """Return u (out,) and v (rest,) after one power iteration on M, (out, rest)."""
    v = F.normalize((rows * u[:, None]).sum(0), dim=0, eps=_EPSILON)
    return F.normalize((rows * v).sum(1), dim=0, eps=_EPSILON), v


class _Tape:
    """Vectors of each spectral convolution, forward pass by forward pass, so that recomputing repeats its numbers."""

    def __init__(self) -> None:
        self._vectors: dict[nn.Module, list[tuple[Tensor, Tensor]]] = {}
        self._next: dict[nn.Module, int] = {}
        self.replaying = False

    def add(self, module: nn.Module, vectors: tuple[Tensor, Tensor]) -> None:
        """Note u and v of a forward pass."""
        self._vectors.setdefault(module, []).append(vectors)

    def next(self, module: nn.Module) -> tuple[Tensor, Tensor]:
        """Return u and v of the next forward pass that is repeated."""
        place = self._next.get(module, 0)
        self._next[module] = place + 1
        return self._vectors[module][place]

    def start(self, replaying: bool) -> None:
        """Begin at the first forward pass."""
        self.replaying = replaying
        self._next.clear()


_tape: ContextVar[_Tape | None] = ContextVar("tape", default=None)


class _Running(AbstractContextManager[None]):
    """Records on a tape, or replays it; may be entered again, as a graph may be walked back twice."""

    def __init__(self, tape: _Tape, replaying: bool) -> None:
        self._tape, self._replaying = tape, replaying
        self._tokens: list[Token[_Tape | None]] = []

    def __enter__(self) -> None:
        self._tape.start(self._replaying)
        self._tokens.append(_tape.set(self._tape))

    def __exit__(self, *_: object) -> None:
        _tape.reset(self._tokens.pop())


def replayed() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    """Return contexts of a forward pass and of its recomputation: `context_fn` of `torch.utils.checkpoint`.

    Recomputing uses u and v of its own forward pass and iterates nothing.
    """
    tape = _Tape()
    return _Running(tape, replaying=False), _Running(tape, replaying=True)


@torch.no_grad()
def fold_spectral_norm(module: nn.Module, iterations: int = 0) -> nn.Module:
    """Replace every spectral convolution in a module by a plain one of the same output, and return the module.

    Args:
        module: changed in place; where it is a spectral convolution itself, its replacement is returned.
        iterations: power iterations first, for weights that are an average, whose u and v are another's.
    """
    if isinstance(module, SpectralConv2d):
        return _folded(module, iterations)
    for parent in list(module.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, SpectralConv2d):
                setattr(parent, name, _folded(child, iterations))
    return module


def _folded(convolution: SpectralConv2d, iterations: int) -> nn.Conv2d:
    u, v = convolution.u, convolution.v
    rows = convolution.weight.flatten(1)
    for _ in range(iterations):
        u, v = _iterated(rows, u)
    with torch.device("meta"):
        plain = nn.Conv2d(
            convolution.in_channels,
            convolution.out_channels,
            convolution.kernel_size,  # type: ignore[arg-type]
            convolution.stride,  # type: ignore[arg-type]
            convolution.padding,  # type: ignore[arg-type]
            bias=convolution.bias is not None,
        )
    plain.weight = nn.Parameter(convolution.divided(u, v), requires_grad=convolution.weight.requires_grad)
    plain.bias = convolution.bias
    return plain.train(convolution.training)
