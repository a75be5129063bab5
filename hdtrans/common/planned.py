"""Whether what runs are shapes alone, on a CPU, that stand for what a GPU would do: for what is only counted."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_AS_ON_GPU = ContextVar("as_on_gpu", default=False)


def planned_for_gpu() -> bool:
    """Return whether operators should be chosen that a GPU would be given, which need not work here."""
    return _AS_ON_GPU.get()


@contextmanager
def as_on_gpu(wanted: bool) -> Iterator[None]:
    """Choose operators as on a GPU if `wanted`; only what allocates nothing (`FakeTensorMode`) may run inside."""
    token = _AS_ON_GPU.set(wanted)
    try:
        yield
    finally:
        _AS_ON_GPU.reset(token)
