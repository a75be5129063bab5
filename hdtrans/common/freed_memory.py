"""Keeps the memory of large tensors that are freed, for the next ones."""

import ctypes
import sys

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -3, -4  # of glibc's malloc.h
_KEPT = 2**31 - 1
_OWN = {_TRIM_THRESHOLD: 2**26, _MMAP_THRESHOLD: 2**25, _MMAP_MAX: 65536}  # where glibc's own rules lead to


def keep_freed_memory(keep: bool = True) -> bool:
    """Let the C library keep what is freed, for the whole process; return whether it can.

    By itself, glibc hands tensors of 32 MiB and more back to the system when they are freed, and takes new pages for
    the next ones, which are zeroed one by one: at 2048x1024 that takes longer than norms and activations do. The peak
    stays the same. `keep=False` lets it do so again.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
    if mallopt is None:
        return False
    settings = {_TRIM_THRESHOLD: _KEPT, _MMAP_MAX: 0} if keep else _OWN
    return all(mallopt(name, value) == 1 for name, value in settings.items())
