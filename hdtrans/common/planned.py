"""Flag for counting the cost of a GPU on a CPU with shapes alone."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_AS_ON_GPU = ContextVar("as_on_gpu", default=False)


def planned_for_gpu() -> bool:
    """Return True if operators should be those of a GPU, even ones that cannot run here."""
    return _AS_ON_GPU.get()


@contextmanager
def as_on_gpu(wanted: bool) -> Iterator[None]:
    """Choose operators as on a GPU if `wanted`; only code without allocations (`FakeTensorMode`) may run inside."""
    token = _AS_ON_GPU.set(wanted)
    try:
        yield
    finally:
        _AS_ON_GPU.reset(token)
